//! The feed: numbers are stored with what they belong to, and found again.

use runstream::domain::id::OrgId;
use runstream::domain::segment::Segment;
use runstream::store::contract::{ClosedRun, FeedRow, OpenedRun};

use super::runs::{RunHome, RunStore, on_each_run_store, on_each_run_store_across_restarts};
use super::sample;
use crate::support::runs::{Reporter, START_MS, opened};

on_each_run_store! {
    the_epoch_stays,
    a_feed_begins_without_rows,
    everything_with_a_number_is_a_row,
    what_has_no_number_is_not_in_the_feed,
    rows_come_in_order_and_in_pages,
    a_run_taken_back_leaves_its_opening_and_its_taking_back,
    a_closure_that_changes_nothing_has_no_row,
    settling_changes_no_row,
    feeds_of_two_organizations_are_two,
    old_rows_are_forgotten_and_the_head_stays,
    rows_of_unsettled_runs_are_kept,
    readers_find_all_rows_while_runs_settle,
    pages_over_many_runs_leave_nothing_out,
}
on_each_run_store_across_restarts! { the_feed_survives_a_restart, a_new_store_has_a_new_epoch }

/// A run and the rows that its story made.
struct Told {
    reporter: Reporter,
    rows: Vec<FeedRow>,
}

impl Told {
    async fn open(store: &dyn RunStore, org: OrgId, seq: u64) -> Self {
        let opened = OpenedRun { feed_seq: seq, ..opened(org, START_MS) };
        store.open_run(opened.clone()).await.unwrap();
        let mut told = Self { reporter: Reporter::new(opened), rows: Vec::new() };
        let task = Some(told.reporter.opened.execution.task_id.clone());
        told.row(seq, (0, 0), true, task);
        told
    }

    fn row(
        &mut self,
        seq: u64,
        start: (u64, u64),
        updated: bool,
        task: Option<runstream::domain::id::TaskId>,
    ) {
        let end = (self.reporter.end.units, self.reporter.end.bytes);
        self.rows.push(FeedRow { seq, execution: self.reporter.id(), start, end, updated, task });
    }

    async fn append(&mut self, store: &dyn RunStore, seq: u64, text: &str, is_update: bool) {
        let start = (self.reporter.end.units, self.reporter.end.bytes);
        let segment = Segment { feed_seq: seq, is_update, ..self.reporter.log(text) };
        store.append(&segment).await.unwrap();
        self.row(seq, start, is_update, None);
    }

    async fn close(&mut self, store: &dyn RunStore, revision: u32, seq: u64) {
        let closed = ClosedRun { feed_seq: seq, ..self.reporter.closed(revision) };
        assert_eq!(store.close_run(closed).await, Ok(true));
        self.row(seq, (self.reporter.end.units, self.reporter.end.bytes), true, None);
    }

    async fn settle(&self, store: &dyn RunStore) {
        store.settle(self.reporter.org(), self.reporter.id()).await.unwrap();
    }
}

fn all(told: &[&Told]) -> Vec<FeedRow> {
    let mut rows: Vec<_> = told.iter().flat_map(|told| told.rows.clone()).collect();
    rows.sort_by_key(|row| row.seq);
    rows
}

async fn rows(store: &dyn RunStore, org: OrgId) -> Vec<FeedRow> {
    store.feed_rows(org, 0, usize::MAX).await.unwrap()
}

/// Two runs side by side with every kind of row.
async fn two_runs(store: &dyn RunStore, org: OrgId) -> (Told, Told) {
    let mut one = Told::open(store, org, 1).await;
    let mut two = Told::open(store, org, 2).await;
    one.append(store, 3, "größe 🦀\n", false).await;
    two.append(store, 4, "two\n", true).await;
    // A void number lies between.
    one.append(store, 7, "more\n", false).await;
    one.close(store, 1, 8).await;
    two.append(store, 9, "", true).await;
    one.append(store, 10, "late\n", false).await;
    one.close(store, 2, 11).await;
    (one, two)
}

async fn the_epoch_stays(store: &dyn RunStore) {
    assert_eq!(store.feed_epoch().await, store.feed_epoch().await);
}

async fn a_feed_begins_without_rows(store: &dyn RunStore) {
    let org = sample::org();
    assert_eq!(store.feed_head(org).await, Ok(0));
    assert_eq!(store.feed_floor(org).await, Ok(0));
    assert_eq!(rows(store, org).await, []);
}

