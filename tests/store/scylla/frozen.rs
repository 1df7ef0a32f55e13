//! Servers as processes that stop without ending: what one of them was about to acknowledge when it stood still for too
//! long is acknowledged by nobody but the next owner.

use std::time::{Duration, Instant};

use http::Method;
use runstream::cli::client::Client;
use runstream::limits::{DEAD_AFTER, LEASE};
use runstream::store::scylla::ScyllaSettings;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::account::Account;
use crate::support::cql;
use crate::support::process::Process;

/// The exit code of a server whose store has failed.
const STORE_FAILED: i32 = 3;

/// A server on `keyspace` with a folder of its own.
async fn serve(keyspace: &ScyllaSettings) -> (Process, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runstream.toml"), cql::configuration(keyspace)).unwrap();
    let starting = tokio::task::spawn_blocking(move || (Process::serve(folder.path(), &[]), folder));
    starting.await.unwrap()
}

fn batch(session: &str, n: u64) -> Value {
    let chunk = format!("line {n}\n");
    json!({ "sessionId": session, "batch": format!("00c0ffee:{n}"),
        "events": [{ "type": "log", "chunk": chunk, "timestamp": 1_774_000_000_000_i64 }] })
}

/// Sends until it is acknowledged.
async fn send(reporter: &Client, session: &str, n: u64) {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let answer =
            reporter.call(Method::POST, "/api/ingest/event", Some(&batch(session, n))).await.unwrap();
        if answer.status == 200 {
            return;
        }
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.headers.contains_key("retry-after"), "{:?}", answer.headers);
        assert!(Instant::now() < patience, "batch {n} is never taken");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The text of a run.
async fn text(reporter: &Client, task: &str) -> String {
    let logs = reporter.call(Method::GET, &format!("/api/executions/{task}/logs"), None).await.unwrap();
    assert_eq!(logs.status, 200, "{}", logs.body);
    logs.body["data"]["output"].as_str().unwrap().to_owned()
}

fn lines(count: u64) -> String {
    (0..count).map(|n| format!("line {n}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_that_stood_still_for_too_long_acknowledges_nothing_and_ends_with_a_reason() {
    let keyspace = cql::keyspace().await;
    let (first, _its_folder) = serve(&keyspace).await;
    let account = Account::sign_up(&first.url).await;
    let (session, task) = account.open_run().await;
    for n in 0..5 {
        send(&account.reporter, &session, n).await;
    }
    first.signal("STOP");
    // It lies in the socket of the server that stands still.
    let (reporter, body) = (account.reporter.clone(), batch(&session, 5));
    let late = tokio::spawn(async move {
        reporter.call(Method::POST, "/api/ingest/event", Some(&body)).await.map(|answer| answer.status)
    });

    let stopped = Instant::now();
    let (second, _its_folder) = serve(&keyspace).await;
    assert!(stopped.elapsed() >= DEAD_AFTER, "it was given up after {:?}", stopped.elapsed());
    let reporter = account.reporter.at(&Account::client_of(&second.url));
    for n in 5..10 {
        send(&reporter, &session, n).await;
    }
    first.signal("CONT");
    let late = late.await.unwrap();
    assert!(!late.as_ref().is_ok_and(|status| status.is_success()), "it was acknowledged: {late:?}");
    let (code, _, said) = tokio::task::spawn_blocking(move || first.wait()).await.unwrap();
    assert_eq!(code, STORE_FAILED, "{said}");
    let reason = "another node has taken this node's numbering of the feed while its lease was over";
    assert!(said.contains(&format!("runstream: the store failed: {reason}")), "{said}");

    send(&reporter, &session, 10).await;
    assert_eq!(text(&reporter, &task).await, lines(11));
    tokio::task::spawn_blocking(move || second.end()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_that_stood_still_goes_on_by_itself_if_nobody_took_its_place() {
    let keyspace = cql::keyspace().await;
    let (server, _its_folder) = serve(&keyspace).await;
    let account = Account::sign_up(&server.url).await;
    let (session, task) = account.open_run().await;
    send(&account.reporter, &session, 0).await;
    server.signal("STOP");
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    server.signal("CONT");
    for n in 1..4 {
        send(&account.reporter, &session, n).await;
    }
    assert_eq!(text(&account.reporter, &task).await, lines(4));
    let said = tokio::task::spawn_blocking(move || server.end()).await.unwrap();
    for event in ["the lease has lapsed", "the node is back"] {
        assert!(said.contains(event), "{said}");
    }
}
