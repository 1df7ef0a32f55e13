//! What people change of their own accounts: the name, the password.

use runstream::domain::account::User;
use runstream::domain::role::Role;
use serde_json::{Value, json};

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, PASSWORD, Person, Site};

on_each_store_beneath! {
    a_person_changes_the_own_name_and_nothing_else,
    a_new_password_ends_every_other_credential,
}

const NEW: &str = "Other-horse-2!";
const WRONG: &str = "Wrong-password-1!";

async fn rename(site: &Site, person: &Person, body: &Value) -> Answer {
    site.patch("/api/auth/profile").token(&person.token).json(body).send().await
}

async fn change(site: &Site, token: &str, current: &str, new: &str) -> Answer {
    let body = json!({ "currentPassword": current, "newPassword": new });
    site.post("/api/auth/change-password").token(token).json(&body).send().await
}

async fn log_in(site: &Site, person: &Person, password: &str) -> Answer {
    let body = json!({ "email": person.email, "password": password });
    site.post("/api/auth/login").from(&site.new_address()).json(&body).send().await
}

async fn me(site: &Site, token: &str) -> u16 {
    site.get("/api/auth/me").token(token).send().await.status
}

async fn actions(site: &Site, person: &Person) -> Vec<String> {
    site.audit(person).await.into_iter().map(|entry| entry.action).collect()
}

async fn a_person_changes_the_own_name_and_nothing_else(beneath: &Beneath) {
    let site = Site::start_with(|settings| beneath.choose(settings)).await;
    let rosa = site.sign_up("rosa").await;
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    let before = site.stored(&vera).await;
    site.advance(1);
    let body = json!({
        "name": " Vera Linde ", "email": "x@pinewood.test", "role": "admin", "status": "suspended",
        "organizationId": "690a11b2c3d4e5f607182930",
    });
    let answer = rename(&site, &vera, &body).await.expect(200);
    let user = json!({ "id": vera.user["id"], "email": vera.email, "name": "Vera Linde", "role": "viewer" });
    assert_eq!(answer, json!({ "success": true, "message": "Profile updated", "user": user }));
    let updated_ms = before.updated_ms + 1_000;
    assert_eq!(site.stored(&vera).await, User { name: "Vera Linde".into(), updated_ms, ..before });
    for (body, error) in [
        (json!({}), "Missing required field"),
        (json!({ "name": 7 }), "Missing required field"),
        (json!({ "name": null }), "Missing required field"),
        (json!({ "name": "  " }), "Invalid name"),
        (json!({ "name": "x".repeat(101) }), "Invalid name"),
    ] {
        assert_eq!(rename(&site, &vera, &body).await.failure(), (400, error.to_owned()), "{body}");
    }
    let empty = site.patch("/api/auth/profile").token(&vera.token).send().await;
    assert_eq!(empty.failure(), (400, "Missing required field".to_owned()));
    // Who was removed behind the server's back is no one, also while a cache still knows better.
    let stored = site.stored(&vera).await;
    let audit = site.audit(&rosa).await.remove(0);
    site.store().remove_member(stored.org, stored.id, audit).await.unwrap().unwrap();
    let gone = rename(&site, &vera, &json!({ "name": "Vera" })).await;
    assert_eq!(gone.failure(), (401, "Invalid token".to_owned()));
    assert_eq!(me(&site, &vera.token).await, 401);
}

