//! The whole way: what reporters send to a server is what stock dashboards see, and what `/logs` returns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use runstream::clock::{Clock, ManualClock, SystemClock};
use runstream::config::Settings;
use runstream::domain::account::User;
use runstream::domain::role::AccountStatus;
use runstream::server::Seams;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::channel::{next_text, transports};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::line::Line;
use crate::support::node::Script;
use crate::support::reports::{Org, Run, Site, post};
use crate::support::viewers::StockViewers;

on_each_store_beneath! {
    what_is_seen_live_is_what_logs_returns_byte_for_byte,
    a_viewer_that_was_away_is_sent_what_it_missed,
    over_a_bad_line_stock_clients_end_with_what_is_stored,
}

fn units(text: &str) -> u64 {
    text.encode_utf16().count() as u64
}

/// A stock dashboard; `options` are those of `dashboard.mjs` without the URL.
fn dashboard(site: &Site, options: Value) -> Script {
    let url = url::Url::parse(&site.url).unwrap();
    let path = format!("{}/socket.io", url.path().trim_end_matches('/'));
    let mut all = json!({ "url": url.origin().ascii_serialization(), "path": path });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    Script::start("dashboard.mjs", &all)
}

/// A dashboard that has been let in.
async fn watching(site: &Site, org: &Org, transports: &Value) -> Script {
    let mut script = dashboard(site, json!({ "token": org.token, "transports": transports }));
    script.until_event("auth-success", 1).await;
    script
}

/// Whether the dashboard has seen the run's final status.
fn saw_end(said: &[Value], task: &str) -> bool {
    said.iter().any(|line| {
        let update = &line["args"][0];
        let is_final = ["PASSED", "FAILED", "CANCELLED"].contains(&update["status"].as_str().unwrap_or(""));
        line["event"] == "execution-updated" && update["taskId"] == task && is_final
    })
}

/// The run's text as a dashboard puts it together; offsets must join without gap or overlap.
fn text_seen(script: &Script, task: &str) -> String {
    let (mut text, mut end) = (String::new(), 0);
    for event in script.arguments("execution-log") {
        if event[0]["taskId"] == task {
            let log = event[0]["log"].as_str().unwrap();
            assert_eq!(event[0]["offset"], end, "{}", event[0]);
            end += units(log);
            text.push_str(log);
        }
    }
    text
}

const HARD: [&str; 7] = [
    "\u{1b}[31mred\u{1b}[39m \"quoted\" \\ back\\slash",
    "👩‍👩‍👧‍👦 half a line, then",
    " the rest e\u{301} 日本語 \u{10ffff}\n",
    "\u{0}\u{1}\u{7f}\u{85}\u{2028}\u{feff}\r\n",
    "",
    "\n\n\n",
    "</script>\u{1e}&amp;%00",
];

/// Reports a run of many batches from several senders at once.
async fn report_much(org: &Org, run: &Run) {
    let stamp = 1_774_000_000_000_i64;
    let batch = |worker: usize, round: usize| {
        let test = format!("{worker:020}-{round:020}");
        let mut events = vec![json!({ "type": "test-begin", "testId": test, "timestamp": stamp,
            "title": format!(" › chromium › a.spec.ts › adds {worker} 😀 {round}"), "file": "a.spec.ts" })];
        for chunk in HARD {
            events.push(json!({ "type": "log", "testId": test, "chunk": chunk, "timestamp": stamp }));
        }
        let failed = round.is_multiple_of(3);
        events.push(json!({ "type": "test-end", "testId": test, "timestamp": stamp, "duration": 12,
            "status": if failed { "failed" } else { "passed" },
            "error": failed.then_some("\u{1b}[2mexpected\u{1b}[22m\n  at a.spec.ts:7") }));
        json!(events)
    };
    let workers = (0..4).map(|worker| async move {
        for round in 0..25 {
            org.report(run, batch(worker, round)).await;
        }
    });
    futures_util::future::join_all(workers).await;
}

async fn what_is_seen_live_is_what_logs_returns_byte_for_byte(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let org = site.org("alice").await;
    let mut dashboards = Vec::new();
    for transports in transports() {
        dashboards.push(watching(&site, &org, &transports).await);
    }
    let runs = [org.set_up().await, org.set_up().await];
    futures_util::future::join(report_much(&org, &runs[0]), report_much(&org, &runs[1])).await;
    let while_running = org.logs(&runs[0].task).await;
    for run in &runs {
        org.tear_down(run, "FAILED").await;
    }
    for run in &runs {
        let stored = org.logs(&run.task).await;
        assert!(stored.len() > 10_000);
        for script in &mut dashboards {
            script.until("the end of the run", |said| saw_end(said, &run.task)).await;
            assert!(text_seen(script, &run.task) == stored, "seen and stored text differ");
        }
        let data = org.get(&format!("/api/executions/{}/logs", run.task)).await;
        assert_eq!(data["length"], units(&stored));
    }
    assert!(while_running == org.logs(&runs[0].task).await, "teardown changes nothing about the text");
}

