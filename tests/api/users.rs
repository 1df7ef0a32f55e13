//! The members of an organization.

use runstream::domain::account::User;
use runstream::domain::role::{AccountStatus, Role};
use serde_json::{Value, json};

use crate::support::site::{Answer, PASSWORD, Person, Site};

/// A well-formed id that nothing has.
const NO_ID: &str = "690a11b2c3d4e5f607182930";

fn id(person: &Person) -> String {
    person.user["id"].as_str().unwrap().to_owned()
}

async fn show(site: &Site, caller: &Person, id: &str) -> Answer {
    site.get(&format!("/api/users/{id}")).token(&caller.token).send().await
}

async fn set_role(site: &Site, caller: &Person, id: &str, body: &Value) -> Answer {
    site.patch(&format!("/api/users/{id}/role")).token(&caller.token).json(body).send().await
}

async fn remove(site: &Site, caller: &Person, id: &str) -> Answer {
    site.delete(&format!("/api/users/{id}")).token(&caller.token).send().await
}

/// The newest entries of the audit log about members as `action target details`.
async fn entries(site: &Site, person: &Person, count: usize) -> Vec<(String, String, Value)> {
    let entries = site.audit(person).await.into_iter();
    // Those of one moment come in any order.
    let entries = entries.filter(|entry| entry.action.starts_with("user.")).take(count);
    let told = entries.map(|entry| {
        assert_eq!(entry.target_type, "user");
        (entry.action, entry.target_id, serde_json::from_str(&entry.details).unwrap())
    });
    told.collect()
}

