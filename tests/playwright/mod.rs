//! A real run of the Playwright test runner, reported by a reporter written from the contract. Three accounts of it must
//! agree: the runner's own (its JSON report), the reporter's (what it sent and was answered), and the server's.

mod account;

use std::collections::BTreeMap;
use std::process::Stdio;

use runstream::domain::id::{ExecutionId, OrgId};
use serde_json::{Value, json};

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::node::{Script, clients};
use crate::support::reports::{Org, Site, text};
use account::{Attempt, Truth, cut, pieces_fit};

on_each_store_beneath! { what_the_runner_says_is_what_is_stored_and_what_is_seen }

/// What became of a run of the test runner.
struct Reported {
    /// By the runner.
    truth: Truth,
    /// By the reporter.
    record: Value,
}

/// Runs the whole Playwright project against the server.
async fn run_playwright(site: &Site, org: &Org) -> Reported {
    let folder = tempfile::tempdir().unwrap();
    let (truth, record) = (folder.path().join("truth.json"), folder.path().join("record.json"));
    let report = json!({
        "folder": folder.path().join("output"),
        "truth": truth,
        "reporter": {
            "apiKey": org.key,
            "projectId": org.project,
            // One slash at the end is taken off, whatever comes before it is kept.
            "baseUrl": format!("{}/", site.url),
            "runName": "a real run",
            "record": record,
        },
    });
    let ended = tokio::process::Command::new("npx")
        .args(["--no-install", "playwright", "test", "--config", "playwright/playwright.config.mjs"])
        .current_dir(clients())
        .env("REPORT", report.to_string())
        // What the machine that runs these tests says about itself is not part of the run.
        .env_remove("CI")
        .env("FORCE_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    let tail: String = said.chars().rev().take(2_000).collect::<Vec<_>>().into_iter().rev().collect();
    assert_eq!(ended.status.code(), Some(1), "some of its tests are meant to fail: {tail}");
    let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    Reported { truth: Truth::of(&read(truth)), record: read(record) }
}

async fn what_the_runner_says_is_what_is_stored_and_what_is_seen(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let org = site.org("alice").await;
    let url = json!({ "url": site.url, "token": org.token });
    let mut dashboard = Script::start("dashboard.mjs", &url);
    dashboard.until_event("auth-success", 1).await;
    let Reported { truth, record } = run_playwright(&site, &org).await;
    let task = text(&record["session"]["taskId"]);
    println!(
        "setup answered after {} ms, {} requests, slowest {} ms",
        record["setupMs"],
        record["requests"].as_array().unwrap().len(),
        record["requests"].as_array().unwrap().iter().map(|sent| sent["ms"].as_u64().unwrap()).max().unwrap(),
    );

    // The reporter lost nothing: setup was answered before the first test began, no request was refused.
    assert_eq!(record["thrownAway"], 0, "setup took {} ms", record["setupMs"]);
    let statuses: Vec<_> =
        record["requests"].as_array().unwrap().iter().map(|sent| &sent["status"]).collect();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| **status == 200), "{statuses:?}");

    let execution = org.get(&format!("/api/executions/{task}")).await["execution"].take();
    assert_eq!(execution["status"], "FAILED");
    assert_eq!(execution["ingestMeta"]["totalTests"], truth.tests.len());
    check_results(&truth, &execution["tests"]);
    check_page_context(&execution["tests"]);

    // The log is the pieces of the batches, each batch whole, in the order of their arrival.
    let log = org.logs(&task).await;
    let batches = account::rendered(&record["batches"]);
    assert!(pieces_fit(&log, &batches), "the log is not made of the batches that were sent");
    check_output(&truth, &record["batches"]);

    // What was seen live.
    dashboard
        .until("the end of the run", |said| {
            said.iter()
                .any(|line| line["event"] == "execution-updated" && line["args"][0]["status"] == "FAILED")
        })
        .await;
    let seen = dashboard.arguments("execution-log").iter().fold(String::new(), |mut seen, event| {
        assert_eq!(event[0]["offset"], seen.encode_utf16().count());
        seen.push_str(event[0]["log"].as_str().unwrap());
        seen
    });
    assert!(seen == log, "seen and stored text differ");

    check_completeness(&org, &task, &truth, &record).await;
    check_counters(&site, &org, &execution, &record).await;
}

/// Every test the runner knows, and no other, with its last attempt.
fn check_results(truth: &Truth, stored: &Value) {
    let stored: BTreeMap<&str, &Value> =
        stored.as_array().unwrap().iter().map(|test| (test["name"].as_str().unwrap(), test)).collect();
    let ran: BTreeMap<String, &Vec<Attempt>> = truth
        .tests
        .iter()
        .filter(|(_, attempts)| !attempts.is_empty())
        .map(|(name, attempts)| (account::stored_name(name), attempts))
        .collect();
    assert_eq!(
        stored.keys().copied().collect::<Vec<_>>(),
        ran.keys().map(String::as_str).collect::<Vec<_>>()
    );
    for (name, attempts) in ran {
        let (test, last) = (stored[name.as_str()], attempts.last().unwrap());
        assert_eq!(test["status"], last.status, "{name}");
        assert_eq!(test["duration"], last.duration, "{name}");
        assert_eq!(test["attemptCount"], attempts.len(), "{name}");
        assert_eq!(test["error"].as_str(), last.error.as_deref().map(cut).as_deref(), "{name}");
        assert_eq!(test["errorHash"].is_string(), last.error.is_some(), "{name}");
    }
}