#[tokio::test]
async fn updates_have_the_shapes_and_the_order_of_the_contract() {
    let site = Site::start().await;
    let org = site.org("alice").await;
    let mut script = watching(&site, &org, &json!(["websocket"])).await;
    let run = org.set_up().await;
    // One update at a time: those of one tick come as one.
    script.until_event("execution-updated", 1).await;
    let document = org.get(&format!("/api/executions/{}", run.task)).await["execution"].take();
    let stamp = 1_774_000_000_000_i64;
    org.report(
        &run,
        json!([
            { "type": "test-begin", "testId": "t1", "title": " › a › adds", "file": "a", "timestamp": stamp },
            { "type": "status", "status": "ANALYZING", "timestamp": stamp },
            { "type": "test-end", "testId": "t1", "status": "passed", "duration": 5, "timestamp": stamp },
        ]),
    )
    .await;
    script.until_event("execution-updated", 2).await;
    org.print(&run, "the last line").await;
    org.tear_down(&run, "PASSED").await;
    script.until("the end of the run", |said| saw_end(said, &run.task)).await;

    let updates: Vec<&Value> =
        script.arguments("execution-updated").into_iter().map(|update| &update[0]).collect();
    let [setup, status, end] = updates[..] else { panic!("three updates, not {updates:?}") };
    // The whole document at setup; only what is counted and printed meanwhile is asked for where it is wanted.
    let mut expected = document;
    for counted in ["output", "completeness"] {
        expected.as_object_mut().unwrap().remove(counted);
    }
    assert_eq!(setup, &expected);
    assert_eq!(status, &json!({ "taskId": run.task, "organizationId": org.id, "status": "ANALYZING" }));
    let after = org.get(&format!("/api/executions/{}", run.task)).await["execution"].take();
    assert_eq!(end["taskId"], run.task);
    assert_eq!(end["organizationId"], org.id);
    assert_eq!(end["status"], "PASSED");
    assert_eq!(end["cycleId"], run.cycle);
    for member in ["cycleItemId", "endTime", "tests"] {
        assert!(!after[member].is_null(), "{member}");
        assert_eq!(end[member], after[member], "{member}");
    }
    assert_eq!(end["tests"][0]["name"], "a › adds");

    // Text before the status that ends the run, and around the one in the middle.
    let story = script.story();
    let position = |name: &str, from_end: bool| {
        let mut found = story.iter().enumerate().filter(|(_, event)| **event == name).map(|(at, _)| at);
        if from_end { found.next_back() } else { found.next() }.unwrap()
    };
    assert!(position("execution-updated", false) < position("execution-log", false));
    assert_eq!(position("execution-updated", true), story.len() - 1, "{story:?}");
    assert_eq!(text_seen(&script, &run.task), org.logs(&run.task).await);
}

#[tokio::test]
async fn two_organizations_see_their_own_runs_only() {
    let site = Site::start().await;
    let (alice, bob) = (site.org("alice").await, site.org("bob").await);
    let mut seen = Vec::new();
    for transports in transports() {
        seen.push((watching(&site, &alice, &transports).await, watching(&site, &bob, &transports).await));
    }
    let (hers, his) = (alice.set_up().await, bob.set_up().await);
    for round in 0..20 {
        alice.print(&hers, &format!("alice {round}")).await;
        bob.print(&his, &format!("bob {round}")).await;
    }
    alice.tear_down(&hers, "PASSED").await;
    bob.tear_down(&his, "PASSED").await;
    for (her, him) in &mut seen {
        for (script, own, run) in [(her, &alice, &hers), (him, &bob, &his)] {
            script.until("the end of the run", |said| saw_end(said, &run.task)).await;
            script.listen(Duration::from_millis(200)).await;
            for event in
                script.arguments("execution-log").iter().chain(&script.arguments("execution-updated"))
            {
                assert_eq!(event[0]["taskId"], run.task);
            }
            assert_eq!(text_seen(script, &run.task), own.logs(&run.task).await);
        }
    }
}

