//! Stock clients that have missed very much, and what it costs the server to bring it to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use runstream::limits;
use serde_json::json;

use super::restarts::insist;
use crate::crash::process::{Account, Deployment};
use crate::support::line::Line;
use crate::support::long_mode;
use crate::support::viewers::StockViewers;

/// Bytes by which the server may grow while it catches two viewers up, however much they have missed: what the store
/// keeps of what was read, the windows that are kept, and what is on its way from the one to the other.
const GROWTH_MAX: u64 = limits::STORE_CACHE_BYTES + limits::LIVE_CACHE_BYTES_MAX as u64 + (28 << 20);
/// UTF-16 units of one run: the cap of a run's log has a little more.
const UNITS_PER_RUN: usize = 9_600_000;

/// Reports a run with so many units of text.
async fn print_much(account: &Account, mut units: usize) -> String {
    let setup = json!({
        "projectId": account.project, "framework": "playwright", "reporterVersion": "1", "totalTests": 0,
    });
    let opened = insist(&account.client, "/api/ingest/setup", &setup, StatusCode::CREATED).await;
    let mut turn = 0;
    while units > 0 {
        let chunks: Vec<_> = (0..4)
            .map(|n| {
                let length = units.min(600_000);
                units -= length;
                // As many units, and no two alike; the line end counts.
                let text = format!("{turn}.{n} 😀 \"é\" ");
                let rest = length.saturating_sub(text.encode_utf16().count() + 1);
                let row = format!("{turn}{n} abcdefghijklmnopqrstuvwxyz\n");
                format!("{text}{}", row.repeat(rest / row.len() + 1).get(..rest).unwrap())
            })
            .collect();
        turn += 1;
        let timestamp = 1_774_000_000_000_i64 + turn;
        let event = |chunk| json!({ "type": "log", "chunk": chunk, "timestamp": timestamp });
        let events: Vec<_> = chunks.iter().map(event).collect();
        let batch = json!({ "sessionId": opened["data"]["sessionId"], "events": events });
        insist(&account.client, "/api/ingest/event", &batch, StatusCode::OK).await;
    }
    let summary = json!({ "total": 0, "passed": 0, "failed": 0, "skipped": 0, "duration": 1 });
    let teardown =
        json!({ "sessionId": opened["data"]["sessionId"], "status": "PASSED", "summary": summary });
    insist(&account.client, "/api/ingest/teardown", &teardown, StatusCode::OK).await;
    opened["data"]["taskId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_is_caught_up_however_much_it_is_and_the_server_stays_small() {
    let units = if long_mode() { 48_000_000 } else { 3_000_000 };
    let mut deployment = Deployment::start().await;
    let account = deployment.sign_up().await;
    let line = Line::to(deployment.port(), 1).await;
    let wanted = [
        json!({ "token": account.token, "transports": ["websocket"] }),
        json!({ "token": account.token, "transports": ["polling"] }),
    ];
    let mut viewers = StockViewers::start(&line.url, &wanted);
    viewers.until_welcome().await;
    line.refuse(true);
    line.cut();
    viewers.until("both to be away", |seen| seen.iter().all(|one| !one.connected)).await;
    let mut texts = BTreeMap::new();
    let mut left = units;
    while left > 0 {
        let task = print_much(&account, left.min(UNITS_PER_RUN)).await;
        left = left.saturating_sub(UNITS_PER_RUN);
        let logs = account.get(&format!("/api/executions/{task}/logs")).await;
        texts.insert(task, logs["data"]["output"].as_str().unwrap().to_owned());
    }
    let printed: usize = texts.values().map(|text| text.encode_utf16().count()).sum();
    assert!(printed >= units, "{printed}");

    // A new process, so that what it grows by is what catching up takes, and everything comes from the store. It ends in
    // order: what a recovery needs would hide some of it.
    deployment.end().await;
    deployment.restart().await;
    deployment.until_healthy().await;
    let done = Arc::new(AtomicBool::new(false));
    let before = deployment.resident_bytes();
    let begun = std::time::Instant::now();
    line.refuse(false);
    let all: Vec<_> = (0..wanted.len()).map(|viewer| (viewer, &texts)).collect();
    let watching = async {
        let mut most = 0;
        while !done.load(Ordering::SeqCst) {
            most = most.max(deployment.resident_bytes());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        most
    };
    let catching_up = async {
        let seen = viewers.until_complete(&all).await;
        done.store(true, Ordering::SeqCst);
        (seen, begun.elapsed())
    };
    let (most, (seen, took)) = tokio::join!(watching, catching_up);
    for one in &seen {
        one.must_have(&texts);
        assert_eq!((one.connects, one.recovered), (2, 1), "{:?}", one.reasons);
    }
    let grown = most.saturating_sub(before);
    println!("{printed} units to two viewers in {took:.1?}: {} KiB more, {} in all", grown >> 10, most >> 10);
    assert!(grown < GROWTH_MAX, "grew by {} KiB", grown >> 10);
    deployment.terminate().await;
}
