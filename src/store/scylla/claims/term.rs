//! One life of a node: from the moment it registered under a new name until its lease lapses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::clock::Uptime;
use crate::store::contract::{StoreError, StoreResult};

/// One life of a node.
pub(in crate::store::scylla) struct Term {
    /// The name it registered under.
    pub(in crate::store::scylla) incarnation: Uuid,
    /// When its last heartbeat that succeeded began; nanoseconds of uptime.
    began: AtomicU64,
    /// It will not acknowledge any more.
    over: AtomicBool,
    lease: Duration,
    uptime: Arc<dyn Uptime>,
}

impl Term {
    /// A life whose registration began at `began` of `uptime`.
    pub(super) fn new(incarnation: Uuid, began: Duration, lease: Duration, uptime: Arc<dyn Uptime>) -> Self {
        let term =
            Self { incarnation, began: AtomicU64::new(0), over: AtomicBool::new(false), lease, uptime };
        term.renew(began);
        term
    }

    /// A heartbeat that began then has succeeded.
    pub(super) fn renew(&self, began: Duration) {
        self.began.fetch_max(u64::try_from(began.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// It is over for good.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Whether it may acknowledge at this moment.
    pub(in crate::store::scylla) fn is_fresh(&self) -> bool {
        let began = Duration::from_nanos(self.began.load(Ordering::SeqCst));
        !self.over.load(Ordering::SeqCst) && self.uptime.since_boot().saturating_sub(began) < self.lease
    }

    /// Fails unless it may acknowledge at this moment.
    pub(in crate::store::scylla) fn fresh(&self) -> StoreResult<()> {
        if self.is_fresh() { Ok(()) } else { Err(lapsed()) }
    }
}

/// What a node answers whose lease is over.
pub(super) fn lapsed() -> StoreError {
    StoreError::Unavailable("this node's lease is over; it is about to come back under a new name".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualUptime;

    #[test]
    fn a_lease_counts_from_the_start_of_the_last_heartbeat_that_succeeded() {
        let uptime = ManualUptime::default();
        let term = Term::new(Uuid::nil(), Duration::ZERO, Duration::from_secs(2), Arc::new(uptime.clone()));
        uptime.advance(Duration::from_millis(1_500));
        term.renew(Duration::from_millis(500));
        uptime.advance(Duration::from_millis(999));
        assert!(term.is_fresh());
        uptime.advance(Duration::from_millis(1));
        assert!(!term.is_fresh(), "2 s after that heartbeat began");
        assert!(matches!(term.fresh(), Err(StoreError::Unavailable(_))));
        term.renew(Duration::from_millis(2_400));
        term.renew(Duration::from_millis(100));
        assert!(term.is_fresh(), "an older answer takes nothing back");
        term.end();
        assert!(!term.is_fresh());
    }
}