#[tokio::test]
async fn keys_and_forged_tokens_are_refused() {
    let site = Site::start().await;
    let org = site.org("alice").await;
    let (head, rest) = org.token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    // The same claims under "no algorithm", as an attacker would try; {"alg":"none","typ":"JWT"}.
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    let swapped = format!("{head}.{claims}.{}", signature.chars().rev().collect::<String>());
    for token in [org.key.clone(), unsigned, swapped, format!("Bearer {}", org.token), "x".repeat(10_000)] {
        let mut script = dashboard(&site, json!({ "token": token }));
        let end = script.until_event("disconnect", 1).await;
        assert_eq!(end["reason"], "io server disconnect");
        assert_eq!(script.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
    }
}

#[tokio::test]
async fn a_logout_ends_the_socket_and_the_token() {
    let site = Site::start().await;
    let org = site.org("alice").await;
    let mut script = watching(&site, &org, &json!(["polling", "websocket"])).await;
    let started = Instant::now();
    assert_eq!(post(&org.person, "/api/auth/logout", json!({})).await.status, 200);
    script.until_event("disconnect", 1).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(script.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
    script.order(json!({ "do": "connect" })).await;
    script.until_event("disconnect", 2).await;
    assert_eq!(script.arguments("auth-error").len(), 2);
    assert_eq!(script.arguments("auth-success").len(), 1);
}

#[tokio::test]
async fn a_suspension_behind_the_servers_back_ends_the_socket() {
    let site = Site::start().await;
    let org = site.org("alice").await;
    let mut script = watching(&site, &org, &json!(["websocket"])).await;
    let started = Instant::now();
    let user = site.store().user_by_email("alice@example.com").await.unwrap().unwrap();
    let suspended = User { status: AccountStatus::Suspended, ..user };
    assert!(site.store().update_user(suspended, None).await.unwrap());
    script.until_event("disconnect", 1).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(script.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
}

#[tokio::test]
async fn a_new_password_ends_the_socket_and_its_token_opens_another() {
    let site = Site::start().await;
    let org = site.org("alice").await;
    let mut script = watching(&site, &org, &json!(["websocket"])).await;
    let started = Instant::now();
    let body = json!({ "currentPassword": "Correct-horse-7!", "newPassword": "Other-horse-2!" });
    let changed = post(&org.person, "/api/auth/change-password", body).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    script.until_event("disconnect", 1).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(script.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
    script.order(json!({ "do": "token", "token": changed.body["token"] })).await;
    script.order(json!({ "do": "connect" })).await;
    script.until_event("auth-success", 2).await;
}

#[tokio::test]
async fn a_removal_behind_the_servers_back_ends_the_socket() {
    let site = Site::start().await;
    let org = site.org("alice").await;
    let other = site.org("bob").await;
    let mut script = watching(&site, &org, &json!(["websocket"])).await;
    let mut staying = watching(&site, &other, &json!(["websocket"])).await;
    let stored =
        async |name: &str| site.store().user_by_email(&format!("{name}@example.com")).await.unwrap().unwrap();
    // Somebody has to be left to run the organization, and bob comes as if by an invitation.
    let (alice, bob) = (stored("alice").await, stored("bob").await);
    assert!(site.store().update_user(User { org: alice.org, ..bob }, None).await.unwrap());
    staying.until_event("disconnect", 1).await;
    let started = Instant::now();
    let audit = site.store().audit_entries(alice.org, 1, 0).await.unwrap().0.remove(0);
    assert!(site.store().remove_member(alice.org, alice.id, audit).await.unwrap().is_some());
    script.until_event("disconnect", 1).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(script.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
}

#[tokio::test]
async fn joining_another_organization_ends_the_socket() {
    let site = Site::start().await;
    let (alice, bob) = (site.org("alice").await, site.org("bob").await);
    let mut script = watching(&site, &bob, &json!(["websocket"])).await;
    let invited = json!({ "email": "bob@example.com", "role": "viewer" });
    let made = post(&alice.person, "/api/invitations", invited).await;
    let link = made.body["invitation"]["inviteUrl"].as_str().unwrap();
    let token = link.split_once("token=").unwrap().1;
    let started = Instant::now();
    let accepted = post(&bob.person, "/api/invitations/accept", json!({ "token": token })).await;
    assert_eq!(accepted.status, 200);
    script.until_event("disconnect", 1).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(script.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
    let mut again = dashboard(&site, json!({ "token": accepted.body["token"] }));
    let found = again.until_event("auth-success", 1).await;
    assert_eq!(found["args"][0]["organizationId"], alice.id.as_str());
}

#[tokio::test]
async fn an_expired_token_ends_the_socket_and_opens_none() {
    let clock = ManualClock::at(SystemClock.now_ms());
    let seams = Seams { clock: Arc::new(clock.clone()), ..Seams::default() };
    let site =
        Site::start_with(|settings| settings.access.token_lifetime = Duration::from_secs(600), seams).await;
    let org = site.org("alice").await;
    let mut script = watching(&site, &org, &json!(["websocket"])).await;
    clock.advance(Duration::from_secs(598));
    script.listen(Duration::from_millis(300)).await;
    assert!(script.arguments("auth-error").is_empty(), "not before its time");
    clock.advance(Duration::from_secs(4));
    script.until_event("disconnect", 1).await;
    assert_eq!(script.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
    let mut late = dashboard(&site, json!({ "token": org.token }));
    late.until_event("disconnect", 1).await;
    assert_eq!(late.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
}

async fn a_viewer_that_was_away_is_sent_what_it_missed(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let org = site.org("alice").await;
    let run = org.set_up().await;
    let mut script = watching(&site, &org, &json!(["websocket"])).await;
    org.print(&run, "seen 😀 before").await;
    script.until_event("execution-log", 1).await;
    script.order(json!({ "do": "drop" })).await;
    script.until_event("disconnect", 1).await;
    for line in 0..50 {
        org.print(&run, &format!("missed ✂ {line}")).await;
    }
    org.tear_down(&run, "PASSED").await;
    script.until("the end of the run", |said| saw_end(said, &run.task)).await;
    assert_eq!(text_seen(&script, &run.task), org.logs(&run.task).await);
    assert!(script.said.iter().any(|line| line["recovered"] == true));
}

async fn over_a_bad_line_stock_clients_end_with_what_is_stored(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let org = site.org("alice").await;
    let line = Line::to(url::Url::parse(&site.url).unwrap().port().unwrap(), 3).await;
    let wanted: Vec<_> = transports()
        .into_iter()
        .map(|transports| json!({ "token": org.token, "transports": transports }))
        .collect();
    let mut viewers = StockViewers::start(&line.url, &wanted);
    viewers.until_welcome().await;
    line.storm(true);
    let runs = [org.set_up().await, org.set_up().await];
    for round in 0..120 {
        org.print(&runs[round % 2], &format!("line {round} 😀 {}", "x".repeat(round * 37 % 900))).await;
        tokio::time::sleep(Duration::from_millis(12)).await;
    }
    let mut texts = BTreeMap::new();
    for run in &runs {
        org.tear_down(run, "PASSED").await;
        texts.insert(run.task.clone(), org.logs(&run.task).await);
    }
    line.storm(false);
    let all: Vec<_> = (0..wanted.len()).map(|viewer| (viewer, &texts)).collect();
    for one in viewers.until_complete(&all).await {
        one.must_have(&texts);
        assert_eq!(one.recovered + 1, one.connects, "{:?}", one.reasons);
    }
    assert!(line.cuts() > 8, "{}", line.cuts());
}

#[tokio::test]
async fn the_page_of_the_readme_shows_a_run_from_its_first_character_on() {
    let readme = include_str!("../../README.md");
    let page = include_str!("../clients/page.mjs").trim();
    assert!(readme.contains(page), "the README shows what is tested here");
    assert!(page.lines().count() <= 20, "it is short enough to be read");
    let site = Site::start().await;
    let org = site.org("alice").await;
    let line = Line::to(url::Url::parse(&site.url).unwrap().port().unwrap(), 5).await;
    let run = org.set_up().await;
    for row in 0..40 {
        org.print(&run, &format!("before anybody looked ☂ {row}")).await;
    }
    // The page is opened while the run prints.
    let options = json!({ "url": line.url, "token": org.token, "task": run.task });
    let mut page = Script::start("follow.mjs", &options);
    for row in 0..80 {
        line.storm(row > 20 && row < 60);
        org.print(&run, &format!("while it is open ☂ {row}")).await;
        tokio::time::sleep(Duration::from_millis(12)).await;
    }
    let stored = org.logs(&run.task).await;
    loop {
        page.said.clear();
        page.order(json!({ "do": "report" })).await;
        let report = page.until_event("report", 1).await;
        let shown = report["text"].as_str().unwrap();
        assert!(stored.starts_with(shown), "{shown}");
        if shown == stored {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_stalled_viewer_of_a_real_run_is_left_behind_and_catches_up() {
    // It stays for as long as the test takes; that it is removed otherwise has a test of its own.
    let patient = |settings: &mut Settings| {
        settings.live.stall.window = Duration::from_secs(600);
        settings.live.ping_timeout = Duration::from_secs(600);
    };
    let site = Site::start_with(patient, Seams::default()).await;
    let org = site.org("alice").await;
    let mut healthy = watching(&site, &org, &json!(["websocket"])).await;
    let url = format!("{}/socket.io/?EIO=4&transport=websocket", site.url.replace("http:", "ws:"));
    let (mut stalled, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    stalled.send(Message::text(format!("40{}", json!({ "token": org.token })))).await.unwrap();
    while !next_text(&mut stalled).await.unwrap().starts_with("42[\"auth-success\"") {}

    // Several runs, since the text of each is kept up to a cap.
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..3 {
        let run = org.set_up().await;
        for _ in 0..5 {
            org.print(&run, &format!("{}😀", "z".repeat((1 << 20) - 4))).await;
        }
        org.tear_down(&run, "PASSED").await;
        healthy.until("the end of the run", |said| saw_end(said, &run.task)).await;
        assert!(text_seen(&healthy, &run.task) == org.logs(&run.task).await);
        texts.insert(run.task.clone(), text_seen(&healthy, &run.task));
    }

    // It reads again, and gets all of it.
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut missing: usize = texts.values().map(String::len).sum();
    while missing > 0 {
        let packet = next_text(&mut stalled).await.expect("it was not stalled for long enough to be cut");
        let Some(event) = packet.strip_prefix("42") else { continue };
        let event: Value = serde_json::from_str(event).unwrap();
        if event[0] == "execution-log" {
            let text = seen.entry(event[1]["taskId"].as_str().unwrap().to_owned()).or_default();
            let log = event[1]["log"].as_str().unwrap();
            missing -= log.len();
            text.push_str(log);
        }
    }
    assert!(seen == texts, "what it got differs from what is stored");
}

#[tokio::test]
async fn dashboards_come_back_after_a_restart_and_the_text_goes_on_where_it_was() {
    let mut site = Site::start().await;
    let org = site.org("alice").await;
    let run = org.set_up().await;
    let mut scripts = Vec::new();
    for transports in transports() {
        scripts.push(watching(&site, &org, &transports).await);
    }
    org.print(&run, "before the restart").await;
    for script in &mut scripts {
        script.until_event("execution-log", 1).await;
    }
    site.stop().await;
    for script in &mut scripts {
        let end = script.until_event("disconnect", 1).await;
        assert_eq!(end["active"], true, "the stock client tries again: {end}");
    }
    site.start_again().await;
    for script in &mut scripts {
        script.until_event("auth-success", 2).await;
    }
    org.print(&run, "after the restart").await;
    org.tear_down(&run, "PASSED").await;
    for script in &mut scripts {
        script.until("the end of the run", |said| saw_end(said, &run.task)).await;
        assert_eq!(text_seen(script, &run.task), org.logs(&run.task).await);
    }
}

#[tokio::test]
async fn the_channel_stands_under_the_base_path_too() {
    let site =
        Site::start_with(|settings| settings.server.base_path = "/ci/runstream".to_owned(), Seams::default())
            .await;
    assert!(site.url.ends_with("/ci/runstream"));
    let org = site.org("alice").await;
    let run = org.set_up().await;
    for transports in transports() {
        let mut script = watching(&site, &org, &transports).await;
        org.print(&run, "here").await;
        script.until_event("execution-log", 1).await;
        script.quit().await;
    }
}

#[tokio::test]
async fn polling_answers_carry_the_headers_of_every_answer() {
    let site = Site::start().await;
    let get = |origin: &'static str| {
        let client =
            site.stranger().with_header(http::header::ORIGIN, http::HeaderValue::from_static(origin));
        async move { client.call(http::Method::GET, "/socket.io/?EIO=3&transport=polling", None).await.unwrap() }
    };
    let ours = get("http://localhost:5173").await;
    assert_eq!(ours.status, 400);
    assert_eq!(ours.headers["access-control-allow-origin"], "http://localhost:5173");
    assert_eq!(ours.headers["access-control-allow-credentials"], "true");
    assert_eq!(ours.headers["x-content-type-options"], "nosniff");
    let foreign = get("http://evil.example").await;
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn nobody_watching_costs_no_frames() {
    let site = Site::start().await;
    let (alice, bob) = (site.org("alice").await, site.org("bob").await);
    let mut his = watching(&site, &bob, &json!(["websocket"])).await;
    let run = alice.set_up().await;
    alice.print(&run, "to nobody").await;
    alice.tear_down(&run, "PASSED").await;
    his.listen(Duration::from_millis(300)).await;
    assert_eq!(his.story(), ["connect", "auth-success"]);
}
