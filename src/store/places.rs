//! Places for runs: how many of a period's are taken. The row and its rules, the same in both stores.

use serde::{Deserialize, Serialize};

use super::contract::{Conflict, StoreError, StoreResult};
use crate::clock::UnixMs;

/// How many places of a period are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Places {
    taken: u64,
    /// When one was last taken or given back; Unix milliseconds.
    changed_ms: UnixMs,
}

impl Places {
    /// With one more taken; at least `at_least` were taken before.
    ///
    /// # Errors
    /// `Conflict(RunLimit)` if there are `max` or more.
    pub(in crate::store) fn take(self, max: u64, at_least: u64, now_ms: UnixMs) -> StoreResult<Self> {
        let taken = self.taken.max(at_least);
        if taken >= max {
            return Err(StoreError::Conflict(Conflict::RunLimit));
        }
        Ok(Self { taken: taken + 1, changed_ms: now_ms })
    }

    /// With one less.
    pub(in crate::store) const fn give_back(self, now_ms: UnixMs) -> Self {
        Self { taken: self.taken.saturating_sub(1), changed_ms: now_ms }
    }

    /// With `started` taken, if that is less and nothing has changed since `idle_since_ms`.
    pub(in crate::store) fn correct(self, started: u64, idle_since_ms: UnixMs) -> Option<Self> {
        (started < self.taken && self.changed_ms < idle_since_ms).then_some(Self { taken: started, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{self, golden};

    #[test]
    fn places_are_stored_as_they_were_first() {
        let places = Places { taken: 300, changed_ms: 1_774_000_000_123 };
        let golden = golden::check("run_places.v1", &record::encode(&places).unwrap());
        assert_eq!(record::decode(&golden), Ok(places));
    }
}
