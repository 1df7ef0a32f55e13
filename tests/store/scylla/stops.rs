//! A process stops between any two writes of a setup, a closing, a folding, a taking back, a takeover: the next one finds
//! all of it or nothing, and finishes it.

use std::sync::Arc;
use std::time::Duration;

use runstream::domain::batch::TestStatus::{Failed, Passed};
use runstream::domain::execution::{SessionStatus, Status};
use runstream::domain::id::OrgId;
use runstream::store::contract::{
    ClosedRun, ExecutionFilter, Executions, FeedLog, OpenedRun, RunState, StoreResult,
};
use runstream::store::scylla::runs::{RunSettings, ScyllaRuns};
use runstream::store::scylla::{Cql, LeaseSettings};

use crate::store::sample;
use crate::support::cql::{self, Keyspace};
use crate::support::runs::{Event, Reporter, START_MS, opened, words};

/// One process after the other on one keyspace.
struct Processes {
    cql: Arc<Cql>,
    keyspace: Keyspace,
    store: ScyllaRuns,
}

impl Processes {
    async fn start() -> Self {
        let keyspace = cql::keyspace().await;
        let cql = Arc::new(cql::connect(&keyspace).await);
        let store = open(&cql).await;
        Self { cql, keyspace, store }
    }

    /// Lets `act` make `writes` writes, then stops the process and starts the next; returns what the act came to, and
    /// whether it was stopped.
    async fn stop_after<T>(
        &mut self,
        writes: u64,
        act: impl AsyncFnOnce(&ScyllaRuns) -> StoreResult<T>,
    ) -> (StoreResult<T>, bool) {
        self.cql.faults().die_after(writes);
        let outcome = act(&self.store).await;
        let stopped = self.cql.faults().is_dead();
        if stopped {
            // As its silence would make others do.
            cql::fence_nodes(&self.keyspace).await;
        }
        self.cql.faults().end();
        if !stopped {
            self.store.shut_down().await.unwrap();
        }
        self.store = open(&self.cql).await;
        (outcome, stopped)
    }
}

/// Without heartbeats meanwhile, which are writes too.
async fn open(cql: &Arc<Cql>) -> ScyllaRuns {
    try_open(cql).await.unwrap()
}

async fn try_open(cql: &Arc<Cql>) -> StoreResult<ScyllaRuns> {
    let hours = |number: u64| Duration::from_secs(number * 3_600);
    let lease = LeaseSettings { heartbeat: hours(1), lease: hours(3), dead_after: hours(7) };
    let settings = RunSettings { lease, ..RunSettings::default() };
    ScyllaRuns::open(Arc::clone(cql), settings).await
}

/// How many of the ways to a run lead to it.
async fn ways(store: &ScyllaRuns, run: &OpenedRun) -> usize {
    let (org, id) = (run.execution.org, run.execution.id);
    let found = [
        store.execution(org, id).await.unwrap().is_some(),
        store.execution_by_task(org, &run.execution.task_id).await.unwrap().is_some(),
        store.cycle_of(org, id).await.unwrap().is_some(),
        store.session(run.session.id).await.unwrap().is_some(),
        store.executions(org, &ExecutionFilter::default(), 9, 0).await.unwrap().total == 1,
        store.count_runs(org, 0, i64::MAX).await.unwrap() == 1,
        store.unsettled_runs().await.unwrap().iter().any(|one| one.execution == id),
        store.whole_text(org, id).await.unwrap().is_some(),
        store.feed_rows(org, 0, 9).await.unwrap().iter().any(|row| row.seq == run.feed_seq),
    ];
    found.into_iter().filter(|found| *found).count()
}

const WAYS: usize = 9;

