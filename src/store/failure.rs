//! The one place where a store that has failed for good says so. A failed sync is never tried again: what the disk
//! then holds is unknown, so the process ends and the next one recovers. So does one whose place another node has taken.

use tokio::sync::watch;

/// Remembers the first fatal failure and wakes who waits for one.
#[derive(Debug)]
pub(in crate::store) struct FailureLatch {
    reason: watch::Sender<Option<String>>,
}

impl FailureLatch {
    pub(in crate::store) fn new() -> Self {
        Self { reason: watch::Sender::new(None) }
    }

    /// Records why the store has failed. Later failures are consequences of the first and change nothing.
    pub(in crate::store) fn fail(&self, reason: &str) {
        self.reason.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                tracing::error!(reason, "the store has failed");
                *first = Some(reason.to_owned());
            }
            is_first
        });
    }

    /// Why the store has failed, if it has.
    pub(in crate::store) fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Resolves with the reason once the store has failed.
    pub(in crate::store) async fn failed(&self) -> String {
        let mut reason = self.reason.subscribe();
        let found = reason.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match found {
            Some(reason) => reason,
            // The sender is `self`, so this cannot be while this runs.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_is_the_reason() {
        let latch = FailureLatch::new();
        assert_eq!(latch.reason(), None);
        let waiting = latch.failed();
        latch.fail("sync failed");
        latch.fail("everything else failed too");
        assert_eq!(waiting.await, "sync failed");
        assert_eq!(latch.reason().as_deref(), Some("sync failed"));
    }
}
