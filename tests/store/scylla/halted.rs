//! A whole server ends between any two writes of a setup, or of a teardown and the folding that follows it. The next one
//! finds all of it or nothing, answers the reporter that asks again, and counts places and bytes right.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use runstream::access::{ConfiguredSecrets, Secret};
use runstream::clock::ManualClock;
use runstream::config::StoreKind;
use runstream::domain::execution::{SessionStatus, Status};
use runstream::domain::id::{ExecutionId, OrgId, TaskId};
use runstream::domain::plan::Plan;
use runstream::limits::{LATE_EVENTS, RUN_PLACE_PATIENCE};
use runstream::server::Seams;
use runstream::store::contract::{ExecutionFilter, RunState, Store};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::store::sample::NOW_MS;
use crate::support::cql::{self, Gate, Keyspace};
use crate::support::long_mode;
use crate::support::stage::{Organization, Run, Stage, begin, end, get, log, post};

/// As many as one life of a server may be given: no setup and no teardown makes more writes.
const WRITES_MAX: usize = 60;
/// A closing makes no more.
const CLOSING_WRITES: usize = 9;

/// Servers that follow each other on one keyspace, behind one gate before it and on one port.
struct Lives {
    keyspace: Keyspace,
    gate: Gate,
    /// Stands still, so that a server does nothing by itself.
    clock: ManualClock,
    port: u16,
    life: Option<Life>,
}

/// A server with all that a process has for itself.
struct Life {
    stage: Stage,
    runtime: Option<Runtime>,
}

