//! Engines on one keyspace: whoever does not own a run says "not now", what is sent again is recognised by the next owner,
//! and a database that dies under load costs waiting, never a batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use runstream::actors::feed::{Delivery, Window};
use runstream::actors::finish::FinishPipeline;
use runstream::actors::{
    Applied, Delivered, Engine, EngineError, EngineSettings, LimitedResource, Opened, PlanLimitHit,
};
use runstream::clock::{Clock, SystemClock};
use runstream::domain::batch::{Batch, BatchNumber, Item, Receipt};
use runstream::domain::execution::Summary;
use runstream::domain::id::{OrgId, ProjectId, UserId};
use runstream::domain::plan::Plan;
use runstream::domain::setup::SetupRequest;
use runstream::domain::teardown::TeardownRequest;
use runstream::store::contract::Store as _;
use runstream::store::contract::{Executions as _, Projects as _};
use runstream::store::scylla::runs::RunSettings;
use runstream::store::scylla::{Cql, ScyllaSettings, ScyllaStore};
use serde_json::json;

use crate::crash::process::{Account, Deployment};
use crate::store::runs::patient;
use crate::store::sample;
use crate::support::cql;

/// Nobody watches.
struct Nobody;

impl Delivery for Nobody {
    fn has_viewers(&self, _org: OrgId) -> bool {
        false
    }

    fn sealed(&self, _org: OrgId, _window: &Arc<Window>) {}
}

/// A node: an engine over a store.
pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) store: Arc<ScyllaStore>,
}

impl Node {
    pub(super) async fn start(settings: &ScyllaSettings, runs: RunSettings) -> Self {
        Self::start_with(settings, runs, EngineSettings::default()).await
    }

    async fn start_with(settings: &ScyllaSettings, runs: RunSettings, engine: EngineSettings) -> Self {
        let cql = Cql::connect(settings, Arc::new(SystemClock)).await.unwrap();
        let store = Arc::new(ScyllaStore::open(Arc::new(cql), runs).await.unwrap());
        let shared = Arc::clone(&store) as Arc<dyn runstream::store::contract::Store>;
        let (clock, pipeline) = (Arc::new(SystemClock), FinishPipeline::default());
        let engine = Engine::start(shared, clock, Arc::new(Nobody), pipeline, engine).await.unwrap();
        Self { engine, store }
    }

    pub(super) async fn stop(self) {
        self.engine.drain().await;
        self.store.shut_down().await.unwrap();
    }

    pub(super) async fn text(&self, org: OrgId, run: &Opened) -> String {
        self.store.whole_text(org, run.execution).await.unwrap().unwrap().text
    }
}

/// An organization with a project.
pub(super) async fn people(node: &Node, name: &str) -> (OrgId, UserId, ProjectId) {
    let (org, user) = sample::member(&*node.store, name).await;
    let project = sample::project(org.id, "shop", sample::NOW_MS);
    node.store.create_project(project.clone(), 9, sample::audit(org.id, "test")).await.unwrap();
    (org.id, user.id, project.id)
}

pub(super) fn setup(project: ProjectId) -> SetupRequest {
    SetupRequest {
        project,
        run_name: None,
        framework: "playwright".into(),
        reporter_version: "1".into(),
        total_tests: 2,
        environment: "production".into(),
        ci_context: None,
        group_name: None,
    }
}

/// The batch with this number: one line.
pub(super) fn line(n: u64, line: &str) -> Delivered {
    let text = format!("{line}\n");
    let item = Item::Log { test: None, stream: None, text_end: text.len() as u32 };
    let text_units = text.len() as u64;
    let batch = Batch { text: text.into(), text_units, items: vec![item], received: 1, ..Batch::default() };
    let receipt = Receipt {
        received_ms: SystemClock.now_ms(),
        digest: u128::from(n) << 64 | 1,
        nonce: rand::random(),
        body_bytes: 1,
        number: Some(BatchNumber { writer: 1, n }),
    };
    Delivered { receipt, batch, permit: None }
}

