//! Guessing at accounts: lists of passwords, made-up addresses, and what answers and their times tell of who has an
//! account.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use runstream::access::PasswordSettings;
use runstream::config::Settings;
use runstream::server::{Seams, Server};
use serde_json::{Value, json};

use crate::support::account::Account;
use crate::support::alike::{Patience, told_apart};
use crate::support::site::{Answer, PASSWORD, Site, unlimited};

const WRONG: &str = "Wrong-password-1!";

async fn log_in(site: &Site, from: &str, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    site.post("/api/auth/login").from(from).json(&body).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_stolen_passwords_is_tried_five_at_a_time_or_locks_itself_out() {
    let site = Site::start().await;
    let mut people = Vec::new();
    for number in 0..10 {
        people.push(site.sign_up(&format!("p{number}")).await);
    }
    // From one address, over many accounts: five tries a minute, whatever is right of them.
    let mut statuses = Vec::new();
    for person in &people {
        statuses.push(log_in(&site, "203.0.113.9", &person.email, WRONG).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429, 429, 429]);
    assert_eq!(
        log_in(&site, "203.0.113.9", &people[9].email, PASSWORD).await.status,
        429,
        "the right one, too"
    );
    // From many addresses, at one account: five tries, then not even the right password.
    let victim = &people[9];
    let tries = join_all((0..30).map(|number| {
        let (site, from) = (&site, format!("198.51.100.{number}"));
        async move { log_in(site, &from, &victim.email, WRONG).await.status }
    }))
    .await;
    assert_eq!(tries.iter().filter(|status| **status == 401).count(), 5);
    assert_eq!(tries.iter().filter(|status| **status == 429).count(), 25);
    assert_eq!(
        log_in(&site, "192.0.2.1", &victim.email, PASSWORD).await.failure().1,
        "Account temporarily locked"
    );
    // Who is signed in stays so, and nobody else is locked out.
    assert_eq!(site.get("/api/auth/me").token(&victim.token).send().await.status, 200);
    assert_eq!(log_in(&site, "192.0.2.2", &people[8].email, PASSWORD).await.status, 200);
    let actions = site.audit(victim).await.into_iter().map(|entry| entry.action);
    assert_eq!(actions.filter(|action| action == "auth.account_locked").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_trusted_proxy_does_not_choose_its_address() {
    let site = Site::start_with(|settings| settings.access.trusted_proxies = Vec::new()).await;
    let rosa = site.sign_up("rosa").await;
    site.advance(60);
    let names = [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-cluster-client-ip",
        "x-forwarded",
        "forwarded-for",
        "x-originating-ip",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let address = format!("198.51.100.{number}");
        let value = if name == "forwarded" { format!("for={address}") } else { address };
        let body = json!({ "email": rosa.email, "password": PASSWORD });
        let answer = site.post("/api/auth/login").header(name, &value).json(&body).send().await;
        assert_eq!(answer.status, if number < 5 { 200 } else { 429 }, "{name}");
    }
    let logins: Vec<_> =
        site.audit(&rosa).await.into_iter().filter(|entry| entry.action == "auth.login").collect();
    assert_eq!(logins.len(), 5);
    assert!(logins.iter().all(|entry| entry.ip == "127.0.0.1"), "the socket's peer: {logins:?}");

    // Behind a proxy that is trusted it is the hop that this one has seen, whatever stands left of it.
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    site.advance(60);
    for left in (0..5).rev() {
        let claimed = format!("198.51.100.{left}, 203.0.113.9");
        assert_eq!(log_in(&site, &claimed, &rosa.email, PASSWORD).await.rate(), Some((5, left)), "{claimed}");
    }
    for claimed in ["203.0.113.9", "127.0.0.1, 203.0.113.9", "203.0.113.9, 127.0.0.1", "x, 203.0.113.9:4711"]
    {
        assert_eq!(log_in(&site, claimed, &rosa.email, PASSWORD).await.status, 429, "{claimed}");
    }
    let entry = site.audit(&rosa).await.remove(0);
    assert_eq!((entry.action.as_str(), entry.ip.as_str()), ("auth.login", "203.0.113.9"));
}

/// What is noise even if it is always the same.
const NOISE: Duration = Duration::from_micros(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_does_not_tell_who_has_an_account() {
    const PEOPLE: usize = 12;
    let site = Site::start_with(|settings| {
        unlimited(settings);
        // Cheap, so that what else is done would show.
        settings.access.passwords =
            PasswordSettings { memory_kib: 512, passes: 1, ..PasswordSettings::default() };
    })
    .await;
    for number in 0..=PEOPLE {
        site.sign_up(&format!("p{number}")).await;
    }
    // Four tries each: the fifth would lock the address.
    let patience = Patience { pairs: PEOPLE, rounds: 4, noise: NOISE };
    let differ = told_apart(patience, async |pair, known| {
        let name = if known { "p" } else { "q" };
        let answer =
            log_in(&site, "192.0.2.1", &format!("{name}{}@pinewood.test", pair % PEOPLE), WRONG).await;
        assert_eq!(answer.failure(), (401, "Invalid credentials".to_owned()));
    })
    .await;
    assert_eq!(differ, None, "time tells who has an account");
    // Up to the try that locks, and a locked address.
    for tries in 1..=6 {
        let known = log_in(&site, "192.0.2.1", &format!("p{PEOPLE}@pinewood.test"), WRONG).await;
        let unknown = log_in(&site, "192.0.2.1", &format!("q{PEOPLE}@pinewood.test"), WRONG).await;
        assert_eq!(known.told(), unknown.told());
        let expected =
            if tries <= 5 { (401, "Invalid credentials") } else { (429, "Account temporarily locked") };
        assert_eq!(known.failure(), (expected.0, expected.1.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_reset_nor_a_link_tells_what_there_is() {
    // On the machine's clock: the answer to a reset is held back on it.
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings { data_folder: folder.path().join("data"), ..Settings::default() };
    settings.server.port = 0;
    settings.mail.host = Some("localhost".into());
    // Nobody listens there; a letter is written and waits.
    settings.mail.port = 9;
    settings.mail.from = Some("runs@pinewood.test".parse().unwrap());
    settings.mail.dashboard_url = Some("https://runs.pinewood.test".into());
    unlimited(&mut settings);
    let server = Server::start(settings, Seams::default()).await.unwrap();
    let client = Account::client_of(&server.base_url());
    let call = async |method: http::Method, path: &str, body: Option<&Value>| {
        let answer = client.call(method, path, body).await.unwrap();
        (answer.status.as_u16(), answer.body)
    };
    let form = json!({ "email": "rosa@pinewood.test", "password": PASSWORD, "name": "Rosa", "organizationName": "Pinewood" });
    assert_eq!(call(http::Method::POST, "/api/auth/signup", Some(&form)).await.0, 201);
    let mut answers = Vec::new();
    let mut least = Duration::MAX;
    let differ = told_apart(Patience { pairs: 4, rounds: 10, noise: NOISE }, async |_, known| {
        let name = if known { "rosa" } else { "nobody" };
        let body = json!({ "email": format!("{name}@pinewood.test") });
        let begun = Instant::now();
        answers.push(call(http::Method::POST, "/api/auth/password-reset/request", Some(&body)).await);
        least = least.min(begun.elapsed());
    })
    .await;
    assert_eq!(answers[0].0, 200);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(differ, None, "time tells who may reset a password");
    assert!(least >= Duration::from_millis(250), "no sooner than it takes to write a letter: {least:?}");
    server.shut_down().await.unwrap();

    // Of links that are worth nothing, withdrawn, used and made-up ones are one.
    let site = Site::start_with(unlimited).await;
    let rosa = site.sign_up("rosa").await;
    let invite = async |email: &str| {
        let body = json!({ "email": email, "role": "viewer" });
        let made = site.post("/api/invitations").token(&rosa.token).json(&body).send().await.expect(201);
        let token =
            made["invitation"]["inviteUrl"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();
        (made["invitation"]["id"].as_str().unwrap().to_owned(), token)
    };
    let ((id, withdrawn), (_, used)) = (invite("ada@pinewood.test").await, invite("ivo@pinewood.test").await);
    site.delete(&format!("/api/invitations/{id}")).token(&rosa.token).send().await.expect(200);
    let form =
        json!({ "email": "ivo@pinewood.test", "password": PASSWORD, "name": "Ivo", "inviteToken": used });
    site.post("/api/auth/signup").from(&site.new_address()).json(&form).send().await.expect(201);
    let made_up = "0123456789abcdef".repeat(4);
    let validate = async |token: &str| site.get(&format!("/api/invitations/validate/{token}")).send().await;
    let unknown = validate(&made_up).await;
    assert_eq!(unknown.failure(), (404, "Invitation not found or already used".to_owned()));
    for token in [&withdrawn, &used] {
        assert_eq!(validate(token).await.told(), unknown.told());
        let body = |token: &str| json!({ "email": "eve@pinewood.test", "password": PASSWORD, "name": "Eve", "inviteToken": token });
        let sign_up = async |token: &str| site.post("/api/auth/signup").json(&body(token)).send().await;
        assert_eq!(sign_up(token).await.told(), sign_up(&made_up).await.told());
        let confirm = json!({ "token": token, "password": PASSWORD });
        let confirm = site.post("/api/auth/password-reset/confirm").json(&confirm).send().await;
        assert_eq!(confirm.failure(), (400, "Invalid reset token".to_owned()), "it is another kind of token");
    }
    let differ = told_apart(Patience { pairs: 16, rounds: 4, noise: NOISE }, async |_, known| {
        validate(if known { &used } else { &made_up }).await;
    })
    .await;
    assert_eq!(differ, None, "time tells which links there were");
}