/// Suspends somebody behind the server's back, whose caches do not know it yet.
async fn suspend(site: &Site, person: &Person) {
    let suspended = User { status: AccountStatus::Suspended, ..site.stored(person).await };
    assert!(site.store().update_user(suspended, None).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_listed_newest_first() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    site.advance(1);
    let ivo = site.member(&rosa, "ivo", Role::Viewer).await;
    site.sign_up("stranger").await;
    let expected = json!({ "success": true, "users": [
        { "id": id(&ivo), "email": "ivo@pinewood.test", "name": "ivo", "role": "viewer", "status": "active",
          "lastLoginAt": null, "createdAt": "2026-03-20T09:46:41.123Z" },
        { "id": id(&rosa), "email": "rosa@pinewood.test", "name": "rosa", "role": "admin", "status": "active",
          "lastLoginAt": null, "createdAt": "2026-03-20T09:46:40.123Z" },
    ] });
    for caller in [&rosa, &ivo] {
        let listed = site.get("/api/users").token(&caller.token).send().await.expect(200);
        assert_eq!(listed, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_shown_to_the_others_of_the_organization_only() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.member(&rosa, "ivo", Role::Viewer).await;
    let stranger = site.sign_up("stranger").await;
    let shown = show(&site, &ivo, &id(&rosa)).await.expect(200);
    let expected = json!({
        "id": id(&rosa), "email": "rosa@pinewood.test", "name": "rosa", "role": "admin", "status": "active",
        "lastLoginAt": null, "createdAt": "2026-03-20T09:46:40.123Z", "updatedAt": "2026-03-20T09:46:40.123Z",
    });
    assert_eq!(shown, json!({ "success": true, "user": expected }));
    for absent in [id(&stranger), NO_ID.to_owned()] {
        assert_eq!(show(&site, &rosa, &absent).await.failure(), (404, "User not found".to_owned()));
    }
    for malformed in ["x", &id(&rosa).to_uppercase(), "690a11b2c3d4e5f60718293", "%FF", "%20"] {
        let answer = show(&site, &rosa, malformed).await;
        assert_eq!(answer.failure(), (400, "Invalid user ID format".to_owned()), "{malformed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_counts_from_the_next_request_on() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.member(&rosa, "ivo", Role::Viewer).await;
    let key = site.key(&ivo).await;
    let project = json!({ "name": "Web Shop" });
    let by_token = async || site.post("/api/projects").token(&ivo.token).json(&project).send().await.status;
    let by_key = async || site.post("/api/projects").key(&key).json(&project).send().await.status;
    assert_eq!((by_token().await, by_key().await), (403, 403));
    let changed = set_role(&site, &rosa, &id(&ivo), &json!({ "role": "developer" })).await.expect(200);
    let user = json!({ "id": id(&ivo), "email": ivo.email, "name": "ivo", "role": "developer" });
    let expected = json!({ "success": true, "message": "Role is now developer", "user": user });
    assert_eq!(changed, expected);
    // The clock stands still: no cache was waited for.
    assert_eq!((by_token().await, by_key().await), (201, 409));
    let details = json!({ "oldRole": "viewer", "newRole": "developer", "targetEmail": ivo.email });
    assert_eq!(entries(&site, &rosa, 1).await, [("user.role_changed".to_owned(), id(&ivo), details)]);
    let before = site.audit(&rosa).await.len();
    let again = set_role(&site, &rosa, &id(&ivo), &json!({ "role": "developer" })).await.expect(200);
    assert_eq!(again, expected, "the same role again changes nothing");
    assert_eq!(site.audit(&rosa).await.len(), before);
    set_role(&site, &rosa, &id(&ivo), &json!({ "role": "viewer" })).await.expect(200);
    assert_eq!((by_token().await, by_key().await), (403, 403));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_give_a_role_wrongly_has_its_error() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.member(&rosa, "ivo", Role::Viewer).await;
    let stranger = site.sign_up("stranger").await;
    let (own, foreign, ivo) = (id(&rosa), id(&stranger), id(&ivo));
    let good = json!({ "role": "viewer" });
    for (target, body, status, error) in [
        (ivo.as_str(), json!({}), 400, "Missing required field"),
        (&ivo, json!({ "role": null }), 400, "Invalid role"),
        (&ivo, json!({ "role": 7 }), 400, "Invalid role"),
        (&ivo, json!({ "role": "owner" }), 400, "Invalid role"),
        (&ivo, json!({ "role": "Admin" }), 400, "Invalid role"),
        ("x", json!({ "role": "owner" }), 400, "Invalid role"),
        ("x", good.clone(), 400, "Invalid user ID format"),
        // Not oneself, in no spelling.
        (&own.to_uppercase(), good.clone(), 400, "Invalid user ID format"),
        (&own, good.clone(), 403, "Cannot change own role"),
        (&own, json!({ "role": "admin" }), 403, "Cannot change own role"),
        (&foreign, good.clone(), 404, "User not found"),
        (NO_ID, good.clone(), 404, "User not found"),
    ] {
        site.advance(61);
        let answer = set_role(&site, &rosa, target, &body).await;
        assert_eq!(answer.failure(), (status, error.to_owned()), "{target} {body}");
    }
    let empty = site.patch(&format!("/api/users/{ivo}/role")).token(&rosa.token).send().await;
    assert_eq!(empty.failure(), (400, "Missing required field".to_owned()));
    assert_eq!(site.stored(&stranger).await.role, Role::Admin);
    assert!(site.audit(&rosa).await.iter().all(|entry| entry.action != "user.role_changed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_out_at_once_and_the_address_is_free() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.member(&rosa, "ivo", Role::Developer).await;
    let second = site.log_in(&ivo.email).await;
    let key = site.key(&ivo).await;
    let project = site.project(&ivo, "Web Shop").await;
    assert_eq!(site.get("/api/projects").key(&key).send().await.status, 200);
    let removed = remove(&site, &rosa, &id(&ivo)).await.expect(200);
    assert_eq!(removed, json!({ "success": true, "message": "ivo@pinewood.test was removed" }));
    // The clock stands still: no cache was waited for.
    for token in [&ivo.token, &second.token] {
        let me = site.get("/api/auth/me").token(token).send().await;
        assert_eq!(me.failure(), (401, "Invalid token".to_owned()));
    }
    let by_key = site.get("/api/projects").key(&key).send().await;
    assert_eq!(by_key.failure(), (401, "Invalid API key".to_owned()));
    let body = json!({ "email": ivo.email, "password": PASSWORD });
    let answer = site.post("/api/auth/login").from(&site.new_address()).json(&body).send().await;
    assert_eq!(answer.failure(), (401, "Invalid credentials".to_owned()));
    assert_eq!(show(&site, &rosa, &id(&ivo)).await.status, 404);
    assert_eq!(remove(&site, &rosa, &id(&ivo)).await.failure(), (404, "User not found".to_owned()));
    let shown = site.get(&format!("/api/projects/{project}")).token(&rosa.token).send().await;
    assert_eq!(shown.status, 200, "what was made stays");
    let details = json!({ "targetEmail": ivo.email, "targetRole": "developer", "targetName": "ivo" });
    assert_eq!(entries(&site, &rosa, 1).await, [("user.removed".to_owned(), id(&ivo), details)]);
    let again = site.sign_up("ivo").await;
    assert_ne!(id(&again), id(&ivo));
    assert_eq!(site.get("/api/auth/me").token(&ivo.token).send().await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_remove_wrongly_has_its_error() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let stranger = site.sign_up("stranger").await;
    let own = id(&rosa);
    for (target, status, error) in [
        ("x", 400, "Invalid user ID format"),
        (&own.to_uppercase(), 400, "Invalid user ID format"),
        (&own, 403, "Cannot delete yourself"),
        (&id(&stranger), 404, "User not found"),
        (NO_ID, 404, "User not found"),
    ] {
        let answer = remove(&site, &rosa, target).await;
        assert_eq!(answer.failure(), (status, error.to_owned()), "{target}");
    }
    assert_eq!(site.get("/api/auth/me").token(&stranger.token).send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_active_administrator_keeps_the_role_and_the_account() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let vera = site.member(&rosa, "vera", Role::Admin).await;
    assert_eq!(site.get("/api/auth/me").token(&vera.token).send().await.status, 200);
    // She is still known here for some seconds, and is no active administrator any more.
    suspend(&site, &vera).await;
    let demoted = set_role(&site, &vera, &id(&rosa), &json!({ "role": "developer" })).await;
    assert_eq!(demoted.failure(), (403, "Cannot remove last admin".to_owned()));
    let removed = remove(&site, &vera, &id(&rosa)).await;
    assert_eq!(removed.failure(), (403, "Cannot delete last admin".to_owned()));
    site.advance(5);
    assert_eq!(remove(&site, &vera, &id(&rosa)).await.failure(), (403, "Account suspended".to_owned()));
    assert_eq!(site.stored(&rosa).await.role, Role::Admin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_administrators_who_demote_or_remove_each_other_at_once_one_stays() {
    let site = Site::start_with(|settings| {
        for quota in [&mut settings.access.tiers.api, &mut settings.access.tiers.strict] {
            quota.capacity = 1_000_000;
        }
    })
    .await;
    let rosa = site.sign_up("rosa").await;
    for race in 0..20 {
        let (a, b) = (
            site.member(&rosa, &format!("a{race}"), Role::Admin).await,
            site.member(&rosa, &format!("b{race}"), Role::Admin).await,
        );
        suspend(&site, &rosa).await;
        let ids = [id(&a), id(&b)];
        let outcomes = if race % 2 == 0 {
            let viewer = json!({ "role": "viewer" });
            tokio::join!(set_role(&site, &a, &ids[1], &viewer), set_role(&site, &b, &ids[0], &viewer))
        } else {
            tokio::join!(remove(&site, &a, &ids[1]), remove(&site, &b, &ids[0]))
        };
        let (won, lost) = match (outcomes.0.status, outcomes.1.status) {
            (200, _) => (&a, &outcomes.1),
            _ => (&b, &outcomes.0),
        };
        // The slower one is too late in one way or another: the last administrator, a viewer, or gone.
        assert!([401, 403].contains(&lost.status), "race {race}: {lost:?}");
        let members = site.store().members(site.stored(won).await.org).await.unwrap();
        let is_active = |user: &&User| user.role == Role::Admin && user.status == AccountStatus::Active;
        assert_eq!(members.iter().filter(is_active).count(), 1, "race {race}");
        // Whoever is left makes room for the next two.
        let rosas = User { status: AccountStatus::Active, ..site.stored(&rosa).await };
        site.store().update_user(rosas, None).await.unwrap();
        site.advance(6);
        remove(&site, &rosa, &id(won)).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_changes_of_members_a_minute_are_admitted() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.member(&rosa, "ivo", Role::Viewer).await;
    site.advance(60);
    for left in (0..10).rev() {
        let answer = if left % 2 == 0 {
            remove(&site, &rosa, NO_ID).await
        } else {
            set_role(&site, &rosa, NO_ID, &json!({ "role": "viewer" })).await
        };
        assert_eq!((answer.status, answer.rate()), (404, Some((10, left))));
        // The role comes before the tier: others take nothing from it.
        assert_eq!(remove(&site, &ivo, NO_ID).await.failure().1, "Insufficient permissions");
    }
    for answer in [remove(&site, &rosa, NO_ID).await, set_role(&site, &rosa, "x", &json!({})).await] {
        assert_eq!(answer.failure(), (429, "Rate limit exceeded".to_owned()), "before the body and the path");
        assert_eq!((answer.rate(), answer.json()["limit"].clone()), (Some((10, 0)), json!(10)));
    }
    assert_eq!(show(&site, &rosa, NO_ID).await.rate().map(|(limit, _)| limit), Some(100));
}
