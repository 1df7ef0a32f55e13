//! Signing up, in and out.

use runstream::access::PasswordSettings;
use runstream::domain::account::User;
use runstream::domain::role::{AccountStatus, Role};
use serde_json::{Value, json};

use crate::support::site::{Answer, PASSWORD, Site};

const WRONG: &str = "Wrong-password-1!";

fn form() -> Value {
    json!({
        "email": " Rosa@Pinewood.Test ", "password": PASSWORD, "name": " Rosa Linde ",
        "organizationName": " Pinewood Labs ",
    })
}

async fn sign_up(site: &Site, form: &Value) -> Answer {
    site.post("/api/auth/signup").from(&site.new_address()).json(form).send().await
}

async fn log_in(site: &Site, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    site.post("/api/auth/login").from(&site.new_address()).json(&body).send().await
}

async fn actions(site: &Site, person: &crate::support::site::Person) -> Vec<String> {
    site.audit(person).await.into_iter().map(|entry| entry.action).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_up_makes_an_organization_and_its_administrator() {
    let site = Site::start().await;
    let answer = sign_up(&site, &form()).await;
    let body = answer.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(body["success"], true);
    let user = &body["user"];
    assert_eq!((&user["email"], &user["name"]), (&json!("rosa@pinewood.test"), &json!("Rosa Linde")));
    assert_eq!((&user["role"], &user["organizationName"]), (&json!("admin"), &json!("Pinewood Labs")));
    for id in ["id", "organizationId"] {
        let id = user[id].as_str().unwrap();
        assert!(
            id.len() == 24 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)),
            "{id}"
        );
    }
    assert_eq!(user.as_object().unwrap().len(), 6);

    let me = site.get("/api/auth/me").token(body["token"].as_str().unwrap()).send().await.expect(200);
    let expected = json!({
        "id": user["id"], "email": "rosa@pinewood.test", "name": "Rosa Linde", "role": "admin", "status": "active",
        "lastLoginAt": null,
        "organization": {
            "id": user["organizationId"], "name": "Pinewood Labs", "slug": "pinewood-labs", "plan": "enterprise",
            "limits": {
                "maxProjects": 999_999, "maxTestRuns": 999_999, "maxUsers": 999_999, "maxConcurrentRuns": 999_999,
                "maxStorageBytes": 536_870_912_000_u64,
            },
            "userCount": 1, "userLimit": 999_999, "aiAnalysisEnabled": true,
        },
    });
    assert_eq!(me, json!({ "success": true, "data": expected }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_sign_up_wrongly_has_its_error() {
    let site = Site::start().await;
    sign_up(&site, &form()).await.expect(201);
    for (changes, status, error) in [
        (json!({ "email": null }), 400, "Missing required fields"),
        (json!({ "name": "  " }), 400, "Missing required fields"),
        (json!({ "organizationName": "" }), 400, "Missing required fields"),
        (json!({ "email": ["a@b.c"] }), 400, "Invalid email format"),
        (json!({ "email": "rosa@pinewood" }), 400, "Invalid email format"),
        (json!({ "password": "weak" }), 400, "Weak password"),
        (json!({ "password": 12_345_678 }), 400, "Weak password"),
        (json!({ "name": { "first": "Rosa" } }), 400, "Invalid name"),
        (json!({ "name": "x".repeat(101) }), 400, "Invalid name"),
        (json!({ "organizationName": "x" }), 400, "Invalid organization name"),
        (json!({ "organizationName": 7 }), 400, "Invalid organization name"),
        (json!({}), 409, "Email already registered"),
        (json!({ "email": "ROSA@pinewood.test" }), 409, "Email already registered"),
        (json!({ "inviteToken": "ab".repeat(32) }), 409, "Email already registered"),
        (
            json!({ "email": "ivo@pinewood.test", "inviteToken": "ab".repeat(32) }),
            400,
            "Invalid invitation token",
        ),
        (json!({ "email": "ivo@pinewood.test", "inviteToken": 7 }), 400, "Invalid invitation token"),
    ] {
        let mut body = form();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_eq!(sign_up(&site, &body).await.failure(), (status, error.to_owned()), "{changes}");
    }
    let form = json!({ "email": "a@b.c", "password": "x", "name": "a", "organizationName": "ab" });
    let message = sign_up(&site, &form).await.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(message.matches(", ").count(), 3, "every broken rule is named: {message}");
    assert!(
        site.store().user_by_email("ivo@pinewood.test").await.unwrap().is_none(),
        "nothing is left behind"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sign_ups_that_race_for_one_address_one_wins() {
    let site = Site::start().await;
    let body = form();
    let all = futures_util::future::join_all((0..8).map(|_| sign_up(&site, &body))).await;
    let won = all.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1);
    for answer in all.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.failure(), (409, "Email already registered".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_of_one_name_or_without_latin_letters_get_slugs_of_their_own() {
    let site = Site::start().await;
    let slug = async |email: &str, name: &str| {
        let mut body = form();
        body["email"] = email.into();
        body["organizationName"] = name.into();
        let token = sign_up(&site, &body).await.expect(201)["token"].as_str().unwrap().to_owned();
        let me = site.get("/api/auth/me").token(&token).send().await.expect(200);
        me["data"]["organization"]["slug"].as_str().unwrap().to_owned()
    };
    assert_eq!(slug("a@pinewood.test", "Pinewood Labs").await, "pinewood-labs");
    let second = slug("b@pinewood.test", "Pinewood  Labs!").await;
    assert!(second.starts_with("pinewood-labs-") && second.len() == "pinewood-labs-".len() + 6, "{second}");
    let third = slug("c@pinewood.test", "日本").await;
    assert!(third.starts_with("org-") && third.len() == 10, "{third}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_in_gives_a_token_and_keeps_earlier_ones() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    site.advance(5);
    let answer = log_in(&site, " ROSA@pinewood.test ", PASSWORD).await;
    let body = answer.expect(200);
    assert_eq!((answer.header("cache-control"), &body["user"]), (Some("no-store"), &rosa.user));
    for token in [rosa.token.as_str(), body["token"].as_str().unwrap()] {
        let me = site.get("/api/auth/me").token(token).send().await.expect(200);
        assert_eq!(me["data"]["lastLoginAt"], "2026-03-20T09:46:45.123Z");
    }
    assert_eq!(actions(&site, &rosa).await, ["auth.login", "auth.signup"]);
    let entry = site.audit(&rosa).await.remove(0);
    assert_eq!(
        (entry.target_type.as_str(), entry.details.as_str()),
        ("user", r#"{"email":"rosa@pinewood.test"}"#)
    );
    assert!(entry.ip.starts_with("198.18."), "the client, not the proxy: {}", entry.ip);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_not_told_apart() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    site.advance(1);
    let wrong = log_in(&site, &rosa.email, WRONG).await;
    let unknown = log_in(&site, "nobody@pinewood.test", WRONG).await;
    let odd = log_in(&site, &"x".repeat(3_000), WRONG).await;
    assert_eq!(wrong.failure(), (401, "Invalid credentials".to_owned()));
    assert_eq!((wrong.body.clone(), wrong.body), (unknown.body, odd.body));
    for body in [json!({}), json!({ "email": "a@b.c" }), json!({ "email": 7, "password": "x" })] {
        let answer = site.post("/api/auth/login").from(&site.new_address()).json(&body).send().await;
        assert_eq!(answer.failure(), (400, "Missing credentials".to_owned()));
    }
    assert_eq!(actions(&site, &rosa).await, ["auth.login_failed", "auth.signup"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fifth_wrong_password_locks_the_address_for_fifteen_minutes() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    for email in [rosa.email.as_str(), "nobody@pinewood.test"] {
        for _ in 0..5 {
            assert_eq!(log_in(&site, email, WRONG).await.failure().1, "Invalid credentials");
            site.advance(10);
        }
        let locked = log_in(&site, &email.to_uppercase(), PASSWORD).await;
        assert_eq!(locked.failure(), (429, "Account temporarily locked".to_owned()));
        assert_eq!(
            (locked.json()["retryAfter"].clone(), locked.header("retry-after")),
            (json!(890), Some("890"))
        );
        assert_eq!(locked.json()["message"], "Try again in 15 minutes");
        assert_eq!(locked.rate().map(|(limit, _)| limit), Some(5));
        site.advance(889);
        let still = log_in(&site, email, PASSWORD).await;
        assert_eq!(still.header("retry-after"), Some("1"), "tries do not extend the lock");
        site.advance(1);
    }
    assert_eq!(log_in(&site, &rosa.email, PASSWORD).await.status, 200);
    let failures = ["auth.login_failed"; 5];
    let expected = ["auth.login", "auth.account_locked"].into_iter().chain(failures).chain(["auth.signup"]);
    assert_eq!(actions(&site, &rosa).await.len(), 8);
    let (mut found, mut expected) =
        (actions(&site, &rosa).await, expected.map(str::to_owned).collect::<Vec<_>>());
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_of_failures_is_fixed_and_success_clears_it() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let fail = async |times: usize| {
        for _ in 0..times {
            assert_eq!(log_in(&site, &rosa.email, WRONG).await.failure().1, "Invalid credentials");
        }
    };
    fail(4).await;
    assert_eq!(log_in(&site, &rosa.email, PASSWORD).await.status, 200);
    fail(4).await;
    // The window opened with the first of these four; at its end they are forgotten.
    site.advance(15 * 60);
    fail(4).await;
    assert_eq!(log_in(&site, &rosa.email, PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_guesses_do_not_exceed_the_threshold() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let all = futures_util::future::join_all((0..20).map(|_| log_in(&site, &rosa.email, WRONG))).await;
    let answered = all.iter().filter(|answer| answer.status == 401).count();
    let locked = all.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((answered, locked), (5, 15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_logins_is_sent_away_and_counts_for_nothing() {
    let site = Site::start_with(|settings| {
        settings.access.passwords =
            PasswordSettings { parallel: 1, waiting_max: 1, ..PasswordSettings::default() };
    })
    .await;
    let rosa = site.sign_up("rosa").await;
    let email = |number: usize| format!("{number}@pinewood.test");
    let logins = (0..30).map(|number| {
        let (site, email) = (&site, email(number));
        async move { log_in(site, &email, WRONG).await }
    });
    let all = futures_util::future::join_all(logins).await;
    let refused: Vec<_> = (0..30).filter(|number| all[*number].status == 503).collect();
    assert!(!refused.is_empty() && refused.len() < 30, "{all:?}");
    for answer in all {
        if answer.status == 503 {
            assert_eq!(answer.failure().1, "Service unavailable");
            assert_eq!(answer.header("retry-after"), Some("2"));
        } else {
            assert_eq!(answer.failure(), (401, "Invalid credentials".to_owned()));
        }
    }
    for _ in 0..5 {
        assert_eq!(log_in(&site, &email(refused[0]), WRONG).await.status, 401, "it was no try");
    }
    assert_eq!(log_in(&site, &rosa.email, PASSWORD).await.status, 200, "it is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_account_is_told_so_with_the_right_password_only() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let stored = site.stored(&rosa).await;
    site.store().update_user(User { status: AccountStatus::Suspended, ..stored }, None).await.unwrap();
    assert_eq!(log_in(&site, &rosa.email, WRONG).await.failure().1, "Invalid credentials");
    for _ in 0..6 {
        // The right password is no failure: it never locks.
        let answer = log_in(&site, &rosa.email, PASSWORD).await;
        assert_eq!(answer.failure(), (403, "Account suspended".to_owned()));
    }
    site.advance(6);
    let me = site.get("/api/auth/me").token(&rosa.token).send().await;
    assert_eq!(me.failure(), (403, "Account suspended".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_ends_this_token_and_no_other() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let second = site.log_in(&rosa.email).await;
    assert_eq!(site.get("/api/auth/me").token(&rosa.token).send().await.status, 200);
    site.advance(1);
    let out = site.post("/api/auth/logout").token(&rosa.token).send().await.expect(200);
    assert_eq!(out, json!({ "success": true, "message": "Signed out" }));
    for path in ["/api/auth/logout", "/api/auth/api-keys"] {
        let answer = site.post(path).token(&rosa.token).send().await;
        assert_eq!(answer.failure(), (401, "Invalid token".to_owned()));
    }
    assert_eq!(site.get("/api/auth/me").token(&second.token).send().await.status, 200);
    assert_eq!(actions(&site, &rosa).await[0], "auth.logout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stored_account_counts_not_the_tokens_claims() {
    let site = Site::start().await;
    let admin = site.sign_up("rosa").await;
    let member = site.member(&admin, "ivo", Role::Developer).await;
    let project = json!({ "name": "Web Shop" });
    site.post("/api/projects").token(&member.token).json(&project).send().await.expect(201);
    let stored = site.stored(&member).await;
    site.store().update_user(User { role: Role::Viewer, ..stored.clone() }, None).await.unwrap();
    site.advance(6);
    let refused = site.post("/api/projects").token(&member.token).json(&project).send().await;
    assert_eq!(refused.failure().1, "Insufficient permissions");
    let me = site.get("/api/auth/me").token(&member.token).send().await.expect(200);
    assert_eq!(
        (&me["data"]["role"], &me["data"]["organization"]["userCount"]),
        (&json!("viewer"), &json!(2))
    );
    let other = site.sign_up("other").await;
    let elsewhere = site.stored(&other).await.org;
    site.store().update_user(User { org: elsewhere, ..stored }, None).await.unwrap();
    site.advance(6);
    let moved = site.get("/api/auth/me").token(&member.token).send().await;
    assert_eq!(moved.failure(), (401, "Invalid token".to_owned()));
}
