//! What is said on the wire to the cluster: one statement a batch, however many runs there are, and fewer when batches come
//! while one is under way; and how each statement is sent.

use std::time::Duration;

use runstream::actors::{Engine, EngineError, Opened};
use runstream::clock::{Clock, SystemClock};
use runstream::domain::execution::Summary;
use runstream::domain::id::OrgId;
use runstream::domain::teardown::TeardownRequest;
use runstream::store::contract::{Accounts as _, ExecutionFilter, Executions as _, People as _};
use runstream::store::scylla::LeaseSettings;
use runstream::store::scylla::runs::RunSettings;
use scylla::statement::{Consistency, SerialConsistency};

use super::engine::{Node, line, open, people};
use crate::support::cql::{self, Keyspace, Statement, Wire};

/// The write of a segment.
const SEGMENT: &str = "INSERT INTO run_segment ";
/// More than any statement here has, and a tenth of what makes a cluster refuse a batch.
const STATEMENT_BYTES: usize = 5 << 10;
/// Batches sent at once.
const AT_ONCE: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_batch_is_one_statement_with_one_run_and_with_many_and_waiting_ones_share_the_next() {
    let (_keyspace, mut wire, node) = behind_a_wire().await;
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
    let sent = wire.noted();
    assert!(sent.iter().all(|text| text.starts_with(SEGMENT)), "{sent:#?}");
    assert!(sent.len() as u64 <= AT_ONCE / 2, "{} segments of {AT_ONCE} batches sent at once", sent.len());
    node.stop().await;
}

/// Nothing in what an organization and a run do is weaker or larger than is said: all is prepared, with a quorum of the
/// datacenter, conditions with one too; a batch has conditions, so that the cluster itself holds it to one partition; and
/// what may find many rows gets them page by page.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn every_statement_asks_for_a_local_quorum_and_batches_are_small_and_of_one_partition() {
    let (_keyspace, mut wire, node) = behind_a_wire().await;
    wire.note();
    let (org, user, project) = people(&node, "pinewood").await;
    let run = open(&node, org, user, project).await;
    for n in 0..3 {
        send(&node.engine, org, &run, n, SystemClock.now_ms()).await.unwrap();
    }
    let summary = Summary { total: 2, passed: 2, failed: 0, skipped: 0, duration: 9 };
    let ended = TeardownRequest { session: run.session, passed: true, summary, delivery: None };
    node.engine.tear_down(org, ended).await.unwrap();
    node.store.settle(org, run.execution).await.unwrap();
    let listed = node.store.executions(org, &ExecutionFilter::default(), 10, 0).await.unwrap();
    assert_eq!(listed.executions.len(), 1);
    assert_eq!(node.store.members(org).await.unwrap().len(), 1);
    assert_eq!(node.text(org, &run).await, "line 0\nline 1\nline 2\n");

    let sent = wire.noted_whole();
    for statement in &sent {
        let Statement { texts, consistency, serial_consistency, is_paged, bytes } = statement;
        assert!(texts.iter().all(|text| !text.starts_with("not prepared")), "{statement:?}");
        let is_serial_read = texts[0].starts_with("SELECT") && *consistency == Consistency::LocalSerial;
        assert!(is_serial_read || *consistency == Consistency::LocalQuorum, "{statement:?}");
        assert_eq!(*serial_consistency, Some(SerialConsistency::LocalSerial), "{statement:?}");
        assert!(texts.len() == 1 || texts.iter().any(|text| text.contains(" IF ")), "{statement:?}");
        assert!(*bytes < STATEMENT_BYTES, "{statement:?}");
        assert!(*is_paged || !may_find_many(&texts[0]), "{statement:?}");
    }
    let conditional = |table: &str| {
        let is_one = |text: &String| text.contains(" IF ") && text.contains(&format!(" {table} "));
        sent.iter().any(|statement| statement.texts.iter().any(is_one))
    };
    for table in ["run", "claims", "org_data"] {
        assert!(conditional(table), "nothing conditional of {table} was seen: {sent:#?}");
    }
    assert!(sent.iter().any(|statement| statement.texts.len() > 1), "no batch was seen");
    node.stop().await;
}

/// Whoever measures how long a login takes does not learn from it whether there is an account.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn an_address_that_nobody_has_costs_what_one_does_that_somebody_has() {
    let (_keyspace, mut wire, node) = behind_a_wire().await;
    let (_, user, _) = people(&node, "pinewood").await;
    let known = node.store.user(user).await.unwrap().unwrap().email;
    wire.note();
    assert_eq!(node.store.user_by_email(&known).await.unwrap().unwrap().id, user);
    let of_known = wire.noted();
    wire.note();
    assert_eq!(node.store.user_by_email(&format!("no-{known}")).await, Ok(None));
    assert_eq!(wire.noted(), of_known);
    assert_eq!(of_known.len(), 2, "{of_known:#?}");
    node.stop().await;
}

/// A server that sends nothing by itself, and the wire that it reaches the cluster over.
async fn behind_a_wire() -> (Keyspace, Wire, Node) {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let node = Node::start_still(&wire.settings(), without_heartbeats()).await;
    wire.learn().await;
    (keyspace, wire, node)
}

/// Whether a statement reads rows without being bound to a whole key or to the first one.
fn may_find_many(text: &str) -> bool {
    let bounded = [" LIMIT 1", "COUNT(*)"].iter().any(|bound| text.contains(bound));
    text.starts_with("SELECT")
        && !bounded
        && (text.contains('<') || text.contains('>') || !text.contains("WHERE"))
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