/// Asks until it is done, however often the answer is "not now".
pub(super) async fn until_done<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, EngineError>>,
{
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        match ask().await {
            Ok(done) => return done,
            Err(EngineError::Busy { retry_after_s }) => assert!(retry_after_s > 0),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < patience, "it is never done");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Opens a run, as often as it takes.
pub(super) async fn open(node: &Node, org: OrgId, user: UserId, project: ProjectId) -> Opened {
    until_done(|| node.engine.set_up(org, user, setup(project))).await
}

/// Sends until it is acknowledged.
pub(super) async fn send(node: &Node, org: OrgId, run: &Opened, n: u64) -> Applied {
    until_done(|| node.engine.ingest(org, run.session, line(n, &format!("line {n}")))).await
}

pub(super) fn lines(count: u64) -> String {
    (0..count).map(|n| format!("line {n}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn two_engines_on_one_keyspace_lose_and_double_nothing() {
    let keyspace = cql::keyspace().await;
    let (one, two) = (Node::start(&keyspace.0, patient()).await, Node::start(&keyspace.0, patient()).await);
    let (org, user, project) = people(&one, "pinewood").await;
    let run = one.engine.set_up(org, user, setup(project)).await.unwrap();
    for n in 0..10 {
        assert!(!send(&one, org, &run, n).await.replayed);
    }
    let refused = two.engine.ingest(org, run.session, line(10, "line 10")).await;
    assert!(matches!(refused, Err(EngineError::Busy { retry_after_s: 1.. })), "{refused:?}");
    assert_eq!(two.text(org, &run).await, lines(10), "reading needs no owner");
    assert!(!send(&one, org, &run, 10).await.replayed, "a refusal changed nothing for the owner");

    one.stop().await;
    for n in 8..11 {
        assert!(send(&two, org, &run, n).await.replayed, "{n} was acknowledged by the node before");
    }
    for n in 11..20 {
        assert!(!send(&two, org, &run, n).await.replayed);
    }
    assert_eq!(two.text(org, &run).await, lines(20));
    let summary = Summary { total: 2, passed: 2, failed: 0, skipped: 0, duration: 9 };
    let request = TeardownRequest { session: run.session, passed: true, summary, delivery: None };
    two.engine.tear_down(org, request).await.unwrap();
    two.stop().await;

    let three = Node::start(&keyspace.0, patient()).await;
    assert_eq!(three.store.storage_used(org).await, Ok(0), "counted from here on");
    three.store.settle(org, run.execution).await.unwrap();
    let used = three.store.storage_used(org).await.unwrap();
    assert!(used >= lines(20).len() as u64, "{used}");
    assert_eq!(three.store.recount_storage(org).await, Ok(used), "added once");
    three.store.settle(org, run.execution).await.unwrap();
    assert_eq!(three.store.storage_used(org).await, Ok(used));
    assert_eq!(three.text(org, &run).await, lines(20));
    let execution = three.store.execution(org, run.execution).await.unwrap().unwrap();
    assert_eq!(execution.completeness.unwrap().batches_stored, 20);
    three.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn two_engines_open_exactly_as_many_runs_as_the_plan_has() {
    let keyspace = cql::keyspace().await;
    let plan = || EngineSettings { plan: Plan::Free, ..EngineSettings::default() };
    let one = Node::start_with(&keyspace.0, patient(), plan()).await;
    let two = Node::start_with(&keyspace.0, patient(), plan()).await;
    let (org, user, project) = people(&one, "pinewood").await;
    let openings = (0..60).map(|number| {
        let engine = if number % 2 == 0 { one.engine.clone() } else { two.engine.clone() };
        async move { engine.set_up(org, user, setup(project)).await }
    });
    let outcomes = futures_util::future::join_all(openings).await;
    let opened: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    let hit = PlanLimitHit { resource: LimitedResource::TestRuns, used: 50, limit: 50 };
    let refused = outcomes.iter().filter(|outcome| **outcome == Err(EngineError::Limit(hit))).count();
    assert_eq!((opened.len(), refused), (50, 10), "{outcomes:?}");
    assert_eq!(one.store.count_runs(org, 0, i64::MAX).await, Ok(50));
    let (first, owner) =
        if outcomes[0].is_ok() { (outcomes[0].as_ref(), &one) } else { (outcomes[1].as_ref(), &two) };
    owner.engine.abandon(org, first.unwrap()).await.unwrap();
    two.engine.set_up(org, user, setup(project)).await.unwrap();
    assert_eq!(one.engine.set_up(org, user, setup(project)).await.unwrap_err(), EngineError::Limit(hit));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_database_that_is_killed_under_load_costs_waiting_and_no_batch() {
    let server = tokio::task::spawn_blocking(|| cql::Server::start(&[])).await.unwrap();
    let settings = cql::keyspace_on(&server).await;
    let node = Arc::new(Node::start(&settings, RunSettings::default()).await);
    let (org, user, project) = people(&node, "pinewood").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut reporters = Vec::new();
    for _ in 0..4 {
        let run = open(&node, org, user, project).await;
        let (node, stop) = (Arc::clone(&node), Arc::clone(&stop));
        reporters.push(tokio::spawn(async move {
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
    let deployment = Deployment::configured(&(cql::configuration(&settings) + &budget)).await;
    let pushers = deployment.sign_up().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (grown, is_back) = (deployment.resident_bytes(), Arc::new(AtomicBool::new(false)));
    let pushing: Vec<_> = (0..PUSHERS)
        .map(|pusher| tokio::spawn(push(pushers.clone(), pusher, Arc::clone(&is_back))))
        .collect();
    let server = tokio::task::spawn_blocking(move || {
        let mut server = server;
        server.kill();
        std::thread::sleep(Duration::from_secs(3));
        server.start_again();
        server
    });
    let mut most = grown;
    while !server.is_finished() {
        most = most.max(deployment.resident_bytes());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let server = server.await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::Release);
    is_back.store(true, Ordering::Release);
    for reporter in reporters {
        let (run, acknowledged) = reporter.await.unwrap();
        assert!(acknowledged > 5, "{acknowledged} batches are too few to mean anything");
        assert_eq!(node.text(org, &run).await, lines(acknowledged), "{acknowledged} batches");
    }
    let mut refused = 0;
    for pusher in pushing {
        let (task, acknowledged, refusals) = pusher.await.unwrap();
        refused += refusals;
        let text = pushers.get(&format!("/api/executions/{task}/logs")).await;
        let text = text["data"]["output"].as_str().unwrap();
        for n in acknowledged {
            assert_eq!(text.matches(&format!("batch {n} of it\n")).count(), 1, "{task}: {n}");
        }
    }
    println!("{} MiB grown, {refused} refused", (most - grown) >> 20);
    assert!(refused > 0, "it was never too much");
    assert!(most - grown < BUDGET_BYTES + BESIDE_BYTES, "{} MiB grown", (most - grown) >> 20);
    deployment.terminate().await;
    Arc::try_unwrap(node).ok().expect("nobody else has it").stop().await;
    drop(server);
}

/// Bytes of bodies that the server beside may keep.
const BUDGET_BYTES: u64 = 32 << 20;
/// What it may take beside: as in the memory test of the embedded store.
const BESIDE_BYTES: u64 = 96 << 20;
const PUSHERS: usize = 64;
/// Bytes of a batch, less than a chunk may have: with all pushers almost twice the budget.
const PUSHED_BYTES: usize = 1_000_000;

/// Sends large batches of a run until told; returns the run, what was acknowledged, and how often it was refused.
async fn push(account: Account, pusher: usize, stop: Arc<AtomicBool>) -> (String, Vec<usize>, u64) {
    let setup = json!({ "projectId": account.project, "framework": "push", "reporterVersion": "1",
        "totalTests": pusher });
    let opened = loop {
        let answer = account.client.call(Method::POST, "/api/ingest/setup", Some(&setup)).await.unwrap();
        if answer.status == 201 {
            break answer.body;
        }
        assert!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{}", answer.body);
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let (session, task) = (&opened["data"]["sessionId"], opened["data"]["taskId"].as_str().unwrap());
    let filling = "x".repeat(PUSHED_BYTES);
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    // Its whole log stays below what is kept of one.
    for n in 0..9 {
        let chunk = format!("{filling}\nbatch {n} of it\n");
        let body = json!({ "sessionId": session, "batch": format!("{pusher:08x}:{n}"),
            "events": [{ "type": "log", "chunk": chunk, "timestamp": 1_774_000_000_000_i64 }] });
        loop {
            let answer = account.client.call(Method::POST, "/api/ingest/event", Some(&body)).await.unwrap();
            if answer.status == 200 {
                acknowledged.push(n);
                break;
            }
            assert!(answer.status == 503 && answer.headers.contains_key("retry-after"), "{}", answer.body);
            refused += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if stop.load(Ordering::Acquire) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    (task.to_owned(), acknowledged, refused)
}