/// The page's context of a failing test is kept within its bounds and without its secrets.
fn check_page_context(stored: &Value) {
    let named = |test: &&Value| test["name"].as_str().unwrap().ends_with("fails with a page's context");
    let context = &stored.as_array().unwrap().iter().find(named).unwrap()["runtimeContext"];
    assert_eq!(context["retryIndex"], 1);
    assert_eq!(context["consoleErrors"].as_array().unwrap().len(), 20);
    assert_eq!(context["pageTitle"].as_str().unwrap().chars().count(), 256);
    assert_eq!(context["viewportSize"], json!({ "width": 1280, "height": 720.5 }));
    assert_eq!(context["networkErrors"][0]["status"], 503);
    let snapshot = context["domSnapshot"].as_str().unwrap();
    assert!(
        snapshot.starts_with("<main>é</main>") && snapshot.chars().count() > 8_192,
        "the client's own cut"
    );
    let failure_url = context["failureUrl"].as_str().unwrap();
    assert!(failure_url.contains("item=7") && !failure_url.contains("secret"), "{failure_url}");
    assert!(!failure_url.contains("token=abc"), "{failure_url}");
}

/// What the runner collected as output of its tests is what the reporter sent as log events.
fn check_output(truth: &Truth, batches: &Value) {
    let mut sent: BTreeMap<bool, Vec<String>> = BTreeMap::new();
    for event in batches.as_array().unwrap().iter().flat_map(|batch| batch.as_array().unwrap()) {
        if event["type"] == "log" {
            let chunk = event["chunk"].as_str().unwrap();
            match chunk.strip_prefix("[stderr] ") {
                Some(chunk) => sent.entry(true).or_default().push(chunk.to_owned()),
                None => sent.entry(false).or_default().push(chunk.to_owned()),
            }
        }
    }
    for (stderr, sent) in &mut sent {
        let attempts = truth.tests.values().flatten();
        let mut printed: Vec<String> = attempts
            .flat_map(|attempt| if *stderr { &attempt.stderr } else { &attempt.stdout })
            .cloned()
            .collect();
        printed.sort();
        sent.sort();
        assert!(*sent == printed, "stderr {stderr}: {} chunks sent, {} printed", sent.len(), printed.len());
    }
    assert!(sent[&false].len() > 1_000 && sent[&true].len() >= 3);
}

async fn check_completeness(org: &Org, task: &str, truth: &Truth, record: &Value) {
    let completeness = org.get(&format!("/api/executions/{task}/completeness")).await;
    let batches = record["batches"].as_array().unwrap();
    let events: usize = batches.iter().map(|batch| batch.as_array().unwrap().len()).sum();
    let attempts: Vec<&Attempt> = truth.tests.values().flatten().collect();
    let failed = attempts.iter().filter(|attempt| ["failed", "timedOut"].contains(&attempt.status.as_str()));
    let sent_bytes: u64 = record["requests"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|sent| sent["endpoint"] == "event")
        .map(|sent| sent["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(completeness["batches"]["received"], batches.len());
    assert_eq!(completeness["batches"]["stored"], batches.len());
    assert_eq!(completeness["events"]["received"], events);
    assert_eq!(completeness["events"]["stored"], events);
    assert_eq!(completeness["events"]["rejected"], 0);
    assert_eq!(completeness["bytes"]["received"], sent_bytes);
    assert_eq!(completeness["tests"]["results"], attempts.len());
    assert_eq!(completeness["tests"]["failedAttempts"], failed.count());
    assert_eq!(completeness["tests"]["begunWithoutEnd"], 0);
    assert_eq!(completeness["tests"]["endedWithoutBegin"], 0);
    assert_eq!(completeness["orphaned"], false);
    // The run has texts over their bounds on purpose; nothing else is wrong with it.
    assert_eq!(completeness["reasons"], json!(["events-cut"]), "{completeness}");
}

/// The reporter's counters are stored as it sent them.
async fn check_counters(site: &Site, org: &Org, execution: &Value, record: &Value) {
    let mut bytes = [0; 12];
    for (byte, pair) in bytes.iter_mut().zip(org.id.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    let execution: ExecutionId = text(&execution["_id"]).parse().unwrap();
    let cycle = site.store().cycle_of(OrgId::from_bytes(bytes), execution).await.unwrap().unwrap();
    let summary = &record["summary"];
    assert_eq!(cycle.name, "a real run");
    assert_eq!(
        json!([cycle.total, cycle.passed, cycle.failed]),
        json!([summary["total"], summary["passed"], summary["failed"]])
    );
}
