//! Rate tiers on an injected clock: exact counts, window edges, headers.

use runstream::domain::time::IsoMs;
use serde_json::json;

use crate::support::site::{Answer, NOW_MS, Site};

fn assert_refused(answer: &Answer, limit: u32, retry_s: u64) {
    assert_eq!(answer.failure(), (429, "Rate limit exceeded".to_owned()));
    let expected = json!({
        "success": false, "error": "Rate limit exceeded", "limit": limit, "window": 60_000, "retryAfter": retry_s,
        "message": format!("Too many requests, retry in {retry_s} s"),
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("retry-after"), Some(retry_s.to_string().as_str()));
    assert_eq!(answer.rate(), Some((limit, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_has_exactly_a_hundred_requests_in_a_window() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.sign_up("ivo").await;
    let key = site.key(&ivo).await;
    site.advance(60);
    let reset = IsoMs(NOW_MS + 120_000).to_string();
    for left in (0..100).rev() {
        // From many addresses, by the one path or the other, also where nothing is found: one counter.
        let path = if left % 2 == 0 { "/api/auth/me" } else { "/api/projects/x" };
        let answer = site.get(path).token(&rosa.token).from(&site.new_address()).send().await;
        assert_eq!(answer.rate(), Some((100, left)));
        assert_eq!(answer.header("x-ratelimit-reset"), Some(reset.as_str()));
        if left == 50 {
            site.advance(23);
        }
    }
    assert_refused(&site.get("/api/auth/me").token(&rosa.token).send().await, 100, 37);
    site.clock.advance(std::time::Duration::from_millis(36_999));
    assert_refused(&site.get("/api/auth/me").token(&rosa.token).send().await, 100, 1);
    assert_eq!(
        site.get("/api/projects").key(&key).send().await.rate(),
        Some((100, 99)),
        "its neighbour is free"
    );
    site.clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(site.get("/api/auth/me").token(&rosa.token).send().await.rate(), Some((100, 99)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_requests_share_the_count() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ask = || async { site.get("/api/auth/me").token(&rosa.token).send().await.status };
    let all = futures_util::future::join_all((0..150).map(|_| ask())).await;
    assert_eq!(all.iter().filter(|status| **status == 200).count(), 100);
    assert_eq!(all.iter().filter(|status| **status == 429).count(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_five_tries_over_sign_up_login_and_resets_together() {
    let site = Site::start().await;
    let ask = async |path: &str, address: &str| {
        site.post(path).from(address).body("application/json", "{").send().await
    };
    for (left, path) in [
        (4, "/api/auth/login"),
        (3, "/api/auth/signup"),
        (2, "/api/auth/password-reset/request"),
        (1, "/api/auth/password-reset/confirm"),
        (0, "/api/auth/login"),
    ] {
        let answer = ask(path, "203.0.113.9").await;
        assert_eq!((answer.status, answer.rate()), (400, Some((5, left))), "the tier comes before the body");
    }
    assert_refused(&ask("/api/auth/signup", "203.0.113.9").await, 5, 60);
    assert_eq!(ask("/api/auth/login", "203.0.113.10").await.rate(), Some((5, 4)));
    // What a client claims of itself left of the proxy's word does not count.
    assert_refused(&ask("/api/auth/login", "192.0.2.1, 203.0.113.9").await, 5, 60);
    // IPv6 counts per /64.
    for left in (0..5).rev() {
        let address = format!("2001:db8:1:2::{left}");
        assert_eq!(ask("/api/auth/login", &address).await.rate(), Some((5, left)));
    }
    assert_eq!(ask("/api/auth/login", "2001:db8:1:2:ffff::1").await.status, 429);
    assert_eq!(ask("/api/auth/login", "2001:db8:1:3::1").await.status, 400);
    site.advance(60);
    assert_eq!(ask("/api/auth/login", "203.0.113.9").await.rate(), Some((5, 4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_pages_count_per_address_and_health_not_at_all() {
    let site = Site::start().await;
    for left in (0..100).rev() {
        let path = if left % 2 == 0 { "/" } else { "/config/defaults" };
        assert_eq!(site.get(path).from("203.0.113.9").send().await.rate(), Some((100, left)));
    }
    assert_refused(&site.get("/").from("203.0.113.9").send().await, 100, 60);
    for _ in 0..120 {
        let answer = site.get("/health").from("203.0.113.9").send().await;
        assert_eq!((answer.status, answer.rate()), (200, None));
    }
    assert_eq!(site.get("/").from("203.0.113.10").send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credentials_do_not_use_up_an_organizations_requests() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    for _ in 0..150 {
        let answer = site.get("/api/auth/me").token("x").send().await;
        assert_eq!((answer.status, answer.rate()), (401, None));
    }
    assert_eq!(site.get("/api/auth/me").token(&rosa.token).send().await.rate(), Some((100, 99)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_counts_per_key_and_apart_from_everything_else() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let (first, second) = (site.key(&rosa).await, site.key(&rosa).await);
    let lifecycle = async |key: &str, path: &str| site.post(path).key(key).json(&json!({})).send().await;
    for left in (0..100).rev() {
        let path = if left % 2 == 0 { "/api/ingest/setup" } else { "/api/ingest/teardown" };
        assert_eq!(lifecycle(&first, path).await.rate(), Some((100, left)));
    }
    assert_eq!(
        lifecycle(&first, "/api/ingest/setup").await.failure(),
        (429, "Rate limit exceeded".to_owned())
    );
    assert_eq!(lifecycle(&second, "/api/ingest/setup").await.rate(), Some((100, 99)));
    assert_eq!(lifecycle(&first, "/api/ingest/event").await.rate(), Some((500, 499)));
    // Two keys were made in this window; ingest took nothing from the organization.
    assert_eq!(site.get("/api/auth/me").token(&rosa.token).send().await.rate(), Some((100, 97)));
}
