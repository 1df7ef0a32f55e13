//! The whole server on a cluster, over sockets: what it stored is there after a restart, and another one beside it reads it.

use std::sync::Arc;

use runstream::clock::SystemClock;
use runstream::config::StoreKind;
use serde_json::{Value, json};

use crate::support::cql;
use crate::support::stage::{Stage, begin, end, get, log, try_get};

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
