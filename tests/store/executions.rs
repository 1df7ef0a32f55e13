//! Runs: opening, closing, taking back, lists.

use runstream::domain::execution::{ItemStatus, SessionStatus, Source, Status};
use runstream::domain::id::{ExecutionId, ProjectId, SessionId, TaskId};
use runstream::store::contract::{Conflict, ExecutionFilter, RunState, StoreError};

use super::runs::{RunHome, RunStore, on_each_run_store, on_each_run_store_across_restarts};
use super::{races, sample};
use crate::support::runs::{Event, Reporter, START_MS, opened};

on_each_run_store! {
    an_opened_run_is_found_by_all_its_names,
    a_run_with_a_known_task_or_id_is_refused_and_changes_nothing,
    of_racing_runs_with_one_task_exactly_one_wins,
    a_run_taken_back_was_never_there,
    only_a_known_run_of_the_organization_is_taken_back,
    closing_makes_execution_cycle_and_session_final_together,
    a_closure_changes_nothing_unless_its_revision_is_above,
    closing_an_unknown_run_changes_nothing,
    an_announced_status_is_the_runs_until_it_is_final,
    unsettled_runs_tell_how_far_they_have_come,
    lists_are_newest_first_and_count_all_that_match,
    lists_filter,
    runs_are_counted_by_start,
    a_foreign_organization_sees_nothing,
    expired_sessions_are_forgotten_once_archived,
}
on_each_run_store_across_restarts! { lifecycles_survive_a_restart, a_run_taken_back_stays_away }

async fn an_opened_run_is_found_by_all_its_names(store: &dyn RunStore) {
    let run = opened(sample::org(), START_MS);
    let (org, id) = (run.execution.org, run.execution.id);
    assert_eq!(store.open_run(run.clone()).await, Ok(()));
    assert_eq!(store.execution(org, id).await, Ok(Some(run.execution.clone())));
    assert_eq!(store.execution_by_task(org, &run.execution.task_id).await, Ok(Some(run.execution.clone())));
    assert_eq!(store.cycle_of(org, id).await, Ok(Some(run.cycle)));
    assert_eq!(store.session(run.session.id).await, Ok(Some(run.session)));
    assert_eq!(store.closure(org, id).await, Ok(None));
    let list = store.executions(org, &ExecutionFilter::default(), 10, 0).await.unwrap();
    assert_eq!((list.executions, list.total), (vec![run.execution], 1));
    assert_eq!(store.execution(org, ExecutionId::generate(1)).await, Ok(None));
    assert_eq!(store.execution_by_task(org, &TaskId::from("other")).await, Ok(None));
    assert_eq!(store.session(SessionId::generate()).await, Ok(None));
}

async fn a_run_with_a_known_task_or_id_is_refused_and_changes_nothing(store: &dyn RunStore) {
    let org = sample::org();
    let run = opened(org, START_MS);
    store.open_run(run.clone()).await.unwrap();
    let mut same_task = opened(org, START_MS + 5);
    same_task.execution.task_id = run.execution.task_id.clone();
    let mut same_id = opened(org, START_MS + 5);
    same_id.execution.id = run.execution.id;
    let refused = Err(StoreError::Conflict(Conflict::RunExists));
    assert_eq!(store.open_run(run.clone()).await, refused);
    assert_eq!(store.open_run(same_task.clone()).await, refused);
    assert_eq!(store.open_run(same_id.clone()).await, refused);
    assert_eq!(store.execution(org, run.execution.id).await, Ok(Some(run.execution.clone())));
    assert_eq!(store.session(same_task.session.id).await, Ok(None));
    assert_eq!(store.session(same_id.session.id).await, Ok(None));
    assert_eq!(store.count_runs(org, 0, i64::MAX).await, Ok(1));
    // A task id is unique within its organization only.
    let mut elsewhere = opened(sample::org(), START_MS);
    elsewhere.execution.task_id = run.execution.task_id;
    assert_eq!(store.open_run(elsewhere).await, Ok(()));
}

async fn of_racing_runs_with_one_task_exactly_one_wins(store: &dyn RunStore) {
    for race in 0..races() {
        let org = sample::org();
        let run = |number: i64| {
            let mut run = opened(org, START_MS + number);
            run.execution.task_id = TaskId::from("the-one");
            run
        };
        let outcomes = tokio::join!(store.open_run(run(1)), store.open_run(run(2)), store.open_run(run(3)));
        let won =
            [&outcomes.0, &outcomes.1, &outcomes.2].into_iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "race {race}: {outcomes:?}");
        assert_eq!(store.count_runs(org, 0, i64::MAX).await, Ok(1));
    }
}

