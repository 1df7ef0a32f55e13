//! Bodies that are none, too large, or of another kind.

use http::Method;
use serde_json::json;

use crate::support::site::Site;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_json_object_is_told_apart() {
    let site = Site::start().await;
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, error) in [
        (b"{".as_slice(), "Invalid JSON"),
        (b"{\"email\":\"a@b.c\",}", "Invalid JSON"),
        (b"{\"email\":\"\\ud800\"}", "Invalid JSON"),
        (b"{\"email\":\"\xff\"}", "Invalid JSON"),
        (b"{\"email\":1e999}", "Invalid JSON"),
        (b"{} {}", "Invalid JSON"),
        (nested.as_bytes(), "Invalid JSON"),
        (b"", "Invalid request body"),
        (b"[]", "Invalid request body"),
        (b"null", "Invalid request body"),
        (b"\"text\"", "Invalid request body"),
        (b"7", "Invalid request body"),
        (b"{}", "Missing credentials"),
        (b"{\"email\":\"x\",\"email\":7,\"password\":\"x\"}", "Missing credentials"),
    ] {
        let asked = site.post("/api/auth/login").from(&site.new_address());
        let answer = asked.body("application/json", body.to_vec()).send().await;
        assert_eq!(answer.failure(), (400, error.to_owned()), "{}", String::from_utf8_lossy(body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_one_mebibyte_is_taken_and_one_byte_more_is_not() {
    let site = Site::start().await;
    let body = |bytes: usize| {
        let rest = r#"{"email":"a@b.c","password":"x","padding":""}"#.len();
        format!(r#"{{"email":"a@b.c","password":"x","padding":"{}"}}"#, "x".repeat(bytes - rest))
    };
    let send = async |bytes: usize| {
        let asked = site.post("/api/auth/login").from(&site.new_address());
        asked.body("application/json", body(bytes)).send().await.failure()
    };
    assert_eq!(send(MIB).await, (401, "Invalid credentials".to_owned()));
    for bytes in [MIB + 1, 5 * MIB] {
        assert_eq!(send(bytes).await, (413, "Payload too large".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_plain_json_is_taken() {
    let site = Site::start().await;
    let body = json!({ "email": "a@b.c", "password": "x" }).to_string();
    let send = async |media_type: &str, coding: Option<&str>| {
        let asked = site.post("/api/auth/login").from(&site.new_address()).body(media_type, body.clone());
        let asked = if let Some(coding) = coding { asked.header("content-encoding", coding) } else { asked };
        asked.send().await.status
    };
    for media_type in
        ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"]
    {
        assert_eq!(send(media_type, None).await, 401, "{media_type}");
    }
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "json"] {
        assert_eq!(send(media_type, None).await, 415, "{media_type}");
    }
    assert_eq!(send("application/json", Some("identity")).await, 401);
    assert_eq!(send("application/json", Some("gzip")).await, 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_failure_in_the_order_of_checks_is_told() {
    let site = Site::start().await;
    let admin = site.sign_up("rosa").await;
    let viewer = site.member(&admin, "vera", runstream::domain::role::Role::Viewer).await;
    let path = "/api/projects";
    let check = async |asked: crate::support::site::Ask<'_>, expected: (u16, &str)| {
        assert_eq!(asked.send().await.failure(), (expected.0, expected.1.to_owned()));
    };
    // Size and type before the credential, the credential before the role, the role before the body.
    let too_large = "x".repeat(MIB + 1);
    check(site.post(path).body("application/json", too_large), (413, "Payload too large")).await;
    check(site.post(path).body("text/plain", "x"), (415, "Unsupported media type")).await;
    check(site.post(path).body("application/json", "{"), (401, "Authentication required")).await;
    let asked = site.post(path).token(&viewer.token).body("application/json", "{");
    check(asked, (403, "Insufficient permissions")).await;
    let asked = site.post(path).token(&admin.token).body("application/json", "{");
    check(asked, (400, "Invalid JSON")).await;
    // The tier comes before the role: a viewer who writes too often hears of that.
    for _ in 0..100 {
        site.get("/api/auth/me").token(&admin.token).send().await;
    }
    let asked = site.post(path).token(&viewer.token).body("application/json", "{");
    check(asked, (429, "Rate limit exceeded")).await;
    // And the credential before the tier.
    check(site.post(path).token("x"), (401, "Invalid token")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_nobody_asked_for_is_checked_and_ignored() {
    let site = Site::start().await;
    let admin = site.sign_up("rosa").await;
    let asked = site.ask(Method::GET, "/api/auth/me").token(&admin.token);
    assert_eq!(asked.clone().body("application/json", "{").send().await.status, 200);
    assert_eq!(asked.clone().body("text/plain", "x").send().await.status, 415);
    assert_eq!(asked.body("application/json", "x".repeat(MIB + 1)).send().await.status, 413);
    let out = site.post("/api/auth/logout").token(&admin.token).body("application/json", "[1]").send().await;
    assert_eq!(out.status, 200);
}
