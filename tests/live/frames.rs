//! What viewers get: every character, once, in order, in the shape of the contract, and only their own.

use bytes::Bytes;
use runstream::actors::feed::{Delivery, Frame};
use runstream::domain::id::TaskId;
use serde_json::{Value, json};

use super::channel::{Channel, HOUR, an_org, transports};

/// Text that is hard on encodings: emoji, surrogate pairs, combining marks, ANSI, quotes, control characters, a NUL.
const CHUNKS: [&str; 8] = [
    "▶ RUNNING   › chromium › cart.spec.ts › adds an item\n",
    "\u{1b}[31mred\u{1b}[39m and \"quoted\" \\ back\\slash",
    "👩‍👩‍👧‍👦 family",
    " e\u{301}\u{301} \u{202e}rtl\u{202c} \u{1e}separator\u{1f}",
    "\u{0}\u{1}\u{8}\u{b}\u{c}\u{7f}\u{85}\u{2028}\u{2029}\r\n",
    "𝒳𝓎𝓏 日本語 한국어 \u{10ffff}",
    "</script>&amp;%00",
    "\n\n\n",
];

fn units(text: &str) -> u64 {
    text.encode_utf16().count() as u64
}

/// The text of `task` from `execution-log` events; each must start where the one before ended.
fn text_of(events: &[&Vec<Value>], task: &str) -> String {
    let mut text = String::new();
    for event in events {
        assert!(event.len() == 2 && event[1].is_string(), "the event and its cursor: {event:?}");
        let event = &event[0];
        if event["taskId"] == task {
            assert_eq!(event["offset"], units(&text), "{event}");
            text.push_str(event["log"].as_str().unwrap());
        }
    }
    text
}

#[tokio::test]
async fn text_arrives_byte_for_byte_over_every_transport_and_client() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut dashboards = Vec::new();
    for client in ["4.8", "4.6", "4.5", "4.0", "3.1"] {
        for transports in transports() {
            let options = json!({ "token": "good", "transports": transports, "client": client });
            dashboards.push(channel.dashboard(options));
        }
    }
    for dashboard in &mut dashboards {
        dashboard.until_event("auth-success", 1).await;
    }
    let mut sent = [String::new(), String::new()];
    for round in 0..300 {
        let (task, chunk) = (round % 2, CHUNKS[round % CHUNKS.len()]);
        channel.log(org, ["one", "two"][task], units(&sent[task]), chunk);
        sent[task].push_str(chunk);
        if round % 20 == 19 {
            // A tick of the feed lies between bursts.
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }
    for dashboard in &mut dashboards {
        dashboard.until_event("execution-log", 300).await;
        let events = dashboard.arguments("execution-log");
        assert_eq!(text_of(&events, "one"), sent[0]);
        assert_eq!(text_of(&events, "two"), sent[1]);
    }
    assert_eq!(channel.live.frames_sent(), 300 * dashboards.len() as u64);
}

#[tokio::test]
async fn updates_are_passed_on_as_they_are() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut dashboard = channel.dashboard(json!({ "token": "good", "transports": ["websocket"] }));
    dashboard.until_event("auth-success", 1).await;
    let body = r#"{ "taskId":"run", "organizationId":"x","status":"RUNNING","n":1.5, "deep":{"a":[1,{"b":null}]},"text":"é\u0000 \ud83d\ude00" }"#;
    channel.log(org, "run", 0, "before\n");
    let update = Frame::Updated { task: TaskId::from("run"), body: Bytes::from_static(body.as_bytes()) };
    channel.tick(org, &[update]);
    dashboard.until_event("execution-updated", 1).await;
    assert_eq!(dashboard.story(), ["connect", "auth-success", "execution-log", "execution-updated"]);
    let expected: Value = serde_json::from_str(body).unwrap();
    assert_eq!(dashboard.arguments("execution-updated"), [&vec![expected, json!("2")]]);
}

#[tokio::test]
async fn a_frame_that_is_not_json_costs_nobody_anything() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut dashboard = channel.dashboard(json!({ "token": "good", "transports": ["websocket"] }));
    dashboard.until_event("auth-success", 1).await;
    let broken = Frame::Updated { task: TaskId::from("run"), body: Bytes::from_static(b"{\"half\":") };
    channel.tick(org, &[broken]);
    channel.log(org, "run", 0, "after\n");
    dashboard.until_event("execution-log", 1).await;
    assert_eq!(dashboard.story(), ["connect", "auth-success", "execution-log"]);
    assert_eq!(channel.live.frames_sent(), 1);
}

#[tokio::test]
async fn two_organizations_never_see_each_other() {
    let channel = Channel::open().await;
    let orgs = [an_org(), an_org()];
    let mut dashboards = Vec::new();
    for (org, token) in orgs.iter().zip(["left", "right"]) {
        channel.tokens.issue(token, *org, HOUR);
        for transports in transports() {
            dashboards.push(channel.dashboard(json!({ "token": token, "transports": transports })));
        }
    }
    for dashboard in &mut dashboards {
        dashboard.until_event("auth-success", 1).await;
    }
    // Both have a run of the same name.
    for round in 0..50 {
        channel.log(orgs[0], "run", round * 5, "left\n");
        channel.log(orgs[1], "run", round * 6, "right\n");
    }
    for (index, dashboard) in dashboards.iter_mut().enumerate() {
        dashboard.until_event("execution-log", 50).await;
        dashboard.listen(std::time::Duration::from_millis(100)).await;
        let own = if index < 3 { "left\n" } else { "right\n" };
        assert_eq!(text_of(&dashboard.arguments("execution-log"), "run"), own.repeat(50));
    }
}

#[tokio::test]
async fn nothing_is_sent_to_an_empty_room() {
    let channel = Channel::open().await;
    let (org, other) = (an_org(), an_org());
    channel.tokens.issue("other", other, HOUR);
    assert!(!channel.live.has_viewers(org));
    let mut dashboard = channel.dashboard(json!({ "token": "other", "transports": ["websocket"] }));
    dashboard.until_event("auth-success", 1).await;
    channel.log(org, "run", 0, "nobody is watching\n");
    assert!(channel.live.has_viewers(other) && !channel.live.has_viewers(org));
    assert_eq!(channel.live.frames_sent(), 0);
    dashboard.quit().await;
    channel.until_viewers(other, false).await;
    channel.log(other, "run", 0, "nobody is watching any more\n");
    assert_eq!(channel.live.frames_sent(), 0);
}
