//! Who comes back with what: tokens that are refused and renewed, cursors that are forged, foreign or too old, viewers
//! that stall, polls that are repeated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::SinkExt;
use runstream::clock::SystemClock;
use runstream::live::LiveSettings;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::channel::{Channel, HOUR, RawSocket, an_org, next_text};
use crate::support::line::Line;
use crate::support::viewers::StockViewers;

/// Connects as a client that was connected before; returns the CONNECT answer.
async fn come_back(channel: &Channel, auth: Value) -> (RawSocket, Value) {
    let mut raw = channel.raw().await;
    raw.send(Message::text(format!("40{auth}"))).await.unwrap();
    loop {
        let text = next_text(&mut raw).await.unwrap();
        if let Some(answer) = text.strip_prefix("40") {
            return (raw, serde_json::from_str(answer).unwrap());
        }
    }
}

/// The next event.
async fn event(raw: &mut RawSocket) -> Value {
    loop {
        let text = next_text(raw).await.expect("the connection stays");
        assert!(!text.contains("\"~\""), "a bell got out: {text}");
        if let Some(event) = text.strip_prefix("42") {
            return serde_json::from_str(event).unwrap();
        }
    }
}

/// What is printed after a viewer has come back, and all it has got until then.
async fn until_end(channel: &Channel, org: runstream::domain::id::OrgId, raw: &mut RawSocket) -> String {
    let end = format!("END{};", channel.rows.len(org));
    channel.log(org, "run", 0, &end);
    let mut text = String::new();
    while !text.ends_with(&end) {
        let event = event(raw).await;
        if event[0] == "execution-log" {
            text.push_str(event[1]["log"].as_str().unwrap());
        }
    }
    text
}

#[tokio::test]
async fn a_token_that_is_refused_and_renewed_costs_nothing() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("old", org, HOUR);
    let url = format!("http://{}", channel.address);
    let mut viewers = StockViewers::start(
        &url,
        &[json!({ "token": "old" }), json!({ "token": "old", "transports": ["websocket"] })],
    );
    viewers.until_welcome().await;
    channel.log(org, "run", 0, "before ");
    let mut texts = BTreeMap::from([("run".to_owned(), "before ".to_owned())]);
    viewers.until_complete(&[(0, &texts), (1, &texts)]).await;
    channel.tokens.revoke("old");
    viewers.until("all to be sent away", |seen| seen.iter().all(|one| one.refusals == 1)).await;
    channel.log(org, "run", 7, "meanwhile ");
    // Once more with the token that is refused, then with one that is not.
    for viewer in 0..2 {
        viewers.order(viewer, json!({ "do": "connect" })).await;
    }
    viewers.until("all to be refused", |seen| seen.iter().all(|one| one.refusals == 2)).await;
    channel.tokens.issue("new", org, HOUR);
    for viewer in 0..2 {
        viewers.order(viewer, json!({ "do": "token", "token": "new" })).await;
        viewers.order(viewer, json!({ "do": "connect" })).await;
    }
    channel.log(org, "run", 17, "after");
    texts.insert("run".to_owned(), "before meanwhile after".to_owned());
    for one in viewers.until_complete(&[(0, &texts), (1, &texts)]).await {
        one.must_have(&texts);
        assert!(one.connected);
    }
}

