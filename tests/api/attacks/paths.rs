//! Targets that mean one path to whoever guards it and another to whoever serves it: none reaches what is behind the check
//! of credentials and roles.

use std::collections::BTreeSet;

use crate::api::expectations::{EXPECTED, Meets};
use crate::server::wire::Wire;
use crate::support::site::{Site, unlimited};
use runstream::domain::role::Role;
use serde_json::json;

/// Other ways to write a path that begins with `/api/`.
fn tricks(path: &str) -> Vec<String> {
    let tail = path.strip_prefix("/api").unwrap();
    let upper: String = path.to_uppercase();
    [
        "/{}",
        "//{}",
        "{}/",
        "{}//",
        "{}/.",
        "{}/..",
        "/.{}",
        "/./{}",
        "/x/..{}",
        "/health/..{}",
        "/docs/..{}",
        "/health/.%2e{}",
        "/health%2f..{}",
        "/api/auth/login/../../..{}",
        "/socket.io/..{}",
        "/api/ingest/..{tail}",
        "/api/.{tail}",
        "/api/{tail}",
        "/api%2f{tail}",
        "/api%2F{tail}",
        "/api%5c{tail}",
        "/api\\{tail}",
        "/%61pi{tail}",
        "/api;x=1{tail}",
        "/API{tail}",
        "/Api{tail}",
        "{}%00",
        "{}%20",
        "{}%2e",
        "{}%2f",
        "{}%0d%0a",
        "{};x=1",
        "{}.json",
        "{}%3f",
        "{}%23",
        "{}#",
        "{}?",
        "{}??a=b",
        "http://localhost{}",
        "http://health@localhost{}",
        "HTTP://LOCALHOST{}",
    ]
    .iter()
    .map(|trick| trick.replace("{tail}", tail).replace("{}", path))
    .chain([upper])
    .collect()
}

/// The status and the `error` of the answer to a target in raw bytes; a closed connection is opened again.
async fn ask(
    wire: &mut Option<Wire>,
    site: &Site,
    method: &str,
    target: &str,
    token: Option<&str>,
) -> (u16, String) {
    let credential = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n";
    let connection = match wire {
        Some(open) => open,
        None => wire.insert(Wire::connect(site.server.address()).await),
    };
    connection.send(&format!("{method} {target} HTTP/1.1\r\n{head}{credential}\r\n{{}}")).await;
    let answer = connection.answer().await;
    let status = answer.status();
    if status == 400 || answer.head.contains("connection: close") {
        *wire = None;
    }
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_to_write_a_path_gets_around_the_credential_or_the_role() {
    let site = Site::start_with(unlimited).await;
    let rosa = site.sign_up("rosa").await;
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    let mut wire = None;
    let mut heard = BTreeSet::new();
    let protected =
        EXPECTED.iter().filter(|row| row.callers[4] != Meets::Yes && row.path.starts_with("/api/"));
    for row in protected.filter(|row| row.id != "show_monitor_status") {
        let path = row
            .path
            .replace("{id}", vera.user["id"].as_str().unwrap())
            .replace("{projectId}", "690a11b2c3d4e5f607182930");
        let path = path.replace("{varId}", "690a11b2c3d4e5f607182930").replace("{taskId}", "ingest-1-none");
        for trick in tricks(&path) {
            let (status, error) = ask(&mut wire, &site, row.method, &trick, None).await;
            assert!([400, 401, 404].contains(&status), "{} {trick}: {status} {error}", row.method);
            // Nothing but these: no word of what is behind.
            let known = ["Authentication required", "Not Found", "Bad request", ""];
            assert!(known.contains(&error.as_str()), "{} {trick}: {status} {error}", row.method);
            heard.insert((status, error));
            if row.callers[2] == Meets::Forbidden {
                let (status, error) = ask(&mut wire, &site, row.method, &trick, Some(&vera.token)).await;
                assert!(
                    [400, 403, 404].contains(&status),
                    "{} {trick} by a viewer: {status} {error}",
                    row.method
                );
                let known = ["Insufficient permissions", "Not Found", "Bad request", ""];
                assert!(
                    known.contains(&error.as_str()),
                    "{} {trick} by a viewer: {status} {error}",
                    row.method
                );
            }
        }
    }
    // The tricks are tricks: some reach the guard, the others nothing.
    for expected in [(401, "Authentication required"), (404, "Not Found")] {
        assert!(heard.contains(&(expected.0, expected.1.to_owned())), "{heard:?}");
    }
    assert_eq!(
        site.get("/api/users").token(&rosa.token).send().await.json()["users"].as_array().unwrap().len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_or_a_query_does_not_change_the_organization() {
    let site = Site::start_with(unlimited).await;
    let (rosa, ada) = (site.sign_up("rosa").await, site.sign_up("ada").await);
    let others = ada.user["organizationId"].as_str().unwrap();
    assert_ne!(rosa.user["organizationId"], others);
    let adas = format!("/api/users/{}", ada.user["id"].as_str().unwrap());
    let key = site.key(&rosa).await;
    let project = site.post("/api/projects").token(&rosa.token).json(&json!({ "name": "Shop" })).send().await;
    let project = project.expect(201)["project"]["id"].clone();
    for name in ["x-organization-id", "x-org-id", "organization-id", "organizationid", "x-tenant-id"] {
        let ask = |path: &str| site.get(path).header(name, others).token(&rosa.token);
        let own = ask("/api/organization").send().await.expect(200);
        assert_eq!(own["organization"]["id"], rosa.user["organizationId"], "{name}");
        let users = ask("/api/users").send().await.expect(200)["users"].clone();
        let ids: Vec<_> = users.as_array().unwrap().iter().map(|user| &user["id"]).collect();
        assert_eq!(ids, [&rosa.user["id"]], "{name}");
        assert_eq!(ask(&adas).send().await.failure(), (404, "User not found".to_owned()), "{name}");
        let asked = site.get("/api/projects").header(name, others).key(&key).send().await;
        assert_eq!(asked.expect(200)["projects"][0]["id"], project, "{name}");
        let asked = site.get(&format!("/api/users?{name}={others}&organizationId={others}"));
        let users = asked.token(&rosa.token).send().await.expect(200)["users"].clone();
        assert_eq!(users[0]["id"], rosa.user["id"], "{name} in the query");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_does_not_change_method_or_path() {
    let site = Site::start_with(unlimited).await;
    let rosa = site.sign_up("rosa").await;
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    let path = format!("/api/users/{}", vera.user["id"].as_str().unwrap());
    for (name, value) in [
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/api/users"),
        ("x-rewrite-url", "/api/users"),
        ("x-forwarded-prefix", "/api/users"),
        ("x-forwarded-uri", "/api/users"),
    ] {
        let answer = site.get(&path).header(name, value).token(&rosa.token).send().await;
        assert_eq!(answer.expect(200)["user"]["id"], vera.user["id"], "{name}");
        let answer = site.post(&path).header(name, value).token(&rosa.token).send().await;
        assert_eq!(answer.failure(), (404, "Not Found".to_owned()), "{name}");
        let answer = site.get("/health").header(name, value).send().await;
        assert_eq!(answer.expect(200)["service"], "api", "{name}");
    }
    for query in ["_method=DELETE", "method=DELETE", "organizationId=690a11b2c3d4e5f607182930"] {
        let answer = site.get(&format!("{path}?{query}")).token(&rosa.token).send().await;
        assert_eq!(answer.expect(200)["user"]["id"], vera.user["id"], "{query}");
    }
}
