//! Inviting people, and what they do with the link.

use runstream::config::Settings;
use runstream::domain::account::User;
use runstream::domain::plan::Plan;
use runstream::domain::role::Role;
use runstream::domain::time::IsoMs;
use serde_json::{Value, json};

use crate::support::site::{Answer, NOW_MS, PASSWORD, Person, Site};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;
const WEEK_S: u64 = 7 * 24 * 3_600;

fn on_the_free_plan(settings: &mut Settings) {
    settings.engine.plan = Plan::Free;
}

async fn invite(site: &Site, admin: &Person, email: &str, role: &str) -> Answer {
    let body = json!({ "email": email, "role": role });
    site.post("/api/invitations").token(&admin.token).json(&body).send().await
}

/// The token of a new invitation.
async fn invited(site: &Site, admin: &Person, email: &str) -> String {
    let body = invite(site, admin, email, "developer").await.expect(201);
    let url = body["invitation"]["inviteUrl"].as_str().unwrap();
    url.split_once("token=").unwrap().1.to_owned()
}

async fn validate(site: &Site, token: &str) -> Answer {
    let path = format!("/api/invitations/validate/{token}");
    site.get(&path).from(&site.new_address()).send().await
}

async fn accept(site: &Site, person: &Person, token: &str) -> Answer {
    let body = json!({ "token": token });
    site.post("/api/invitations/accept").token(&person.token).json(&body).send().await
}

async fn sign_up(site: &Site, email: &str, token: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD, "name": "Ivo", "inviteToken": token });
    site.post("/api/auth/signup").from(&site.new_address()).json(&body).send().await
}

async fn list(site: &Site, admin: &Person) -> Vec<Value> {
    let answer = site.get("/api/invitations").token(&admin.token).send().await.expect(200);
    answer["invitations"].as_array().unwrap().clone()
}

fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.failure(), (status, error.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_made_and_listed() {
    let dashboard = |settings: &mut Settings| {
        settings.mail.dashboard_url = Some("https://runs.pinewood.test".into());
    };
    let site = Site::start_with(dashboard).await;
    let (rosa, bob) = (site.sign_up("rosa").await, site.sign_up("bob").await);
    let answer = invite(&site, &rosa, " Ivo@Pinewood.Test ", "developer").await;
    let body = answer.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"), "it carries a token");
    assert_eq!(answer.rate(), Some((10, 9)), "the strict tier is told");
    assert_eq!((&body["success"], &body["message"]), (&json!(true), &json!("Invitation created")));
    let made = &body["invitation"];
    let url = made["inviteUrl"].as_str().unwrap();
    let token = url.strip_prefix("https://runs.pinewood.test/signup?token=").unwrap();
    assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    let expected = json!({
        "id": made["id"], "email": "ivo@pinewood.test", "role": "developer", "userExists": false,
        "expiresAt": IsoMs(NOW_MS + WEEK_MS).to_string(), "actionType": "signup", "emailSent": false, "inviteUrl": url,
    });
    assert_eq!(made, &expected);
    site.advance(1);
    let joins = invite(&site, &rosa, &bob.email, "viewer").await.expect(201);
    assert_eq!(joins["invitation"]["userExists"], true);
    assert_eq!(joins["invitation"]["actionType"], "join");
    let url = joins["invitation"]["inviteUrl"].as_str().unwrap();
    assert!(url.starts_with("https://runs.pinewood.test/join?token="), "{url}");
    let listed = list(&site, &rosa).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["email"], bob.email.as_str(), "newest first");
    let expected = json!({
        "id": made["id"], "email": "ivo@pinewood.test", "role": "developer", "status": "pending",
        "invitedBy": rosa.user["id"], "invitedByName": "rosa",
        "expiresAt": IsoMs(NOW_MS + WEEK_MS).to_string(), "createdAt": IsoMs(NOW_MS).to_string(),
    });
    assert_eq!(listed[1], expected);
    assert_eq!(list(&site, &bob).await, [json!(null); 0], "nothing of another organization");
    let log = site.audit(&rosa).await;
    let entry = log.iter().find(|entry| made["id"] == entry.target_id.as_str()).unwrap();
    assert_eq!((entry.action.as_str(), entry.target_type.as_str()), ("invitation.created", "invitation"));
    let details: Value = serde_json::from_str(&entry.details).unwrap();
    assert_eq!(details, json!({ "email": "ivo@pinewood.test", "role": "developer" }));
    assert!(site.audit(&rosa).await.iter().all(|entry| !format!("{entry:?}").contains(token)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_invited_and_why() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    site.member(&rosa, "vera", Role::Viewer).await;
    site.advance(61);
    let post = |body: Value| site.post("/api/invitations").token(&rosa.token).json(&body);
    for (body, error) in [
        (json!({}), "Missing required fields"),
        (json!({ "email": "ivo@x.test" }), "Missing required fields"),
        (json!({ "role": "viewer" }), "Missing required fields"),
        (json!({ "email": "ivo", "role": "owner" }), "Invalid email format"),
        (json!({ "email": "ivo@x.test", "role": "owner" }), "Invalid role"),
    ] {
        refused(&post(body).send().await, 400, error);
    }
    refused(&site.post("/api/invitations").token(&rosa.token).send().await, 400, "Missing required fields");
    refused(&invite(&site, &rosa, &rosa.email, "viewer").await, 409, "User already in organization");
    refused(&invite(&site, &rosa, "VERA@pinewood.test", "viewer").await, 409, "User already in organization");
    assert_eq!(invite(&site, &rosa, "ivo@x.test", "viewer").await.status, 201);
    refused(&invite(&site, &rosa, "ivo@x.test", "admin").await, 409, "Invitation already sent");
    // The eleventh of a minute, whatever the others came to.
    refused(&invite(&site, &rosa, "new@x.test", "admin").await, 429, "Rate limit exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_invitation_is_worth_nothing() {
    let site = Site::start().await;
    let (rosa, bob) = (site.sign_up("rosa").await, site.sign_up("bob").await);
    let token = invited(&site, &rosa, "ivo@x.test").await;
    let id = list(&site, &rosa).await[0]["id"].as_str().unwrap().to_owned();
    let revoke =
        |who: &Person, id: &str| site.delete(&format!("/api/invitations/{id}")).token(&who.token).send();
    for bad in ["x", &id.to_uppercase(), &format!("{id}0")] {
        refused(&revoke(&rosa, bad).await, 400, "Invalid invitation ID");
    }
    refused(&revoke(&bob, &id).await, 404, "Invitation not found");
    refused(&revoke(&rosa, "690a11b2c3d4e5f607182930").await, 404, "Invitation not found");
    // So that it is the newest in the log.
    site.advance(1);
    let body = revoke(&rosa, &id).await.expect(200);
    assert_eq!(body, json!({ "success": true, "message": "Invitation withdrawn" }));
    refused(&revoke(&rosa, &id).await, 404, "Invitation not found");
    refused(&validate(&site, &token).await, 404, "Invitation not found or already used");
    refused(&sign_up(&site, "ivo@x.test", &token).await, 400, "Invalid invitation token");
    let entry = &site.audit(&rosa).await[0];
    assert_eq!((entry.action.as_str(), &entry.target_id), ("invitation.revoked", &id));
    assert!(entry.details.contains("ivo@x.test"));
    // It can be sent again, and what was accepted cannot be withdrawn.
    let token = invited(&site, &rosa, &bob.email).await;
    let id = list(&site, &rosa).await[0]["id"].as_str().unwrap().to_owned();
    accept(&site, &bob, &token).await.expect(200);
    refused(&revoke(&rosa, &id).await, 404, "Invitation not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_tells_what_it_is_to() {
    let site = Site::start().await;
    let (rosa, bob) = (site.sign_up("rosa").await, site.sign_up("bob").await);
    let token = invited(&site, &rosa, "ivo@x.test").await;
    let answer = validate(&site, &token).await;
    assert_eq!(answer.rate(), Some((100, 99)), "per address");
    let expected = json!({
        "success": true, "valid": true, "organizationName": "rosa labs", "role": "developer", "inviterName": "rosa",
        "userExists": false, "email": "ivo@x.test",
    });
    assert_eq!(answer.expect(200), expected);
    let joining = invited(&site, &rosa, &bob.email).await;
    assert_eq!(validate(&site, &joining).await.expect(200)["userExists"], true);
    let check = |answer: &Answer, status, error| {
        refused(answer, status, error);
        assert_eq!(answer.json()["valid"], false);
    };
    for bad in ["x", &token.to_uppercase(), &format!("{token}0")] {
        check(&validate(&site, bad).await, 400, "Invalid token format");
    }
    check(&validate(&site, &"ab".repeat(32)).await, 404, "Invitation not found or already used");
    accept(&site, &bob, &joining).await.expect(200);
    check(&validate(&site, &joining).await, 404, "Invitation not found or already used");
    // Also what is refused before the token is looked at.
    let path = format!("/api/invitations/validate/{token}");
    let asked = || site.get(&path).from("198.51.100.77");
    check(&asked().body("text/plain", "x").send().await, 415, "Unsupported media type");
    for _ in 0..100 {
        asked().send().await.expect(200);
    }
    check(&asked().send().await, 429, "Rate limit exceeded");
    site.advance(WEEK_S);
    check(&validate(&site, &token).await, 404, "Invitation has expired");
    assert_eq!(list(&site, &site.log_in(&rosa.email).await).await, [json!(null); 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_up_with_an_invitation_makes_a_member() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let token = invited(&site, &rosa, "ivo@x.test").await;
    for bad in ["x".to_owned(), token.to_uppercase(), "ab".repeat(32)] {
        refused(&sign_up(&site, "ivo@x.test", &bad).await, 400, "Invalid invitation token");
    }
    refused(&sign_up(&site, "eve@x.test", &token).await, 400, "Invalid invitation token");
    refused(&sign_up(&site, &rosa.email, &token).await, 409, "Email already registered");
    // So that what follows is the newest in the log.
    site.advance(1);
    let body = json!({
        "email": " IVO@x.test", "password": PASSWORD, "name": " Ivo ", "inviteToken": token, "organizationName": "",
        "role": "admin", "organizationId": "690a11b2c3d4e5f607182930",
    });
    let answer = site.post("/api/auth/signup").from(&site.new_address()).json(&body).send().await;
    let body = answer.expect(201);
    let expected = json!({
        "id": body["user"]["id"], "email": "ivo@x.test", "name": "Ivo", "role": "developer",
        "organizationId": rosa.user["organizationId"], "organizationName": "rosa labs",
    });
    assert_eq!(body["user"], expected);
    let me = site.get("/api/auth/me").token(body["token"].as_str().unwrap()).send().await.expect(200);
    assert_eq!(me["data"]["organization"]["userCount"], 2);
    refused(&sign_up(&site, "new@x.test", &token).await, 400, "Invalid invitation token");
    let mut actions: Vec<_> =
        site.audit(&rosa).await.into_iter().take(2).map(|entry| (entry.action, entry.target_type)).collect();
    actions.sort();
    let expected = [("auth.signup", "user"), ("invitation.accepted", "invitation")];
    assert_eq!(actions, expected.map(|(action, target)| (action.to_owned(), target.to_owned())));
    let late = invited(&site, &rosa, "late@x.test").await;
    site.advance(WEEK_S);
    refused(&sign_up(&site, "late@x.test", &late).await, 400, "Invalid invitation token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepting_moves_the_account_and_voids_what_it_had() {
    let site = Site::start().await;
    let (rosa, bob) = (site.sign_up("rosa").await, site.sign_up("bob").await);
    let second = site.log_in(&bob.email).await;
    let key = site.key(&bob).await;
    assert_eq!(site.get("/api/projects").key(&key).send().await.status, 200);
    let former = site.stored(&bob).await.org;
    let token = invited(&site, &rosa, &bob.email).await;
    // So that what follows is the newest in the log.
    site.advance(1);
    let answer = accept(&site, &bob, &token).await;
    let body = answer.expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(body["message"], "You are now a member of rosa labs");
    assert_eq!(body["organization"], json!({ "id": rosa.user["organizationId"], "name": "rosa labs" }));
    let expected = json!({
        "id": bob.user["id"], "email": bob.email, "name": "bob", "role": "developer",
        "organizationId": rosa.user["organizationId"], "organizationName": "rosa labs",
    });
    assert_eq!(body["user"], expected);
    let new = body["token"].as_str().unwrap();
    let me = site.get("/api/auth/me").token(new).send().await.expect(200);
    assert_eq!(me["data"]["role"], "developer");
    for old in [&bob, &second] {
        refused(&site.get("/api/auth/me").token(&old.token).send().await, 401, "Invalid token");
    }
    refused(&site.get("/api/projects").key(&key).send().await, 401, "Invalid API key");
    let left = site.store().audit_entries(former, 9, 0).await.unwrap().0.remove(0);
    assert_eq!((left.action.as_str(), left.target_type.as_str()), ("user.left", "user"));
    assert_eq!(
        serde_json::from_str::<Value>(&left.details).unwrap(),
        json!({ "email": bob.email, "role": "admin" })
    );
    let joined = site.audit(&rosa).await.remove(0);
    assert_eq!((joined.action.as_str(), joined.target_type.as_str()), ("invitation.accepted", "invitation"));
    let bob = Person { token: new.to_owned(), ..bob };
    refused(&accept(&site, &bob, &token).await, 404, "Invalid or expired invitation");
    assert!(site.store().organization(former).await.unwrap().is_some(), "what is left stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_accept_and_why() {
    let site = Site::start().await;
    let (rosa, bob) = (site.sign_up("rosa").await, site.sign_up("bob").await);
    let post = |body: Value| site.post("/api/invitations/accept").token(&bob.token).json(&body).send();
    for body in [json!({}), json!({ "token": null }), json!({ "token": 7 })] {
        refused(&post(body).await, 400, "Missing token");
    }
    refused(&site.post("/api/invitations/accept").token(&bob.token).send().await, 400, "Missing token");
    refused(&post(json!({ "token": "x" })).await, 400, "Invalid token format");
    refused(&accept(&site, &bob, &"ab".repeat(32)).await, 404, "Invalid or expired invitation");
    let others = invited(&site, &rosa, "ivo@x.test").await;
    refused(&accept(&site, &bob, &others).await, 403, "Email mismatch");
    // The only administrator of an organization with other members.
    let token = invited(&site, &rosa, &bob.email).await;
    let vera = site.member(&bob, "vera", Role::Viewer).await;
    refused(&accept(&site, &bob, &token).await, 409, "Cannot leave as last admin");
    let promoted = User { role: Role::Admin, ..site.stored(&vera).await };
    site.store().update_user(promoted, None).await.unwrap();
    accept(&site, &bob, &token).await.expect(200);
    // Who is there already, in another way.
    let eve = site.sign_up("eve").await;
    let token = invited(&site, &rosa, &eve.email).await;
    let there = User { org: site.stored(&rosa).await.org, ..site.stored(&eve).await };
    site.store().update_user(there, None).await.unwrap();
    let eve = site.log_in(&eve.email).await;
    site.advance(6);
    refused(&accept(&site, &eve, &token).await, 409, "User already in organization");
    let late = site.sign_up("late").await;
    let token = invited(&site, &rosa, &late.email).await;
    site.advance(WEEK_S);
    let late = site.log_in(&late.email).await;
    refused(&accept(&site, &late, &token).await, 404, "Invitation has expired");
    // Another invitation to the same address is possible then, and the old one stays dead.
    let again = invited(&site, &site.log_in(&rosa.email).await, &late.email).await;
    refused(&accept(&site, &late, &token).await, 404, "Invitation has expired");
    accept(&site, &late, &again).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_organization_takes_nobody_at_any_of_the_three_points() {
    let site = Site::start_with(on_the_free_plan).await;
    let (rosa, bob) = (site.sign_up("rosa").await, site.sign_up("bob").await);
    let (for_bob, for_ivo) =
        (invited(&site, &rosa, &bob.email).await, invited(&site, &rosa, "ivo@x.test").await);
    for name in ["vera", "dora"] {
        site.member(&rosa, name, Role::Viewer).await;
    }
    let full = [
        invite(&site, &rosa, "new@x.test", "viewer").await,
        invite(&site, &rosa, &rosa.email, "viewer").await,
        sign_up(&site, "ivo@x.test", &for_ivo).await,
        accept(&site, &bob, &for_bob).await,
    ];
    for answer in &full {
        refused(answer, 403, "User limit reached");
        let body = answer.json();
        assert_eq!(body["usage"], json!({ "used": 3, "limit": 3, "percentUsed": 100 }));
        assert_eq!(
            (&body["upgradeUrl"], &body["retryAfter"]),
            (&json!("/settings?tab=billing"), &json!(null))
        );
    }
    assert_eq!(validate(&site, &for_bob).await.status, 200, "it waits for a seat");
    assert_eq!(site.get("/api/auth/me").token(&bob.token).send().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inviter_who_has_gone_is_unknown() {
    let site = Site::start().await;
    let (rosa, bob) = (site.sign_up("rosa").await, site.sign_up("bob").await);
    let dora = site.member(&rosa, "dora", Role::Admin).await;
    let token = invited(&site, &dora, "ivo@x.test").await;
    let moving = invited(&site, &bob, &dora.email).await;
    accept(&site, &dora, &moving).await.expect(200);
    assert_eq!(validate(&site, &token).await.expect(200)["inviterName"], "Unknown");
    let listed = list(&site, &rosa).await;
    assert_eq!((&listed[0]["invitedByName"], &listed[0]["invitedBy"]), (&json!("Unknown"), &dora.user["id"]));
    assert_eq!(sign_up(&site, "ivo@x.test", &token).await.status, 201, "it is valid all the same");
}
