//! When a group of records goes to the disk. A sync costs as much for one record as for fifty, in time and, in the
//! kernel, in work: so a group waits as long as the runtime still has tasks that are ready, which may bring more
//! records, and goes as soon as there is nothing else to do. An idle server thus adds a few looks at its sockets to a
//! sync, and a busy one shares a sync among all that it has in hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::writer::Shared;

/// Rounds of the runtime without a new record after which nothing more is expected: in one, sockets may have become
/// ready whose requests are read in the next.
const QUIET_ROUNDS: usize = 2;
/// Records that need not wait for more once they have waited for as long as a sync takes.
const RECORDS_ENOUGH: usize = 32;
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_millis(2);

/// A group that is to be released; in any case when this is dropped.
pub(crate) struct Gather(Arc<Shared>);

impl Gather {
    /// A group that has begun.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// Lets the runtime's tasks go first, as long as they bring something.
    pub(crate) async fn run(self) {
        let Self(shared) = &self;
        let begun = Instant::now();
        let sync = Duration::from_micros(shared.counters.last_sync_us.load(Ordering::Relaxed));
        let (mut records, mut quiet_rounds) = (shared.queue.waiting(), 0);
        while quiet_rounds < QUIET_ROUNDS {
            tokio::task::yield_now().await;
            let now = shared.queue.waiting();
            quiet_rounds = if now == records { quiet_rounds + 1 } else { 0 };
            records = now;
            let waited = begun.elapsed();
            if waited >= WAIT_MAX || (records >= RECORDS_ENOUGH && waited >= sync) {
                break;
            }
        }
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.0.queue.release();
    }
}
