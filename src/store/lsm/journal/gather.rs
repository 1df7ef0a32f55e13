//! When a group of records goes to the disk. A sync costs as much for one record as for fifty, in time and, in the
//! kernel, in work: so a group waits as long as the runtime still has tasks that are ready, which may bring more
//! records, and goes as soon as there is nothing else to do. An idle server thus adds a few looks at its sockets to a
//! sync, and a busy one shares a sync among all that it has in hand; but not among so many that nobody is left whose
//! requests could be worked on while the disk is busy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::writer::Shared;

/// Rounds of the runtime without a new record after which nothing more is expected: in one, sockets may have become
/// ready whose requests are read in the next.
const QUIET_ROUNDS: usize = 2;
/// Records that need not wait for more, if the runtime has one thread.
const RECORDS_ENOUGH: usize = 32;
/// The same for several threads: what is left they have done before a sync is over, so they take turns with it more often.
const RECORDS_ENOUGH_PARALLEL: usize = 16;
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
        let workers = Handle::current().metrics().num_workers();
        let enough = if workers > 1 { RECORDS_ENOUGH_PARALLEL } else { RECORDS_ENOUGH };
        let (mut records, mut quiet_rounds) = (shared.queue.waiting(), 0);
        while records < enough && quiet_rounds < QUIET_ROUNDS && begun.elapsed() < WAIT_MAX {
            tokio::task::yield_now().await;
            let now = shared.queue.waiting();
            quiet_rounds = if now == records { quiet_rounds + 1 } else { 0 };
            records = now;
        }
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        self.0.queue.release();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;
    use tokio::runtime::Builder;

    use super::super::file::Files;
    use super::super::frame::{Key, Kind};
    use super::super::queue::{Queue, Record, Waiter};
    use super::super::settings::JournalSettings;
    use super::super::writer::Counters;
    use super::*;
    use crate::fs::OsFs;
    use crate::store::lsm::failure::FailureLatch;

    /// Whether a group of so many records goes at once, with tasks still to come.
    fn goes_at_once(runtime: &mut Builder, records: usize) -> bool {
        let shared = Arc::new(Shared {
            fs: Arc::new(OsFs),
            settings: JournalSettings::at("nowhere"),
            failure: Arc::new(FailureLatch::new()),
            queue: Queue::default(),
            files: Files::default(),
            counters: Counters::default(),
        });
        for _ in 0..records {
            let parts = std::iter::once(Bytes::from_static(b"record")).collect();
            let record = Record { key: Key::of_file(Kind::Mark), parts, done: Box::new(|_| false) };
            shared.queue.put(record, Waiter::Task);
        }
        let gather = Gather::new(&shared);
        runtime.build().unwrap().block_on(async { gather.run().now_or_never().is_some() })
    }

    #[test]
    fn a_group_that_is_large_enough_waits_for_no_more() {
        let mut alone = Builder::new_current_thread();
        assert!(!goes_at_once(&mut alone, RECORDS_ENOUGH - 1));
        assert!(goes_at_once(&mut alone, RECORDS_ENOUGH));
        let mut one_worker = Builder::new_multi_thread();
        assert!(!goes_at_once(one_worker.worker_threads(1), RECORDS_ENOUGH - 1));
        let mut workers = Builder::new_multi_thread();
        assert!(!goes_at_once(workers.worker_threads(2), RECORDS_ENOUGH_PARALLEL - 1));
        assert!(goes_at_once(workers.worker_threads(2), RECORDS_ENOUGH_PARALLEL));
    }
}