async fn a_new_password_ends_every_other_credential(beneath: &Beneath) {
    let site = Site::start_with(|settings| beneath.choose(settings)).await;
    let rosa = site.sign_up("rosa").await;
    let second = site.log_in(&rosa.email).await;
    let (key, other) = (site.key(&rosa).await, site.member(&rosa, "ivo", Role::Viewer).await);
    assert_eq!(site.get("/api/projects").key(&key).send().await.status, 200);
    assert_eq!((me(&site, &rosa.token).await, me(&site, &second.token).await), (200, 200));
    let answer = change(&site, &rosa.token, PASSWORD, NEW).await;
    let body = answer.expect(200);
    assert_eq!((body["success"].clone(), answer.header("cache-control")), (json!(true), Some("no-store")));
    assert_eq!((body.as_object().unwrap().len(), answer.rate()), (3, Some((5, 4))));
    // The clock stands still: what was issued in the very same millisecond is void, and no cache was waited for.
    for token in [&rosa.token, &second.token] {
        let answer = site.get("/api/auth/me").token(token).send().await;
        assert_eq!(answer.failure(), (401, "Invalid token".to_owned()));
    }
    let by_key = site.get("/api/projects").key(&key).send().await;
    assert_eq!(by_key.failure(), (401, "Invalid API key".to_owned()));
    let token = body["token"].as_str().unwrap();
    assert_eq!((me(&site, token).await, me(&site, &other.token).await), (200, 200));
    let keys = site.get("/api/auth/api-keys").token(token).send().await.expect(200);
    assert_eq!(keys["data"], json!([]));
    assert_eq!(log_in(&site, &rosa, PASSWORD).await.failure().1, "Invalid credentials");
    assert_eq!(log_in(&site, &rosa, NEW).await.status, 200);
    let entry = site.audit(&rosa).await.into_iter().find(|entry| entry.action == "auth.password_changed");
    let entry = entry.unwrap();
    assert_eq!(entry.details, r#"{"email":"rosa@pinewood.test"}"#);
    assert_eq!((entry.target_type.as_str(), entry.target_id), ("user", entry.user.to_string()));
    // A key made at once is good, though the clock stands where the old credentials ended.
    let made = site.post("/api/auth/api-keys").token(token).send().await.expect(201);
    let key = made["apiKey"].as_str().unwrap();
    assert_eq!(site.get("/api/projects").key(key).send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_change_a_password_wrongly_has_its_error() {
    let site = Site::start_with(|settings| settings.access.tiers.auth.capacity = 100).await;
    let rosa = site.sign_up("rosa").await;
    for (body, status, error) in [
        (json!({}), 400, "Missing required fields"),
        (json!({ "currentPassword": PASSWORD }), 400, "Missing required fields"),
        (json!({ "currentPassword": 7, "newPassword": NEW }), 400, "Missing required fields"),
        (json!({ "currentPassword": PASSWORD, "newPassword": "" }), 400, "Missing required fields"),
        (json!({ "currentPassword": PASSWORD, "newPassword": "weak" }), 400, "Weak password"),
        (json!({ "currentPassword": PASSWORD, "newPassword": 12_345_678 }), 400, "Weak password"),
        (json!({ "currentPassword": WRONG, "newPassword": "weak" }), 400, "Weak password"),
        (json!({ "currentPassword": WRONG, "newPassword": NEW }), 401, "Invalid credentials"),
    ] {
        let answer = site.post("/api/auth/change-password").token(&rosa.token).json(&body).send().await;
        assert_eq!(answer.failure(), (status, error.to_owned()), "{body}");
    }
    assert_eq!(me(&site, &rosa.token).await, 200, "nothing was revoked");
    assert_eq!(log_in(&site, &rosa, PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_the_current_password_lock_the_address() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    // Four here and one at the login are five.
    for _ in 0..3 {
        assert_eq!(change(&site, &rosa.token, WRONG, NEW).await.failure().1, "Invalid credentials");
    }
    for _ in 0..1 {
        assert_eq!(log_in(&site, &rosa, WRONG).await.failure().1, "Invalid credentials");
    }
    assert_eq!(change(&site, &rosa.token, WRONG, NEW).await.failure().1, "Invalid credentials");
    assert_eq!(
        actions(&site, &rosa).await.iter().filter(|action| *action == "auth.account_locked").count(),
        1
    );
    site.advance(60);
    let locked = change(&site, &rosa.token, PASSWORD, NEW).await;
    assert_eq!(locked.failure(), (429, "Account temporarily locked".to_owned()));
    assert_eq!(locked.header("retry-after"), Some("840"));
    assert_eq!(log_in(&site, &rosa, PASSWORD).await.status, 429);
    site.advance(840);
    // The right password is no guess, however often.
    let mut token = rosa.token.clone();
    for round in 0..6 {
        site.advance(61);
        let (from, to) = if round % 2 == 0 { (PASSWORD, NEW) } else { (NEW, PASSWORD) };
        token = change(&site, &token, from, to).await.expect(200)["token"].as_str().unwrap().to_owned();
    }
    assert_eq!(log_in(&site, &rosa, PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_password_changes_a_minute_are_admitted_per_person() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    for left in (0..5).rev() {
        let answer = change(&site, &rosa.token, PASSWORD, "weak").await;
        assert_eq!((answer.status, answer.rate()), (400, Some((5, left))));
    }
    let refused = change(&site, &rosa.token, PASSWORD, NEW).await;
    assert_eq!(refused.failure(), (429, "Rate limit exceeded".to_owned()));
    assert_eq!(change(&site, &vera.token, PASSWORD, "weak").await.rate(), Some((5, 4)), "each by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_changes_of_one_password_at_once_one_wins() {
    let site = Site::start_with(|settings| settings.access.tiers.auth.capacity = 1_000).await;
    let rosa = site.sign_up("rosa").await;
    let (mut token, mut current) = (rosa.token.clone(), PASSWORD.to_owned());
    for race in 0..20 {
        let (a, b) = (format!("First-{race}-Abc!"), format!("Second-{race}-Abc!"));
        let outcomes = tokio::join!(change(&site, &token, &current, &a), change(&site, &token, &current, &b));
        let (won, lost, new) = match (outcomes.0.status, outcomes.1.status) {
            (200, _) => (outcomes.0, outcomes.1, a),
            _ => (outcomes.1, outcomes.0, b),
        };
        assert_eq!(lost.status, 401, "race {race}: {lost:?}");
        token = won.expect(200)["token"].as_str().unwrap().to_owned();
        current = new;
        assert_eq!(me(&site, &token).await, 200);
        assert_eq!(log_in(&site, &rosa, &current).await.status, 200);
    }
}
