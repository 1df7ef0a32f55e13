//! Rate tiers of this door, on a clock that the test moves. Source: API reference, ingest 1.2, 9 no. 4 and no. 17.

use std::time::Duration;

use runstream::domain::role::Role;
use serde_json::json;

use super::site::{Run, Site, log};
use super::wire::Answer;

/// Limit, rest and end of the window as told.
fn told(answer: &Answer) -> (String, String, String) {
    let header = |name| answer.header(name).unwrap_or_else(|| panic!("no {name} in {answer:?}")).to_owned();
    (header("x-ratelimit-limit"), header("x-ratelimit-remaining"), header("x-ratelimit-reset"))
}

fn expected(limit: u32, remaining: u32, reset: &str) -> (String, String, String) {
    (limit.to_string(), remaining.to_string(), reset.to_owned())
}

#[tokio::test]
async fn a_key_has_five_hundred_event_requests_a_minute() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let reset = "2026-03-20T09:47:40.000Z";
    // Requests count whatever becomes of them.
    for sent in 1..=500 {
        let answer = site.post_text(&reporter.key, "event", "nonsense").await;
        answer.refused(400, "Invalid JSON");
        assert_eq!(told(&answer), expected(500, 500 - sent, reset));
    }
    site.advance(Duration::from_millis(23_000));
    let answer = site.post_text(&reporter.key, "event", "nonsense").await;
    answer.refused(429, "Rate limit exceeded");
    assert_eq!(told(&answer), expected(500, 0, reset));
    assert_eq!(answer.header("retry-after"), Some("37"));
    let numbers = (&answer.body["retryAfter"], &answer.body["limit"], &answer.body["window"]);
    assert_eq!(numbers, (&json!(37), &json!(500), &json!(60_000)));
    // Another key of the same person has its own, and so has the other tier.
    let other = site.key(reporter.org, reporter.user.id).await;
    site.post_text(&other, "event", "nonsense").await.refused(400, "Invalid JSON");
    assert_eq!(site.post(&reporter, "setup", &reporter.setup()).await.status, 201);
    // The window ends for good.
    site.advance(Duration::from_millis(36_999));
    site.post_text(&reporter.key, "event", "nonsense").await.refused(429, "Rate limit exceeded");
    site.advance(Duration::from_millis(1));
    let answer = site.post_text(&reporter.key, "event", "nonsense").await;
    assert_eq!(told(&answer), expected(500, 499, "2026-03-20T09:48:40.000Z"));
}

#[tokio::test]
async fn setups_and_teardowns_share_a_hundred_a_minute() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    for sent in 0..100 {
        let endpoint = if sent % 2 == 0 { "setup" } else { "teardown" };
        let answer = site.post_text(&reporter.key, endpoint, "[]").await;
        assert_eq!((answer.status, told(&answer).1), (400, (99 - sent).to_string()));
    }
    for endpoint in ["setup", "teardown"] {
        site.post_text(&reporter.key, endpoint, "[]").await.refused(429, "Rate limit exceeded");
    }
    site.post_text(&reporter.key, "event", "[]").await.refused(400, "Invalid event batch");
}

#[tokio::test]
async fn tokens_of_an_organization_share_one_counter() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let by_token = async || {
        let mut wire = site.connect().await;
        let head = "POST /api/ingest/setup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2";
        wire.send(format!("{head}\r\nauthorization: Bearer {}\r\n\r\n[]", reporter.token).as_bytes()).await;
        wire.answer().await
    };
    for left in (0..100).rev() {
        assert_eq!(told(&by_token().await).1, left.to_string());
    }
    by_token().await.refused(429, "Rate limit exceeded");
    assert_eq!(site.post(&reporter, "setup", &reporter.setup()).await.status, 201, "a key counts for itself");
}

#[tokio::test]
async fn a_session_has_a_limit_of_its_own_beside_its_keys() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let (busy, quiet) = (site.set_up(&reporter).await, site.set_up(&reporter).await);
    for line in 0..500 {
        site.events(&reporter, &busy, &[log(&line.to_string())]).await.accepted();
    }
    // The key's limit is used up, and so is the busy session's own; the quiet one still has all of its.
    let refused = site.events(&reporter, &busy, &[log("too much")]).await;
    refused.refused(429, "Rate limit exceeded");
    assert_eq!(refused.header("retry-after"), Some("60"));
    let passed = site.events(&reporter, &quiet, &[log("still heard")]).await;
    passed.accepted();
    assert_eq!(told(&passed).1, "499");
    assert_eq!(site.log(&reporter, &quiet).await, "still heard\n");
    // What was refused is known to the run it was for, and to no other.
    assert_eq!(site.completeness(&reporter, &busy).await.batches_refused_tier, 1);
    assert_eq!(site.completeness(&reporter, &quiet).await.batches_refused_tier, 0);
    // A made-up session has no limit of its own.
    let unknown =
        Run { session: "00000000-0000-4000-8000-000000000000".to_owned(), task: quiet.task.clone() };
    site.events(&reporter, &unknown, &[log("x")]).await.refused(429, "Rate limit exceeded");
    // A viewer gains nothing by naming a session.
    let viewer = site.reporter(Role::Viewer).await;
    for _ in 0..500 {
        site.post_text(&viewer.key, "event", "[]").await.refused(403, "Insufficient permissions");
    }
    site.events(&viewer, &quiet, &[log("x")]).await.refused(429, "Rate limit exceeded");
}

#[tokio::test]
async fn bad_credentials_are_counted_per_address_and_good_ones_pass() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    for left in (0..30).rev() {
        let answer = site.post_text("nonsense", "setup", "{}").await;
        answer.refused(401, "Invalid API key");
        assert_eq!(told(&answer).1, left.to_string());
    }
    let answer = site.post_text("nonsense", "event", "{}").await;
    answer.refused(429, "Rate limit exceeded");
    assert_eq!(answer.body["limit"], 30);
    assert_eq!(site.post(&reporter, "setup", &reporter.setup()).await.status, 201);
    site.advance(Duration::from_secs(60));
    site.post_text("nonsense", "event", "{}").await.refused(401, "Invalid API key");
}