async fn everything_with_a_number_is_a_row(store: &dyn RunStore) {
    let org = sample::org();
    let (one, two) = two_runs(store, org).await;
    assert_eq!(rows(store, org).await, all(&[&one, &two]));
    assert_eq!(store.feed_head(org).await, Ok(11));
    let closure = store.closure(org, one.reporter.id()).await.unwrap().unwrap();
    assert_eq!(closure.feed_seq, 11);
    let segments = store.segments(org, two.reporter.id(), (0, 0), usize::MAX).await.unwrap();
    let numbers: Vec<_> = segments.iter().map(|segment| (segment.feed_seq, segment.is_update)).collect();
    assert_eq!(numbers, [(4, true), (9, true)]);
}

async fn what_has_no_number_is_not_in_the_feed(store: &dyn RunStore) {
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.append(&reporter.log("one\n")).await.unwrap();
    store.close_run(reporter.closed(1)).await.unwrap();
    assert_eq!(rows(store, reporter.org()).await, []);
    store.settle(reporter.org(), reporter.id()).await.unwrap();
    assert_eq!(rows(store, reporter.org()).await, []);
    assert_eq!(store.feed_head(reporter.org()).await, Ok(0));
}

async fn rows_come_in_order_and_in_pages(store: &dyn RunStore) {
    let org = sample::org();
    let (one, two) = two_runs(store, org).await;
    two.settle(store).await;
    one.settle(store).await;
    let expected = all(&[&one, &two]);
    for limit in [0, 1, 2, 5, 100] {
        let mut found = Vec::new();
        loop {
            let after = found.last().map_or(0, |row: &FeedRow| row.seq);
            let page = store.feed_rows(org, after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, if limit == 0 { Vec::new() } else { expected.clone() }, "limit {limit}");
    }
    assert_eq!(store.feed_rows(org, 5, 1).await, Ok(vec![expected[4].clone()]), "after a void number");
    assert_eq!(store.feed_rows(org, u64::MAX, 9).await, Ok(vec![]));
}

async fn a_run_taken_back_leaves_its_opening_and_its_taking_back(store: &dyn RunStore) {
    let org = sample::org();
    let mut told = Told::open(store, org, 1).await;
    let id = told.reporter.id();
    store.append(&Segment { feed_seq: 2, ..told.reporter.log("gone\n") }).await.unwrap();
    assert_eq!(store.abandon_run(org, id, 3).await, Ok(true));
    assert_eq!(store.abandon_run(org, id, 4).await, Ok(false));
    let task = told.rows[0].task.clone();
    told.rows.push(FeedRow { seq: 3, execution: id, start: (0, 0), end: (0, 0), updated: true, task });
    assert_eq!(rows(store, org).await, told.rows);
    assert_eq!(store.feed_head(org).await, Ok(3));
}

async fn a_closure_that_changes_nothing_has_no_row(store: &dyn RunStore) {
    let org = sample::org();
    let mut told = Told::open(store, org, 1).await;
    told.close(store, 1, 2).await;
    let again = ClosedRun { feed_seq: 3, ..told.reporter.closed(1) };
    assert_eq!(store.close_run(again).await, Ok(false));
    assert_eq!(rows(store, org).await, told.rows);
}

async fn settling_changes_no_row(store: &dyn RunStore) {
    let org = sample::org();
    let (one, mut two) = two_runs(store, org).await;
    one.settle(store).await;
    assert_eq!(rows(store, org).await, all(&[&one, &two]));
    two.close(store, 1, 12).await;
    two.settle(store).await;
    two.settle(store).await;
    assert_eq!(rows(store, org).await, all(&[&one, &two]));
    two.close(store, 2, 13).await;
    assert_eq!(rows(store, org).await, all(&[&one, &two]), "a closure after settling has its row");
    assert_eq!(store.feed_head(org).await, Ok(13));
}

async fn feeds_of_two_organizations_are_two(store: &dyn RunStore) {
    let (left, right) = (sample::org(), sample::org());
    let (one, two) = two_runs(store, left).await;
    let other = Told::open(store, right, 1).await;
    assert_eq!(rows(store, left).await, all(&[&one, &two]));
    assert_eq!(rows(store, right).await, other.rows);
    assert_eq!((store.feed_head(left).await, store.feed_head(right).await), (Ok(11), Ok(1)));
}

async fn old_rows_are_forgotten_and_the_head_stays(store: &dyn RunStore) {
    let (org, other) = (sample::org(), sample::org());
    let mut told = Told::open(store, org, 1).await;
    told.append(store, 2, "one\n", false).await;
    told.close(store, 1, 3).await;
    told.settle(store).await;
    let untouched = Told::open(store, other, 1).await;
    assert_eq!(store.purge_feed(START_MS).await, Ok(0), "a row as old as that is not older");
    assert_eq!(rows(store, org).await, told.rows);
    // The opening of both, then what happened a second later.
    assert_eq!(store.purge_feed(START_MS + 1).await, Ok(2));
    assert_eq!(rows(store, org).await, told.rows[1..]);
    assert_eq!(store.feed_floor(org).await, Ok(1));
    assert_eq!(store.purge_feed(i64::MAX).await, Ok(2));
    assert_eq!(store.purge_feed(i64::MAX).await, Ok(0));
    assert_eq!(rows(store, org).await, []);
    assert_eq!((store.feed_floor(org).await, store.feed_head(org).await), (Ok(3), Ok(3)));
    assert_eq!((store.feed_floor(other).await, store.feed_head(other).await), (Ok(1), Ok(1)));
    assert_eq!(untouched.rows.len(), 1);
}

async fn rows_of_unsettled_runs_are_kept(store: &dyn RunStore) {
    let org = sample::org();
    let mut told = Told::open(store, org, 1).await;
    told.append(store, 2, "one\n", false).await;
    assert_eq!(store.purge_feed(i64::MAX).await, Ok(1));
    assert_eq!(rows(store, org).await, told.rows[1..]);
    assert_eq!((store.feed_floor(org).await, store.feed_head(org).await), (Ok(1), Ok(2)));
}

async fn readers_find_all_rows_while_runs_settle(store: &dyn RunStore) {
    for _ in 0..10 {
        let org = sample::org();
        let (one, mut two) = two_runs(store, org).await;
        two.close(store, 1, 12).await;
        let expected = all(&[&one, &two]);
        let read = async || {
            for _ in 0..20 {
                assert_eq!(rows(store, org).await, expected);
                assert_eq!(store.feed_head(org).await, Ok(12));
            }
        };
        tokio::join!(one.settle(store), two.settle(store), read(), read());
    }
}

async fn pages_over_many_runs_leave_nothing_out(store: &dyn RunStore) {
    let org = sample::org();
    let mut seq = 0;
    let mut next = || {
        seq += 1;
        seq
    };
    let mut runs = Vec::new();
    for _ in 0..12 {
        runs.push(Told::open(store, org, next()).await);
    }
    for round in 0..5 {
        // Some side by side, some one after the other.
        for (number, run) in runs.iter_mut().enumerate() {
            for _ in 0..=(number * round) % 4 {
                run.append(store, next(), "x", false).await;
            }
        }
    }
    runs[3].close(store, 1, next()).await;
    runs[3].settle(store).await;
    let expected = all(&runs.iter().collect::<Vec<_>>());
    for limit in [1, 3, 10, 40, 1_000] {
        for after in [0, 12, 13, 50, seq] {
            let page = store.feed_rows(org, after, limit).await.unwrap();
            let above: Vec<_> = expected.iter().filter(|row| row.seq > after).take(limit).cloned().collect();
            assert_eq!(page, above, "{limit} after {after}");
        }
    }
}

async fn the_feed_survives_a_restart(home: &dyn RunHome) {
    let store = home.open_runs().await;
    let org = sample::org();
    let epoch = store.feed_epoch().await.unwrap();
    let (one, two) = two_runs(&*store, org).await;
    let mut gone = Told::open(&*store, org, 12).await;
    store.abandon_run(org, gone.reporter.id(), 13).await.unwrap();
    gone.rows.push(FeedRow { seq: 13, ..gone.rows[0].clone() });
    let expected = all(&[&one, &two, &gone]);
    drop(store);
    for settled in [false, true, true] {
        let store = home.open_runs().await;
        assert_eq!(rows(&*store, org).await, expected, "settled: {settled}");
        assert_eq!((store.feed_head(org).await, store.feed_epoch().await), (Ok(13), Ok(epoch)));
        one.settle(&*store).await;
    }
    assert!(home.open_runs().await.purge_feed(i64::MAX).await.unwrap() > 0);
    let store = home.open_runs().await;
    assert_eq!((store.feed_head(org).await, store.feed_floor(org).await), (Ok(13), Ok(13)));
}

async fn a_new_store_has_a_new_epoch(home: &dyn RunHome) {
    let other = home.another();
    let epochs = (
        home.open_runs().await.feed_epoch().await.unwrap(),
        other.open_runs().await.feed_epoch().await.unwrap(),
    );
    assert_ne!(epochs.0, epochs.1);
}
