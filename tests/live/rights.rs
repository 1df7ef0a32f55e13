//! What a viewer may see ends when its token or account does: within five seconds, and never earlier.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runstream::clock::{ManualClock, SystemClock};
use runstream::live::LiveSettings;
use serde_json::json;

use super::channel::{Channel, HOUR, an_org, transports};
use crate::support::node::Script;

/// What the contract gives between the loss of the right and the disconnect.
const GRACE: Duration = Duration::from_secs(5);

async fn expelled(dashboard: &mut Script) {
    let end = dashboard.until_event("disconnect", 1).await;
    assert_eq!(end["reason"], "io server disconnect");
    assert_eq!(dashboard.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);
}

#[tokio::test]
async fn a_logout_disconnects_every_socket_of_that_token_and_no_other() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("leaving", org, HOUR);
    channel.tokens.issue("staying", org, HOUR);
    let mut leaving = Vec::new();
    for transports in transports() {
        leaving.push(channel.dashboard(json!({ "token": "leaving", "transports": transports })));
    }
    let mut staying = channel.dashboard(json!({ "token": "staying" }));
    for dashboard in leaving.iter_mut().chain([&mut staying]) {
        dashboard.until_event("auth-success", 1).await;
    }
    let started = Instant::now();
    channel.tokens.revoke("leaving");
    for dashboard in &mut leaving {
        expelled(dashboard).await;
    }
    assert!(started.elapsed() < GRACE, "{:?}", started.elapsed());
    channel.log(org, "run", 0, "after\n");
    staying.until_event("execution-log", 1).await;
    assert!(leaving.iter().all(|dashboard| dashboard.arguments("execution-log").is_empty()));
    assert_eq!(channel.live.sockets(), 1);
}

#[tokio::test]
async fn a_suspension_that_nobody_announced_is_noticed() {
    let channel = Channel::open_with(LiveSettings::default(), Arc::new(SystemClock)).await;
    channel.tokens.issue("good", an_org(), HOUR);
    let mut dashboard = channel.dashboard(json!({ "token": "good" }));
    dashboard.until_event("auth-success", 1).await;
    let started = Instant::now();
    channel.tokens.forget("good");
    expelled(&mut dashboard).await;
    assert!(started.elapsed() < GRACE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_token_that_expires_ends_the_socket() {
    let clock = ManualClock::at(1_774_000_000_000);
    let channel = Channel::open_with(LiveSettings::default(), Arc::new(clock.clone())).await;
    channel.tokens.issue("short", an_org(), HOUR);
    let mut dashboard = channel.dashboard(json!({ "token": "short" }));
    dashboard.until_event("auth-success", 1).await;
    clock.advance(HOUR - Duration::from_secs(1));
    dashboard.listen(Duration::from_millis(300)).await;
    assert!(!dashboard.story().contains(&"auth-error"), "not a second too early");
    clock.advance(GRACE);
    expelled(&mut dashboard).await;
    // Coming back with the same token does not help.
    dashboard.order(json!({ "do": "connect" })).await;
    dashboard.until_event("disconnect", 2).await;
    assert_eq!(dashboard.arguments("auth-error").len(), 2);
    // With a new one it does.
    channel.tokens.issue("renewed", an_org(), HOUR);
    dashboard.order(json!({ "do": "token", "token": "renewed" })).await;
    dashboard.order(json!({ "do": "connect" })).await;
    dashboard.until_event("auth-success", 2).await;
}

#[tokio::test]
async fn while_tokens_cannot_be_checked_nobody_watches_and_everybody_comes_back() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut dashboard = channel.dashboard(json!({ "token": "good", "transports": ["websocket"] }));
    dashboard.until_event("auth-success", 1).await;
    channel.tokens.set_down(true);
    let end = dashboard.until_event("disconnect", 1).await;
    assert!(["transport close", "transport error"].contains(&end["reason"].as_str().unwrap()), "{end}");
    assert_eq!(end["active"], true, "the stock client tries again");
    channel.tokens.set_down(false);
    dashboard.until_event("auth-success", 2).await;
    assert!(dashboard.arguments("auth-error").is_empty());
    channel.log(org, "run", 0, "again\n");
    dashboard.until_event("execution-log", 1).await;
}

#[tokio::test]
async fn a_client_that_loses_its_connection_comes_back_and_misses_nothing() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    for transports in transports() {
        let mut dashboard = channel.dashboard(json!({ "token": "good", "transports": transports }));
        dashboard.until_event("auth-success", 1).await;
        let (start, mut expected) = (channel.rows.len(org), Vec::new());
        for (row, text) in ["one\n", "two\n", "three\n"].into_iter().enumerate() {
            let cursor = format!("{}", start + row + 1);
            expected.push(vec![json!({ "taskId": "run", "log": text, "offset": row }), json!(cursor)]);
        }
        channel.log(org, "run", 0, "one\n");
        dashboard.until_event("execution-log", 1).await;
        dashboard.order(json!({ "do": "drop" })).await;
        dashboard.until_event("disconnect", 1).await;
        channel.until_viewers(org, false).await;
        channel.log(org, "run", 1, "two\n");
        dashboard.until_event("auth-success", 2).await;
        channel.log(org, "run", 2, "three\n");
        dashboard.until_event("execution-log", 3).await;
        assert_eq!(dashboard.arguments("execution-log"), expected.iter().collect::<Vec<_>>());
        let recovered = dashboard.said.iter().filter(|line| line["event"] == "connect");
        let recovered: Vec<_> = recovered.map(|line| line["recovered"].as_bool().unwrap()).collect();
        assert_eq!(recovered, [false, true], "{transports}");
        dashboard.quit().await;
        channel.until_viewers(org, false).await;
    }
}
