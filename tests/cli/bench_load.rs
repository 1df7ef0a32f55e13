//! The load itself, against a server whose behaviour is known: what is measured has to be what it did.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::bench::{bench, report};
use super::bench_stub::{Fault, Manners, Stub};

/// Measures the stub; exit code and report.
async fn measured(stub: &Arc<Stub>, rest: &'static [&'static str]) -> (i32, Value) {
    let stub = Arc::clone(stub);
    tokio::task::spawn_blocking(move || report(&stub.arguments(rest))).await.unwrap()
}

/// Batches of the step that took longer than `ms`.
fn slower_than(step: &Value, ms: f64) -> u64 {
    let bars = step["histogram"].as_array().unwrap();
    let slow = bars.iter().filter(|bar| bar["upToMs"].as_f64().unwrap() > ms);
    slow.map(|bar| bar["count"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_closed_loop_sends_when_it_has_its_answer() {
    // Two places and 10 ms each: 200 batches a second, whatever is sent.
    let stub =
        Stub::start(Manners { work: Some((2, Duration::from_millis(10))), ..Manners::default() }).await;
    let arguments = &["--sessions", "8", "--events-per-batch", "5", "--duration", "1s", "--warm-up", "300ms"];
    let (code, report) = measured(&stub, arguments).await;
    assert_eq!(code, 0, "{report:#}");
    let rate = report["steps"][0]["batchesPerSecond"].as_f64().unwrap();
    assert!((100.0..=205.0).contains(&rate), "{report:#}");
    // Eight senders share two places: each waits for three others.
    let median = report["steps"][0]["latencyMs"]["p50"].as_f64().unwrap();
    assert!((38.0..=90.0).contains(&median), "{report:#}");
    let found = &report["verification"];
    assert_eq!((&found["passed"], &found["runs"]), (&true.into(), &8.into()), "{report:#}");
    assert_eq!((&found["reportsAbsent"], &found["liveCompared"]), (&8.into(), &0.into()), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_open_loop_keeps_its_arrivals_and_a_stall_shows_in_all_of_them() {
    let stall = Some((100, Duration::from_millis(300)));
    let stub = Stub::start(Manners { stall, ..Manners::default() }).await;
    let (code, report) = measured(
        &stub,
        &[
            "--sessions",
            "4",
            "--events-per-batch",
            "2",
            "--rate",
            "400",
            "--duration",
            "2s",
            "--warm-up",
            "0",
        ],
    )
    .await;
    assert_eq!(code, 0, "{report:#}");
    let (step, arrivals) = (&report["steps"][0], stub.arrivals());
    assert_eq!(arrivals.len(), 400, "200 batches a second for two seconds");
    let took = arrivals[399].duration_since(arrivals[0]).as_secs_f64();
    assert!((1.9..=2.4).contains(&took), "{took}");
    assert_eq!(step["latencyMs"]["count"], 400);
    // While it stood still some 60 batches became due; four connections alone would have shown four.
    let slow = slower_than(step, 100.0);
    assert!((30..=120).contains(&slow), "{slow} {report:#}");
    let longest = step["latencyMs"]["max"].as_f64().unwrap();
    assert!((290.0..=700.0).contains(&longest), "{longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_finds_the_rate_that_the_server_is_made_for() {
    // Two places and 10 ms each: 200 batches of 2 events a second.
    let stub =
        Stub::start(Manners { work: Some((2, Duration::from_millis(10))), ..Manners::default() }).await;
    let (code, report) = measured(
        &stub,
        &[
            "--sessions",
            "8",
            "--events-per-batch",
            "2",
            "--saturate",
            "--p99",
            "100",
            "--duration",
            "700ms",
            "--warm-up",
            "200ms",
        ],
    )
    .await;
    assert_eq!(code, 0, "{report:#}");
    let found = report["saturation"]["eventsPerSecond"].as_f64().unwrap();
    assert!((200.0..=410.0).contains(&found), "{report:#}");
    let steps = report["steps"].as_array().unwrap();
    let best = &steps[report["headline"].as_u64().unwrap() as usize];
    assert_eq!(best["met"], true);
    assert!(best["latencyMs"]["p99"].as_f64().unwrap() <= 100.0);
    assert!(steps.iter().any(|step| step["met"] == false), "it has to see where it ends: {report:#}");
    assert!(
        steps
            .iter()
            .all(|step| step["met"] == false || step["offeredPerSecond"].as_f64().unwrap_or(0.0) < 450.0)
    );

    let stub =
        Stub::start(Manners { work: Some((1, Duration::from_millis(30))), ..Manners::default() }).await;
    let (code, report) = measured(
        &stub,
        &[
            "--sessions",
            "1",
            "--events-per-batch",
            "1",
            "--saturate",
            "--p99",
            "10",
            "--duration",
            "300ms",
            "--warm-up",
            "0",
        ],
    )
    .await;
    assert_eq!((code, &report["saturation"]["eventsPerSecond"]), (5, &Value::Null), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_one_event_fails_whatever_its_speed() {
    for (fault, counter) in
        [(Fault::Lose(33), "missing"), (Fault::Double(33), "duplicated"), (Fault::Swap(33), "reordered")]
    {
        let stub = Stub::start(Manners { fault: Some(fault), ..Manners::default() }).await;
        let arguments =
            &["--sessions", "1", "--tests", "0", "--rate", "500", "--duration", "300ms", "--warm-up", "0"];
        let (code, report) = measured(&stub, arguments).await;
        assert_eq!(code, 4, "{fault:?}: {report:#}");
        let found = &report["verification"];
        assert_eq!(found["passed"], false);
        for name in ["missing", "duplicated", "reordered", "wrong"] {
            assert_eq!(found[name], u64::from(name == counter), "{fault:?} {name}: {report:#}");
        }
        assert!(found["findings"][0].as_str().unwrap().contains("33"), "{report:#}");
    }
    // A result is looked for where results are listed, too.
    let stub = Stub::start(Manners { fault: Some(Fault::Lose(199)), ..Manners::default() }).await;
    let arguments =
        &["--sessions", "1", "--tests", "1", "--rate", "1000", "--duration", "500ms", "--warm-up", "0"];
    let (code, report) = measured(&stub, arguments).await;
    assert_eq!((code, &report["verification"]["resultsWrong"]), (4, &1.into()), "{report:#}");
    // Not asked, not told.
    let stub = Stub::start(Manners { fault: Some(Fault::Lose(33)), ..Manners::default() }).await;
    let (code, report) = measured(&stub, &["--rate", "500", "--duration", "300ms", "--no-verify"]).await;
    assert_eq!((code, &report["verification"]), (0, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_waited_for_or_counted_as_asked() {
    for status in [429, 503] {
        let manners = Manners { refuse: (5, 8, status), ..Manners::default() };
        let counter = if status == 429 { "refusedByTier" } else { "refusedByPressure" };
        let stub = Stub::start(manners.clone()).await;
        let waited = measured(
            &stub,
            &[
                "--sessions",
                "3",
                "--events-per-batch",
                "10",
                "--rate",
                "200",
                "--duration",
                "1s",
                "--warm-up",
                "0",
            ],
        );
        let (code, report) = waited.await;
        assert_eq!(code, 0, "{report:#}");
        let step = &report["steps"][0];
        assert_eq!((&step[counter], &step["givenUp"]), (&3.into(), &0.into()), "{report:#}");
        assert_eq!(stub.arrivals().len(), 23, "20 batches, three of them twice");
        // Retry-After said one second.
        assert!(step["latencyMs"]["max"].as_f64().unwrap() >= 1_000.0, "{report:#}");
        assert_eq!(report["verification"]["acknowledged"], 200);

        let stub = Stub::start(manners).await;
        let counted = measured(
            &stub,
            &[
                "--sessions",
                "3",
                "--events-per-batch",
                "10",
                "--rate",
                "200",
                "--duration",
                "1s",
                "--warm-up",
                "0",
                "--on-refusal",
                "count",
            ],
        );
        let (code, report) = counted.await;
        assert_eq!(code, 0, "{report:#}");
        let step = &report["steps"][0];
        assert_eq!((&step[counter], &step["givenUp"]), (&3.into(), &3.into()), "{report:#}");
        assert_eq!(stub.arrivals().len(), 20);
        assert_eq!(report["verification"]["acknowledged"], 170);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_refuses_is_named() {
    let stub = Stub::start(Manners { refuse: (0, 1, 403), ..Manners::default() }).await;
    let asked = Arc::clone(&stub);
    let refused = move || bench(&asked.arguments(&["--duration", "200ms"]));
    let (code, _, errors) = tokio::task::spawn_blocking(refused).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.contains("refused a batch: 403") && errors.contains("Rate limit exceeded"), "{errors}");
    let away = || bench(&["ingest", "--url", "http://127.0.0.1:9", "--key", "k", "--project", "p"]);
    let (code, _, errors) = tokio::task::spawn_blocking(away).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.contains("cannot connect to 127.0.0.1:9"), "{errors}");
}
