//! Two servers on one cluster: what one of them takes from a member, the other does not give any more within five seconds.

use std::time::Duration;

use runstream::clock::Clock;
use runstream::domain::member::MemberChange;
use runstream::domain::role::{AccountStatus, Role};
use serde_json::json;

use crate::support::beneath::Beneath;
use crate::support::node::Script;
use crate::support::site::{NOW_MS, Person, Site, known_secrets};

/// Seconds after which every server knows.
const KNOWN_S: u64 = 5;

/// A server that takes the tokens and keys of the others.
async fn server(beneath: &Beneath) -> Site {
    let change = |settings: &mut runstream::config::Settings| {
        beneath.choose(settings);
        known_secrets(settings);
    };
    Site::start_with(change).await
}

async fn create_project(site: &Site, person: &Person, key: &str, name: &str) -> (u16, u16) {
    let by_token = site.post("/api/projects").token(&person.token).json(&json!({ "name": name })).send();
    let by_key = site.post("/api/projects").key(key).json(&json!({ "name": format!("{name} 2") })).send();
    (by_token.await.status, by_key.await.status)
}

fn id(person: &Person) -> &str {
    person.user["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn what_one_server_takes_from_a_member_is_gone_on_the_other() {
    let beneath = Beneath::scylla().await;
    let (here, there) = tokio::join!(server(&beneath), server(&beneath));
    let rosa = here.sign_up("rosa").await;
    let ivo = here.member(&rosa, "ivo", Role::Developer).await;
    let vera = here.member(&rosa, "vera", Role::Viewer).await;
    let (key, veras_key) = (here.key(&ivo).await, here.key(&vera).await);
    // The other one has them in its caches from here on.
    assert_eq!(create_project(&there, &ivo, &key, "one").await, (201, 201));
    assert_eq!(there.get("/api/projects").token(&vera.token).send().await.status, 200);
    assert_eq!(there.get("/api/projects").key(&veras_key).send().await.status, 200);
    let options = json!({ "url": there.server.base_url(), "path": "/socket.io", "token": vera.token,
        "transports": ["websocket"] });
    let mut socket = Script::start("dashboard.mjs", &options);
    socket.until_event("auth-success", 1).await;

    let role = here.patch(&format!("/api/users/{}/role", id(&ivo))).token(&rosa.token);
    role.json(&json!({ "role": "viewer" })).send().await.expect(200);
    here.delete(&format!("/api/users/{}", id(&vera))).token(&rosa.token).send().await.expect(200);
    let expelled = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            there.clock.advance(Duration::from_millis(100));
        }
    };
    tokio::select! {
        _ = socket.until_event("disconnect", 1) => {}
        () = expelled => {}
    }
    let passed_ms = there.clock.now_ms() - NOW_MS;
    assert!(passed_ms <= 5_000, "after {passed_ms} ms");
    assert_eq!(socket.arguments("auth-error"), [&vec![json!({ "error": "Invalid or expired token" })]]);

    there.advance(KNOWN_S);
    assert_eq!(create_project(&there, &ivo, &key, "two").await, (403, 403));
    assert_eq!(there.get("/api/projects").token(&ivo.token).send().await.status, 200);
    let by_token = there.get("/api/projects").token(&vera.token).send().await;
    assert_eq!(by_token.failure(), (401, "Invalid token".to_owned()));
    let by_key = there.get("/api/projects").key(&veras_key).send().await;
    assert_eq!(by_key.failure(), (401, "Invalid API key".to_owned()));

    let stored = here.stored(&ivo).await;
    let change = MemberChange::Status(AccountStatus::Suspended);
    let suspended = here.store().change_member(stored.org, stored.id, change, NOW_MS, None).await;
    assert!(suspended.unwrap().is_some());
    there.advance(KNOWN_S);
    let by_token = there.get("/api/projects").token(&ivo.token).send().await;
    assert_eq!(by_token.failure(), (403, "Account suspended".to_owned()));
    let by_key = there.get("/api/projects").key(&key).send().await;
    assert_eq!(by_key.failure(), (401, "Invalid API key".to_owned()));
}
