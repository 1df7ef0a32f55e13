//! API keys.

use runstream::domain::account::User;
use runstream::domain::role::{AccountStatus, Role};
use serde_json::{Value, json};

use crate::support::site::{Answer, Person, Site};

async fn create(site: &Site, person: &Person, body: &Value) -> Answer {
    site.post("/api/auth/api-keys").token(&person.token).json(body).send().await
}

async fn list(site: &Site, person: &Person) -> Vec<Value> {
    let answer = site.get("/api/auth/api-keys").token(&person.token).send().await.expect(200);
    answer["data"].as_array().unwrap().clone()
}

async fn revoke(site: &Site, person: &Person, id: &str) -> Answer {
    site.delete(&format!("/api/auth/api-keys/{id}")).token(&person.token).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_shown_once_and_listed_without_its_text() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let answer = create(&site, &rosa, &json!({ "name": " nightly " })).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.expect(201);
    let key = body["apiKey"].as_str().unwrap();
    assert!(key.starts_with("pk_live_") && key.len() == 56, "{key}");
    let data = &body["data"];
    assert_eq!((&data["name"], &data["prefix"]), (&json!("nightly"), &json!(format!("{}...", &key[..12]))));
    assert_eq!(data["createdAt"], "2026-03-20T09:46:40.123Z");

    site.advance(1);
    for (request, name) in [(json!({}), "Unnamed Key"), (json!({ "name": "  " }), "Unnamed Key")] {
        assert_eq!(create(&site, &rosa, &request).await.expect(201)["data"]["name"], name);
    }
    let no_body = site.post("/api/auth/api-keys").token(&rosa.token).send().await.expect(201);
    assert_eq!(no_body["data"]["name"], "Unnamed Key");
    let listed = list(&site, &rosa).await;
    assert_eq!(
        (listed.len(), &listed[3]["name"], &listed[3]["lastUsed"]),
        (4, &json!("nightly"), &json!(null))
    );
    assert!(!json!(listed).to_string().contains(key));
    assert_eq!(listed[3].as_object().unwrap().len(), 5);

    let entry = site.audit(&rosa).await.into_iter().rfind(|entry| entry.action == "apikey.created").unwrap();
    assert_eq!((entry.target_type.as_str(), json!(entry.target_id)), ("apiKey", data["id"].clone()));
    assert!(entry.details.contains("nightly") && !entry.details.contains(key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_numbers_of_keys_are_bounded() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    for name in [json!(7), json!(null), json!("x".repeat(101))] {
        let answer = create(&site, &rosa, &json!({ "name": name })).await;
        assert_eq!(answer.failure(), (400, "Invalid name".to_owned()));
    }
    for _ in 0..50 {
        create(&site, &rosa, &json!({})).await.expect(201);
    }
    let answer = create(&site, &rosa, &json!({})).await;
    assert_eq!(answer.failure(), (409, "API key limit reached".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_acts_as_its_owner_until_it_is_revoked() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let key = site.key(&rosa).await;
    assert_eq!(site.get("/api/projects").key(&key).send().await.status, 200);
    let id = list(&site, &rosa).await[0]["id"].as_str().unwrap().to_owned();
    site.advance(1);
    let revoked = revoke(&site, &rosa, &id).await.expect(200);
    assert_eq!(revoked, json!({ "success": true, "message": "Key revoked" }));
    // At once, although it was just used and is in every cache.
    let answer = site.get("/api/projects").key(&key).send().await;
    assert_eq!(answer.failure(), (401, "Invalid API key".to_owned()));
    assert_eq!(revoke(&site, &rosa, &id).await.failure(), (404, "API key not found".to_owned()));
    assert_eq!(site.audit(&rosa).await[0].action, "apikey.revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_owner_and_administrators_revoke() {
    let site = Site::start().await;
    let admin = site.sign_up("rosa").await;
    let (ivo, vera) =
        (site.member(&admin, "ivo", Role::Developer).await, site.member(&admin, "vera", Role::Viewer).await);
    site.key(&ivo).await;
    site.key(&vera).await;
    let id = async |person| list(&site, person).await[0]["id"].as_str().unwrap().to_owned();
    let (ivos, veras) = (id(&ivo).await, id(&vera).await);
    assert_eq!(revoke(&site, &vera, &ivos).await.failure(), (404, "API key not found".to_owned()));
    assert_eq!(revoke(&site, &ivo, &veras).await.failure(), (404, "API key not found".to_owned()));
    assert_eq!(revoke(&site, &vera, &veras).await.status, 200, "a viewer's own");
    assert_eq!(revoke(&site, &admin, &ivos).await.status, 200, "an administrator any");
    for malformed in ["x", "690A11B2C3D4E5F607182930", "690a11b2c3d4e5f60718293", "%FF", "%20"] {
        let answer = revoke(&site, &admin, malformed).await;
        assert_eq!(answer.failure(), (400, "Invalid key ID".to_owned()), "{malformed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_falls_with_its_owner() {
    let site = Site::start().await;
    let admin = site.sign_up("rosa").await;
    let ivo = site.member(&admin, "ivo", Role::Developer).await;
    let key = site.key(&ivo).await;
    let stored = site.stored(&ivo).await;
    let status = async || site.get("/api/projects").key(&key).send().await.status;
    assert_eq!(status().await, 200);
    let change = async |changed: User| {
        site.store().update_user(changed, None).await.unwrap();
        // Without a word from this server, a cache may be five seconds stale and no longer.
        site.advance(5);
    };
    change(User { status: AccountStatus::Suspended, ..stored.clone() }).await;
    let answer = site.get("/api/projects").key(&key).send().await;
    assert_eq!(answer.failure(), (401, "Invalid API key".to_owned()), "not 403: the key is what is refused");
    change(stored.clone()).await;
    assert_eq!(status().await, 200);
    let elsewhere = site.stored(&site.sign_up("other").await).await.org;
    change(User { org: elsewhere, ..stored }).await;
    assert_eq!(status().await, 401);
}
