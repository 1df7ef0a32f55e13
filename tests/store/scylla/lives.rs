//! A node whose lives follow each other quickly: what one of them had begun to take over does not keep the next one.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use runstream::store::contract::Store as _;
use runstream::store::scylla::LeaseSettings;
use runstream::store::scylla::runs::RunSettings;

use super::engine::{Node, line, open, people};
use crate::support::cql::{self, Wire};

/// As many as take `ALL` if each is looked at by four statements, sixteen runs at a time.
const RUNS: usize = 500;
const SLOW: Duration = Duration::from_millis(50);
const ALL: Duration = Duration::from_secs(6);
/// Longer than a lease.
const STILL: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes a minute and a half: run by its name"]
async fn a_life_that_ends_while_it_takes_runs_over_makes_way_for_the_next() {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let lease = LeaseSettings {
        heartbeat: Duration::from_millis(200),
        lease: Duration::from_secs(1),
        dead_after: Duration::from_secs(2),
    };
    let node = Node::start_still(&wire.settings(), RunSettings { lease, ..RunSettings::default() }).await;
    let (org, user, project) = people(&node, "pinewood").await;
    let opening = stream::iter(0..RUNS).map(|_| open(&node, org, user, project));
    let opened: Vec<_> = opening.buffer_unordered(32).collect().await;

    let lapse = async |wire: &mut Wire| {
        wire.slow_down(STILL);
        tokio::time::sleep(lease.lease * 2).await;
        wire.slow_down(SLOW);
    };
    let until_taken = async |number: usize| {
        let begun = Instant::now();
        while node.engine.ingest(org, opened[number].session, line(1, "on")).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "run {number} is not taken over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    };
    // Whoever is asked for comes first; the others are taken over meanwhile.
    lapse(&mut wire).await;
    until_taken(0).await;
    assert!(node.store.probe().await.is_err(), "everything is taken over already: nothing is tested");
    lapse(&mut wire).await;
    let took = until_taken(1).await;
    assert!(took < ALL, "{took:?}");
}
