//! The only node of a cluster is killed under load and comes back: who sends waits, then is refused and told when to come
//! again, in bounded memory; everything goes on by itself, and what was acknowledged is there once, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use runstream::store::scylla::runs::RunSettings;
use serde_json::{Value, json};

use super::engine::{Node, lines, open, people, send};
use crate::crash::process::{Account, Deployment};
use crate::support::cql::{self, Server};

/// Runs of an engine in this process.
const WRITERS: usize = 4;
/// Clients of a server beside it.
const PUSHERS: usize = 64;
/// Bytes of their batches, less than a chunk may have: with all pushers almost twice the budget.
const PUSHED_BYTES: usize = 1_000_000;
/// Batches of each, so that its whole log stays below what is kept of one.
const PUSHED_MOST: usize = 9;
/// Bytes of bodies that the server may keep.
const BUDGET_BYTES: u64 = 32 << 20;
/// What it may take beside: as in the memory test of the embedded store.
const BESIDE_BYTES: u64 = 96 << 20;
/// How long the node is away, its start not counted: longer than a lease, and than any request waits.
const AWAY: Duration = Duration::from_secs(9);
/// How soon everything goes on after that: a node starts within a minute on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(240);
/// A request is answered after waiting for room and then for its batch; twice that on a machine that is busy otherwise.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// What a pusher was told.
struct Pushed {
    task: String,
    acknowledged: usize,
    refused: usize,
    /// The longest time to a refusal.
    waited: Duration,
}

impl Pushed {
    /// Asks until it is acknowledged.
    async fn ask(&mut self, account: &Account, path: &str, body: &Value, wanted: StatusCode) -> Value {
        let patience = Instant::now() + AWAY + PATIENCE;
        loop {
            let begun = Instant::now();
            let answer = account.client.call(Method::POST, path, Some(body)).await;
            let took = begun.elapsed();
            let answer = answer.unwrap_or_else(|error| panic!("{path} after {took:?}: {error}"));
            assert!(took < ANSWERED_WITHIN, "{path} took {took:?}");
            if answer.status == wanted {
                return answer.body;
            }
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
            assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
            assert!(Instant::now() < patience, "{path} is never answered well: {}", answer.body);
            self.refused += 1;
            self.waited = self.waited.max(took);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn chunk(filling: &str, n: usize) -> String {
    format!("{filling}\nbatch {n} of it\n")
}

/// Sends large batches of a run until told.
async fn push(account: Account, pusher: usize, stop: Arc<AtomicBool>) -> Pushed {
    let setup = json!({ "projectId": account.project, "framework": "push", "reporterVersion": "1",
        "totalTests": pusher });
    let mut pushed = Pushed { task: String::new(), acknowledged: 0, refused: 0, waited: Duration::ZERO };
    let opened = pushed.ask(&account, "/api/ingest/setup", &setup, StatusCode::CREATED).await;
    opened["data"]["taskId"].as_str().unwrap().clone_into(&mut pushed.task);
    let filling = "x".repeat(PUSHED_BYTES);
    while pushed.acknowledged < PUSHED_MOST && !stop.load(Ordering::Acquire) {
        let n = pushed.acknowledged;
        let event = json!({ "type": "log", "chunk": chunk(&filling, n), "timestamp": 1_774_000_000_000_i64 });
        let body = json!({ "sessionId": opened["data"]["sessionId"], "batch": format!("{pusher:08x}:{n}"),
            "events": [event] });
        pushed.ask(&account, "/api/ingest/event", &body, StatusCode::OK).await;
        pushed.acknowledged += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    pushed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_database_that_is_killed_under_load_costs_waiting_and_no_batch() {
    let server = tokio::task::spawn_blocking(|| Server::start(&[])).await.unwrap();
    let settings = cql::keyspace_on(&server).await;
    let node = Arc::new(Node::start(&settings, RunSettings::default()).await);
    let (org, user, project) = people(&node, "pinewood").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let run = open(&node, org, user, project).await;
        let (node, stop) = (Arc::clone(&node), Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            let mut acknowledged = 0;
            while !stop.load(Ordering::Acquire) {
                send(&node, org, &run, acknowledged).await;
                acknowledged += 1;
            }
            (run, acknowledged)
        }));
    }
    // A whole server beside it, whose clients send more than it may keep.
    let budget = format!("[ingest]\nbudget_mib = {}\nbudget_wait_ms = 500\n", BUDGET_BYTES >> 20);
    // On a keyspace of its own: whoever of two comes back first takes over the runs of both.
    let beside = cql::keyspace_on(&server).await;
    let mut deployment = Deployment::configured(&(cql::configuration(&beside) + &budget)).await;
    let account = deployment.sign_up().await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let before = deployment.resident_bytes();
    let pushing: Vec<_> =
        (0..PUSHERS).map(|pusher| tokio::spawn(push(account.clone(), pusher, Arc::clone(&stop)))).collect();
    let server = tokio::task::spawn_blocking(move || {
        let mut server = server;
        // Some batches come through before.
        std::thread::sleep(Duration::from_secs(1));
        server.kill();
        std::thread::sleep(AWAY);
        server.start_again();
        server
    });
    let mut unhealthy = 0;
    while !server.is_finished() {
        let begun = Instant::now();
        let health = account.client.call(Method::GET, "/health", None).await.unwrap();
        assert!(begun.elapsed() < ANSWERED_WITHIN, "/health took {:?}", begun.elapsed());
        unhealthy += usize::from(health.status == StatusCode::SERVICE_UNAVAILABLE);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(unhealthy > 0, "/health does not know of it");
    let server = server.await.unwrap();
    deployment.until_healthy().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Release);

    for writer in writers {
        let (run, acknowledged) = writer.await.unwrap();
        assert!(acknowledged > 5, "{acknowledged} batches are too few to mean anything");
        assert_eq!(node.text(org, &run).await, lines(acknowledged), "{acknowledged} batches");
    }
    let (mut acknowledged, mut refused, mut waited) = (0, 0, Duration::ZERO);
    for pushed in pushing {
        let pushed = pushed.await.unwrap();
        acknowledged += pushed.acknowledged;
        refused += pushed.refused;
        waited = waited.max(pushed.waited);
        let text = account.get(&format!("/api/executions/{}/logs", pushed.task)).await;
        let text = text["data"]["output"].as_str().unwrap();
        let stored: Vec<&str> = text.lines().filter(|line| line.starts_with("batch ")).collect();
        let wanted: Vec<String> = (0..pushed.acknowledged).map(|n| format!("batch {n} of it")).collect();
        assert_eq!(stored, wanted, "{}", pushed.task);
    }
    let most = deployment.most_resident_bytes();
    println!(
        "{acknowledged} batches of 1 MB acknowledged, {refused} refused after {waited:?} at most; \
         {} MiB before, {} MiB at most",
        before >> 20,
        most >> 20
    );
    assert!(refused > 0, "it was never too much");
    assert!(waited > Duration::from_millis(400), "nobody waited: {waited:?}");
    assert!(most < before + BUDGET_BYTES + BESIDE_BYTES, "{} MiB after {}", most >> 20, before >> 20);
    deployment.terminate().await;
    Arc::try_unwrap(node).ok().expect("nobody else has it").stop().await;
    drop(server);
}
