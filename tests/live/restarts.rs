//! The whole server, killed under its viewers: stock clients that only append end with what `/logs` returns, each with
//! that of its own organization.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use runstream::cli::client::Client;
use serde_json::{Value, json};

use super::channel::transports;
use crate::crash::process::{Account, Deployment};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::line::Line;
use crate::support::long_mode;
use crate::support::viewers::StockViewers;

on_each_store_beneath! { viewers_of_a_server_that_is_killed_end_with_exactly_what_is_stored }

/// Sends until it is acknowledged, as often as it takes.
pub(super) async fn insist(client: &Client, path: &str, body: &Value, expected: StatusCode) -> Value {
    loop {
        if let Ok(answer) = client.call(Method::POST, path, Some(body)).await
            && answer.status == expected
        {
            return answer.body;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Reports one run until it is told to stop; returns its task.
pub(super) async fn report(account: Account, name: usize, stop: Arc<AtomicBool>) -> String {
    static STAMP: AtomicI64 = AtomicI64::new(1_774_000_000_000);
    let setup = json!({
        "projectId": account.project, "framework": "playwright", "reporterVersion": "1", "totalTests": 0,
        "runName": format!("run {name}"),
    });
    let opened = insist(&account.client, "/api/ingest/setup", &setup, StatusCode::CREATED).await;
    let (session, task) = (opened["data"]["sessionId"].clone(), opened["data"]["taskId"].clone());
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let stamp = STAMP.fetch_add(1, Ordering::SeqCst);
        let chunk = format!("{name}: line {turn} 👩‍👩‍👧‍👦 \"é\" {}", "z".repeat(turn * 131 % 3_000));
        let batch = json!({ "sessionId": session, "events": [{ "type": "log", "chunk": chunk, "timestamp": stamp }] });
        insist(&account.client, "/api/ingest/event", &batch, StatusCode::OK).await;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let summary = json!({ "total": 0, "passed": 0, "failed": 0, "skipped": 0, "duration": 1 });
    let teardown = json!({ "sessionId": session, "status": "PASSED", "summary": summary });
    insist(&account.client, "/api/ingest/teardown", &teardown, StatusCode::OK).await;
    task.as_str().unwrap().to_owned()
}

async fn viewers_of_a_server_that_is_killed_end_with_exactly_what_is_stored(beneath: &Beneath) {
    // A server on a cluster waits for the silence of the one before.
    let kills: u64 = match (long_mode(), beneath.is_scylla()) {
        (true, false) => 60,
        (true, true) => 20,
        (false, false) => 4,
        (false, true) => 2,
    };
    let mut deployment = Deployment::over(beneath).await;
    let accounts = [deployment.sign_up_as("ada").await, deployment.sign_up_as("bob").await];
    let line = Line::to(deployment.port(), 11).await;
    // Each with the organization that it watches.
    let (mut wanted, mut owners) = (Vec::new(), Vec::new());
    for (client, owner) in [("4.6", 0), ("4.8", 0), ("4.8", 1)] {
        for transports in transports() {
            let token = &accounts[owner].token;
            wanted.push(json!({ "client": client, "transports": transports, "token": token }));
            owners.push(owner);
        }
    }
    let mut viewers = StockViewers::start(&line.url, &wanted);
    viewers.until_welcome().await;

    let stop = Arc::new(AtomicBool::new(false));
    let reporters = [0, 0, 1].into_iter().enumerate();
    let reporters: Vec<_> = reporters
        .map(|(name, owner)| (owner, tokio::spawn(report(accounts[owner].clone(), name, Arc::clone(&stop)))))
        .collect();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(250 + kill * 173 % 500)).await;
        // Sometimes the connections have accidents of their own around it.
        line.storm(kill % 2 == 1);
        deployment.kill().await;
        deployment.restart().await;
        deployment.until_healthy().await;
    }
    line.storm(false);
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let mut texts = [BTreeMap::new(), BTreeMap::new()];
    for (owner, reporter) in reporters {
        let task = reporter.await.unwrap();
        let logs = accounts[owner].get(&format!("/api/executions/{task}/logs")).await;
        let text = logs["data"]["output"].as_str().unwrap().to_owned();
        // On a cluster most of the time goes into waiting for the next server.
        let enough = if beneath.is_scylla() { 1_000 } else { 10_000 };
        assert!(text.len() > enough, "too little was printed to mean anything: {}", text.len());
        texts[owner].insert(task, text);
    }
    let all: Vec<_> = owners.iter().enumerate().map(|(viewer, owner)| (viewer, &texts[*owner])).collect();
    viewers.until_complete(&all).await;
    viewers
        .until("the end of all runs", |seen| {
            let mut each = seen.iter().zip(&owners);
            each.all(|(one, owner)| {
                texts[*owner].keys().all(|task| one.statuses.get(task) == Some(&json!("PASSED")))
            })
        })
        .await;
    for (one, owner) in viewers.seen().await.iter().zip(&owners) {
        // Nothing of the other organization either: it has no other runs than these.
        one.must_have(&texts[*owner]);
        assert_eq!(one.recovered + 1, one.connects, "each return went on where it was: {:?}", one.reasons);
        assert!(one.connects as u64 > kills / 2, "{}", one.connects);
    }
    deployment.terminate().await;
}