impl Life {
    /// Ends it as `SIGKILL` would: nothing of it goes on, and nothing was closed.
    async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(|| runtime.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Lives {
    /// With the first one, and an organization that has had a run: what is counted and made once is there.
    async fn start() -> (Self, Organization, OrgId) {
        let keyspace = cql::keyspace().await;
        let gate = Gate::before(&keyspace).await;
        let mut lives = Self { keyspace, gate, clock: ManualClock::at(NOW_MS), port: 0, life: None };
        lives.begin().await;
        let organization = lives.stage().organization("pinewood").await;
        organization.open().await.end("PASSED").await;
        let org = lives.store().organization_ids().await.unwrap()[0];
        (lives, organization, org)
    }

    async fn begin(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let seams = Seams { clock: Arc::new(self.clock.clone()), ..Seams::default() };
        let (handle, cluster, port) = (runtime.handle().clone(), self.gate.settings(), self.port);
        let starting = move || {
            handle.block_on(Stage::start_on(seams, |settings| {
                settings.store = StoreKind::Scylla;
                settings.scylla = cluster;
                settings.server.port = port;
                settings.engine.plan = Plan::Free;
                let secret = || Secret::new(*b"of servers that follow each other").unwrap();
                settings.secrets = ConfiguredSecrets {
                    token: Some(secret()),
                    key_hash: Some(secret()),
                    sealing: vec![secret()],
                };
            }))
        };
        let stage = tokio::task::spawn_blocking(starting).await.unwrap();
        self.port = stage.url().rsplit(':').next().unwrap().parse().unwrap();
        self.life = Some(Life { stage, runtime: Some(runtime) });
    }

    fn stage(&self) -> &Stage {
        &self.life.as_ref().unwrap().stage
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.stage().store())
    }

    /// The server ends before the write that follows `writes` of `act`, or after all of it, and the next one begins. What
    /// the act came to, if it was done by then.
    async fn end_after<T>(&mut self, writes: usize, act: impl Future<Output = T>) -> Option<T> {
        self.gate.shut_after(writes);
        let done = tokio::select! {
            biased;
            done = act => Some(done),
            () = self.gate.is_shut() => None,
        };
        self.life.take().unwrap().kill().await;
        // As its silence would make others do.
        cql::fence_nodes(&self.keyspace).await;
        self.gate.open();
        self.begin().await;
        done
    }

    /// Passes the time for late events, until the run is folded.
    async fn fold(&self, org: OrgId, run: ExecutionId) {
        folded(&self.clock, &*self.store(), org, run).await;
    }
}

async fn folded(clock: &ManualClock, store: &dyn Store, org: OrgId, run: ExecutionId) {
    for _ in 0..1_000 {
        if store.run_state(org, run).await == Ok(None) {
            return;
        }
        clock.advance(LATE_EVENTS + Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it is never folded");
}

/// The runs of the organization; to each that is not `known` everything leads.
async fn whole_runs(
    store: &dyn Store,
    org: OrgId,
    known: &HashSet<ExecutionId>,
    context: &str,
) -> HashSet<ExecutionId> {
    let listed = store.executions(org, &ExecutionFilter::default(), 99, 0).await.unwrap();
    let runs: HashSet<_> = listed.executions.iter().map(|run| run.id).collect();
    let unsettled: HashSet<_> =
        store.unsettled_runs().await.unwrap().into_iter().map(|run| run.execution).collect();
    assert_eq!(runs, unsettled, "{context}");
    assert_eq!(runs.len() as u64, store.count_runs(org, 0, i64::MAX).await.unwrap(), "{context}");
    let told = store.feed_rows(org, 0, 9_999).await.unwrap();
    let openings: Vec<_> = told.iter().filter(|row| row.task.is_some()).map(|row| row.execution).collect();
    assert_eq!(openings.len(), runs.len(), "{context}");
    for run in listed.executions.into_iter().filter(|run| !known.contains(&run.id)) {
        assert!(openings.contains(&run.id), "{context}");
        let by_task = store.execution_by_task(org, &run.task_id).await.unwrap().unwrap();
        assert_eq!(by_task.id, run.id, "{context}");
        assert_eq!(store.cycle_of(org, run.id).await.unwrap().unwrap().task_id, run.task_id, "{context}");
        let session = store.session(by_task.ingest.session).await.unwrap().unwrap();
        assert_eq!(session.execution, run.id, "{context}");
        assert!(store.whole_text(org, run.id).await.unwrap().is_some(), "{context}");
    }
    runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_that_ends_within_a_setup_leaves_all_of_it_or_nothing_and_no_place_is_lost() {
    let (mut lives, organization, org) = Lives::start().await;
    let mut known = whole_runs(&*lives.store(), org, &HashSet::new(), "at first").await;
    let mut came = Vec::new();
    for writes in 0.. {
        assert!(writes < WRITES_MAX);
        let context = format!("after {writes} writes");
        let opened = lives.end_after(writes, organization.open()).await;
        let runs = whole_runs(&*lives.store(), org, &known, &context).await;
        let new: Vec<_> = runs.difference(&known).copied().collect();
        assert!(new.len() <= 1 && runs.is_superset(&known), "{context}");
        came.push(new.len());
        for id in new {
            let run = lives.store().execution(org, id).await.unwrap().unwrap();
            let session = run.ingest.session.to_string();
            assert!(opened.as_ref().is_none_or(|opened| opened.session == session), "{context}");
            // Whoever has heard of it can feed it.
            feed(&organization, &session, &run.task_id, &context).await;
        }
        let again = organization.open().await;
        feed(&organization, &again.session, &TaskId::from(again.task.as_str()), &context).await;
        known = whole_runs(&*lives.store(), org, &runs, &context).await;
        assert_eq!(known.len(), runs.len() + 1, "{context}");
        if opened.is_some() {
            break;
        }
    }
    assert!(
        came.len() > 5 && came.is_sorted() && came.first() == Some(&0) && came.last() == Some(&1),
        "{came:?}"
    );

    // Places of runs that never came are taken until they run out, and then go to others.
    let limit = Plan::Free.limits().max_test_runs;
    let mut refusals = Vec::new();
    while refusals.last() != Some(&limit) {
        let body = json!({
            "projectId": organization.project, "framework": "playwright", "reporterVersion": "1", "totalTests": 1,
        });
        let answer =
            organization.reporter.call(Method::POST, "/api/ingest/setup", Some(&body)).await.unwrap();
        if answer.status != 201 {
            assert_eq!(answer.status, 429, "{}", answer.body);
            refusals.push(lives.store().count_runs(org, 0, i64::MAX).await.unwrap());
            assert!(refusals.len() < 3, "{refusals:?}");
            lives.clock.advance(RUN_PLACE_PATIENCE + Duration::from_secs(1));
        }
    }
    let lost = limit - refusals[0];
    assert!(refusals.len() == 2 && (1..came.len() as u64).contains(&lost), "{refusals:?} of {came:?}");
}

/// Sends a line to a run and ends it, by its session.
async fn feed(organization: &Organization, session: &str, task: &TaskId, context: &str) {
    let reporter = &organization.reporter;
    let batch = json!({ "sessionId": session, "events": [log("it goes on\n")] });
    post(reporter, "/api/ingest/event", &batch).await;
    let summary = json!({ "total": 0, "passed": 0, "failed": 0, "skipped": 0, "duration": 9 });
    let teardown = json!({ "sessionId": session, "status": "PASSED", "summary": summary });
    post(reporter, "/api/ingest/teardown", &teardown).await;
    let logs = get(&organization.member, &format!("/api/executions/{task}/logs")).await;
    assert_eq!(
        logs.pointer("/data/output").and_then(Value::as_str),
        Some("it goes on\n"),
        "{context}: {logs}"
    );
}

/// What is sent to a run before its teardown.
async fn filled(organization: &Organization) -> Run {
    let run = organization.open().await;
    run.send(json!([begin("t1", "adds"), log(TEXT), end("t1", "passed")])).await;
    run.send(json!([begin("t2", "pays"), end("t2", "failed")])).await;
    run
}

const TEXT: &str = "größe 🦀\n";
/// What the log shows of it.
const SHOWN: &str =
    "▶ RUNNING  adds\ngröße 🦀\n✔ PASSED   t1 (12ms)\n▶ RUNNING  pays\n✘ FAILED   t2 (12ms)\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_that_ends_within_a_teardown_or_the_folding_leaves_all_of_it_or_nothing() {
    let (mut lives, organization, org) = Lives::start().await;
    let first =
        lives.store().executions(org, &ExecutionFilter::default(), 9, 0).await.unwrap().executions[0].id;
    lives.fold(org, first).await;
    let mut counted = lives.store().recount_storage(org).await.unwrap();
    // How far a run had come when its server ended, and whether its bytes were counted.
    let mut found = Vec::new();
    // Each write of the closing; of the folding, whose order the store's own stops go through, every second one.
    for writes in (0..).filter(|writes| *writes < CLOSING_WRITES || writes % 2 == 0 || long_mode()) {
        assert!(writes < WRITES_MAX);
        let context = format!("after {writes} writes");
        let run = filled(&organization).await;
        let before = lives.store();
        let task = TaskId::from(run.task.as_str());
        let id = before.execution_by_task(org, &task).await.unwrap().unwrap().id;
        let clock = lives.clock.clone();
        let act = async {
            run.end("PASSED").await;
            folded(&clock, &*before, org, id).await;
            added(&*before, org, counted).await;
        };
        let done = lives.end_after(writes, act).await;

        let store = lives.store();
        let state = store.run_state(org, id).await.unwrap();
        let status = store.execution(org, id).await.unwrap().unwrap().status;
        let is_open = state == Some(RunState::Open);
        assert_eq!(status, if is_open { Status::Running } else { Status::Passed }, "{context}");
        assert_eq!(store.cycle_of(org, id).await.unwrap().unwrap().completed, !is_open, "{context}");
        let filter = ExecutionFilter { statuses: Some(vec![status]), ..ExecutionFilter::default() };
        let listed = store.executions(org, &filter, 99, 0).await.unwrap();
        assert!(listed.executions.iter().any(|run| run.id == id), "{context}");

        let answer = json!({
            "success": true, "status": "PASSED", "message": "Execution completed.",
            "data": { "taskId": run.task, "status": "PASSED" },
        });
        for _ in 0..2 {
            assert_eq!(run.end("PASSED").await.body, answer, "{context}");
        }
        if state.is_some() {
            lives.fold(org, id).await;
            added(&*store, org, counted).await;
        }
        check_ended(&organization, &*store, org, id, &context).await;

        let used = store.storage_used(org).await.unwrap();
        let recounted = store.recount_storage(org).await.unwrap();
        let bytes = recounted - counted;
        assert!((SHOWN.len() as u64..SHOWN.len() as u64 + 10_000).contains(&bytes), "{bytes} {context}");
        assert_eq!(store.storage_used(org).await, Ok(recounted), "{context}");
        found.push((state, used == recounted));
        counted = recounted;
        if done.is_some() {
            break;
        }
    }
    println!("{} stops: {found:?}", found.len() - 1);
    // Stops within the closing, the folding, and between the folding and the counting of its bytes.
    for place in [(Some(RunState::Open), true), (Some(RunState::Closed), true), (None, false)] {
        assert!(found.contains(&place), "no stop at {place:?}: {found:?}");
    }
    assert!(
        !found.contains(&(Some(RunState::Open), false)) && !found.contains(&(Some(RunState::Closed), false))
    );
    assert_eq!(found.last(), Some(&(None, true)));
}

/// Resolves when other bytes are counted: those of a run are added behind its folding.
async fn added(store: &dyn Store, org: OrgId, counted: u64) {
    for _ in 0..1_000 {
        if store.storage_used(org).await.is_ok_and(|used| used != counted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("its bytes are never added");
}

/// Everything of a run that has ended is there once, whichever way leads to it.
async fn check_ended(
    organization: &Organization,
    store: &dyn Store,
    org: OrgId,
    id: ExecutionId,
    context: &str,
) {
    let execution = store.execution(org, id).await.unwrap().unwrap();
    assert_eq!(execution.status, Status::Passed, "{context}");
    assert_eq!(execution.completeness.as_ref().unwrap().batches_stored, 2, "{context}");
    assert!(store.cycle_of(org, id).await.unwrap().unwrap().completed, "{context}");
    let session = store.session(execution.ingest.session).await.unwrap().unwrap();
    assert_eq!(session.status, SessionStatus::Completed, "{context}");
    let listed = store.executions(org, &ExecutionFilter::default(), 99, 0).await.unwrap();
    let listed: Vec<_> = listed.executions.iter().filter(|run| run.id == id).collect();
    assert!(listed.len() == 1 && listed[0].status == Status::Passed, "{context}: {listed:?}");
    let unsettled = store.unsettled_runs().await.unwrap();
    assert!(unsettled.iter().all(|run| run.execution != id), "{context}");
    let told = store.feed_rows(org, 0, 9_999).await.unwrap();
    let told: Vec<_> = told.iter().filter(|row| row.execution == id).collect();
    let numbers: HashSet<_> = told.iter().map(|row| row.seq).collect();
    // Its opening, two batches that may have shared a window, its end.
    assert!((3..=4).contains(&told.len()) && numbers.len() == told.len(), "{context}: {told:?}");
    assert!(told.is_sorted_by(|one, next| one.end <= next.start), "{context}: {told:?}");
    let logs = get(&organization.member, &format!("/api/executions/{}/logs", execution.task_id)).await;
    assert_eq!(logs.pointer("/data/output").and_then(Value::as_str), Some(SHOWN), "{context}: {logs}");
    let results = store.all_results(org, id).await.unwrap();
    let results: Vec<_> = results.iter().map(|result| &*result.test_id).collect();
    assert_eq!(results, ["t1", "t2"], "{context}");
}
