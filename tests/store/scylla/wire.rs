//! The wire to the cluster: each statement of a run's life fails once at its place, in each way; a statement that is never
//! answered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runstream::actors::Opened;
use runstream::clock::SystemClock;
use runstream::domain::batch::TestStatus::{Failed, Passed};
use runstream::domain::execution::{Status, Summary};
use runstream::domain::id::{OrgId, ProjectId, UserId};
use runstream::domain::teardown::TeardownRequest;
use runstream::limits::{CQL_CONDITIONAL_TIMEOUT, CQL_REQUEST_TIMEOUT, CQL_WRITE_TIMEOUT};
use runstream::store::contract::{ExecutionFilter, Executions as _, RunState, StoreError};
use runstream::store::scylla::runs::RunSettings;
use runstream::store::scylla::statement::{Purpose, Spec};
use runstream::store::scylla::{Cql, LeaseSettings, ScyllaSettings};

use super::engine::{Node, line, lines, open, people, until_done};
use crate::store::runs::patient;
use crate::support::cql::{self, Fault, LATE, Wire};
use crate::support::long_mode;
use crate::support::runs::{Event, batch};

/// Batches of a run.
const BATCHES: u64 = 3;
/// Runs at a time, each of a server and a wire of its own: most of a trial is waiting.
const AT_A_TIME: usize = 8;
/// The write of the path of an acknowledgement.
const SEGMENT: &str = "INSERT INTO run_segment ";
/// A change of the run's row: before the first segment of another hour it is on that path too.
const CHANGE: &str = "UPDATE run SET ";
const HOUR_MS: i64 = 3_600_000;
/// No fault costs more: a statement is lost or late after 5 s, and what is asked for again waits a little.
const TRIAL_TAKES_AT_MOST: Duration = Duration::from_secs(60);

/// One place in the life of a run: so many statements of this text have passed.
#[derive(Debug, Clone)]
struct Place {
    at: usize,
    text: String,
    passing: usize,
}

impl Place {
    fn is_of_a_segment(&self) -> bool {
        self.text.starts_with(SEGMENT)
    }
}

/// A server behind a wire of its own.
struct Teller {
    wire: Wire,
    node: Node,
    people: (OrgId, UserId, ProjectId),
}

impl Teller {
    async fn start(keyspace: &ScyllaSettings, number: usize) -> Self {
        let wire = Wire::to(keyspace).await;
        let node = Node::start_still(&wire.settings(), patient()).await;
        let people = people(&node, &format!("pinewood-{number}")).await;
        let mut teller = Self { wire, node, people };
        // What is asked for once only is asked for here.
        let run = teller.tell().await;
        teller.check(&run, "on a wire that is well").await;
        teller.wire.learn().await;
        teller
    }

    /// A run from its setup to its end, in long mode to its folding; each step is asked for until it is done. Its last
    /// batch comes an hour after the others.
    async fn tell(&self) -> Opened {
        let (org, user, project) = self.people;
        let run = open(&self.node, org, user, project).await;
        for n in 0..BATCHES {
            until_done(|| {
                let mut delivered = line(n, "");
                delivered.batch = batch(&events(n));
                if n == BATCHES - 1 {
                    delivered.receipt.received_ms += HOUR_MS;
                }
                self.node.engine.ingest(org, run.session, delivered)
            })
            .await;
        }
        let summary = Summary { total: 2, passed: 1, failed: 1, skipped: 0, duration: 9 };
        let request = || TeardownRequest { session: run.session, passed: false, summary, delivery: None };
        until_done(|| self.node.engine.tear_down(org, request())).await;
        if long_mode() {
            until_done(|| async { Ok(self.node.store.settle(org, run.execution).await?) }).await;
        }
        run
    }

