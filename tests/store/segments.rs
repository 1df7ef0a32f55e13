//! Segments: order, repetition, reading them back.

use std::sync::Arc;
use std::time::Duration;

use runstream::domain::batch::TestStatus;
use runstream::domain::execution::Status;
use runstream::domain::segment::{Position, Refusals, Segment};
use runstream::store::contract::{Conflict, StoreError};

use super::runs::{RunHome, RunStore, on_each_run_store, on_each_run_store_across_restarts};
use super::sample;
use crate::support::runs::{Event, Reporter, START_MS, opened, words};

on_each_run_store! {
    segments_read_back_in_order_and_by_pages,
    the_same_segment_again_changes_nothing,
    what_does_not_continue_the_run_is_refused,
    a_newer_epoch_takes_over_for_good,
    racing_appends_of_one_segment_store_it_once,
    an_append_that_nobody_waits_for_is_stored_all_the_same,
    many_runs_append_at_the_same_time,
    late_segments_of_a_closed_run_are_taken,
    a_claim_tells_the_epoch_of_an_unsettled_run,
}
on_each_run_store_across_restarts! {
    segments_survive_a_restart,
    what_is_submitted_is_stored_in_turn_and_told,
}

async fn open(store: &dyn RunStore) -> Reporter {
    let reporter = Reporter::new(opened(sample::org(), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    reporter
}

async fn all(store: &dyn RunStore, reporter: &Reporter) -> Vec<Segment> {
    store.segments(reporter.org(), reporter.id(), (0, 0), usize::MAX).await.unwrap()
}

const CONFLICT: StoreError = StoreError::Conflict(Conflict::SegmentSequence);

async fn segments_read_back_in_order_and_by_pages(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    let mut sent = Vec::new();
    for number in 0..20 {
        let mut segment = match number % 4 {
            0 => reporter.log(words(number * 40, 7)),
            1 => reporter.segment(&[Event::Begin("t", "adds"), Event::End("t", TestStatus::Passed)]),
            2 => reporter.segment(&[Event::Announce(Status::Running)]),
            _ => reporter.segment(&[]),
        };
        if number == 7 {
            segment.batches.clear();
            segment.refusals = Refusals { replayed: 1, tier: 2, pressure: 3, rejected: 4 };
        }
        store.append(&segment).await.unwrap();
        sent.push(segment);
    }
    assert_eq!(all(store, &reporter).await, sent);
    assert_eq!(store.position(reporter.org(), reporter.id()).await, Ok(Some(reporter.end)));
    for limit_bytes in [0, 1, 500, 3_000] {
        let mut read = Vec::new();
        loop {
            let after = read.last().map_or((0, 0), |last: &Segment| (last.epoch, last.seq));
            let page = store.segments(reporter.org(), reporter.id(), after, limit_bytes).await.unwrap();
            assert!(limit_bytes > 1 || page.len() <= 1, "at least one, and no more than asked for");
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read, sent, "by {limit_bytes}");
    }
    assert_eq!(store.segments(reporter.org(), reporter.id(), (9, 0), 1_000).await, Ok(vec![]));
}

async fn the_same_segment_again_changes_nothing(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    let (first, second) = (reporter.log("one\n"), reporter.log("two\n"));
    store.append(&first).await.unwrap();
    store.append(&second).await.unwrap();
    for again in [&first, &second, &first] {
        assert_eq!(store.append(again).await, Ok(()));
    }
    assert_eq!(all(store, &reporter).await, [first, second]);
    assert_eq!(store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text, "one\ntwo\n");
}

async fn what_does_not_continue_the_run_is_refused(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    let first = reporter.log("one\n");
    store.append(&first).await.unwrap();
    let next = reporter.log("two\n");
    let start = next.start;
    let refused = [
        Segment { refusals: Refusals { tier: 1, ..Refusals::default() }, ..first.clone() },
        Segment { seq: 3, ..next.clone() },
        Segment { seq: 0, ..next.clone() },
        Segment { epoch: 2, seq: 2, ..next.clone() },
        Segment { epoch: 0, seq: 1, ..next.clone() },
        Segment { start: Position { units: start.units + 1, ..start }, ..next.clone() },
        Segment { start: Position { bytes: start.bytes + 1, ..start }, ..next.clone() },
        Segment { start: Position { results: start.results + 1, ..start }, ..next.clone() },
        Reporter::new(opened(reporter.org(), START_MS)).log("of no run"),
    ];
    for segment in &refused {
        assert_eq!(store.append(segment).await, Err(CONFLICT), "{segment:?}");
    }
    assert_eq!(all(store, &reporter).await, std::slice::from_ref(&first));
    assert_eq!(store.append(&next).await, Ok(()));
    assert_eq!(all(store, &reporter).await, [first, next]);
}

async fn a_newer_epoch_takes_over_for_good(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    let first = reporter.log("one\n");
    store.append(&first).await.unwrap();
    let stale = reporter.clone().log("from the old owner\n");
    (reporter.epoch, reporter.next_seq) = (4, 1);
    let second = reporter.log("from the new owner\n");
    store.append(&second).await.unwrap();
    assert_eq!(store.append(&stale).await, Err(CONFLICT));
    assert_eq!(store.append(&first).await, Ok(()), "what is stored may be repeated");
    assert_eq!(all(store, &reporter).await, [first.clone(), second.clone()]);
    let after = store.segments(reporter.org(), reporter.id(), (1, 1), usize::MAX).await;
    assert_eq!(after, Ok(vec![second]));
}

async fn racing_appends_of_one_segment_store_it_once(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    for number in 0..50 {
        let segment = reporter.log(format!("{number}\n"));
        let mut other = segment.clone();
        other.refusals.tier = 1;
        let outcomes = tokio::join!(store.append(&segment), store.append(&other), store.append(&segment));
        let stored = all(store, &reporter).await.pop().unwrap();
        let expected = |one: &Segment| if *one == stored { Ok(()) } else { Err(CONFLICT) };
        assert_eq!(outcomes, (expected(&segment), expected(&other), expected(&segment)), "{number}");
    }
    assert_eq!(all(store, &reporter).await.len(), 50);
}

async fn an_append_that_nobody_waits_for_is_stored_all_the_same(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    for number in 0..50 {
        let segment = reporter.log(format!("{number}\n"));
        // Given up at some point of its way; then tried again, as the engine does when it does not know.
        drop(tokio::time::timeout(Duration::from_micros(number * 10), store.append(&segment)).await);
        assert_eq!(store.append(&segment).await, Ok(()), "{number}");
    }
    assert_eq!(store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text, reporter.text);
}

async fn many_runs_append_at_the_same_time(store: &dyn RunStore) {
    let stream = async |seed: u64| {
        let mut reporter = open(store).await;
        for number in 0..20 {
            store.append(&reporter.log(words(number, seed))).await.unwrap();
        }
        reporter
    };
    let reporters = futures_util::future::join_all((0..32).map(stream)).await;
    for reporter in reporters {
        let text = store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text;
        assert_eq!(text, reporter.text);
    }
}

async fn late_segments_of_a_closed_run_are_taken(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    store.append(&reporter.log("in time\n")).await.unwrap();
    store.close_run(reporter.closed(1)).await.unwrap();
    assert_eq!(store.append(&reporter.log("late\n")).await, Ok(()));
    store.close_run(reporter.closed(2)).await.unwrap();
    store.settle(reporter.org(), reporter.id()).await.unwrap();
    assert_eq!(store.append(&reporter.log("too late\n")).await, Err(CONFLICT));
    let text = store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text;
    assert_eq!(text, "in time\nlate\n");
}

async fn a_claim_tells_the_epoch_of_an_unsettled_run(store: &dyn RunStore) {
    let mut reporter = open(store).await;
    let (org, id) = (reporter.org(), reporter.id());
    assert_eq!(store.claim(sample::org(), id).await, Ok(None));
    assert_eq!(store.claim(org, runstream::domain::id::ExecutionId::generate(1)).await, Ok(None));
    let epoch = store.claim(org, id).await.unwrap().unwrap();
    assert_eq!(store.claim(org, id).await, Ok(Some(epoch)));
    reporter.epoch = epoch;
    let first = reporter.log("one\n");
    store.append(&first).await.unwrap();
    assert_eq!(store.claim(org, id).await, Ok(Some(epoch)), "what it has stays as it is");
    assert_eq!(all(store, &reporter).await, [first]);
    store.close_run(reporter.closed(1)).await.unwrap();
    assert_eq!(store.claim(org, id).await, Ok(Some(epoch)), "closed is not settled");
    store.settle(org, id).await.unwrap();
    assert_eq!(store.claim(org, id).await, Ok(None));
    let gone = open(store).await;
    store.abandon_run(gone.org(), gone.id(), 0).await.unwrap();
    assert_eq!(store.claim(gone.org(), gone.id()).await, Ok(None));
}

async fn segments_survive_a_restart(home: &dyn RunHome) {
    let mut store = home.open_runs().await;
    let mut reporter = open(&*store).await;
    let mut sent = Vec::new();
    for number in 0..6 {
        reporter.goes_on(store.claim(reporter.org(), reporter.id()).await);
        let segment = reporter.log(words(200, number));
        store.append(&segment).await.unwrap();
        sent.push(segment);
        drop(store);
        store = home.open_runs().await;
        assert_eq!(all(&*store, &reporter).await, sent);
        assert_eq!(store.append(sent.last().unwrap()).await, Ok(()));
    }
}

async fn what_is_submitted_is_stored_in_turn_and_told(home: &dyn RunHome) {
    let store = home.open_runs().await;
    let mut reporter = open(&*store).await;
    let sent: Vec<Segment> = (0..5).map(|number| reporter.log(words(200, number))).collect();
    let submit = |segment: &Segment| {
        let (sender, told) = tokio::sync::oneshot::channel();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        Arc::clone(&store).submit(Arc::new(segment.clone()), done);
        told
    };
    assert_eq!(submit(&sent[0]).await, Ok(Ok(())));
    let next = submit(&sent[1]);
    // While one of the run is on its way: the same, and one that does not follow.
    let same = submit(&sent[1]);
    let too_far = submit(&sent[3]);
    assert_eq!((next.await, same.await, too_far.await), (Ok(Ok(())), Ok(Ok(())), Ok(Err(CONFLICT))));
    for segment in &sent[2..] {
        assert_eq!(submit(segment).await, Ok(Ok(())));
    }
    drop(store);
    let store = home.open_runs().await;
    assert_eq!(all(&*store, &reporter).await, sent);
}
