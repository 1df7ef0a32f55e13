//! Engines on one keyspace: whoever does not own a run says "not now", and what is sent again is recognised by the next
//! owner.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runstream::actors::feed::{Delivery, Window};
use runstream::actors::finish::FinishPipeline;
use runstream::actors::{
    Applied, Delivered, Engine, EngineError, EngineSettings, LimitedResource, Opened, PlanLimitHit,
};
use runstream::clock::{Clock, ManualClock, SystemClock};
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

    /// One that sends nothing by itself but heartbeats: its housekeeping never comes.
    pub(super) async fn start_still(settings: &ScyllaSettings, runs: RunSettings) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now_ms()));
        Self::start_at(clock, settings, runs, EngineSettings::default()).await
    }

    async fn start_with(settings: &ScyllaSettings, runs: RunSettings, engine: EngineSettings) -> Self {
        Self::start_at(Arc::new(SystemClock), settings, runs, engine).await
    }

    async fn start_at(
        clock: Arc<dyn Clock>,
        settings: &ScyllaSettings,
        runs: RunSettings,
        engine: EngineSettings,
    ) -> Self {
        let cql = Cql::connect(settings, Arc::new(SystemClock)).await.unwrap();
        let store = Arc::new(ScyllaStore::open(Arc::new(cql), runs).await.unwrap());
        let shared = Arc::clone(&store) as Arc<dyn runstream::store::contract::Store>;
        let pipeline = FinishPipeline::default();
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
    let batch =
        Batch { text: text.into(), text_units, items: [item].into(), received: 1, ..Batch::default() };
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
    let patience = Instant::now() + Duration::from_secs(240);
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