#[tokio::test]
async fn a_cursor_is_taken_or_refused_and_never_more_than_a_place() {
    let channel = Channel::open().await;
    let (org, other) = (an_org(), an_org());
    channel.tokens.issue("good", org, HOUR);
    channel.tokens.issue("other", other, HOUR);
    for row in 0..10 {
        channel.log(org, "run", row, &row.to_string());
        channel.log(other, "secret", row, "s");
    }
    let (_, fresh) = come_back(&channel, json!({ "token": "good" })).await;
    let (_, foreign) = come_back(&channel, json!({ "token": "other" })).await;
    let (pid, foreign) = (fresh["pid"].as_str().unwrap(), foreign["pid"].as_str().unwrap());
    let (numbering, start) = pid.split_once('-').unwrap();
    assert_eq!(start, "a", "ten rows in base 36");
    assert_ne!(numbering, foreign.split_once('-').unwrap().0, "numberings are an organization's own");

    let from = |start: &str| format!("{numbering}-{start}");
    for (pid, offset, missed) in [
        (pid.to_owned(), json!("7"), "789"),
        (pid.to_owned(), json!("a"), ""),
        // Without an event: from where it started.
        (from("8"), json!(null), "89"),
        // The first two frames of a merged window are there.
        (from("0"), json!("4.9.2"), "6789"),
    ] {
        let auth = json!({ "token": "good", "pid": pid, "offset": offset });
        let rows = channel.rows.len(org);
        let (mut raw, answer) = come_back(&channel, auth.clone()).await;
        assert_eq!(answer["pid"], pid, "it says that nothing was missed");
        let text = until_end(&channel, org, &mut raw).await;
        let ends: String = (10..=rows).map(|row| format!("END{row};")).collect();
        assert_eq!(text, format!("{missed}{ends}"), "{auth}");
    }

    let head = channel.rows.len(org);
    for (pid, offset) in [
        (pid, json!("zz")),
        (pid, json!("1.zz.1")),
        (pid, json!("3w5e11264sgsf")),
        (pid, json!("1.3w5e11264sgsf.1")),
        (pid, json!("")),
        (pid, json!("Hello")),
        (pid, json!(1)),
        (pid, json!({ "a": 1 })),
        (pid, json!("5.5.5")),
        (pid, json!("9".repeat(100_000))),
        (foreign, json!("1")),
        ("1-1", json!("1")),
        ("", json!("1")),
        ("nonsense", json!("1")),
        (&format!("{numbering}-1-1"), json!("1")),
        (&format!("{numbering}-1\",\"x\":\"y"), json!("1")),
    ] {
        let (mut raw, answer) =
            come_back(&channel, json!({ "token": "good", "pid": pid, "offset": offset })).await;
        let given = answer["pid"].as_str().unwrap();
        assert_ne!(given, pid, "{offset}");
        assert!(given.starts_with(numbering));
        let end = format!("END{};", channel.rows.len(org));
        assert_eq!(until_end(&channel, org, &mut raw).await, end, "nothing old: {pid} {offset}");
    }
    assert!(channel.rows.len(org) > head);

    // A window that ends at a boundary nobody was told of, and more frames than it has: a place like any other.
    let auth = json!({ "token": "good", "pid": pid, "offset": "1.8.zzzz" });
    let (mut raw, _) = come_back(&channel, auth).await;
    assert!(until_end(&channel, org, &mut raw).await.starts_with("89END10;"));
    // Under the other token the same cursor yields nothing of either.
    let (mut raw, answer) = come_back(&channel, json!({ "token": "other", "pid": pid, "offset": "1" })).await;
    assert_ne!(answer["pid"], pid);
    assert_eq!(until_end(&channel, other, &mut raw).await, "END10;");
}

#[tokio::test]
async fn what_is_kept_no_more_starts_anew_and_says_so() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let (_, fresh) = come_back(&channel, json!({ "token": "good" })).await;
    for row in 0..5 {
        channel.log(org, "run", row, &row.to_string());
    }
    channel.rows.oldest.store(3, Ordering::SeqCst);
    for (offset, accepted) in [("2", false), ("3", true)] {
        let auth = json!({ "token": "good", "pid": fresh["pid"], "offset": offset });
        let (_, answer) = come_back(&channel, auth).await;
        assert_eq!(answer["pid"] == fresh["pid"], accepted, "{offset}");
    }
    // While the feed does not answer nobody is told anything wrong: the client comes back.
    channel.rows.down.store(true, Ordering::SeqCst);
    let auth = json!({ "token": "good", "pid": fresh["pid"], "offset": "4" });
    let (mut raw, answer) = come_back(&channel, auth.clone()).await;
    assert_eq!(answer["pid"], fresh["pid"], "it keeps its place");
    while let Some(text) = next_text(&mut raw).await {
        assert!(!text.starts_with("42"), "{text}");
    }
    channel.rows.down.store(false, Ordering::SeqCst);
    let (mut raw, _) = come_back(&channel, auth).await;
    assert_eq!(until_end(&channel, org, &mut raw).await, "4END5;");
}

