//! What the path of an acknowledgement costs: one statement a segment, however many runs there are.

use std::sync::Arc;

use runstream::clock::SystemClock;
use runstream::store::contract::Executions as _;
use runstream::store::scylla::Cql;
use runstream::store::scylla::runs::ScyllaRuns;

use crate::store::runs::patient;
use crate::store::sample;
use crate::support::cql;
use crate::support::runs::{Reporter, START_MS, opened, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_segment_is_one_statement_with_one_run_and_with_many() {
    let keyspace = cql::keyspace().await;
    let cql = Arc::new(Cql::connect(&keyspace.0, Arc::new(SystemClock)).await.unwrap());
    let store = ScyllaRuns::open(Arc::clone(&cql), patient()).await.unwrap();
    let mut reporters: Vec<_> = (0..40).map(|_| Reporter::new(opened(sample::org(), START_MS))).collect();
    for runs in [1, 40] {
        for reporter in reporters.iter_mut().take(runs) {
            if reporter.next_seq == 1 {
                store.open_run(reporter.opened.clone()).await.unwrap();
            }
        }
        // Heartbeats are conditional writes, and only they come in between.
        let [reads, writes, _] = cql.sent().so_far();
        let mut segments = 0;
        for _ in 0..120 / runs {
            for reporter in reporters.iter_mut().take(runs) {
                store.append(&reporter.log(words(100, 7))).await.unwrap();
                segments += 1;
            }
        }
        let [reads_after, writes_after, _] = cql.sent().so_far();
        assert_eq!((reads_after - reads, writes_after - writes), (0, segments), "with {runs} runs");
    }
    store.shut_down().await.unwrap();
}
