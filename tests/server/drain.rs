//! A server that is told to end while reporters send: it ends in time and in order, and keeps what it acknowledged.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::Method;
use runstream::cli::client::Client;
use serde_json::json;

use crate::support::account::Account;
use crate::support::process::{Process, run, runstream, text};

const NO_TIERS: [&str; 2] = ["--set", "rates.ingest_event_per_minute=1000000"];
const REPORTERS: usize = 8;

/// Sends one line a request until the server is gone; the lines it acknowledged.
async fn send_until_refused(reporter: Client, session: String, worker: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let line = format!("worker {worker} line {number}");
        let body = json!({
            "sessionId": session, "batch": format!("{worker:08x}:{number}"),
            "events": [{ "type": "log", "chunk": line, "timestamp": 0 }]
        });
        match reporter.call(Method::POST, "/api/ingest/event", Some(&body)).await {
            Ok(answer) if answer.status == 200 => acknowledged.push(line),
            Ok(_) | Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_under_load_keeps_everything_acknowledged_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &NO_TIERS);
    let account = Account::sign_up(&server.url).await;
    let (session, task) = account.open_run().await;
    let reporters: Vec<_> = (0..REPORTERS)
        .map(|worker| tokio::spawn(send_until_refused(account.reporter.clone(), session.clone(), worker)))
        .collect();
    tokio::time::sleep(Duration::from_millis(800)).await;
    let ended = tokio::task::spawn_blocking(|| server.end()).await.unwrap();
    let mut acknowledged = Vec::new();
    for reporter in reporters {
        acknowledged.extend(reporter.await.unwrap());
    }
    assert!(acknowledged.len() > REPORTERS, "hardly anything was sent before it ended: {ended}");

    let again = Process::serve(folder.path(), &[]);
    // The key is still one: the secret that hashes it was kept.
    let reader = account.reporter.at(&Account::client_of(&again.url));
    let logs = reader.call(Method::GET, &format!("/api/executions/{task}/logs"), None).await.unwrap();
    assert_eq!(logs.status, 200, "{}", logs.body);
    let mut stored: HashMap<&str, usize> = HashMap::new();
    for line in logs.body["data"]["output"].as_str().unwrap().lines() {
        *stored.entry(line).or_default() += 1;
    }
    for line in &acknowledged {
        assert_eq!(stored.get(line.as_str()), Some(&1), "{line} was acknowledged");
    }
    assert!(stored.values().all(|count| *count == 1), "a line is stored twice");
    again.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_event_stream_ends_with_the_server_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &[]);
    let account = Account::sign_up(&server.url).await;
    let (_session, task) = account.open_run().await;
    let path = format!("/api/executions/{task}/live");
    let stream = account.reporter.stream(&path, http::HeaderMap::new()).await.unwrap();
    assert_eq!(stream.status(), 200);
    server.signal("TERM");
    let (code, took, told) = tokio::task::spawn_blocking(|| server.wait()).await.unwrap();
    assert_eq!(code, 0, "{told}");
    assert!(took < Duration::from_secs(4), "the stream held it up for {took:?}");
    let rest = http_body_util::BodyExt::collect(stream.into_body()).await;
    assert!(rest.is_ok(), "the stream has an end that is not a cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_made_for_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    Process::serve(folder.path(), &[]).end();
    let data = folder.path().join("data");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let mut secrets = 0;
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "secret") {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            secrets += 1;
        }
    }
    assert_eq!(secrets, 3, "one for tokens, one for API keys, one for what is sealed");
}

#[test]
fn the_printed_first_steps_work_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &[]);
    let steps: Vec<_> = server.greeting.lines().collect();
    let first = steps.iter().position(|line| line.starts_with("# 1.")).unwrap();
    let last = steps.iter().position(|line| line.starts_with("runstream tail")).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_runstream"));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binary.parent().unwrap().display());
    let script = std::process::Command::new("bash")
        .arg("-euc")
        .arg(steps[first..=last].join("\n"))
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .output()
        .unwrap();
    let (out, errors) = (text(&script.stdout), text(&script.stderr));
    assert!(script.status.success(), "{out}\n{errors}");
    assert!(out.contains("hello from curl"), "tail shows the line that was sent: {out}\n{errors}");
    assert!(out.contains("\"status\":\"PASSED\""), "{out}");
    server.end();
}

#[test]
fn health_asks_the_server_of_the_same_settings() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &[]);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    let healthy = runstream(folder.path(), &["health"]).env("RUNSTREAM_SERVER_PORT", &port).output().unwrap();
    assert_eq!(healthy.status.code(), Some(0), "{}", text(&healthy.stderr));
    let told: serde_json::Value = serde_json::from_slice(&healthy.stdout).unwrap();
    assert_eq!(told["status"], "healthy");
    server.end();
    let gone = run(folder.path(), &["health", "--port", &port]);
    assert_eq!(gone.status.code(), Some(1), "{}", text(&gone.stdout));
}
