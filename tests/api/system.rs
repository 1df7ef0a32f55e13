//! The server about itself.

use runstream::access::Secret;
use serde_json::json;

use crate::support::site::Site;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_pages_are_as_the_contract_says() {
    let site = Site::start().await;
    let root = site.get("/").send().await.expect(200);
    assert!(root["message"].is_string() && root.as_object().unwrap().len() == 1);
    let defaults = site.get("/config/defaults").send().await.expect(200);
    assert_eq!(defaults, json!({ "image": "", "baseUrl": "", "folder": "all", "envMapping": {} }));
    site.advance(90);
    let health = site.get("/health").send().await.expect(200);
    let expected = json!({
        "status": "healthy", "timestamp": "2026-03-20T09:48:10.123Z", "service": "api",
        "version": env!("CARGO_PKG_VERSION"), "uptime": 90.0,
        "checks": { "database": "healthy", "redis": "healthy", "rabbitmq": "healthy" },
    });
    assert_eq!(health, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_needs_its_secret_and_has_sixty_tries() {
    let site = Site::start_with(|settings| {
        settings.api.monitor_secret = Some(Secret::new(SECRET.as_bytes()).unwrap());
    })
    .await;
    let ask = || site.get("/api/system/monitor-status").from("203.0.113.9");
    let status = ask().header("x-agnox-monitor-secret", SECRET).send().await;
    assert_eq!(status.rate(), Some((60, 59)));
    let moment = "2026-03-20T09:46:40.123Z";
    let expected = json!({
        "success": true, "status": "ok", "timestamp": moment,
        "data": {
            "status": "healthy", "version": env!("CARGO_PKG_VERSION"), "timestamp": moment, "queueDepth": 0,
            "activeWorkers": 0, "dbConnected": true,
        },
    });
    assert_eq!(status.expect(200), expected);
    let wrong = ["", "x", &SECRET[1..], &SECRET.to_uppercase()];
    for left in (0..59).rev() {
        let answer = ask().header("x-agnox-monitor-secret", wrong[left % 4]).send().await;
        assert_eq!(answer.failure(), (401, "Unauthorized".to_owned()));
        assert_eq!(answer.rate(), Some((60, u32::try_from(left).unwrap())));
    }
    let refused = ask().header("x-agnox-monitor-secret", SECRET).send().await;
    assert_eq!(refused.failure(), (429, "Rate limit exceeded".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_configured_secret_no_monitor_gets_in() {
    let site = Site::start().await;
    for secret in ["", SECRET] {
        let asked = site.get("/api/system/monitor-status").header("x-agnox-monitor-secret", secret);
        assert_eq!(asked.send().await.failure(), (401, "Unauthorized".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_and_its_page_are_served_and_need_nothing_from_elsewhere() {
    let site = Site::start().await;
    let document = site.get("/openapi.json").send().await;
    assert_eq!(document.body, runstream::server::api_document());
    assert_eq!(document.expect(200)["openapi"], "3.1.0");
    let page = site.get("/docs").send().await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for foreign in
        ["http://", "https://", "//cdn", "innerHTML", "document.write", "insertAdjacentHTML", "eval("]
    {
        assert!(!text.contains(foreign), "the page holds {foreign}");
    }
    let metrics = site.get("/metrics").send().await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("# TYPE runstream_http_requests_total counter"));
}