async fn a_run_taken_back_was_never_there(store: &dyn RunStore) {
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id, run) = (reporter.org(), reporter.id(), reporter.opened.clone());
    store.open_run(run.clone()).await.unwrap();
    store.append(&reporter.log("lost\n")).await.unwrap();
    assert_eq!(store.abandon_run(org, id, 0).await, Ok(true));
    assert_eq!(store.execution(org, id).await, Ok(None));
    assert_eq!(store.execution_by_task(org, &run.execution.task_id).await, Ok(None));
    assert_eq!(store.cycle_of(org, id).await, Ok(None));
    assert_eq!(store.session(run.session.id).await, Ok(None));
    assert_eq!(store.executions(org, &ExecutionFilter::default(), 9, 0).await.unwrap().total, 0);
    assert_eq!(store.count_runs(org, 0, i64::MAX).await, Ok(0));
    assert_eq!(store.whole_text(org, id).await, Ok(None));
    assert_eq!(store.unsettled_runs().await, Ok(vec![]));
    assert_eq!(
        store.append(&reporter.log("more\n")).await,
        Err(StoreError::Conflict(Conflict::SegmentSequence))
    );
    assert_eq!(store.open_run(run).await, Ok(()), "its names are free again");
}

async fn only_a_known_run_of_the_organization_is_taken_back(store: &dyn RunStore) {
    let run = opened(sample::org(), START_MS);
    let (org, id) = (run.execution.org, run.execution.id);
    store.open_run(run).await.unwrap();
    assert_eq!(store.abandon_run(sample::org(), id, 0).await, Ok(false));
    assert_eq!(store.abandon_run(org, ExecutionId::generate(1), 0).await, Ok(false));
    assert!(store.execution(org, id).await.unwrap().is_some());
}

async fn closing_makes_execution_cycle_and_session_final_together(store: &dyn RunStore) {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id, run) = (reporter.org(), reporter.id(), reporter.opened.clone());
    store.open_run(run.clone()).await.unwrap();
    let closed = reporter.closed(1);
    assert_eq!(store.close_run(closed.clone()).await, Ok(true));
    assert_eq!(store.closure(org, id).await, Ok(Some(closed.clone())));
    let execution = store.execution(org, id).await.unwrap().unwrap();
    assert_eq!((execution.status, execution.end_ms), (Status::Passed, Some(closed.end_ms)));
    assert_eq!(execution.completeness, Some(closed.completeness.clone()));
    let cycle = store.cycle_of(org, id).await.unwrap().unwrap();
    assert!(cycle.completed);
    assert_eq!(
        (cycle.item_status, (cycle.total, cycle.passed, cycle.failed)),
        (ItemStatus::Passed, closed.cycle_summary)
    );
    let session = store.session(run.session.id).await.unwrap().unwrap();
    assert_eq!((session.status, session.end_ms), (SessionStatus::Completed, Some(closed.end_ms)));
    assert_eq!((session.answered, session.expires_ms), (Some(Status::Passed), closed.sessions[0].expires_ms));
    let passed = ExecutionFilter { statuses: Some(vec![Status::Passed]), ..ExecutionFilter::default() };
    assert_eq!(store.executions(org, &passed, 9, 0).await.unwrap().executions, [execution]);
}

async fn a_closure_changes_nothing_unless_its_revision_is_above(store: &dyn RunStore) {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    store.open_run(reporter.opened.clone()).await.unwrap();
    let mut second = reporter.closed(2);
    second.status = Status::Failed;
    store.close_run(reporter.closed(1)).await.unwrap();
    store.close_run(second.clone()).await.unwrap();
    let mut late = reporter.closed(2);
    late.end_ms += 99;
    for stale in [reporter.closed(1), late] {
        assert_eq!(store.close_run(stale).await, Ok(false));
        assert_eq!(store.closure(org, id).await, Ok(Some(second.clone())));
        assert_eq!(store.execution(org, id).await.unwrap().unwrap().status, Status::Failed);
    }
}

