//! Counted login tries: the gate that parallel guesses cannot slip through, without where it is kept.

use serde::{Deserialize, Serialize};

use super::contract::LoginGate;
use crate::clock::UnixMs;

/// The tries counted for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tries {
    /// Tries that were not taken back.
    count: u32,
    /// End of the window that the first of them opened; Unix milliseconds.
    window_end_ms: UnixMs,
    /// Set once they reached the threshold; Unix milliseconds.
    locked_until_ms: Option<UnixMs>,
}

/// The bounds of a gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) threshold: u32,
    pub(super) window_ms: i64,
    pub(super) lock_ms: i64,
}

impl Tries {
    /// When nothing of this matters any more.
    pub(super) fn forget_ms(self) -> UnixMs {
        self.locked_until_ms.unwrap_or(self.window_end_ms)
    }

    /// Counts a try that `stored` lets through: what to store instead, or when to come back.
    pub(super) fn count(
        stored: Option<Self>,
        now_ms: UnixMs,
        bounds: Bounds,
    ) -> Result<(Self, LoginGate), UnixMs> {
        let current = stored.filter(|tries| now_ms < tries.forget_ms());
        if let Some(locked_until_ms) = current.and_then(|tries| tries.locked_until_ms) {
            return Err(locked_until_ms);
        }
        let fresh =
            Self { count: 0, window_end_ms: now_ms.saturating_add(bounds.window_ms), locked_until_ms: None };
        let mut tries = current.unwrap_or(fresh);
        tries.count = tries.count.saturating_add(1);
        if tries.count < bounds.threshold {
            return Ok((tries, LoginGate::Open));
        }
        tries.locked_until_ms = Some(now_ms.saturating_add(bounds.lock_ms));
        Ok((tries, LoginGate::Last))
    }

    /// What is left when the last try is taken back; a lock that it completed is lifted.
    pub(super) fn without_last(self) -> Option<Self> {
        match self.count.saturating_sub(1) {
            0 => None,
            count => Some(Self { count, locked_until_ms: None, ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_opens_with_the_first_try_and_a_lock_is_not_extended() {
        let bounds = Bounds { threshold: 3, window_ms: 100, lock_ms: 1_000 };
        let step = |stored, now| Tries::count(stored, now, bounds);
        let (one, gate) = step(None, 50).unwrap();
        assert_eq!((one.window_end_ms, gate), (150, LoginGate::Open));
        let (two, _) = step(Some(one), 149).unwrap();
        assert_eq!((two.count, two.window_end_ms), (2, 150));
        assert_eq!(step(Some(two), 150).unwrap().0.count, 1, "a new window");
        let (three, gate) = step(Some(two), 149).unwrap();
        assert_eq!((three.locked_until_ms, gate), (Some(1_149), LoginGate::Last));
        assert_eq!(step(Some(three), 151), Err(1_149), "a lock outlives the window");
        assert_eq!(step(Some(three), 1_148), Err(1_149));
        assert_eq!(step(Some(three), 1_149).unwrap().0.count, 1);
    }

    #[test]
    fn the_first_stored_form_still_reads() {
        let tries = Tries { count: 5, window_end_ms: 1_000, locked_until_ms: Some(-2) };
        let bytes = [1, 5, 0xd0, 0x0f, 1, 3];
        assert_eq!(crate::store::record::encode(&tries).as_deref(), Ok(&bytes[..]));
        assert_eq!(crate::store::record::decode(&bytes), Ok(tries));
    }
}