    /// Nothing is lost, nothing is there twice, everything is in order.
    async fn check(&self, run: &Opened, context: &str) {
        let (org, ..) = self.people;
        let store = &self.node.store;
        let wanted: String = (0..BATCHES).map(|n| batch(&events(n)).text().to_owned()).collect();
        assert_eq!(self.node.text(org, run).await, wanted, "{context}");
        let results = store.all_results(org, run.execution).await.unwrap();
        let results: Vec<_> = results.iter().map(|result| (&*result.test_id, result.status)).collect();
        assert_eq!(results, [("t1", Passed), ("t2", Failed)], "{context}");
        let state = if long_mode() { None } else { Some(RunState::Closed) };
        assert_eq!(store.run_state(org, run.execution).await, Ok(state), "{context}");
        let execution = store.execution(org, run.execution).await.unwrap().unwrap();
        assert_eq!(execution.status, Status::Failed, "{context}");
        assert_eq!(execution.completeness.unwrap().batches_stored, BATCHES, "{context}");
        let listed = store.executions(org, &ExecutionFilter::default(), 1_000, 0).await.unwrap();
        let listed: Vec<_> = listed.executions.iter().filter(|listed| listed.id == run.execution).collect();
        assert_eq!(listed.len(), 1, "{context}");
        assert_eq!(listed[0].status, Status::Failed, "{context}");
    }

    /// One statement fails. Whether it was sent at all.
    async fn try_one(&mut self, place: &Place, fault: Fault) -> bool {
        let context = format!("{fault:?} at {place:?}");
        self.wire.fail(&place.text, place.passing, fault);
        let begun = Instant::now();
        let run = self.tell().await;
        let (failed, took) = (self.wire.mend(), begun.elapsed());
        assert!(took < TRIAL_TAKES_AT_MOST, "{took:?}: {context}");
        if fault == Fault::Late {
            // Whoever asked gave up after this time at the earliest: what was sent then has arrived after the rest.
            tokio::time::sleep(LATE - CQL_WRITE_TIMEOUT + Duration::from_millis(100)).await;
        }
        self.check(&run, &context).await;
        failed
    }
}

