//! Who is let in, what everybody else hears, and what becomes of connections that say nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use runstream::actors::feed::Delivery;
use runstream::clock::SystemClock;
use runstream::live::LiveSettings;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::channel::{Channel, HOUR, an_org, next_text, transports};

#[tokio::test]
async fn a_valid_token_hears_connect_then_auth_success() {
    let channel = Channel::open().await;
    let org = an_org();
    let user = channel.tokens.issue("good", org, HOUR);
    for transports in transports() {
        let mut dashboard = channel.dashboard(json!({ "token": "good", "transports": transports }));
        dashboard.until_event("auth-success", 1).await;
        let story: Vec<_> = dashboard.story().into_iter().filter(|name| *name != "upgrade").collect();
        assert_eq!(story, ["connect", "auth-success"], "{transports}");
        assert_eq!(
            dashboard.arguments("auth-success"),
            [&vec![json!({
                "message": "Connected to organization channel",
                "organizationId": org.to_string(),
                "userId": user.to_string(),
                "role": "developer",
                "cursor": "0",
            })]]
        );
        assert!(channel.live.has_viewers(org));
        dashboard.quit().await;
        channel.until_viewers(org, false).await;
    }
    assert_eq!(channel.live.sockets(), 0);
}

#[tokio::test]
async fn anybody_else_hears_why_and_is_disconnected_for_good() {
    let channel = Channel::open().await;
    let key = format!("pk_live_{}", "0".repeat(48));
    for (auth, error) in [
        (json!({}), "Authentication required"),
        (json!({ "token": null }), "Authentication required"),
        (json!({ "token": "" }), "Authentication required"),
        (json!({ "token": "unknown" }), "Invalid or expired token"),
        (json!({ "token": 7 }), "Invalid or expired token"),
        (json!({ "token": key }), "Invalid or expired token"),
    ] {
        let refused = transports().map(|transports| {
            let mut dashboard = channel.dashboard(json!({ "auth": auth, "transports": transports }));
            let auth = &auth;
            async move {
                let end = dashboard.until_event("disconnect", 1).await;
                assert_eq!(end["reason"], "io server disconnect", "{auth} {transports}");
                assert_eq!(end["active"], false, "the stock client stays away");
                let story: Vec<_> = dashboard.story().into_iter().filter(|name| *name != "upgrade").collect();
                assert_eq!(story, ["connect", "auth-error", "disconnect"], "{auth} {transports}");
                assert_eq!(dashboard.arguments("auth-error"), [&vec![json!({ "error": error })]]);
            }
        });
        futures_util::future::join_all(refused).await;
    }
    assert_eq!(channel.live.sockets(), 0);
}

