//! Who may append: one node at a time, the next one after the first let go, or was silent for long enough.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runstream::clock::ManualUptime;
use runstream::limits::FEED_NUMBERS_SKIPPED;
use runstream::store::contract::{Executions, FeedLog, StoreError};
use runstream::store::scylla::runs::{RunSettings, ScyllaRuns};
use runstream::store::scylla::{Cql, LeaseSettings};

use crate::store::runs::{open_runs, patient};
use crate::store::sample;
use crate::support::cql::{self, Fault, Keyspace, Wire};
use crate::support::runs::{Reporter, START_MS, opened, words};

const SECOND: Duration = Duration::from_secs(1);

/// A node that others give up after six seconds of silence.
fn brief() -> RunSettings {
    let lease = LeaseSettings { heartbeat: SECOND / 2, lease: 3 * SECOND, dead_after: 6 * SECOND };
    RunSettings { lease, ..RunSettings::default() }
}

/// A node whose writes a test stops: none of its heartbeats comes in between for hours.
fn quiet() -> RunSettings {
    let lease =
        LeaseSettings { heartbeat: 3_600 * SECOND, lease: 10_800 * SECOND, dead_after: 25_200 * SECOND };
    RunSettings { lease, ..RunSettings::default() }
}

/// A node, and the session whose writes a test stops.
async fn stoppable(keyspace: &Keyspace, settings: RunSettings) -> (Arc<Cql>, Arc<ScyllaRuns>) {
    let cql = Arc::new(cql::connect(keyspace).await);
    let store = ScyllaRuns::open(Arc::clone(&cql), settings).await.unwrap();
    (cql, Arc::new(store))
}

