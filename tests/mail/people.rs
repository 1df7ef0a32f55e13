//! Letters to people who are invited, and to new accounts.

use runstream::domain::id::OrgId;
use serde_json::{Value, json};

use super::server::MailServer;
use super::{GIVEN_UP, SENT, address, failed, site_for, until_state};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, PASSWORD, Person, Site};

on_each_store_beneath! {
    an_invitation_that_is_withdrawn_before_its_letter_is_sent_is_not_mailed,
}

async fn invite(site: &Site, admin: &Person, email: &str) -> Value {
    let body = json!({ "email": email, "role": "developer" });
    let answer = site.post("/api/invitations").token(&admin.token).json(&body).send().await;
    answer.expect(201)["invitation"].clone()
}

/// The token of the link to this page in a mail.
pub(super) fn token_of<'m>(mail: &'m Value, page: &str) -> &'m str {
    let before = format!("https://runs.pinewood.test/{page}?token=");
    let mut lines = mail["text"].as_str().unwrap().lines();
    lines.find_map(|line| line.strip_prefix(&before)).unwrap_or_else(|| panic!("{mail}"))
}

async fn validate(site: &Site, token: &str) -> Answer {
    let path = format!("/api/invitations/validate/{token}");
    site.get(&path).from(&site.new_address()).send().await
}

async fn sign_up(site: &Site, email: &str, token: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD, "name": "Ivo Berg", "inviteToken": token });
    site.post("/api/auth/signup").from(&site.new_address()).json(&body).send().await
}

async fn org_of(site: &Site, person: &Person) -> OrgId {
    site.store().user_by_email(&person.email).await.unwrap().unwrap().org
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_invited_gets_the_link_and_signs_up_with_it() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let rosa = site.sign_up("rosa").await;
    let welcome = server.mail(1).await;
    assert_eq!(address(&welcome["to"]), json!(["", rosa.email, 1]));
    let text = welcome["text"].as_str().unwrap();
    assert!(text.contains("rosa") && text.contains("https://runs.pinewood.test"), "{text}");

    let made = invite(&site, &rosa, "ivo@pinewood.test").await;
    assert_eq!((&made["emailSent"], &made["actionType"]), (&json!(true), &json!("signup")));
    assert!(made.get("inviteUrl").is_none(), "the link is for who is invited: {made}");
    let mail = server.mail(2).await;
    assert_eq!(mail["envelope"], json!(["runs@pinewood.test", "ivo@pinewood.test"]));
    let organization = rosa.user["organizationName"].as_str().unwrap();
    assert_eq!(mail["subject"], format!("rosa invites you to {organization}"));
    let token = token_of(&mail, "signup");
    let told = validate(&site, token).await.expect(200);
    assert_eq!((&told["email"], &told["role"]), (&json!("ivo@pinewood.test"), &json!("developer")));
    assert_eq!(told["organizationName"], organization);
    let joined = sign_up(&site, "ivo@pinewood.test", token).await.expect(201);
    assert_eq!(joined["user"]["organizationId"], rosa.user["organizationId"]);
    assert_eq!(joined["user"]["role"], "developer");
    let welcome = server.mail(3).await;
    assert_eq!(address(&welcome["to"]), json!(["", "ivo@pinewood.test", 1]));
    assert!(welcome["text"].as_str().unwrap().contains("Ivo Berg"), "{welcome}");

    // Who has an account is led to the page where it is taken along.
    let bob = site.sign_up("bob").await;
    server.mail(4).await;
    assert_eq!(invite(&site, &rosa, &bob.email).await["emailSent"], true);
    let mail = server.mail(5).await;
    let body = json!({ "token": token_of(&mail, "join") });
    let moved = site.post("/api/invitations/accept").token(&bob.token).json(&body).send().await.expect(200);
    assert_eq!(moved["user"]["organizationId"], rosa.user["organizationId"]);
    server.listen().await;
    assert_eq!(server.count("mail"), 5, "nobody is told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_stays_valid_when_its_letter_is_not_sent() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let rosa = site.sign_up("rosa").await;
    server.mail(1).await;
    server.answer("busy").await;
    let made = invite(&site, &rosa, "ivo@pinewood.test").await;
    assert_eq!(made["emailSent"], false);
    assert!(made.get("inviteUrl").is_none(), "{made}");
    let (org, key) = (org_of(&site, &rosa).await, format!("invitation/{}", made["id"].as_str().unwrap()));
    until_state(&site, org, &key, failed(1)).await;
    let listed = site.get("/api/invitations").token(&rosa.token).send().await.expect(200);
    assert_eq!(listed["invitations"][0]["id"], made["id"]);
    // It comes all the same, and the link in it is good.
    server.answer("take").await;
    site.advance(61);
    site.server.mail().wake();
    let mail = server.mail(2).await;
    until_state(&site, org, &key, SENT).await;
    let token = token_of(&mail, "signup");
    assert_eq!(sign_up(&site, "ivo@pinewood.test", token).await.status, 201);
}

async fn an_invitation_that_is_withdrawn_before_its_letter_is_sent_is_not_mailed(beneath: &Beneath) {
    let mut server = MailServer::start().await;
    let mail = server.settings();
    let site = Site::start_with(|settings| {
        beneath.choose(settings);
        settings.mail = mail;
    })
    .await;
    let rosa = site.sign_up("rosa").await;
    server.mail(1).await;
    server.answer("busy").await;
    let made = invite(&site, &rosa, "ivo@pinewood.test").await;
    let id = made["id"].as_str().unwrap();
    let (org, key) = (org_of(&site, &rosa).await, format!("invitation/{id}"));
    until_state(&site, org, &key, failed(1)).await;
    let revoked = site.delete(&format!("/api/invitations/{id}")).token(&rosa.token).send().await;
    revoked.expect(200);
    until_state(&site, org, &key, GIVEN_UP).await;
    server.answer("take").await;
    site.advance(61);
    // The next one comes, this one does not.
    invite(&site, &rosa, "ada@pinewood.test").await;
    let mail = server.mail(2).await;
    assert_eq!(mail["envelope"][1], "ada@pinewood.test");
    let depth = site.store().outbox_depth().await.unwrap();
    assert_eq!((depth.letters, server.count("mail")), (0, 2));
}