#[tokio::test]
async fn text_that_is_gone_in_the_middle_of_a_replay_ends_it_once() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    for transports in super::channel::transports() {
        let line = Line::to(channel.address.port(), 1).await;
        let mut viewers =
            StockViewers::start(&line.url, &[json!({ "token": "good", "transports": transports })]);
        viewers.until_welcome().await;
        line.refuse(true);
        line.cut();
        viewers.until("it to be away", |seen| !seen[0].connected).await;
        let start = channel.rows.len(org) as u64;
        channel.rows.hole.store(start + 8, Ordering::SeqCst);
        for row in 0..10 {
            channel.log(org, "run", row * 20_000, &"x".repeat(20_000));
        }
        line.refuse(false);
        // It gets what there is, is told that something is missing, and stays.
        viewers.until("it to be told", |seen| seen[0].welcomes == 3).await;
        channel.log(org, "run", 200_000, "END");
        viewers.until("the end", |seen| seen[0].outputs.get("run") == Some(&json!(6 * 20_000 + 3))).await;
        let seen = viewers.seen().await;
        assert_eq!((seen[0].connects, seen[0].recovered), (3, 1), "{transports}");
    }
}

#[tokio::test]
async fn a_viewer_that_stalls_through_heartbeats_stays_and_misses_nothing() {
    let settings = LiveSettings { ping_interval: Duration::from_millis(200), ..LiveSettings::default() };
    let channel = Channel::open_with(settings, Arc::new(SystemClock)).await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut raw = channel.raw_member("good").await;
    let chunk = "x".repeat(32 << 10);
    let rows = 600_u64;
    for row in 0..rows {
        channel.log(org, "run", row * chunk.len() as u64, &chunk);
    }
    // Twenty heartbeats would have filled the library's queue before.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(channel.live.sockets(), 1);
    let mut seen = 0;
    while seen < rows {
        let event = event(&mut raw).await;
        if event[0] == "execution-log" {
            assert_eq!(event[1]["offset"], seen * chunk.len() as u64);
            seen += 1;
        }
    }
}

#[tokio::test]
async fn a_viewer_that_loses_its_right_while_it_stalls_gets_nothing_more() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut raw = channel.raw_member("good").await;
    let chunk = "x".repeat(32 << 10);
    for row in 0..600 {
        channel.log(org, "run", row * chunk.len() as u64, &chunk);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    channel.tokens.revoke("good");
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What the system's buffers have is on its way; the frame that was begun is the last.
    let begun = channel.live.frames_sent();
    assert!(begun < 600, "it was stalled");
    let mut story = Vec::new();
    while let Some(text) = next_text(&mut raw).await {
        if let Some(event) = text.strip_prefix("42") {
            let event: Value = serde_json::from_str(event).unwrap();
            story.push(event[0].as_str().unwrap().to_owned());
        }
    }
    let logs = story.iter().filter(|name| *name == "execution-log").count() as u64;
    assert_eq!(logs, begun);
    assert_eq!(story.last().unwrap(), "auth-error");
    assert_eq!(channel.live.frames_sent(), begun);
}

#[tokio::test]
async fn a_poll_that_is_repeated_ends_the_session_instead_of_losing_an_answer() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let query = super::slow::polling_member(&channel).await;
    channel.log(org, "run", 0, "one");
    let get = |stamp: &str| {
        let query = format!("{query}&t={stamp}");
        let channel = &channel;
        async move { super::slow::http(channel, "GET", &query, "").await }
    };
    let (status, body) = get("a1").await;
    assert!(status == 200 && body.contains("\"one\""), "{body}");
    channel.log(org, "run", 3, "two");
    assert!(get("a2").await.1.contains("\"two\""));
    // The browser asks again by itself because the answer did not reach it.
    assert_eq!(get("a2").await.0, 400);
    channel.until_viewers(org, false).await;
}

#[tokio::test]
async fn viewers_far_behind_share_what_they_need() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let (_, fresh) = come_back(&channel, json!({ "token": "good" })).await;
    channel.until_viewers(org, false).await;
    let chunk = "x".repeat(10_000);
    for row in 0..100 {
        channel.log(org, "run", row * 10_000, &chunk);
    }
    let herd = (0..20).map(|_| async {
        let (mut raw, answer) = come_back(&channel, json!({ "token": "good", "pid": fresh["pid"] })).await;
        assert_eq!(answer["pid"], fresh["pid"]);
        for row in 0..100 {
            loop {
                let event = event(&mut raw).await;
                if event[0] == "execution-log" {
                    assert_eq!(event[1]["offset"], row * 10_000);
                    break;
                }
            }
        }
    });
    futures_util::future::join_all(herd).await;
    // Six rows make a window: made once, however many need it.
    assert_eq!(channel.rows.made.load(Ordering::SeqCst), 17);
}