/// Waits until a write is held.
async fn is_held(cql: &Cql) {
    let deadline = Instant::now() + 20 * SECOND;
    while !cql.faults().is_holding() {
        assert!(Instant::now() < deadline, "nothing is held");
        tokio::time::sleep(SECOND / 100).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_run_of_a_live_node_is_read_by_others_and_claimed_by_none_until_it_lets_go() {
    let keyspace = cql::keyspace().await;
    let (one, two) = (open_runs(&keyspace.0, patient()).await, open_runs(&keyspace.0, patient()).await);
    assert_ne!(one.feed_epoch().await, two.feed_epoch().await, "two nodes, two numberings");
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    one.open_run(reporter.opened.clone()).await.unwrap();
    for number in 0..5 {
        one.append(&reporter.log(format!("{number}\n"))).await.unwrap();
        let read = two.whole_text(org, id).await.unwrap().unwrap().text;
        assert_eq!(read, reporter.text, "what is acknowledged is read everywhere");
    }
    let refused = two.claim(org, id).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let foreign = two.append(&reporter.clone().log("intruder")).await;
    assert!(matches!(foreign, Err(StoreError::Conflict(_))), "{foreign:?}");
    let closed = two.close_run(reporter.closed(1)).await;
    assert!(matches!(closed, Err(StoreError::Unavailable(_))), "{closed:?}");

    one.shut_down().await.unwrap();
    let begun = Instant::now();
    reporter.goes_on(two.claim(org, id).await);
    assert!(begun.elapsed() < patient().lease.lease, "there is nothing to wait for");
    assert_eq!(reporter.epoch, 2);
    two.append(&reporter.log("from the second\n")).await.unwrap();
    assert_eq!(two.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
    let late = one.append(&reporter.clone().log("late")).await;
    assert!(late.is_err(), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn the_runs_of_a_node_that_is_gone_are_taken_over_after_its_silence() {
    let keyspace = cql::keyspace().await;
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    let epoch = {
        let gone = open_runs(&keyspace.0, brief()).await;
        gone.open_run(reporter.opened.clone()).await.unwrap();
        let mut segment = reporter.log("acknowledged\n");
        segment.feed_seq = 7;
        gone.append(&segment).await.unwrap();
        gone.feed_epoch().await.unwrap()
    };
    let begun = Instant::now();
    let next = open_runs(&keyspace.0, brief()).await;
    assert!(begun.elapsed() >= brief().lease.dead_after, "it waited {:?} only", begun.elapsed());
    assert_eq!(next.feed_epoch().await, Ok(epoch), "positions in the feed stay good");
    let rows = next.feed_rows(org, 0, 9).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [7]);
    let head = next.feed_head(org).await.unwrap();
    assert!(head > 7, "what the one before may have had on its way is left out: {head}");
    assert_eq!(next.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
    reporter.goes_on(next.claim(org, id).await);
    assert_eq!(reporter.epoch, 2);
    next.append(&reporter.log("and on it goes\n")).await.unwrap();
    assert_eq!(next.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_takeover_of_many_feeds_does_not_go_through_them_one_by_one() {
    const FEEDS: u32 = 200;
    const SLOW: Duration = Duration::from_millis(50);
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let epoch = open_runs(&keyspace.0, patient()).await.feed_epoch().await.unwrap();
    let feeds: Vec<_> = (0..FEEDS).map(|_| sample::org()).zip(1_u64..).collect();
    let heads = feeds.iter().map(|(org, head)| {
        let (table, lane) = (format!("{}.feed_state", keyspace.keyspace), epoch.cast_signed());
        format!(
            "INSERT INTO {table} (lane, org, head) VALUES ({lane}, 0x{org}, {head}) USING TIMESTAMP {head}"
        )
    });
    let heads: Vec<_> = heads.collect();
    cql::administer(&keyspace, &heads.iter().map(String::as_str).collect::<Vec<_>>()).await;
    cql::fence_nodes(&keyspace).await;

    wire.slow_down(SLOW);
    let begun = Instant::now();
    let next = open_runs(&wire.settings(), patient()).await;
    // Each is read and written.
    let (took, one_by_one) = (begun.elapsed(), 2 * SLOW * FEEDS);
    wire.mend();
    println!("{took:?} for {FEEDS} feeds, one by one {one_by_one:?}");
    assert!(took < one_by_one / 2, "{took:?}");
    assert_eq!(next.feed_epoch().await, Ok(epoch), "it goes on with another numbering");
    for (org, head) in feeds {
        assert_eq!(next.feed_head(org).await, Ok(head + FEED_NUMBERS_SKIPPED));
    }
    next.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_node_whose_lease_is_over_acknowledges_nothing_and_comes_back_under_a_new_name() {
    let keyspace = cql::keyspace().await;
    let uptime = ManualUptime::default();
    let settings = RunSettings { uptime: Arc::new(uptime.clone()), ..brief() };
    let store = open_runs(&keyspace.0, settings).await;
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.append(&reporter.log("in time\n")).await.unwrap();
    let before = (reporter.clone(), store.feed_epoch().await);

    // As a process finds it that was stopped for so long.
    uptime.advance(brief().lease.lease);
    let late = reporter.log("too late\n");
    let refused = store.append(&late).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    reporter = before.0;
    let deadline = Instant::now() + 20 * SECOND;
    while let Err(error) = store.probe() {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(SECOND / 20).await;
    }
    assert_eq!(store.feed_epoch().await, before.1);
    let old = store.append(&late).await;
    assert!(matches!(old, Err(StoreError::Conflict(_))), "its epoch is over: {old:?}");
    reporter.goes_on(store.claim(org, id).await);
    assert_eq!(reporter.epoch, 2);
    store.append(&reporter.log("again\n")).await.unwrap();
    assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
}

/// Statements of a node that comes back: claiming its numbering of the feed, asking what is unsettled, looking at a run.
const COMING_BACK: [&str; 3] = [
    "UPDATE feed_lane SET owner = ? WHERE zone = ? AND lane = ? IF owner = ?",
    "SELECT execution, org, task, session, start_ms, owner FROM run_unsettled WHERE shard = ?",
    "SELECT org, version, change, opened, closure, claim, settled, abandoned FROM run WHERE execution = ?",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_node_that_comes_back_goes_on_with_its_numbering_whatever_fails_meanwhile() {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let uptime = ManualUptime::default();
    let lease = LeaseSettings { heartbeat: SECOND / 10, ..brief().lease };
    let settings = RunSettings { lease, uptime: Arc::new(uptime.clone()) };
    let store = open_runs(&wire.settings(), settings).await;
    wire.learn().await;
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    store.open_run(reporter.opened.clone()).await.unwrap();
    let numbering = store.feed_epoch().await;
    for text in COMING_BACK {
        // Refused, and done without that being known.
        for fault in [Fault::Overloaded, Fault::Cut] {
            wire.fail(text, 0, fault);
            uptime.advance(lease.lease);
            let deadline = Instant::now() + 20 * SECOND;
            while store.probe().is_ok() {
                assert!(Instant::now() < deadline, "its lease goes on");
                tokio::time::sleep(SECOND / 50).await;
            }
            while let Err(error) = store.probe() {
                assert!(Instant::now() < deadline, "{text}: {fault:?}: {error}");
                tokio::time::sleep(SECOND / 20).await;
            }
            assert!(wire.mend(), "{text}: nothing has failed");
            assert_eq!(store.feed_epoch().await, numbering, "{text}: {fault:?}");
            reporter.goes_on(store.claim(org, id).await);
            store.append(&reporter.log("again\n")).await.unwrap();
        }
    }
    assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn what_is_written_when_the_lease_is_over_is_not_acknowledged() {
    let keyspace = cql::keyspace().await;
    let uptime = ManualUptime::default();
    let settings = RunSettings { uptime: Arc::new(uptime.clone()), ..quiet() };
    let (cql, store) = stoppable(&keyspace, settings).await;
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.append(&reporter.log("in time\n")).await.unwrap();

    cql.faults().hold_after(0);
    let (writer, slow) = (Arc::clone(&store), reporter.log("slow\n"));
    let writing = tokio::spawn(async move { writer.append(&slow).await });
    is_held(&cql).await;
    uptime.advance(quiet().lease.lease);
    cql.faults().end();
    let written = writing.await.unwrap();
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");

    // It is there all the same: whoever takes the run over finds it, and it stays.
    cql::fence_nodes(&keyspace).await;
    let (_, next) = stoppable(&keyspace, quiet()).await;
    assert_eq!(next.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn the_last_segment_is_written_again_between_the_beginning_and_the_end_of_a_takeover() {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let cql = Arc::new(cql::connect(&wire.settings()).await);
    // Makes all statements known.
    ScyllaRuns::open(Arc::clone(&cql), quiet()).await.unwrap().shut_down().await.unwrap();
    wire.learn().await;
    let mut reporter = Reporter::new(opened(sample::org(), START_MS));
    let (org, id) = (reporter.org(), reporter.id());
    // Told apart by its length.
    let tail = words(1_000, 1);
    {
        let (_, gone) = stoppable(&keyspace, quiet()).await;
        gone.open_run(reporter.opened.clone()).await.unwrap();
        for text in ["one\n", "two\n", tail.as_str()] {
            gone.append(&reporter.log(text)).await.unwrap();
        }
    }
    cql::fence_nodes(&keyspace).await;

    wire.note();
    let next = ScyllaRuns::open(cql, quiet()).await.unwrap();
    let sent = wire.noted_whole();
    let is_of = |text: &str, start: &str| text.starts_with(start);
    let of_run = |text: &str| is_of(text, "UPDATE run SET ") || is_of(text, "INSERT INTO run_segment ");
    let changes: Vec<_> = sent.iter().filter(|sent| of_run(&sent.texts[0])).collect();
    let kinds: Vec<_> = changes.iter().map(|sent| sent.texts[0].split(['(', '=']).next().unwrap()).collect();
    assert_eq!(kinds, ["UPDATE run SET org ", "INSERT INTO run_segment ", "UPDATE run SET org "]);
    assert!(changes[1].bytes > tail.len() / 2, "that is not the last one: {:?}", changes[1]);
    assert_eq!(next.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
}

/// Two nodes, and the run of a third one that is dead.
struct Claimants {
    keyspace: Keyspace,
    first: (Arc<Cql>, Arc<ScyllaRuns>),
    second: (Arc<Cql>, Arc<ScyllaRuns>),
    reporter: Reporter,
}

impl Claimants {
    async fn start() -> Self {
        let keyspace = cql::keyspace().await;
        let first = stoppable(&keyspace, quiet()).await;
        // Finds out soon whether the first one is alive.
        let lease = LeaseSettings { heartbeat: SECOND / 2, ..quiet().lease };
        let soon = || RunSettings { lease, ..quiet() };
        let second = cql::while_all_beat(&keyspace, stoppable(&keyspace, soon())).await;
        let alive = cql::nodes(&keyspace).await;
        let mut reporter = Reporter::new(opened(sample::org(), START_MS));
        {
            let (_, gone) = cql::while_all_beat(&keyspace, stoppable(&keyspace, soon())).await;
            gone.open_run(reporter.opened.clone()).await.unwrap();
            for number in 0..3 {
                gone.append(&reporter.log(format!("{number}\n"))).await.unwrap();
            }
        }
        for node in cql::nodes(&keyspace).await {
            if !alive.contains(&node) {
                cql::fence_node(&keyspace, node).await;
            }
        }
        Self { keyspace, first, second, reporter }
    }

    /// The first one, which owns the run, goes on; the second one may read it and do nothing else.
    async fn first_has_it(&mut self, claimed: Result<Option<u32>, StoreError>) {
        let (reporter, first, second) = (&mut self.reporter, &self.first.1, &self.second.1);
        let (org, id) = (reporter.org(), reporter.id());
        reporter.goes_on(claimed);
        assert_eq!(reporter.epoch, 2);
        let foreign = second.append(&reporter.clone().log("from the second\n")).await;
        assert!(matches!(foreign, Err(StoreError::Conflict(_))), "{foreign:?}");
        first.append(&reporter.log("from the first\n")).await.unwrap();
        for store in [first, second] {
            assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn while_a_run_is_taken_over_readers_wait_and_others_are_refused() {
    let mut claimants = Claimants::start().await;
    let (org, id) = (claimants.reporter.org(), claimants.reporter.id());
    let ((cql, first), (_, second)) = (claimants.first.clone(), claimants.second.clone());
    // The run's row says that its last epoch is being sealed, and no more.
    cql.faults().hold_after(1);
    let claiming = tokio::spawn(async move { first.claim(org, id).await });
    is_held(&cql).await;
    let reader = Arc::clone(&second);
    let mut reading = tokio::spawn(async move { reader.whole_text(org, id).await });
    let refused = cql::while_all_beat(&claimants.keyspace, second.claim(org, id)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let early = tokio::time::timeout(SECOND / 2, &mut reading).await;
    assert!(early.is_err(), "it is read although its end is not known: {early:?}");

    cql.faults().end();
    let read = reading.await.unwrap().unwrap().unwrap().text;
    assert_eq!(read, claimants.reporter.text);
    claimants.first_has_it(claiming.await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn of_two_nodes_that_reach_for_the_run_of_a_dead_one_the_slower_is_refused() {
    let mut claimants = Claimants::start().await;
    let (org, id) = (claimants.reporter.org(), claimants.reporter.id());
    let (cql, second) = claimants.second.clone();
    // It finds the owner dead, and is late with its change of the run's row.
    cql.faults().hold_after(0);
    let claiming = tokio::spawn(async move { second.claim(org, id).await });
    is_held(&cql).await;
    tokio::time::sleep(SECOND / 2).await;
    let claimed = claimants.first.1.claim(org, id).await;
    cql.faults().end();
    let refused = cql::while_all_beat(&claimants.keyspace, claiming).await.unwrap();
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    claimants.first_has_it(claimed).await;
}
