//! The wire to the cluster: each statement between a request and its answer fails once at its place, in each way; a
//! statement that is never answered; a cluster that takes seconds for everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use runstream::clock::SystemClock;
use runstream::config::StoreKind;
use runstream::domain::execution::Summary;
use runstream::domain::teardown::TeardownRequest;
use runstream::limits::{CQL_CONDITIONAL_TIMEOUT, CQL_REQUEST_TIMEOUT, CQL_WRITE_TIMEOUT};
use runstream::store::contract::Executions as _;
use runstream::store::contract::StoreError;
use runstream::store::scylla::Cql;
use runstream::store::scylla::statement::{Purpose, Spec};
use serde_json::json;

use super::engine::{Node, lines, open, people, send, until_done};
use crate::store::runs::patient;
use crate::support::cql::{self, Fault, Wire};
use crate::support::long_mode;
use crate::support::stage::{Stage, get, log, post, try_get};

/// Batches of a story.
const BATCHES: u64 = 3;
/// What each statement takes longer on a slow wire.
const SLOW: Duration = Duration::from_secs(2);

/// A run from its setup to its end; returns how it is named.
async fn story(
    node: &Node,
    people: (runstream::domain::id::OrgId, runstream::domain::id::UserId, runstream::domain::id::ProjectId),
) -> runstream::actors::Opened {
    let (org, user, project) = people;
    let run = open(node, org, user, project).await;
    for n in 0..BATCHES {
        send(node, org, &run, n).await;
    }
    let summary = Summary { total: 2, passed: 2, failed: 0, skipped: 0, duration: 9 };
    let request = || TeardownRequest { session: run.session, passed: true, summary, delivery: None };
    until_done(|| node.engine.tear_down(org, request())).await;
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn whatever_statement_fails_on_the_way_nothing_is_lost_doubled_or_moved() {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let node = Node::start(&wire.settings(), patient()).await;
    let who = people(&node, "pinewood").await;
    let org = who.0;
    // What is asked for once only is not asked for while the story is noted.
    story(&node, who).await;
    wire.learn().await;
    wire.note();
    story(&node, who).await;
    let mut steps = wire.noted();
    steps.retain(|text| !["node ", "feed_lane ", "lookups "].iter().any(|table| text.contains(table)));
    assert!(steps.len() > 10, "{steps:#?}");
    assert_eq!(
        steps.iter().filter(|text| text.starts_with("INSERT INTO run_segment")).count() as u64,
        BATCHES
    );

    let (mut tried, mut failed) = (0, 0);
    let mut before: HashMap<&str, usize> = HashMap::new();
    for (at, text) in steps.iter().enumerate() {
        let passing = before.entry(text).or_default();
        // All ways at each place take minutes: a lost frame is waited for. Otherwise one place has one way.
        let faults = if long_mode() { &Fault::ALL[..] } else { &Fault::ALL[at % 5..][..1] };
        for fault in faults {
            wire.fail(text, *passing, *fault);
            let begun = Instant::now();
            let run = story(&node, who).await;
            let took = begun.elapsed();
            tried += 1;
            failed += usize::from(wire.mend());
            let context = format!("{fault:?} at {at}, number {passing} of {text}");
            assert_eq!(node.text(org, &run).await, lines(BATCHES), "{context}");
            let execution = node.store.execution(org, run.execution).await.unwrap().unwrap();
            assert_eq!(execution.completeness.unwrap().batches_stored, BATCHES, "{context}");
            assert!(took < Duration::from_secs(30), "{took:?}: {context}");
        }
        *passing += 1;
    }
    println!("{} places, {failed} of {tried} failed", steps.len());
    // What is asked for in the background comes now and then.
    assert!(failed * 10 >= tried * 9, "{failed} of {tried} failed: {steps:#?}");
    // A frame that is lost without a word costs its sender a wait and nothing else.
    for begins in ["INSERT INTO run_segment", "UPDATE run SET"] {
        let text = steps.iter().find(|text| text.starts_with(begins)).unwrap();
        wire.fail(text, 0, Fault::Lost);
        let run = story(&node, who).await;
        assert!(wire.mend(), "{text}");
        assert_eq!(node.text(org, &run).await, lines(BATCHES), "{text}");
    }
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
    let (read, serial, write, conditional) = tokio::join!(
        check(read, Purpose::Read, vec![blob()]),
        check(read, Purpose::SerialRead, vec![blob()]),
        check(write, Purpose::Write, vec![blob(), window()]),
        check(conditional, Purpose::Conditional, vec![blob(), window()]),
    );
    for (took, wanted) in [
        (read, CQL_REQUEST_TIMEOUT),
        (serial, CQL_REQUEST_TIMEOUT),
        (write, CQL_WRITE_TIMEOUT),
        (conditional, CQL_CONDITIONAL_TIMEOUT),
    ] {
        assert!(took >= wanted && took < wanted + Duration::from_secs(2), "{took:?} instead of {wanted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_cluster_that_takes_seconds_for_everything_costs_waiting_and_no_restart() {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let mut stage = Stage::start_with(Arc::new(SystemClock), |settings| {
        settings.store = StoreKind::Scylla;
        settings.scylla = wire.settings();
    })
    .await;
    let organization = stage.organization("pinewood").await;
    let run = organization.open().await;
    run.log("before\n").await;

    wire.slow_down(SLOW);
    let until = Instant::now() + Duration::from_secs(8);
    let reporters = (0..4).map(|writer: u32| {
        let (reporter, session) = (organization.reporter.clone(), run.session.clone());
        async move {
            let (mut sent, mut refused, mut longest) = (0, 0, Duration::ZERO);
            while Instant::now() < until {
                let body = json!({ "sessionId": session, "batch": format!("{writer:08x}:{sent}"),
                    "events": [log(&format!("{writer}-{sent}\n"))] });
                // Until it is acknowledged, also after the wire is mended.
                loop {
                    let begun = Instant::now();
                    let answer = reporter.call(Method::POST, "/api/ingest/event", Some(&body)).await.unwrap();
                    longest = longest.max(begun.elapsed());
                    if answer.status == 200 {
                        break;
                    }
                    assert_eq!(answer.status, 503, "{}", answer.body);
                    assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                sent += 1;
            }
            (sent, refused, longest)
        }
    });
    let client = stage.client();
    let looking = async {
        let mut worst = Duration::ZERO;
        while Instant::now() < until {
            for (path, wanted) in [("/metrics", 200), ("/api/executions", 401), ("/docs", 200)] {
                let begun = Instant::now();
                let status = client.stream(path, http::HeaderMap::new()).await.map(|answer| answer.status());
                assert!(status.as_ref().is_ok_and(|status| *status == wanted), "{path}: {status:?}");
                worst = worst.max(begun.elapsed());
            }
            let begun = Instant::now();
            try_get(&client, "/health").await;
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(5), "/health took {took:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        wire.mend();
        worst
    };
    let (reported, worst) = tokio::join!(futures_util::future::join_all(reporters), looking);
    println!("sent, refused, waited: {reported:?}; what needs no store took {worst:?} at most");
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    for (sent, refused, longest) in &reported {
        assert!(*refused > 0 || *longest >= SLOW, "it was not slow: {reported:?}");
        assert!(*sent > 0 && *longest < Duration::from_secs(10), "{reported:?}");
    }

    let health = try_get(&client, "/health").await;
    assert_eq!(health.status, 200, "{}", health.body);
    let text = get(&organization.member, &run.path("/logs")).await["data"]["output"].clone();
    let stored: Vec<&str> = text.as_str().unwrap().lines().skip(1).collect();
    for (writer, (sent, ..)) in reported.iter().enumerate() {
        let mut of_it = stored.clone();
        of_it.retain(|line| line.starts_with(&format!("{writer}-")));
        let wanted: Vec<String> = (0..*sent).map(|n| format!("{writer}-{n}")).collect();
        assert_eq!(of_it, wanted);
    }
    let summary = json!({ "total": 3, "passed": 3, "failed": 0, "skipped": 0, "duration": 1 });
    let body = json!({ "sessionId": run.session, "status": "PASSED", "summary": summary });
    post(&organization.reporter, "/api/ingest/teardown", &body).await;
    stage.stop().await;
}
