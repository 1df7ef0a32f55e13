//! Results of runs. How attempts become tests is the domain's rule and has its tests there.

use runstream::domain::batch::TestStatus::{Failed, Passed};
use runstream::domain::result::TestResult;

use super::runs::{RunStore, on_each_run_store};
use super::sample;
use crate::support::runs::{Event, Reporter, START_MS, opened};

on_each_run_store! {
    results_are_collapsed_and_read_by_their_last_attempt,
    an_open_runs_entry_is_superseded_by_a_later_one,
    all_results_come_in_the_order_of_first_attempts,
    quarantine_is_that_of_the_closure,
    a_run_without_results_has_none,
}

async fn open(store: &dyn RunStore) -> Reporter {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    reporter
}

async fn settle(store: &dyn RunStore, reporter: &Reporter) {
    store.close_run(reporter.closed(1)).await.unwrap();
    store.settle(reporter.org(), reporter.id()).await.unwrap();
}

fn order(results: &[TestResult]) -> Vec<(&str, u64, u64)> {
    results.iter().map(|result| (result.test_id.as_str(), result.seq, result.first_seq)).collect()
}

async fn three_tests(store: &dyn RunStore) -> Reporter {
    let mut reporter = open(store).await;
    let first = [Event::Begin("a", " › web › adds"), Event::End("a", Failed), Event::End("b", Passed)];
    store.append(&reporter.segment(&first)).await.unwrap();
    store.append(&reporter.log("between\n")).await.unwrap();
    store.append(&reporter.segment(&[Event::End("c", Passed), Event::End("a", Passed)])).await.unwrap();
    reporter
}

async fn results_are_collapsed_and_read_by_their_last_attempt(store: &dyn RunStore) {
    let reporter = three_tests(store).await;
    let (org, id) = (reporter.org(), reporter.id());
    for _ in ["in segments", "in rows"] {
        let results = store.results(org, id, 0, 10).await.unwrap();
        assert_eq!(order(&results), [("b", 2, 2), ("c", 3, 3), ("a", 4, 1)]);
        let retried = &results[2];
        assert_eq!((retried.status, retried.attempt_count), (Passed, 2));
        assert_eq!(retried.name.as_deref(), Some("web › adds"));
        for (after, limit, expected) in
            [(2, 10, &results[1..]), (2, 1, &results[1..2]), (0, 0, &[]), (4, 9, &[])]
        {
            assert_eq!(store.results(org, id, after, limit).await.unwrap(), expected, "{after}, {limit}");
        }
        assert_eq!(store.results(org, id, u64::MAX, 5).await, Ok(vec![]));
        settle(store, &reporter).await;
    }
}

async fn an_open_runs_entry_is_superseded_by_a_later_one(store: &dyn RunStore) {
    let mut reporter = three_tests(store).await;
    let (org, id) = (reporter.org(), reporter.id());
    assert_eq!(order(&store.results(org, id, 0, 1).await.unwrap()), [("b", 2, 2)]);
    store.append(&reporter.segment(&[Event::End("b", Failed)])).await.unwrap();
    let later = store.results(org, id, 2, 10).await.unwrap();
    assert_eq!(order(&later), [("c", 3, 3), ("a", 4, 1), ("b", 5, 2)]);
    assert_eq!((later[2].status, later[2].attempt_count), (Failed, 2));
}

async fn all_results_come_in_the_order_of_first_attempts(store: &dyn RunStore) {
    let reporter = three_tests(store).await;
    store.close_run(reporter.closed(1)).await.unwrap();
    for _ in ["in segments", "in rows"] {
        let results = store.all_results(reporter.org(), reporter.id()).await.unwrap();
        assert_eq!(order(&results), [("a", 4, 1), ("b", 2, 2), ("c", 3, 3)]);
        store.settle(reporter.org(), reporter.id()).await.unwrap();
    }
}

async fn quarantine_is_that_of_the_closure(store: &dyn RunStore) {
    let reporter = three_tests(store).await;
    let (org, id) = (reporter.org(), reporter.id());
    let quarantined = async || {
        let results = store.all_results(org, id).await.unwrap();
        results
            .into_iter()
            .filter(|result| result.is_quarantined)
            .map(|result| result.test_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(quarantined().await, Vec::<String>::new());
    let mut closed = reporter.closed(1);
    closed.quarantined = vec!["c".into(), "unknown".into()];
    store.close_run(closed).await.unwrap();
    assert_eq!(quarantined().await, ["c"]);
    store.settle(org, id).await.unwrap();
    assert_eq!(quarantined().await, ["c"]);
}

async fn a_run_without_results_has_none(store: &dyn RunStore) {
    let reporter = open(store).await;
    for _ in ["in segments", "in rows"] {
        assert_eq!(store.results(reporter.org(), reporter.id(), 0, 10).await, Ok(vec![]));
        assert_eq!(store.all_results(reporter.org(), reporter.id()).await, Ok(vec![]));
        settle(store, &reporter).await;
    }
}