#[tokio::test]
async fn the_open_packet_announces_the_heartbeat_of_the_contract() {
    let channel = Channel::open().await;
    let mut raw = channel.raw().await;
    let open = next_text(&mut raw).await.unwrap();
    let open: serde_json::Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(open["pingInterval"], 25_000);
    assert_eq!(open["pingTimeout"], 20_000);
    assert_eq!(open["maxPayload"], 1_000_000);
    assert_eq!(open["upgrades"], json!([]));
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_dropped_after_five_seconds() {
    let channel = Channel::open().await;
    let started = Instant::now();
    let mut raw = channel.raw().await;
    next_text(&mut raw).await.unwrap();
    while next_text(&mut raw).await.is_some() {}
    let seconds = started.elapsed().as_secs_f64();
    assert!((4.9..8.0).contains(&seconds), "dropped after {seconds} s");
}

#[tokio::test]
async fn a_refused_connection_that_does_not_go_is_cut() {
    let channel = Channel::open().await;
    let mut raw = channel.raw().await;
    raw.send(Message::text("40")).await.unwrap();
    let started = Instant::now();
    let mut heard = Vec::new();
    while let Some(text) = next_text(&mut raw).await {
        heard.push(text);
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    // The first heartbeat comes at once, before or after the rest.
    heard.retain(|text| text != "2");
    let kinds: Vec<_> = heard.iter().map(|text| text.get(..2).unwrap_or(text)).collect();
    // Open, CONNECT, event, DISCONNECT; the close packet need not arrive.
    assert_eq!(kinds.get(..4), Some(&["0{", "40", "42", "41"][..]), "{heard:?}");
}

#[tokio::test]
async fn another_namespace_is_refused_and_gives_no_way_to_stay() {
    let channel = Channel::open().await;
    channel.tokens.issue("good", an_org(), HOUR);
    let mut raw = channel.raw().await;
    raw.send(Message::text(r#"40/admin,{"token":"good"}"#)).await.unwrap();
    let mut heard = Vec::new();
    while let Some(text) = next_text(&mut raw).await {
        heard.push(text);
    }
    // The first heartbeat may come before it.
    heard.retain(|text| text != "2");
    assert_eq!(heard.get(1).map(|text| text.starts_with("44/admin,")), Some(true), "{heard:?}");
    assert_eq!(channel.live.sockets(), 0);
}

#[tokio::test]
async fn what_viewers_say_is_ignored() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    for transports in transports() {
        let mut dashboard = channel.dashboard(json!({ "token": "good", "transports": transports }));
        dashboard.until_event("auth-success", 1).await;
        for (name, args) in [
            ("join", json!(["org:000000000000000000000000"])),
            ("execution-log", json!([{ "taskId": "x", "log": "y" }])),
            ("binary", json!([{ "binary": [1, 2, 3] }, 7])),
        ] {
            dashboard.order(json!({ "do": "emit", "name": name, "args": args })).await;
        }
        dashboard.until_event("done", 3).await;
        channel.log(org, "run", 0, "still here\n");
        dashboard.until_event("execution-log", 1).await;
        assert!(!dashboard.story().contains(&"disconnect"), "{transports}");
        dashboard.quit().await;
        channel.until_viewers(org, false).await;
    }
}

#[tokio::test]
async fn an_organization_has_at_most_its_viewers() {
    let settings = LiveSettings { sockets_per_organization_max: 2, ..LiveSettings::default() };
    let channel = Channel::open_with(settings, Arc::new(SystemClock)).await;
    channel.tokens.issue("good", an_org(), HOUR);
    channel.tokens.issue("neighbour", an_org(), HOUR);
    let mut inside = Vec::new();
    for token in ["good", "good", "neighbour"] {
        let mut dashboard = channel.dashboard(json!({ "token": token, "transports": ["websocket"] }));
        dashboard.until_event("auth-success", 1).await;
        inside.push(dashboard);
    }
    let mut third = channel.dashboard(json!({ "token": "good", "transports": ["websocket"] }));
    third.until_event("disconnect", 1).await;
    assert_eq!(third.arguments("auth-error"), [&vec![json!({ "error": "Too many connections" })]]);
    assert_eq!(channel.live.sockets(), 3);
    // A place that is given up can be taken.
    inside.remove(0).quit().await;
    while channel.live.sockets() > 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut fourth = channel.dashboard(json!({ "token": "good", "transports": ["websocket"] }));
    fourth.until_event("auth-success", 1).await;
}

#[tokio::test]
async fn strangers_are_bounded_and_members_do_not_count_among_them() {
    let settings = LiveSettings { handshakes_max: 2, ..LiveSettings::default() };
    let channel = Channel::open_with(settings, Arc::new(SystemClock)).await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut members = Vec::new();
    for _ in 0..3 {
        let mut raw = channel.raw().await;
        raw.send(Message::text(r#"40{"token":"good"}"#)).await.unwrap();
        while !next_text(&mut raw).await.unwrap().starts_with("42[\"auth-success\"") {}
        members.push(raw);
    }
    let _strangers = (channel.raw().await, channel.raw().await);
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", channel.address);
    let refused = tokio_tungstenite::connect_async(&url).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    // They are dropped after five seconds, and then there is room again.
    tokio::time::sleep(Duration::from_secs(6)).await;
    drop(channel.raw().await);
}
