//! Script in names: what shows it is either JSON that no browser takes for a page, or a page without it. Letters are in
//! `tests/mail/outside.rs`.

use serde_json::json;

use crate::support::site::{PASSWORD, Site, unlimited};

const SCRIPT: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_in_names_is_shown_as_json_that_no_browser_runs() {
    let site = Site::start_with(unlimited).await;
    let form = json!({
        "email": "rosa@pinewood.test", "password": PASSWORD, "name": SCRIPT, "organizationName": SCRIPT,
    });
    let signed_up =
        site.post("/api/auth/signup").from(&site.new_address()).json(&form).send().await.expect(201);
    let token = signed_up["token"].as_str().unwrap();
    let key = json!({ "name": SCRIPT });
    let made = site.post("/api/auth/api-keys").token(token).json(&key).send().await.expect(201);
    let key = made["apiKey"].as_str().unwrap();
    let project =
        site.post("/api/projects").token(token).json(&json!({ "name": SCRIPT })).send().await.expect(201);
    let project = project["project"]["id"].as_str().unwrap().to_owned();
    let variable = json!({ "key": "A", "value": SCRIPT });
    site.post(&format!("/api/projects/{project}/env")).token(token).json(&variable).send().await.expect(201);
    let setup = json!({
        "projectId": project, "framework": "playwright", "reporterVersion": "1", "totalTests": 1, "runName": SCRIPT,
        "groupName": SCRIPT,
    });
    let run = site.post("/api/ingest/setup").key(key).json(&setup).send().await.expect(201)["data"].clone();
    let log = json!({ "type": "log", "chunk": SCRIPT, "timestamp": 1 });
    let end = json!({ "type": "test-end", "testId": SCRIPT, "status": "failed", "error": SCRIPT, "duration": 1, "timestamp": 1 });
    let events = json!({ "sessionId": run["sessionId"], "events": [log, end] });
    site.post("/api/ingest/event").key(key).json(&events).send().await.expect(200);
    let invited = json!({ "email": "ivo@pinewood.test", "role": "viewer" });
    let invited = site.post("/api/invitations").token(token).json(&invited).send().await.expect(201);
    let invite =
        invited["invitation"]["inviteUrl"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();

    let task = run["taskId"].as_str().unwrap();
    let paths = [
        "/api/auth/me".to_owned(),
        "/api/organization".to_owned(),
        "/api/users".to_owned(),
        "/api/auth/api-keys".to_owned(),
        "/api/projects".to_owned(),
        "/api/invitations".to_owned(),
        "/api/executions".to_owned(),
        format!("/api/projects/{project}/env"),
        format!("/api/executions/{task}"),
        format!("/api/executions/{task}/logs"),
        format!("/api/executions/{task}/tests"),
        format!("/api/invitations/validate/{invite}"),
        "/api/organization/audit-logs".to_owned(),
    ];
    for path in paths {
        let answer = site.get(&path).token(token).send().await;
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.contains("alert(1)"), "{path} shows it: {text}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'self'") && policy.contains("object-src 'none'"),
            "{path}: {policy}"
        );
    }
    // What a request holds comes back in no page, and in no failure as anything but JSON.
    for path in
        ["/<script>alert(1)</script>", "/docs?<script>alert(1)</script>", "/api/users/%3Cscript%3Ealert(1)"]
    {
        let answer = site.get(&path.replace('<', "%3C").replace('>', "%3E")).token(token).send().await;
        assert!(!String::from_utf8_lossy(&answer.body).contains("alert(1)"), "{path}: {answer:?}");
        let page = path.starts_with("/docs");
        let expected = if page { "text/html; charset=utf-8" } else { "application/json; charset=utf-8" };
        assert_eq!(answer.header("content-type"), Some(expected), "{path}");
    }
    // The pages are the same for everybody.
    let fresh = Site::start().await;
    for path in ["/docs", "/openapi.json"] {
        let (here, there) = (site.get(path).send().await, fresh.get(path).send().await);
        assert_eq!(here.body, there.body, "{path}");
    }
}