fn numbered(org: OrgId) -> OpenedRun {
    OpenedRun { feed_seq: 1, ..opened(org, START_MS) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_setup_that_is_stopped_anywhere_is_all_or_nothing() {
    let mut processes = Processes::start().await;
    for writes in 0.. {
        let run = numbered(sample::org());
        let (outcome, stopped) =
            processes.stop_after(writes, async |store| store.open_run(run.clone()).await).await;
        assert_eq!(outcome.is_ok(), !stopped, "after {writes}: {outcome:?}");
        let found = ways(&processes.store, &run).await;
        if found == 0 {
            assert!(stopped);
            assert_eq!(
                processes.store.open_run(run.clone()).await,
                Ok(()),
                "its names are free after {writes}"
            );
        }
        assert_eq!(ways(&processes.store, &run).await, WAYS, "after {writes} writes, {found} before");
        assert!(found == 0 || found == WAYS, "{found} ways lead to it after {writes} writes");
        let mut reporter = Reporter::new(run);
        reporter.goes_on(processes.store.claim(reporter.org(), reporter.id()).await);
        assert_eq!(processes.store.append(&reporter.log("it goes on\n")).await, Ok(()));
        if !stopped {
            assert!(writes > 5, "a setup of {writes} writes");
            return;
        }
    }
}

/// A run with some text and results.
async fn written(store: &ScyllaRuns) -> Reporter {
    let mut reporter = Reporter::new(numbered(sample::org()));
    store.open_run(reporter.opened.clone()).await.unwrap();
    for number in 0..3 {
        let events = [Event::Log(words(200, number)), Event::End("a", Failed), Event::End("b", Passed)];
        let mut segment = reporter.segment(&events);
        segment.feed_seq = number + 2;
        store.append(&segment).await.unwrap();
    }
    reporter
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_closing_that_is_stopped_anywhere_is_all_or_nothing() {
    let mut processes = Processes::start().await;
    for writes in 0.. {
        let reporter = written(&processes.store).await;
        let (org, id, session) = (reporter.org(), reporter.id(), reporter.opened.session.id);
        let closed = ClosedRun { feed_seq: 9, ..reporter.closed(1) };
        let (outcome, stopped) =
            processes.stop_after(writes, async |store| store.close_run(closed.clone()).await).await;
        assert!(stopped || outcome == Ok(true), "after {writes}: {outcome:?}");
        let store = &processes.store;
        let is_closed = store.closure(org, id).await.unwrap().is_some();
        assert!(is_closed || stopped, "after {writes} writes");
        for again in [is_closed, true] {
            let status = if again { Status::Passed } else { Status::Running };
            let filter = ExecutionFilter { statuses: Some(vec![status]), ..ExecutionFilter::default() };
            assert_eq!(store.execution(org, id).await.unwrap().unwrap().status, status, "after {writes}");
            assert_eq!(store.executions(org, &filter, 9, 0).await.unwrap().total, 1, "after {writes}");
            assert_eq!(store.cycle_of(org, id).await.unwrap().unwrap().completed, again);
            let ended = store.session(session).await.unwrap().unwrap().status;
            assert_eq!(ended == SessionStatus::Completed, again);
            let numbers: Vec<_> =
                store.feed_rows(org, 0, 99).await.unwrap().iter().map(|row| row.seq).collect();
            assert_eq!(numbers, if again { vec![1, 2, 3, 4, 9] } else { vec![1, 2, 3, 4] }, "after {writes}");
            let state = if again { RunState::Closed } else { RunState::Open };
            assert_eq!(store.run_state(org, id).await, Ok(Some(state)));
            assert!(store.whole_text(org, id).await.unwrap().unwrap().text == reporter.text);
            assert_eq!(store.close_run(closed.clone()).await, Ok(!again));
        }
        if !stopped {
            assert!(writes > 3, "a closing of {writes} writes");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_folding_that_is_stopped_anywhere_changes_nothing_that_is_read() {
    let mut processes = Processes::start().await;
    for writes in 0.. {
        let reporter = written(&processes.store).await;
        let (org, id) = (reporter.org(), reporter.id());
        assert_eq!(processes.store.close_run(reporter.closed(1)).await, Ok(true));
        let results = processes.store.all_results(org, id).await.unwrap();
        let rows = processes.store.feed_rows(org, 0, 99).await.unwrap();
        assert_eq!((results.len(), rows.len()), (2, 4));
        let (outcome, stopped) =
            processes.stop_after(writes, async |store| store.settle(org, id).await).await;
        // The last write takes the run off the list of the unsettled; if it fails, whoever finds it there does it.
        assert!(stopped || outcome.is_ok(), "after {writes}: {outcome:?}");
        let store = &processes.store;
        for _ in 0..2 {
            assert!(
                store.whole_text(org, id).await.unwrap().unwrap().text == reporter.text,
                "after {writes}"
            );
            assert_eq!(store.all_results(org, id).await.unwrap(), results, "after {writes}");
            assert_eq!(store.feed_rows(org, 0, 99).await.unwrap(), rows, "after {writes}");
            assert_eq!(store.position(org, id).await, Ok(Some(reporter.end)));
            assert_eq!(store.settle(org, id).await, Ok(()));
        }
        assert_eq!(store.run_state(org, id).await, Ok(None));
        assert!(
            store.unsettled_runs().await.unwrap().iter().all(|run| run.execution != id),
            "after {writes}"
        );
        let used = store.storage_used(org).await.unwrap();
        assert!(
            (1..10_000).contains(&used.saturating_sub(reporter.text.len() as u64)),
            "{used} after {writes}"
        );
        if !stopped {
            assert!(writes > 8, "a folding of {writes} writes");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_taking_back_that_is_stopped_anywhere_is_all_or_nothing() {
    let mut processes = Processes::start().await;
    for writes in 0.. {
        let run = numbered(sample::org());
        let (org, id) = (run.execution.org, run.execution.id);
        processes.store.open_run(run.clone()).await.unwrap();
        let (outcome, stopped) =
            processes.stop_after(writes, async |store| store.abandon_run(org, id, 2).await).await;
        assert!(stopped || outcome == Ok(true), "after {writes}: {outcome:?}");
        let store = &processes.store;
        let found = ways(store, &run).await;
        // What the feed told of the opening stays.
        assert!(found == 1 || (stopped && found == WAYS), "{found} ways lead to it after {writes} writes");
        assert_eq!(store.abandon_run(org, id, 2).await, Ok(found == WAYS));
        assert_eq!(ways(store, &run).await, 1, "after {writes}");
        let numbers: Vec<_> = store.feed_rows(org, 0, 99).await.unwrap().iter().map(|row| row.seq).collect();
        assert_eq!(numbers, [1, 2], "after {writes}");
        assert_eq!(store.open_run(run).await, Ok(()), "its names are free after {writes}");
        if !stopped {
            assert!(writes > 4, "a taking back of {writes} writes");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_takeover_that_is_stopped_anywhere_is_finished_by_the_next() {
    let mut processes = Processes::start().await;
    let mut epochs = Vec::new();
    for writes in 0.. {
        // It tells the feed nothing: what one that starts writes for each organization there is no part of a takeover.
        let mut reporter = Reporter::new(opened(sample::org(), START_MS));
        let (org, id) = (reporter.org(), reporter.id());
        processes.store.open_run(reporter.opened.clone()).await.unwrap();
        for number in 0..3 {
            let events = [Event::Log(words(200, number)), Event::End("a", Failed), Event::End("b", Passed)];
            processes.store.append(&reporter.segment(&events)).await.unwrap();
        }
        let faults = processes.cql.faults();
        cql::fence_nodes(&processes.keyspace).await;
        faults.die_after(writes);
        let taken_over = try_open(&processes.cql).await;
        let stopped = faults.is_dead();
        assert!(stopped || taken_over.is_ok(), "after {writes}: {:?}", taken_over.err());
        cql::fence_nodes(&processes.keyspace).await;
        faults.end();
        // The one that was stopped is gone, and so is the one before.
        drop(taken_over);
        processes.store = open(&processes.cql).await;

        let store = &processes.store;
        assert!(store.whole_text(org, id).await.unwrap().unwrap().text == reporter.text, "after {writes}");
        reporter.goes_on(store.claim(org, id).await);
        epochs.push(reporter.epoch);
        assert_eq!(store.append(&reporter.log("it goes on\n")).await, Ok(()), "after {writes}");
        assert!(store.whole_text(org, id).await.unwrap().unwrap().text == reporter.text, "after {writes}");
        let results = store.all_results(org, id).await.unwrap();
        let results: Vec<_> = results.iter().map(|result| (&*result.test_id, result.status)).collect();
        assert_eq!(results, [("a", Failed), ("b", Passed)], "after {writes}");
        assert_eq!(store.close_run(reporter.closed(1)).await, Ok(true));
        assert_eq!(store.settle(org, id).await, Ok(()));
        if !stopped {
            println!("a takeover of {writes} writes: {epochs:?}");
            break;
        }
    }
    // Each beginning counts, whether or not its end was written.
    assert!(epochs.is_sorted() && epochs.first() == Some(&2) && epochs.last() == Some(&3), "{epochs:?}");
    let between = epochs.iter().filter(|epoch| **epoch == 3).count();
    assert!(between > 3, "no stop between the beginning and the end: {epochs:?}");
}
