//! A cluster that takes 2 s for everything: who sends waits or is refused in time, what needs no store stays quick, and it
//! is over when the cluster is quick again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use http::{Method, StatusCode};
use runstream::cli::client::Client;
use runstream::clock::SystemClock;
use runstream::config::StoreKind;
use runstream::limits::{LEASE, REPORTER_TIMEOUT};
use serde_json::json;

use crate::support::cql::{self, Wire};
use crate::support::stage::{Organization, Run, Stage, get, log, post, try_get};

/// What each statement takes longer. A heartbeat then succeeds when the lease that it would have renewed is over, so that
/// the server acknowledges nothing meanwhile: what was on its way when it began is refused, or comes through as one life
/// of the node follows the other.
const SLOW: Duration = Duration::from_secs(2);
const _: () = assert!(SLOW.as_millis() >= LEASE.as_millis());
/// How long the cluster is slow.
const SLOW_FOR: Duration = Duration::from_secs(10);
/// How soon the server is well again: a heartbeat, a new life, what follows from it.
const WELL_WITHIN: Duration = Duration::from_secs(30);
/// What needs no store takes milliseconds; so much on a machine that is busy otherwise.
const QUICK: Duration = Duration::from_secs(1);
/// What was told of the store is so at most: the time of a probe, and of waiting for the one before.
const HEALTH: Duration = Duration::from_secs(5);

/// What a reporter saw.
#[derive(Debug, Default)]
struct Reported {
    sent: u64,
    refused: u64,
    longest: Duration,
}

/// Sends batches until told, each until it is acknowledged.
async fn report(reporter: Client, session: String, writer: u32, until: Instant) -> Reported {
    let mut told = Reported::default();
    while Instant::now() < until {
        let body = json!({ "sessionId": session, "batch": format!("{writer:08x}:{}", told.sent),
            "events": [log(&format!("{writer}-{}\n", told.sent))] });
        loop {
            let begun = Instant::now();
            let answer = reporter.call(Method::POST, "/api/ingest/event", Some(&body)).await.unwrap();
            told.longest = told.longest.max(begun.elapsed());
            if answer.status == StatusCode::OK {
                break;
            }
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
            assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
            assert!(Instant::now() < until + WELL_WITHIN, "it is never well again");
            told.refused += 1;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        told.sent += 1;
    }
    told
}

/// Looks at what needs no store, and at the health, until told.
async fn look(client: Client, until: Instant) {
    while Instant::now() < until {
        for (path, wanted) in [("/metrics", 200), ("/api/executions", 401), ("/docs", 200), ("/", 200)] {
            let begun = Instant::now();
            let status = client.stream(path, http::HeaderMap::new()).await.map(|answer| answer.status());
            assert!(status.as_ref().is_ok_and(|status| *status == wanted), "{path}: {status:?}");
            assert!(begun.elapsed() < QUICK, "{path} took {:?}", begun.elapsed());
        }
        let begun = Instant::now();
        let health = try_get(&client, "/health").await;
        assert!([200, 503].contains(&health.status.as_u16()), "{}", health.body);
        assert!(begun.elapsed() < HEALTH, "/health took {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads from the store until told: it waits or is refused.
async fn read(organization: &Organization, run: &Run, until: Instant) {
    while Instant::now() < until {
        let begun = Instant::now();
        let answer = try_get(&organization.member, &run.path("/logs")).await;
        let is_refused = answer.status == 503 && answer.headers.contains_key("retry-after");
        assert!(answer.status == 200 || is_refused, "{} {}", answer.status, answer.body);
        assert!(begun.elapsed() < 2 * REPORTER_TIMEOUT, "it took {:?}", begun.elapsed());
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
    let until = Instant::now() + SLOW_FOR;
    let reporters =
        (0..4).map(|writer| report(organization.reporter.clone(), run.session.clone(), writer, until));
    let looking = async {
        join(look(stage.client(), until), read(&organization, &run, until)).await;
        wire.mend();
    };
    let (reported, ()) = join(join_all(reporters), looking).await;
    println!("{reported:?}");
    for told in &reported {
        assert!(told.refused > 0 || told.longest >= SLOW, "it was not slow: {reported:?}");
        assert!(told.sent > 0 && told.longest < REPORTER_TIMEOUT, "{reported:?}");
    }

    let (client, patience) = (stage.client(), Instant::now() + WELL_WITHIN);
    while try_get(&client, "/health").await.status != 200 {
        assert!(Instant::now() < patience, "it is never well again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let text = get(&organization.member, &run.path("/logs")).await["data"]["output"].clone();
    let stored: Vec<&str> = text.as_str().unwrap().lines().skip(1).collect();
    assert_eq!(stored.len() as u64, reported.iter().map(|told| told.sent).sum::<u64>(), "{stored:#?}");
    for (writer, told) in reported.iter().enumerate() {
        let mut of_it = stored.clone();
        of_it.retain(|line| line.starts_with(&format!("{writer}-")));
        let wanted: Vec<String> = (0..told.sent).map(|n| format!("{writer}-{n}")).collect();
        assert_eq!(of_it, wanted);
    }
    let summary = json!({ "total": 3, "passed": 3, "failed": 0, "skipped": 0, "duration": 1 });
    let body = json!({ "sessionId": run.session, "status": "PASSED", "summary": summary });
    post(&organization.reporter, "/api/ingest/teardown", &body).await;
    stage.stop().await;
}