fn events(n: u64) -> Vec<Event> {
    let log = Event::Log(format!("line {n}\n"));
    match n {
        0 => vec![log, Event::Begin("t1", "adds"), Event::End("t1", Passed)],
        1 => vec![Event::Begin("t2", "pays"), log],
        _ => vec![Event::End("t2", Failed), log],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn whatever_statement_fails_on_the_way_nothing_is_lost_doubled_or_moved() {
    let keyspace = cql::keyspace().await;
    let starting = (0..AT_A_TIME).map(|number| Teller::start(&keyspace, number));
    let mut tellers = futures_util::future::join_all(starting).await;
    let first = &mut tellers[0];
    first.wire.note();
    first.tell().await;
    let mut passing: HashMap<String, usize> = HashMap::new();
    let places: Vec<Place> = first
        .wire
        .noted()
        .into_iter()
        // Heartbeats come in between.
        .filter(|text| !text.contains(" node "))
        .enumerate()
        .map(|(at, text)| {
            let before = passing.entry(text.clone()).or_default();
            *before += 1;
            Place { at, text, passing: *before - 1 }
        })
        .collect();
    first.wire.mend();
    let segments = places.iter().filter(|place| place.is_of_a_segment()).count();
    assert_eq!(segments as u64, BATCHES, "{places:#?}");
    let changes = places.windows(2).filter(|two| two[0].text.starts_with(CHANGE) && two[1].is_of_a_segment());
    let changes: Vec<usize> = changes.map(|two| two[0].at).collect();
    assert!(!changes.is_empty(), "no segment is the first of another hour: {places:#?}");

    // The path of an acknowledged batch in every way. Of the rest of a run's life each place in one way: in all ways it
    // takes minutes, since what is lost is waited for.
    let mut trials = VecDeque::new();
    for place in &places {
        let is_all = long_mode() || place.is_of_a_segment() || changes.contains(&place.at);
        let faults = if is_all { &Fault::ALL[..] } else { &Fault::ALL[place.at % Fault::ALL.len()..][..1] };
        trials.extend(faults.iter().map(|fault| (place.clone(), *fault)));
    }
    let (count, begun) = (trials.len(), Instant::now());
    let trials = Arc::new(Mutex::new(trials));
    let trying = tellers.into_iter().map(|mut teller| {
        let trials = Arc::clone(&trials);
        tokio::spawn(async move {
            let mut missed = Vec::new();
            loop {
                let next = trials.lock().unwrap().pop_front();
                let Some((place, fault)) = next else { break };
                if !teller.try_one(&place, fault).await {
                    missed.push((place, fault));
                }
            }
            teller.node.stop().await;
            missed
        })
    });
    let mut missed = Vec::new();
    for tried in futures_util::future::join_all(trying).await {
        missed.extend(tried.unwrap());
    }
    println!("{} places, {count} trials, {:?}", places.len(), begun.elapsed());
    assert!(missed.is_empty(), "these were not sent: {missed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_heartbeat_that_fails_in_whatever_way_does_not_end_the_lease() {
    let keeping = Fault::ALL.map(|fault| tokio::spawn(keeps_its_lease(fault)));
    for kept in futures_util::future::join_all(keeping).await {
        kept.unwrap();
    }
}

/// Sends batches for longer than a lease, of whose heartbeats the first one fails.
async fn keeps_its_lease(fault: Fault) {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let seconds = Duration::from_secs;
    let lease = LeaseSettings { heartbeat: seconds(1), lease: seconds(6), dead_after: seconds(12) };
    let node = Node::start_still(&wire.settings(), RunSettings { lease, ..RunSettings::default() }).await;
    let (org, user, project) = people(&node, "pinewood").await;
    let run = open(&node, org, user, project).await;
    wire.learn().await;
    wire.fail("UPDATE node SET heartbeat = ? WHERE incarnation = ? IF is_fenced = false", 0, fault);
    let (begun, mut n) = (Instant::now(), 0);
    // The one before began a second ago, and the failed one may be waited for.
    while begun.elapsed() < lease.heartbeat + lease.lease {
        let sent = node.engine.ingest(org, run.session, line(n, &format!("line {n}"))).await;
        assert!(sent.is_ok(), "{fault:?}: batch {n}: {sent:?}");
        n += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(wire.mend(), "{fault:?}: no heartbeat failed");
    assert_eq!(node.text(org, &run).await, lines(n), "{fault:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_statement_that_is_never_answered_fails_after_the_time_of_its_purpose() {
    let keyspace = cql::keyspace().await;
    let check = async |text: &'static str, purpose, values: Vec<Option<scylla::value::CqlValue>>| {
        let mut wire = Wire::to(&keyspace).await;
        let cql = Cql::connect(&wire.settings(), Arc::new(SystemClock)).await.unwrap();
        let prepared = cql.prepare(Spec { text, purpose }).await.unwrap();
        wire.learn().await;
        let ask = async || match purpose {
            Purpose::Read | Purpose::SerialRead => cql.first::<(i64,)>(&prepared, &values).await.map(|_| ()),
            Purpose::Scan => cql.page::<(i64,)>(&prepared, &[]).await.map(|_| ()),
            Purpose::Write => cql.run(&prepared, &values).await,
            Purpose::Conditional => cql.applied(&prepared, &values).await.map(|_| ()),
        };
        wire.fail(text, 0, Fault::Lost);
        let begun = Instant::now();
        let failed = ask().await;
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{purpose:?}: {failed:?}");
        let took = begun.elapsed();
        assert_eq!(ask().await, Ok(()), "{purpose:?}: the connection is good");
        took
    };
    let blob = || Some(scylla::value::CqlValue::Blob(vec![7]));
    let window = || Some(scylla::value::CqlValue::BigInt(7));
    let read = "SELECT time_window FROM run_window WHERE org = ?";
    let write = "INSERT INTO run_window (org, time_window) VALUES (?, ?)";
    let conditional = "INSERT INTO run_window (org, time_window) VALUES (?, ?) IF NOT EXISTS";
    let (read, serial, scan, write, conditional) = tokio::join!(
        check(read, Purpose::Read, vec![blob()]),
        check(read, Purpose::SerialRead, vec![blob()]),
        check("SELECT time_window FROM run_window", Purpose::Scan, Vec::new()),
        check(write, Purpose::Write, vec![blob(), window()]),
        check(conditional, Purpose::Conditional, vec![blob(), window()]),
    );
    for (took, wanted) in [
        (read, CQL_REQUEST_TIMEOUT),
        (serial, CQL_REQUEST_TIMEOUT),
        (scan, CQL_REQUEST_TIMEOUT),
        (write, CQL_WRITE_TIMEOUT),
        (conditional, CQL_CONDITIONAL_TIMEOUT),
    ] {
        assert!(took >= wanted && took < wanted * 2, "{took:?} instead of {wanted:?}");
    }
}
