//! What every answer carries, and who may read it from another origin.

use http::Method;
use runstream::http::headers::HeaderSettings;

use super::expectations::EXPECTED;
use crate::support::site::{Answer, Site};

fn assert_secured(answer: &Answer, what: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{what}");
    }
    assert!(
        answer.header("content-security-policy").is_some_and(|csp| csp.starts_with("default-src 'self'")),
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_secured_failures_included() {
    let site = Site::start().await;
    for row in EXPECTED {
        site.advance(61);
        let method = Method::from_bytes(row.method.as_bytes()).unwrap();
        let answer = site.ask(method, row.path.split('{').next().unwrap()).send().await;
        assert_secured(&answer, row.id);
        assert_eq!(answer.header("strict-transport-security"), None, "not outside production");
    }
    let preflight = site
        .ask(Method::OPTIONS, "/api/auth/me")
        .header("origin", "http://localhost:5173")
        .header("access-control-request-method", "GET");
    assert_secured(&preflight.send().await, "a preflight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production_insists_on_tls() {
    let site = Site::start_with(|settings| settings.headers.production = true).await;
    let answer = site.get("/nowhere").send().await;
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=31536000; includeSubDomains; preload")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_listed_origins_may_read() {
    let origins = vec!["https://dash.example.test".to_owned()];
    let site = Site::start_with(|settings| {
        settings.headers = HeaderSettings { origins, ..HeaderSettings::default() };
    })
    .await;
    let answer = site.get("/api/auth/me").header("origin", "https://dash.example.test").send().await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://dash.example.test"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert_eq!(exposed, "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After");
    for origin in [
        "http://localhost:5173",
        "null",
        "*",
        "https://dash.example.test.evil.test",
        "https://dash.example.test@evil.test",
        "https://evil-dash.example.test",
        "https://evil.test/https://dash.example.test",
        "https://sub.dash.example.test",
        "https://example.test",
        "https://dash_example.test",
        "http://dash.example.test",
        "https://dash.example.test:444",
        "https://dash.example.test:443",
        "https://dash.example.test/",
        "https://DASH.example.test",
        "https://dash.example.test.",
        "https://dash.example.test https://evil.test",
        "https://dash.example.test,https://evil.test",
        "https://xn--dsh-5cd.example.test",
        "dash.example.test",
        "file://",
    ] {
        // Neither an answer, nor a preflight, nor the live channel allows it anything.
        let asked = [
            (site.get("/config/defaults"), 200),
            (site.get("/api/auth/me"), 401),
            (site.get("/socket.io/?EIO=4&transport=polling"), 200),
            (
                site.ask(Method::OPTIONS, "/api/auth/me")
                    .header("access-control-request-method", "GET")
                    .header("access-control-request-headers", "authorization"),
                204,
            ),
        ];
        for (asked, status) in asked {
            let answer = asked.header("origin", origin).send().await;
            assert_eq!(answer.status, status, "{origin}: {answer:?}");
            let allowed = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(allowed.count(), 0, "{origin}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_needs_no_credential_and_is_not_counted() {
    let site = Site::start().await;
    for path in ["/api/auth/login", "/api/ingest/event", "/api/projects", "/nowhere"] {
        for _ in 0..7 {
            let answer = site
                .ask(Method::OPTIONS, path)
                .header("origin", "http://localhost:8080")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization, content-type, x-api-key")
                .send()
                .await;
            assert_eq!((answer.status, answer.body.len(), answer.rate()), (204, 0, None), "{path}");
            let allowed = answer.header("access-control-allow-headers").unwrap();
            assert!(["authorization", "content-type", "x-api-key"].iter().all(|name| allowed.contains(name)));
            let methods = answer.header("access-control-allow-methods");
            assert_eq!(methods, Some("GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_paths_and_methods_are_not_found_without_a_credential() {
    let site = Site::start().await;
    for (method, path) in [
        (Method::GET, "/nowhere"),
        (Method::GET, "/api"),
        (Method::GET, "/api/projects/"),
        (Method::GET, "/api//projects"),
        (Method::GET, "/API/projects"),
        (Method::POST, "/api/auth/signup/"),
        (Method::POST, "/api/auth/register"),
        (Method::POST, "/api/auth/refresh"),
        (Method::GET, "/api/auth/login"),
        (Method::GET, "/api/auth/logout"),
        (Method::PUT, "/api/projects"),
        (Method::POST, "/health"),
        (Method::GET, "/health/"),
        (Method::GET, "/healthy"),
        (Method::GET, "/api/auth/login/x"),
        (Method::OPTIONS, "/api/projects"),
        (Method::GET, "/api/ingest/event"),
        (Method::POST, "/api/ingest/event/"),
    ] {
        let answer = site.ask(method.clone(), path).send().await;
        assert_eq!(answer.failure(), (404, "Not Found".to_owned()), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(answer.rate(), None);
    }
    let head = site.ask(Method::HEAD, "/health").send().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}
