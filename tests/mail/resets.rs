//! Forgotten passwords, from the request over the letter to the new password; and the letter that greets.

use std::pin::pin;
use std::time::Duration;

use serde_json::json;

use super::server::MailServer;
use super::{site_for, site_on};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, Ask, PASSWORD, Person, Site};

on_each_store_beneath! { a_new_account_is_greeted_and_the_link_of_a_reset_sets_a_password_once }

const NEW: &str = "Other-horse-2!";
const LINK: &str = "https://runs.pinewood.test/reset-password?token=";

async fn request(site: &Site, email: &str) -> Answer {
    held_back(site, asked(site, email)).await
}

/// A request for a reset.
pub(super) fn asked<'s>(site: &'s Site, email: &str) -> Ask<'s> {
    let body = json!({ "email": email });
    site.post("/api/auth/password-reset/request").from(&site.new_address()).json(&body)
}

/// Asks for a reset, and moves the clock until the answer is there: it is never given at once.
pub(super) async fn held_back(site: &Site, asked: Ask<'_>) -> Answer {
    let mut answer = pin!(asked.send());
    let early = tokio::time::timeout(Duration::from_millis(20), &mut answer).await;
    assert!(early.is_err(), "while the clock stands, nobody learns how long it took: {early:?}");
    loop {
        site.clock.advance(Duration::from_millis(50));
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(5), &mut answer).await {
            return answer;
        }
    }
}

/// The token of the `times`-th letter.
async fn token_of(server: &mut MailServer, times: usize) -> String {
    let mail = server.mail(times).await;
    let text = mail["text"].as_str().unwrap();
    let token = text.lines().find_map(|line| line.strip_prefix(LINK));
    token.unwrap_or_else(|| panic!("no link: {text}")).to_owned()
}

async fn confirm(site: &Site, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "password": password });
    site.post("/api/auth/password-reset/confirm").from(&site.new_address()).json(&body).send().await
}

async fn log_in(site: &Site, person: &Person, password: &str) -> Answer {
    let body = json!({ "email": person.email, "password": password });
    site.post("/api/auth/login").from(&site.new_address()).json(&body).send().await
}

fn invalid() -> (u16, String) {
    (400, "Invalid reset token".to_owned())
}

async fn a_new_account_is_greeted_and_the_link_of_a_reset_sets_a_password_once(beneath: &Beneath) {
    let mut server = MailServer::start().await;
    let site = site_on(beneath, &server).await;
    let rosa = site.sign_up("rosa").await;
    let welcome = server.mail(1).await;
    assert_eq!(welcome["envelope"], json!(["runs@pinewood.test", "rosa@pinewood.test"]));
    assert_eq!(welcome["subject"], "Welcome to Runstream");
    assert!(welcome["text"].as_str().unwrap().contains("rosa labs"), "{}", welcome["text"]);

    let key = site.key(&rosa).await;
    for _ in 0..5 {
        assert_eq!(log_in(&site, &rosa, "Wrong-password-1!").await.status, 401);
    }
    assert_eq!(log_in(&site, &rosa, PASSWORD).await.status, 429);
    // Somebody without an account hears the same, and gets no letter.
    let (known, unknown) =
        (request(&site, " Rosa@Pinewood.test").await, request(&site, "ivo@pinewood.test").await);
    assert_eq!(known.told(), unknown.told());
    let body = known.expect(200);
    assert_eq!((body["success"].clone(), body.as_object().unwrap().len()), (json!(true), 2));
    let token = token_of(&mut server, 2).await;
    let mail = server.mail(2).await;
    assert_eq!(mail["envelope"], json!(["runs@pinewood.test", "rosa@pinewood.test"]));
    assert!(!String::from_utf8_lossy(&known.body).contains(&token));

    for (token, password, error) in [
        (token.as_str(), "weak", "Weak password"),
        ("ab", NEW, "Invalid reset token"),
        (&"ab".repeat(32), NEW, "Invalid reset token"),
        (&token.to_uppercase(), NEW, "Invalid reset token"),
    ] {
        assert_eq!(confirm(&site, token, password).await.failure(), (400, error.to_owned()));
    }
    let still = site.get("/api/auth/me").token(&rosa.token).send().await;
    assert_eq!(still.status, 200, "nothing was changed yet");
    let done = confirm(&site, &token, NEW).await;
    assert_eq!((done.expect(200)["success"].clone(), done.rate()), (json!(true), Some((5, 4))));
    assert_eq!(done.json().as_object().unwrap().len(), 2, "no token: {done:?}");

    let by_token = site.get("/api/auth/me").token(&rosa.token).send().await;
    assert_eq!(by_token.failure(), (401, "Invalid token".to_owned()));
    let by_key = site.get("/api/projects").key(&key).send().await;
    assert_eq!(by_key.failure(), (401, "Invalid API key".to_owned()));
    // The lock is lifted.
    assert_eq!(log_in(&site, &rosa, NEW).await.status, 200);
    assert_eq!(log_in(&site, &rosa, PASSWORD).await.status, 401);
    let audit = site.audit(&rosa).await;
    let changes: Vec<_> = audit.iter().filter(|entry| entry.action == "auth.password_changed").collect();
    assert_eq!((changes.len(), changes[0].details.as_str()), (1, r#"{"email":"rosa@pinewood.test"}"#));
    assert_eq!(changes[0].target_id, rosa.user["id"].as_str().unwrap());
    assert!(audit.iter().all(|entry| !entry.details.contains(&token)));
    assert_eq!(confirm(&site, &token, "Third-horse-3!").await.failure(), invalid());
    assert_eq!(log_in(&site, &rosa, NEW).await.status, 200);
    server.listen().await;
    assert_eq!(server.count("mail"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reset_ends_after_an_hour_or_with_a_later_one_and_of_two_uses_at_once_one_wins() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let rosa = site.sign_up("rosa").await;
    server.mail(1).await;
    assert_eq!(request(&site, &rosa.email).await.status, 200);
    let first = token_of(&mut server, 2).await;
    site.advance(3_600);
    assert_eq!(confirm(&site, &first, NEW).await.failure(), invalid(), "expired");

    assert_eq!(request(&site, &rosa.email).await.status, 200);
    let second = token_of(&mut server, 3).await;
    assert_eq!(request(&site, &rosa.email).await.status, 200);
    let third = token_of(&mut server, 4).await;
    assert_eq!(confirm(&site, &second, NEW).await.failure(), invalid(), "a later one was asked for");

    let passwords = ["First-horse-1!", "Second-horse-2!"];
    let (one, two) = tokio::join!(confirm(&site, &third, passwords[0]), confirm(&site, &third, passwords[1]));
    let won = if one.status == 200 { 0 } else { 1 };
    let (winner, loser) = if won == 0 { (one, two) } else { (two, one) };
    winner.expect(200);
    assert_eq!(loser.failure(), invalid());
    assert_eq!(log_in(&site, &rosa, passwords[won]).await.status, 200);
    assert_eq!(log_in(&site, &rosa, passwords[1 - won]).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mail_server_a_request_is_answered_alike_and_no_reset_is_kept() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let (known, unknown) = (request(&site, &rosa.email).await, request(&site, "ivo@pinewood.test").await);
    assert_eq!(known.told(), unknown.told());
    assert_eq!((known.status, log_in(&site, &rosa, PASSWORD).await.status), (200, 200));
    let bad = json!({ "email": "rosa" });
    let bad = site.post("/api/auth/password-reset/request").json(&bad).send().await;
    assert_eq!(bad.failure(), (400, "Invalid email format".to_owned()));
}
