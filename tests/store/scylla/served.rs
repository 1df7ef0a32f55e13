//! The whole server on a cluster, over sockets: what it stored is there after a restart, and another one beside it reads it
//! and takes its runs over when it is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, Method};
use runstream::access::{ConfiguredSecrets, Secret};
use runstream::clock::SystemClock;
use runstream::config::StoreKind;
use runstream::store::scylla::ScyllaSettings;
use serde_json::{Value, json};

use crate::support::cql;
use crate::support::stage::{Stage, begin, end, get, log, try_get, with_header};

/// Half of what threads have by themselves, on which debug builds fill much more of it than others.
const STACK_BYTES: usize = 1 << 20;

#[test]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
fn a_run_is_taken_in_read_and_kept_over_restarts_and_needs_no_deep_stack() {
    let in_it = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(4).thread_stack_size(STACK_BYTES).enable_all().build().unwrap();
        runtime.block_on(take_in_read_and_keep());
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(in_it).unwrap().join().unwrap();
}

async fn take_in_read_and_keep() {
    let keyspace = cql::keyspace().await;
    let mut stage = Stage::start_with(Arc::new(SystemClock), |settings| {
        settings.store = StoreKind::Scylla;
        settings.scylla = keyspace.0.clone();
    })
    .await;
    let org = stage.organization("pinewood").await;
    let run = org.open().await;
    run.send(json!([begin("t1", "adds"), log("größe 🦀\n"), end("t1", "passed")])).await;
    let before = get(&org.member, &run.path("/logs")).await;
    assert!(before.to_string().contains("größe 🦀"), "{before}");

    stage.restart().await;
    assert_eq!(get(&org.member, &run.path("/logs")).await, before, "an open run is kept");
    run.log("after the restart\n").await;
    let ended = run.end("PASSED").await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    let logs = get(&org.member, &run.path("/logs")).await.to_string();
    assert!(logs.contains("größe 🦀") && logs.contains("after the restart"), "{logs}");

    stage.restart().await;
    let shown = get(&org.member, &run.path("")).await;
    assert_eq!(shown.pointer("/data/execution/status").and_then(Value::as_str), Some("PASSED"), "{shown}");
    assert_eq!(get(&org.member, &run.path("/logs")).await.to_string(), logs);
    let health = try_get(&stage.client(), "/health").await;
    assert_eq!(health.status, 200, "{}", health.body);
    stage.stop().await;
}

/// A server on this keyspace that knows the tokens and keys of the others on it.
async fn one_of_several(keyspace: &ScyllaSettings) -> Stage {
    Stage::start_with(Arc::new(SystemClock), |settings| {
        settings.store = StoreKind::Scylla;
        settings.scylla = keyspace.clone();
        let secret = || Secret::new(*b"of servers that share one cluster").unwrap();
        settings.secrets =
            ConfiguredSecrets { token: Some(secret()), key_hash: Some(secret()), sealing: vec![secret()] };
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_that_does_not_own_a_run_says_when_to_come_back_until_it_does() {
    let keyspace = cql::keyspace().await;
    let (mut one, mut two) = (one_of_several(&keyspace).await, one_of_several(&keyspace).await);
    let org = one.organization("pinewood").await;
    let run = org.open().await;
    run.log("to the first\n").await;

    let elsewhere = with_header(&two.client(), HeaderName::from_static("x-api-key"), &org.key);
    let batch = json!({ "sessionId": run.session, "events": [log("to the second\n")] });
    let summary = json!({ "total": 1, "passed": 1, "failed": 0, "skipped": 0, "duration": 9 });
    let teardown = json!({ "sessionId": run.session, "status": "PASSED", "summary": summary });
    let ask = async |path: &str, body: &Value| elsewhere.call(Method::POST, path, Some(body)).await.unwrap();
    for (path, body) in [("/api/ingest/event", &batch), ("/api/ingest/teardown", &teardown)] {
        let refused = ask(path, body).await;
        assert_eq!(refused.status, 503, "{path}: {}", refused.body);
        assert_eq!(refused.body["success"], false, "{path}: {}", refused.body);
        let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{path}: {seconds}");
    }
    run.log("to the first again\n").await;

    one.stop().await;
    let patience = Instant::now() + Duration::from_secs(30);
    while ask("/api/ingest/event", &batch).await.status != 200 {
        assert!(Instant::now() < patience, "it never owns the run");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let member = with_header(&two.client(), HeaderName::from_static("x-api-key"), &org.key);
    let logs = get(&member, &run.path("/logs")).await.to_string();
    let at = |line: &str| logs.find(line).unwrap_or_else(|| panic!("no {line:?} in {logs}"));
    assert!(
        at("to the first") < at("to the first again") && at("to the first again") < at("to the second"),
        "{logs}"
    );
    two.stop().await;
}
