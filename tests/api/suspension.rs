//! Suspending members and letting them in again.

use std::sync::Arc;
use std::time::Duration;

use runstream::cli::client::Client;
use runstream::cli::socket::{LiveSocket, Place, SocketError};
use runstream::dial::TcpDial;
use runstream::domain::role::{AccountStatus, Role};
use serde_json::{Value, json};

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, PASSWORD, Person, Site};

on_each_store_beneath! {
    a_suspended_member_is_out_at_once_and_in_again_when_restored,
    of_administrators_who_suspend_each_other_at_once_one_stays,
}

/// A well-formed id that nothing has.
const NO_ID: &str = "690a11b2c3d4e5f607182930";
/// What the contract gives an open connection, and no more.
const GRACE: Duration = Duration::from_secs(5);

fn id(person: &Person) -> String {
    person.user["id"].as_str().unwrap().to_owned()
}

async fn set_status(site: &Site, caller: &Person, id: &str, body: &Value) -> Answer {
    site.patch(&format!("/api/users/{id}/status")).token(&caller.token).json(body).send().await
}

async fn suspend(site: &Site, caller: &Person, id: &str) -> Answer {
    set_status(site, caller, id, &json!({ "status": "suspended" })).await
}

/// The details of the audit log's entries on statuses, newest first.
async fn entries(site: &Site, person: &Person) -> Vec<(String, Value)> {
    let entries = site.audit(person).await.into_iter().filter(|entry| entry.action == "user.status_changed");
    entries.map(|entry| (entry.target_id, serde_json::from_str(&entry.details).unwrap())).collect()
}

async fn a_suspended_member_is_out_at_once_and_in_again_when_restored(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.member(&rosa, "ivo", Role::Developer).await;
    let key = site.key(&ivo).await;
    let dial = Arc::new(TcpDial { timeout: Duration::from_secs(10) });
    let client = Client::new(dial, &site.server.base_url()).unwrap();
    let mut socket = LiveSocket::open(&client, &ivo.token, Place::default()).await.unwrap();

    let answer = suspend(&site, &rosa, &id(&ivo)).await.expect(200);
    assert_eq!(
        (&answer["user"]["status"], &answer["user"]["email"]),
        (&json!("suspended"), &json!(ivo.email))
    );
    assert_eq!(answer["message"], "The account is suspended");
    // The clock stands still: no cache was waited for.
    let me = site.get("/api/auth/me").token(&ivo.token).send().await;
    assert_eq!(me.failure(), (403, "Account suspended".to_owned()));
    let by_key = site.get("/api/projects").key(&key).send().await;
    assert_eq!(by_key.failure(), (401, "Invalid API key".to_owned()));
    let body = json!({ "email": ivo.email, "password": PASSWORD });
    let login = site.post("/api/auth/login").from(&site.new_address()).json(&body).send().await;
    assert_eq!(login.failure(), (403, "Account suspended".to_owned()));
    let ended = async {
        loop {
            if let Err(error) = socket.next().await {
                return error;
            }
        }
    };
    let ended = tokio::time::timeout(GRACE, ended).await.expect("the socket ends within the grace");
    assert!(matches!(ended, SocketError::Closed(_) | SocketError::WebSocket(_)), "{ended}");

    let before = entries(&site, &rosa).await.len();
    suspend(&site, &rosa, &id(&ivo)).await.expect(200);
    assert_eq!(entries(&site, &rosa).await.len(), before, "the same again changes nothing");
    site.advance(1);
    let answer = set_status(&site, &rosa, &id(&ivo), &json!({ "status": "active" })).await.expect(200);
    assert_eq!(answer["user"]["status"], "active");
    assert_eq!(site.get("/api/auth/me").token(&ivo.token).send().await.status, 200);
    assert_eq!(site.get("/api/projects").key(&key).send().await.status, 200);
    let changed = |old: &str, new: &str| {
        (id(&ivo), json!({ "oldStatus": old, "newStatus": new, "targetEmail": ivo.email }))
    };
    let expected = [changed("suspended", "active"), changed("active", "suspended")];
    assert_eq!(entries(&site, &rosa).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_suspend_wrongly_has_its_error() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let ivo = site.member(&rosa, "ivo", Role::Viewer).await;
    let stranger = site.sign_up("stranger").await;
    let (own, foreign, ivo) = (id(&rosa), id(&stranger), id(&ivo));
    let good = json!({ "status": "suspended" });
    for (target, body, status, error) in [
        (ivo.as_str(), json!({}), 400, "Missing required field"),
        (&ivo, json!({ "status": null }), 400, "Invalid status"),
        (&ivo, json!({ "status": "invited" }), 400, "Invalid status"),
        (&ivo, json!({ "status": "Suspended" }), 400, "Invalid status"),
        (&ivo, json!({ "status": true }), 400, "Invalid status"),
        ("x", good.clone(), 400, "Invalid user ID format"),
        (&own.to_uppercase(), good.clone(), 400, "Invalid user ID format"),
        (&own, good.clone(), 403, "Cannot change own status"),
        (&own, json!({ "status": "active" }), 403, "Cannot change own status"),
        (&foreign, good.clone(), 404, "User not found"),
        (NO_ID, good.clone(), 404, "User not found"),
    ] {
        site.advance(61);
        let answer = set_status(&site, &rosa, target, &body).await;
        assert_eq!(answer.failure(), (status, error.to_owned()), "{target} {body}");
    }
    let empty = site.patch(&format!("/api/users/{ivo}/status")).token(&rosa.token).send().await;
    assert_eq!(empty.failure(), (400, "Missing required field".to_owned()));
    assert_eq!(site.stored(&stranger).await.status, AccountStatus::Active);
    assert_eq!(entries(&site, &rosa).await, []);
}

async fn of_administrators_who_suspend_each_other_at_once_one_stays(beneath: &Beneath) {
    let site = Site::start_with(|settings| {
        beneath.choose(settings);
        for quota in [&mut settings.access.tiers.api, &mut settings.access.tiers.strict] {
            quota.capacity = 1_000_000;
        }
    })
    .await;
    let rosa = site.sign_up("rosa").await;
    let vera = site.member(&rosa, "vera", Role::Admin).await;
    let (a, b) = (id(&rosa), id(&vera));
    for race in 0..10 {
        let outcomes = tokio::join!(suspend(&site, &rosa, &b), suspend(&site, &vera, &a));
        let (winner, loser, lost) = match (outcomes.0.status, outcomes.1.status) {
            (200, _) => (&rosa, &vera, &outcomes.1),
            _ => (&vera, &rosa, &outcomes.0),
        };
        let lost = lost.failure();
        let too_late = ["Cannot suspend last admin", "Account suspended"].contains(&lost.1.as_str());
        assert!(lost.0 == 403 && too_late, "race {race}: {lost:?}");
        assert_eq!(site.stored(winner).await.status, AccountStatus::Active, "race {race}");
        assert_eq!(site.stored(loser).await.status, AccountStatus::Suspended, "race {race}");
        let restored = set_status(&site, winner, &id(loser), &json!({ "status": "active" })).await;
        restored.expect(200);
    }
}
