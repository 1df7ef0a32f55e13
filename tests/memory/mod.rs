//! Memory under pressure: 64 clients push as fast as they can into a disk that cannot keep up. The server lives in this
//! process, on files whose syncs are slow; the clients are a process of their own, so that what is measured is the
//! server's.

mod pusher;

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use runstream::config::Settings;
use runstream::server::{Seams, Server};
use serde_json::Value;
use tokio::process::Command;

use crate::crash::process::{Account, Person};

/// The byte budget of the server under test.
const BUDGET_BYTES: u64 = 16 << 20;
/// What the server may hold beside it: parsed forms of bodies (each at most three times its body while it is turned into
/// a batch, and only two are at a time on two cores), the journal's buffers, the embedded store, connections.
const BESIDE_BYTES: u64 = 96 << 20;
const CLIENTS: usize = 64;
const PUSHING: Duration = Duration::from_secs(8);

#[test]
fn clients_that_push_into_a_slow_disk_wait_or_are_refused_and_memory_stays_bounded() {
    crate::support::alone::run_alone("memory::pushing_into_a_slow_disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures its process: run alone by the test above"]
async fn pushing_into_a_slow_disk() {
    let data = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.server.port = 0;
    settings.data_folder = data.path().to_owned();
    settings.ingest.budget_bytes = usize::try_from(BUDGET_BYTES).unwrap();
    settings.ingest.budget_wait = Duration::from_millis(500);
    settings.access.tiers.ingest_event.capacity = 1_000_000;
    settings.access.tiers.api.capacity = 1_000_000;
    let fs = crate::support::disk::Disk::slow(Duration::from_millis(250));
    let server = Server::start(settings, Seams { fs: Arc::new(fs), ..Seams::default() }).await.unwrap();
    let account = Person::sign_up(&server.base_url()).await;
    let before = resident_bytes();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["memory::pusher::push", "--exact", "--ignored", "--nocapture"])
        .env(pusher::TARGET, pusher::target(&server.base_url(), &account, CLIENTS, PUSHING))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = tokio::spawn(child.wait_with_output());
    let mut peak = before;
    while !output.is_finished() {
        peak = peak.max(resident_bytes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let report = text.lines().find_map(|line| line.find('{').map(|start| &line[start..])).unwrap();
    let report: Value = serde_json::from_str(report).unwrap();
    println!(
        "{} MiB before, {} MiB at most; {} acknowledged, {} refused",
        before >> 20,
        peak >> 20,
        report["acknowledged"],
        report["refused"]
    );
    let count = |key: &str| report[key].as_u64().unwrap();
    assert!(peak - before <= BUDGET_BYTES + BESIDE_BYTES, "{} MiB grown", (peak - before) >> 20);
    assert!(count("refused") > 0, "the disk was not too slow to mean anything: {report}");
    assert_eq!(count("refusedWithoutRetryAfter"), 0, "{report}");
    assert_eq!(count("other"), 0, "{report}");
    assert!(count("acknowledged") > 0, "{report}");
    for run in report["runs"].as_array().unwrap() {
        everything_acknowledged_is_stored(&account, run).await;
    }
    server.shut_down().await.unwrap();
}

/// Every line whose batch was acknowledged stands in the run's log once.
async fn everything_acknowledged_is_stored(account: &Account, run: &Value) {
    let task = run["task"].as_str().unwrap();
    let answer = account.get(&format!("/api/executions/{task}/completeness")).await;
    let stored = answer["data"]["batches"]["stored"].as_u64().unwrap();
    let acknowledged = run["acknowledged"].as_array().unwrap();
    assert!(
        stored >= acknowledged.len() as u64,
        "{task}: {stored} stored, {} acknowledged",
        acknowledged.len()
    );
    let text = account.get(&format!("/api/executions/{task}/logs")).await;
    let text = text["data"]["output"].as_str().unwrap();
    for number in acknowledged {
        let mark = format!("batch {number} of {task}\n");
        assert_eq!(text.matches(&mark).count(), 1, "{mark}");
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