async fn closing_an_unknown_run_changes_nothing(store: &dyn RunStore) {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    assert_eq!(store.close_run(reporter.closed(1)).await, Ok(false));
    assert_eq!(store.closure(reporter.org(), reporter.id()).await, Ok(None));
    store.open_run(reporter.opened.clone()).await.unwrap();
    let mut foreign = reporter.closed(1);
    foreign.org = sample::org();
    assert_eq!(store.close_run(foreign).await, Ok(false));
    assert_eq!(store.closure(reporter.org(), reporter.id()).await, Ok(None));
}

async fn an_announced_status_is_the_runs_until_it_is_final(store: &dyn RunStore) {
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    store.open_run(reporter.opened.clone()).await.unwrap();
    let announce = [Event::Announce(Status::Running), Event::Announce(Status::Analyzing)];
    store.append(&reporter.segment(&announce)).await.unwrap();
    store.append(&reporter.log("on it goes\n")).await.unwrap();
    assert_eq!(store.execution(org, id).await.unwrap().unwrap().status, Status::Analyzing);
    let count = async |status| {
        let filter = ExecutionFilter { statuses: Some(vec![status]), ..ExecutionFilter::default() };
        let page = store.executions(org, &filter, 9, 0).await.unwrap();
        assert!(page.executions.iter().all(|execution| execution.status == status));
        page.total
    };
    assert_eq!((count(Status::Running).await, count(Status::Analyzing).await), (0, 1));
    store.close_run(reporter.closed(1)).await.unwrap();
    store.append(&reporter.segment(&[Event::Announce(Status::Running)])).await.unwrap();
    assert_eq!(store.execution(org, id).await.unwrap().unwrap().status, Status::Passed);
    assert_eq!((count(Status::Running).await, count(Status::Passed).await), (0, 1));
}

async fn unsettled_runs_tell_how_far_they_have_come(store: &dyn RunStore) {
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    let found = store.unsettled_runs().await.unwrap();
    assert_eq!((found.len(), found[0].org, found[0].execution), (1, reporter.org(), reporter.id()));
    assert_eq!((found[0].state, found[0].epoch, found[0].last_heard_ms), (RunState::Open, 0, START_MS));
    assert_eq!(found[0].sessions, [reporter.opened.session.id]);
    reporter.epoch = 3;
    store.append(&reporter.log("x")).await.unwrap();
    store.close_run(reporter.closed(1)).await.unwrap();
    let found = store.unsettled_runs().await.unwrap();
    assert_eq!(
        (found[0].state, found[0].epoch, found[0].last_heard_ms),
        (RunState::Closed, 3, START_MS + 1_000)
    );
    store.settle(reporter.org(), reporter.id()).await.unwrap();
    assert_eq!(store.unsettled_runs().await, Ok(vec![]));
}

async fn lists_are_newest_first_and_count_all_that_match(store: &dyn RunStore) {
    let org = sample::org();
    let mut runs = Vec::new();
    for later_ms in [3, 1, 7, 7, 7, 0] {
        let run = opened(org, START_MS + later_ms);
        store.open_run(run.clone()).await.unwrap();
        runs.push(run.execution);
    }
    runs.sort_by_key(|run| std::cmp::Reverse((run.start_ms, run.id)));
    let all = ExecutionFilter::default();
    for (limit, offset) in [(10, 0), (2, 0), (2, 3), (0, 0), (5, 6), (3, 99)] {
        let page = store.executions(org, &all, limit, offset).await.unwrap();
        let expected: Vec<_> = runs.iter().skip(offset).take(limit).cloned().collect();
        assert_eq!((page.executions, page.total), (expected, 6), "{limit} after {offset}");
    }
}

