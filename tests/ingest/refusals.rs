//! Credentials, roles, sessions: who is let in, and what everybody else is told. Source: API reference, ingest 1.1, 1.3
//! and the error tables of 2 to 4.

use runstream::domain::role::Role;
use serde_json::json;

use super::site::{Site, end, log, teardown};

const ENDPOINTS: [&str; 3] = ["setup", "event", "teardown"];

#[tokio::test]
async fn without_a_good_credential_nothing_is_looked_at() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let bearer = format!("Bearer {}", reporter.token);
    for endpoint in ENDPOINTS {
        let send = async |headers: &str| {
            let mut wire = site.connect().await;
            let request = format!(
                "POST /api/ingest/{endpoint} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}content-length: 5\r\n\r\n{{bad}}"
            );
            wire.send(request.as_bytes()).await;
            wire.answer().await
        };
        send("").await.refused(401, "Authentication required");
        send("authorization: Basic eDp5\r\n").await.refused(401, "Authentication required");
        send("authorization: Bearer x.y.z\r\n").await.refused(401, "Invalid token");
        send("x-api-key: pk_live_unknown\r\n").await.refused(401, "Invalid API key");
        // A good token beside a bad key does not help.
        send(&format!("x-api-key: nonsense\r\nauthorization: {bearer}\r\n"))
            .await
            .refused(401, "Invalid API key");
        send(&format!("authorization: {bearer}\r\n")).await.refused(400, "Invalid JSON");
    }
}

#[tokio::test]
async fn viewers_and_suspended_people_may_not_send() {
    let site = Site::start().await;
    let viewer = site.reporter(Role::Viewer).await;
    let developer = site.reporter(Role::Developer).await;
    let admin = site.reporter(Role::Admin).await;
    let by_token = async |token: &str| {
        let mut wire = site.connect().await;
        let head = "POST /api/ingest/event HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2";
        wire.send(format!("{head}\r\nauthorization: Bearer {token}\r\n\r\n[]").as_bytes()).await;
        wire.answer().await
    };
    for endpoint in ENDPOINTS {
        site.post(&viewer, endpoint, &json!({})).await.refused(403, "Insufficient permissions");
    }
    by_token(&viewer.token).await.refused(403, "Insufficient permissions");
    by_token(&admin.token).await.refused(400, "Invalid event batch");
    assert_eq!(site.post(&admin, "setup", &admin.setup()).await.status, 201);
    assert_eq!(site.post(&developer, "setup", &developer.setup()).await.status, 201);
    site.suspend(&developer).await;
    site.post(&developer, "setup", &developer.setup()).await.refused(401, "Invalid API key");
    by_token(&developer.token).await.refused(403, "Account suspended");
}

#[tokio::test]
async fn somebody_elses_session_is_not_there() {
    let site = Site::start().await;
    let (owner, stranger) = (site.reporter(Role::Developer).await, site.reporter(Role::Admin).await);
    let run = site.set_up(&owner).await;
    site.events(&stranger, &run, &[log("x")]).await.refused(404, "Session not found or expired");
    // Also when nothing in it is usable: the session is looked up first.
    site.events(&stranger, &run, &[json!({})]).await.refused(404, "Session not found or expired");
    site.post(&stranger, "teardown", &teardown(&run, "PASSED"))
        .await
        .refused(404, "Session not found or expired");
    let unknown = json!({ "sessionId": "00000000-0000-4000-8000-000000000000", "events": [log("x")] });
    site.post(&owner, "event", &unknown).await.refused(404, "Session not found or expired");
    site.events(&owner, &run, &[log("mine")]).await.accepted();
    assert_eq!(site.log(&owner, &run).await, "mine\n");
}

#[tokio::test]
async fn any_key_of_the_organization_may_go_on_with_a_session() {
    let site = Site::start().await;
    let owner = site.reporter(Role::Developer).await;
    let run = site.set_up(&owner).await;
    let other = site.key(owner.org, owner.user.id).await;
    let upper = json!({ "sessionId": run.session.to_uppercase(), "events": [end("a", "passed")] });
    site.post_text(&other, "event", &upper.to_string()).await.accepted();
    let answer = site.post_text(&other, "teardown", &teardown(&run, "PASSED").to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn an_expired_session_is_not_there() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let run = site.set_up(&reporter).await;
    site.advance(std::time::Duration::from_secs(24 * 3600 - 1));
    site.events(&reporter, &run, &[log("in time")]).await.accepted();
    site.advance(std::time::Duration::from_secs(24 * 3600));
    site.events(&reporter, &run, &[log("late")]).await.refused(404, "Session not found or expired");
    site.post(&reporter, "teardown", &teardown(&run, "PASSED"))
        .await
        .refused(404, "Session not found or expired");
}

#[tokio::test]
async fn what_is_no_endpoint_of_this_door_is_not_found() {
    let site = Site::start().await;
    for request in
        ["GET /api/ingest/setup", "POST /api/ingest/setup/", "POST /api/ingest/", "PUT /api/ingest/event"]
    {
        let mut wire = site.connect().await;
        wire.send(format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        wire.answer().await.refused(404, "Not Found");
    }
}
