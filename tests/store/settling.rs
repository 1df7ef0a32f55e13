//! Settling: a closed run's segments go, what is read stays.

use runstream::domain::batch::TestStatus::{Failed, Passed};
use runstream::store::contract::RunState;

use super::runs::{RunHome, RunStore, on_each_run_store, on_each_run_store_across_restarts};
use super::sample;
use crate::support::runs::{Event, Reporter, START_MS, opened, words};

on_each_run_store! {
    an_open_or_unknown_run_is_left_alone,
    settled_runs_have_no_segments,
    settling_again_changes_nothing,
    racing_settles_agree,
    a_closure_after_settling_still_counts,
    storage_counts_settled_text_and_results_once,
    readers_see_the_same_while_it_settles,
}
on_each_run_store_across_restarts! { settled_runs_survive_a_restart }

async fn closed_run(store: &dyn RunStore) -> Reporter {
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    for number in 0..5 {
        let events = [Event::Log(words(2_000, number)), Event::End("a", Failed), Event::End("b", Passed)];
        store.append(&reporter.segment(&events)).await.unwrap();
    }
    store.close_run(reporter.closed(1)).await.unwrap();
    reporter
}

async fn an_open_or_unknown_run_is_left_alone(store: &dyn RunStore) {
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    assert_eq!(store.settle(reporter.org(), reporter.id()).await, Ok(()));
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.append(&reporter.log("one\n")).await.unwrap();
    assert_eq!(store.settle(reporter.org(), reporter.id()).await, Ok(()));
    assert_eq!(store.unsettled_runs().await.unwrap()[0].state, RunState::Open);
    assert_eq!(store.append(&reporter.log("two\n")).await, Ok(()));
}

async fn settled_runs_have_no_segments(store: &dyn RunStore) {
    let reporter = closed_run(store).await;
    store.settle(reporter.org(), reporter.id()).await.unwrap();
    assert_eq!(store.segments(reporter.org(), reporter.id(), (0, 0), usize::MAX).await, Ok(vec![]));
    assert_eq!(store.unsettled_runs().await, Ok(vec![]));
    assert_eq!(store.closure(reporter.org(), reporter.id()).await, Ok(Some(reporter.closed(1))));
}

async fn settling_again_changes_nothing(store: &dyn RunStore) {
    let reporter = closed_run(store).await;
    for _ in 0..3 {
        assert_eq!(store.settle(reporter.org(), reporter.id()).await, Ok(()));
        let text = store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text;
        assert!(text == reporter.text);
    }
}

async fn racing_settles_agree(store: &dyn RunStore) {
    for _ in 0..10 {
        let reporter = closed_run(store).await;
        let settle = || store.settle(reporter.org(), reporter.id());
        assert_eq!(tokio::join!(settle(), settle(), settle()), (Ok(()), Ok(()), Ok(())));
        let results = store.all_results(reporter.org(), reporter.id()).await.unwrap();
        assert_eq!(results.iter().map(|result| result.attempt_count).collect::<Vec<_>>(), [5, 5]);
    }
}

async fn a_closure_after_settling_still_counts(store: &dyn RunStore) {
    let reporter = closed_run(store).await;
    store.settle(reporter.org(), reporter.id()).await.unwrap();
    store.close_run(reporter.closed(2)).await.unwrap();
    assert_eq!(store.closure(reporter.org(), reporter.id()).await, Ok(Some(reporter.closed(2))));
    let execution = store.execution(reporter.org(), reporter.id()).await.unwrap().unwrap();
    assert_eq!(execution.end_ms, Some(reporter.closed(2).end_ms));
    assert_eq!(store.unsettled_runs().await, Ok(vec![]));
}

async fn storage_counts_settled_text_and_results_once(store: &dyn RunStore) {
    let reporter = closed_run(store).await;
    let org = reporter.org();
    assert_eq!(store.storage_used(org).await, Ok(0), "not before it is settled");
    store.settle(org, reporter.id()).await.unwrap();
    let used = store.storage_used(org).await.unwrap();
    let text_bytes = reporter.text.len() as u64;
    assert!(
        used > text_bytes && used < text_bytes + 10_000,
        "{used} for {text_bytes} of text and two results"
    );
    store.settle(org, reporter.id()).await.unwrap();
    assert_eq!(store.storage_used(org).await, Ok(used));
    assert_eq!(store.recount_storage(org).await, Ok(used));
    assert_eq!(store.storage_used(org).await, Ok(used));
}

async fn readers_see_the_same_while_it_settles(store: &dyn RunStore) {
    for _ in 0..10 {
        let reporter = closed_run(store).await;
        let (org, id) = (reporter.org(), reporter.id());
        let results = store.all_results(org, id).await.unwrap();
        let read = async || {
            for _ in 0..20 {
                let text = store.whole_text(org, id).await.unwrap().unwrap().text;
                assert!(text == reporter.text);
                assert_eq!(store.all_results(org, id).await, Ok(results.clone()));
                assert_eq!(store.position(org, id).await, Ok(Some(reporter.end)));
            }
        };
        let (settled, (), ()) = tokio::join!(store.settle(org, id), read(), read());
        assert_eq!(settled, Ok(()));
    }
}

async fn settled_runs_survive_a_restart(home: &dyn RunHome) {
    let store = home.open_runs().await;
    let reporter = closed_run(&*store).await;
    let (org, id) = (reporter.org(), reporter.id());
    store.settle(org, id).await.unwrap();
    let (results, used) = (store.all_results(org, id).await, store.storage_used(org).await);
    drop(store);
    let store = home.open_runs().await;
    assert!(store.whole_text(org, id).await.unwrap().unwrap().text == reporter.text);
    assert_eq!(store.all_results(org, id).await, results);
    assert_eq!(store.storage_used(org).await, used);
    assert_eq!(store.position(org, id).await, Ok(Some(reporter.end)));
    assert_eq!(store.unsettled_runs().await, Ok(vec![]));
}
