//! What the path of an acknowledgement costs, counted on the wire to the cluster: one statement a batch, however many runs
//! there are, and fewer when batches come while one is under way.

use std::time::Duration;

use runstream::actors::{Engine, EngineError, Opened};
use runstream::clock::{Clock, SystemClock};
use runstream::domain::id::OrgId;
use runstream::store::scylla::LeaseSettings;
use runstream::store::scylla::runs::RunSettings;
use scylla::statement::Consistency;

use super::engine::{Node, line, open, people};
use crate::support::cql::{self, Wire};

/// The write of a segment.
const SEGMENT: &str = "INSERT INTO run_segment ";
/// Batches sent at once.
const AT_ONCE: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_batch_is_one_statement_with_one_run_and_with_many_and_waiting_ones_share_the_next() {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let node = Node::start_still(&wire.settings(), without_heartbeats()).await;
    wire.learn().await;
    let (org, user, project) = people(&node, "pinewood").await;
    // All of one hour: the first segment of another one is noted in the run's row.
    let received_ms = SystemClock.now_ms();
    let (mut runs, mut n) = (Vec::new(), 0);
    for count in [1, 40] {
        let opening = (runs.len()..count).map(|_| open(&node, org, user, project));
        runs.extend(futures_util::future::join_all(opening).await);
        // Of each run once before, so that its actor is there.
        for of_each in [1, 3] {
            wire.note();
            for _ in 0..of_each {
                n += 1;
                let sending = runs.iter().map(|run| send(&node.engine, org, run, n, received_ms));
                for sent in futures_util::future::join_all(sending).await {
                    sent.unwrap();
                }
            }
            let sent = wire.noted();
            let segments = sent.iter().filter(|text| text.starts_with(SEGMENT)).count();
            assert_eq!(segments, of_each * count, "with {count} runs: {sent:#?}");
            if of_each > 1 {
                assert_eq!(sent.len(), segments, "with {count} runs: {sent:#?}");
            }
        }
    }

    wire.note();
    let sending = (1..=AT_ONCE).map(|more| send(&node.engine, org, &runs[0], n + more, received_ms));
    for sent in futures_util::future::join_all(sending).await {
        sent.unwrap();
    }
    let sent = wire.noted_with_consistency();
    let quorum = Some(Consistency::LocalQuorum as u16);
    let is_it = |(text, asked): &(String, Option<u16>)| text.starts_with(SEGMENT) && *asked == quorum;
    assert!(sent.iter().all(is_it), "what is acknowledged is with a quorum: {sent:#?}");
    assert!(sent.len() as u64 <= AT_ONCE / 2, "{} segments of {AT_ONCE} batches sent at once", sent.len());
    node.stop().await;
}

/// For hours.
fn without_heartbeats() -> RunSettings {
    let hours = |number: u64| Duration::from_secs(number * 3_600);
    let lease = LeaseSettings { heartbeat: hours(1), lease: hours(3), dead_after: hours(7) };
    RunSettings { lease, ..RunSettings::default() }
}

async fn send(
    engine: &Engine,
    org: OrgId,
    run: &Opened,
    n: u64,
    received_ms: i64,
) -> Result<(), EngineError> {
    let mut delivered = line(n, &format!("line {n}"));
    delivered.receipt.received_ms = received_ms;
    engine.ingest(org, run.session, delivered).await.map(drop)
}