async fn lists_filter(store: &dyn RunStore) {
    let org = sample::org();
    let mut run = opened(org, START_MS);
    run.execution.environment = "staging".into();
    run.execution.group_name = Some("Nightly".into());
    let other = opened(org, START_MS + 100);
    store.open_run(run.clone()).await.unwrap();
    store.open_run(other.clone()).await.unwrap();
    let check = async |filter: ExecutionFilter, expected: &[&runstream::domain::execution::Execution]| {
        let page = store.executions(org, &filter, 9, 0).await.unwrap();
        assert_eq!(page.executions.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(page.total, expected.len() as u64, "{filter:?}");
    };
    let (run, other) = (&run.execution, &other.execution);
    let none = ExecutionFilter::default;
    check(none(), &[other, run]).await;
    check(ExecutionFilter { statuses: Some(vec![]), ..none() }, &[]).await;
    check(ExecutionFilter { statuses: Some(vec![Status::Failed, Status::Running]), ..none() }, &[other, run])
        .await;
    check(ExecutionFilter { environment: Some("STAGING".into()), ..none() }, &[run]).await;
    check(ExecutionFilter { environment: Some("stag".into()), ..none() }, &[]).await;
    check(ExecutionFilter { group_name: Some("Nightly".into()), ..none() }, &[run]).await;
    check(ExecutionFilter { group_name: Some("nightly".into()), ..none() }, &[]).await;
    check(ExecutionFilter { source: Some(Source::Hosted), ..none() }, &[]).await;
    check(ExecutionFilter { source: Some(Source::ExternalCi), ..none() }, &[other, run]).await;
    check(ExecutionFilter { project: Some(run.project), ..none() }, &[run]).await;
    check(ExecutionFilter { project: Some(ProjectId::generate(1)), ..none() }, &[]).await;
    check(ExecutionFilter { start_after_ms: Some(START_MS), ..none() }, &[other, run]).await;
    check(ExecutionFilter { start_after_ms: Some(START_MS + 1), ..none() }, &[other]).await;
    check(ExecutionFilter { start_before_ms: Some(START_MS + 100), ..none() }, &[other, run]).await;
    check(ExecutionFilter { start_before_ms: Some(START_MS + 99), ..none() }, &[run]).await;
    let (after, before) = (Some(START_MS + 1), Some(START_MS + 99));
    check(ExecutionFilter { start_after_ms: after, start_before_ms: before, ..none() }, &[]).await;
    check(ExecutionFilter { start_after_ms: before, start_before_ms: after, ..none() }, &[]).await;
    check(
        ExecutionFilter { start_after_ms: Some(i64::MIN), start_before_ms: Some(i64::MAX), ..none() },
        &[other, run],
    )
    .await;
}

async fn runs_are_counted_by_start(store: &dyn RunStore) {
    let org = sample::org();
    for later_ms in [0, 10, 10, 20] {
        store.open_run(opened(org, START_MS + later_ms)).await.unwrap();
    }
    for (from, to, expected) in
        [(0, 21, 4), (0, 20, 3), (10, 11, 2), (11, 20, 0), (20, 20, 0), (21, 5, 0), (-1_000, 1, 1)]
    {
        let count = store.count_runs(org, START_MS + from, START_MS + to).await;
        assert_eq!(count, Ok(expected), "[{from}, {to})");
    }
    assert_eq!(store.count_runs(org, i64::MIN, i64::MAX).await, Ok(4));
}

async fn a_foreign_organization_sees_nothing(store: &dyn RunStore) {
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (id, task) = (reporter.id(), reporter.opened.execution.task_id.clone());
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.append(&reporter.log("secret\n")).await.unwrap();
    for is_settled in [false, true] {
        let foreign = sample::org();
        assert_eq!(store.execution(foreign, id).await, Ok(None), "{is_settled}");
        assert_eq!(store.execution_by_task(foreign, &task).await, Ok(None));
        assert_eq!(store.cycle_of(foreign, id).await, Ok(None));
        assert_eq!(store.closure(foreign, id).await, Ok(None));
        assert_eq!(store.whole_text(foreign, id).await, Ok(None));
        assert_eq!(store.text(foreign, id, 0, 10).await, Ok(None));
        assert_eq!(store.position(foreign, id).await, Ok(None));
        assert_eq!(store.results(foreign, id, 0, 10).await, Ok(vec![]));
        assert_eq!(store.all_results(foreign, id).await, Ok(vec![]));
        assert_eq!(store.segments(foreign, id, (0, 0), 1_000).await, Ok(vec![]));
        assert_eq!(store.count_runs(foreign, 0, i64::MAX).await, Ok(0));
        assert_eq!(store.storage_used(foreign).await, Ok(0));
        assert_eq!(store.settle(foreign, id).await, Ok(()));
        let mut segment = reporter.clone().log("intruder");
        segment.org = foreign;
        assert_eq!(store.append(&segment).await, Err(StoreError::Conflict(Conflict::SegmentSequence)));
        store.close_run(reporter.closed(1)).await.unwrap();
        store.settle(reporter.org(), id).await.unwrap();
    }
}

async fn expired_sessions_are_forgotten_once_archived(store: &dyn RunStore) {
    let (open, closed, again) =
        (opened(sample::org(), START_MS), opened(sample::org(), START_MS), opened(sample::org(), START_MS));
    for run in [&open, &closed, &again] {
        store.open_run(run.clone()).await.unwrap();
    }
    let expires_ms = |reporter: &Reporter| reporter.closed(1).sessions[0].expires_ms;
    let (closed, again) = (Reporter::new(closed), Reporter::new(again));
    store.close_run(closed.closed(1)).await.unwrap();
    store.close_run(again.closed(1)).await.unwrap();
    // A second closure moves the expiry.
    let mut later = again.closed(2);
    later.sessions[0].expires_ms += 1_000;
    store.close_run(later.clone()).await.unwrap();
    assert_eq!(store.purge_sessions(expires_ms(&closed)).await, Ok(0), "not before its moment");
    assert_eq!(store.purge_sessions(expires_ms(&closed) + 1).await, Ok(1));
    assert_eq!(store.session(closed.opened.session.id).await, Ok(None));
    assert!(store.session(again.opened.session.id).await.unwrap().is_some());
    assert_eq!(store.purge_sessions(later.sessions[0].expires_ms + 1).await, Ok(1));
    assert_eq!(store.purge_sessions(i64::MAX).await, Ok(0));
    assert!(store.session(open.session.id).await.unwrap().is_some(), "a running one is not archived");
    assert!(store.execution(closed.org(), closed.id()).await.unwrap().is_some());
}

async fn lifecycles_survive_a_restart(home: &dyn RunHome) {
    let org = sample::org();
    let mut reporters: Vec<_> =
        (0..4).map(|later_ms| Reporter::new(opened(org, START_MS + later_ms))).collect();
    let store = home.open_runs().await;
    for (number, reporter) in reporters.iter_mut().enumerate() {
        store.open_run(reporter.opened.clone()).await.unwrap();
        let announced = [Event::Log(format!("run {number}\n")), Event::Announce(Status::Analyzing)];
        store.append(&reporter.segment(&announced)).await.unwrap();
        if number >= 1 {
            store.close_run(reporter.closed(1)).await.unwrap();
        }
        if number >= 2 {
            store.settle(org, reporter.id()).await.unwrap();
        }
        if number >= 3 {
            store.close_run(reporter.closed(2)).await.unwrap();
        }
    }
    let before = store.executions(org, &ExecutionFilter::default(), 9, 0).await.unwrap();
    assert_eq!(before.executions[3].status, Status::Analyzing);
    drop(store);
    for _ in 0..2 {
        let store = home.open_runs().await;
        assert_eq!(store.executions(org, &ExecutionFilter::default(), 9, 0).await, Ok(before.clone()));
        let mut unsettled = store.unsettled_runs().await.unwrap();
        unsettled.sort_by_key(|run| run.execution != reporters[0].id());
        let states: Vec<_> = unsettled.iter().map(|run| (run.execution, run.state, run.epoch)).collect();
        let expected = [(reporters[0].id(), RunState::Open, 1), (reporters[1].id(), RunState::Closed, 1)];
        assert_eq!(states, expected);
        for (number, reporter) in reporters.iter().enumerate() {
            let text = store.whole_text(org, reporter.id()).await.unwrap().unwrap().text;
            assert_eq!(text, format!("run {number}\n"));
            let closure = store.closure(org, reporter.id()).await.unwrap().map(|closed| closed.revision);
            assert_eq!(closure, [None, Some(1), Some(1), Some(2)][number]);
        }
        drop(store);
    }
    let store = home.open_runs().await;
    let epoch = store.claim(org, reporters[0].id()).await;
    reporters[0].goes_on(epoch);
    store.append(&reporters[0].log("it goes on\n")).await.unwrap();
    assert_eq!(store.whole_text(org, reporters[0].id()).await.unwrap().unwrap().text, "run 0\nit goes on\n");
}

async fn a_run_taken_back_stays_away(home: &dyn RunHome) {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    let store = home.open_runs().await;
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.abandon_run(reporter.org(), reporter.id(), 0).await.unwrap();
    drop(store);
    let store = home.open_runs().await;
    assert_eq!(store.execution(reporter.org(), reporter.id()).await, Ok(None));
    assert_eq!(store.unsettled_runs().await, Ok(vec![]));
}
