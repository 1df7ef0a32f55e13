//! Letters about how much an organization uses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;
use runstream::access::{ConfiguredSecrets, Secret};
use runstream::cli::client::Client;
use runstream::clock::SystemClock;
use runstream::domain::id::UserId;
use runstream::domain::plan::Plan;
use runstream::jobs::usage::{Admin, Use};
use serde_json::{Value, json};

use super::people::token_of;
use super::server::MailServer;
use super::{DAY_MS, site_for};
use crate::store::sample;
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{NOW_MS, Site};
use crate::support::stage::{Organization, Stage, get, post, with_header};

on_each_store_beneath! {
    active_admins_are_told_of_each_threshold_once_whatever_restarts_and_whoever_looks,
}

fn uses(percent: u64, period: i64) -> Use {
    Use {
        resource: "testRuns".into(),
        words: "test runs".into(),
        used: format!("{percent} of 100"),
        percent,
        period_start_ms: NOW_MS + period * 30 * DAY_MS,
        period_end_ms: NOW_MS + (period + 1) * 30 * DAY_MS,
    }
}

fn admin(name: &str) -> Admin {
    Admin { user: UserId::generate(NOW_MS), email: format!("{name}@pinewood.test") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_are_told_once_per_threshold_and_period() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let (org, admins) = (sample::org(), [admin("rosa"), admin("ivo")]);
    let tell = async |used: Use| {
        let mail = site.server.mail();
        let (one, two) = tokio::join!(
            mail.usage_crossed(org, "Pinewood Labs", &used, &admins),
            mail.usage_crossed(org, "Pinewood Labs", &used, &admins)
        );
        assert!(!(one.clone().unwrap() && two.clone().unwrap()), "told twice");
        one.unwrap() || two.unwrap()
    };
    let mut expected = 0;
    for (percent, period, is_told) in [
        (49, 0, false),
        (55, 0, true),
        (79, 0, false),
        (95, 0, true),
        (85, 0, false),
        (100, 0, true),
        (55, 1, true),
    ] {
        assert_eq!(tell(uses(percent, period)).await, is_told, "{percent} in {period}");
        if is_told {
            expected += 2;
            server.mail(expected).await;
        }
        let mails = server.mails();
        let last: BTreeSet<_> =
            mails.iter().rev().take(2).map(|mail| mail["to"][0]["address"].to_string()).collect();
        assert!(mails.is_empty() || last.len() == 2, "{last:?}");
    }
    server.listen().await;
    let subjects: Vec<_> =
        server.mails().iter().map(|mail| mail["subject"].as_str().unwrap().to_owned()).step_by(2).collect();
    let subject = |percent: u32| format!("Pinewood Labs: {percent} % of the test runs are used");
    assert_eq!(subjects, [50, 90, 100, 50].map(subject));
    let exhausted =
        server.mails().iter().filter(|mail| mail["text"].to_string().contains("Nothing more")).count();
    assert_eq!(exhausted, 2);
    let link = "https://runs.pinewood.test/settings?tab=billing";
    assert!(
        server.mails().iter().all(|mail| mail["text"].as_str().unwrap().lines().any(|line| line == link))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mail_server_it_is_said_once_too() {
    let site = Site::start().await;
    let (org, admins) = (sample::org(), [admin("rosa")]);
    let mail = site.server.mail();
    assert_eq!(mail.usage_crossed(org, "Pinewood", &uses(80, 0), &admins).await, Ok(true));
    assert_eq!(mail.usage_crossed(org, "Pinewood", &uses(80, 0), &admins).await, Ok(false));
    assert_eq!(site.store().outbox_depth().await.unwrap().letters, 0);
}

/// A server that sends to `server`, whose organizations may have three members, one project and fifty runs.
async fn small(beneath: &Beneath, server: &MailServer) -> Stage {
    Stage::start_with(Arc::new(SystemClock), |settings| {
        beneath.choose(settings);
        settings.mail = server.settings();
        settings.engine.plan = Plan::Free;
        settings.access.tiers.strict.capacity = 1_000;
        // Servers on one cluster know each other's tokens and keys.
        let secret = || Secret::new(b"of-servers-that-share-a-cluster-0123456789".to_vec()).unwrap();
        settings.secrets =
            ConfiguredSecrets { token: Some(secret()), key_hash: Some(secret()), sealing: vec![secret()] };
    })
    .await
}

/// Whom the mails are to and what they are about, but for those that are not about usage.
fn alerts(server: &MailServer) -> Vec<(String, String)> {
    let mails = server.mails().into_iter();
    let told = mails.map(|mail| {
        let to = mail["to"][0]["address"].as_str().unwrap().to_owned();
        (to, mail["subject"].as_str().unwrap().to_owned())
    });
    let mut told: Vec<_> = told.filter(|(_, subject)| subject.contains(" % of the ")).collect();
    told.sort();
    told
}

/// Waits until there are so many alerts.
async fn until_alerts(server: &mut MailServer, count: usize) {
    let begun = std::time::Instant::now();
    while alerts(server).len() < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", alerts(server));
        server.listen().await;
    }
}

/// Makes a member of the organization by an invitation; who that is.
async fn join(server: &mut MailServer, stage: &Stage, org: &Organization, name: &str, role: &str) -> Value {
    let email = format!("{name}@pinewood.test");
    let invited = server.count("mail");
    post(&org.member, "/api/invitations", &json!({ "email": email, "role": role })).await;
    let mut times = invited;
    let mail = loop {
        times += 1;
        let mail = server.mail(times).await;
        if mail["text"].as_str().unwrap().contains("/signup?token=") {
            break mail;
        }
    };
    let token = token_of(&mail, "signup");
    let body = json!({ "email": email, "password": "Correct-horse-1!", "name": name, "inviteToken": token });
    post(&stage.client(), "/api/auth/signup", &body).await.body
}

fn as_member(stage: &Stage, signed_up: &Value) -> Client {
    with_header(&stage.client(), AUTHORIZATION, &format!("Bearer {}", signed_up["token"].as_str().unwrap()))
}

async fn active_admins_are_told_of_each_threshold_once_whatever_restarts_and_whoever_looks(
    beneath: &Beneath,
) {
    let mut server = MailServer::start().await;
    let mut stage = small(beneath, &server).await;
    let org = stage.organization("rosa").await;
    let rosa = "rosa@pinewood.test".to_owned();
    let subject = |percent: u32, what: &str| format!("rosa: {percent} % of the {what} are used");
    let mut expected = vec![(rosa.clone(), subject(100, "projects"))];
    until_alerts(&mut server, 1).await;
    assert_eq!(alerts(&server), expected);

    // The second member is an administrator and hears of two thirds; suspended, she does not hear of the third.
    let vera = join(&mut server, &stage, &org, "vera", "admin").await;
    expected.extend([
        (rosa.clone(), subject(50, "members")),
        ("vera@pinewood.test".into(), subject(50, "members")),
    ]);
    until_alerts(&mut server, 3).await;
    let status = format!("/api/users/{}/status", vera["user"]["id"].as_str().unwrap());
    let suspended = org.member.call(Method::PATCH, &status, Some(&json!({ "status": "suspended" }))).await;
    assert_eq!(suspended.unwrap().status, 200);
    join(&mut server, &stage, &org, "ivo", "developer").await;
    expected.push((rosa.clone(), subject(100, "members")));
    until_alerts(&mut server, 4).await;
    expected.sort();
    assert_eq!(alerts(&server), expected);

    // A server that starts looks at everything, and has nothing to say that was said.
    stage.restart().await;
    let listed = get(&org.member, "/api/organization/usage/alerts").await;
    assert_eq!(listed["data"]["users"]["level"], "exceeded");
    let both = beneath.is_scylla();
    let mut other = if both { Some(small(beneath, &server).await) } else { None };
    // Half of the runs, and one more, each server having seen some of them.
    for number in 0..26 {
        let reporter = match &other {
            Some(other) if number % 2 == 1 => {
                with_header(&other.client(), http::HeaderName::from_static("x-api-key"), &org.key)
            }
            _ => org.reporter.clone(),
        };
        let body = json!({
            "projectId": org.project, "framework": "playwright", "reporterVersion": "1.0.0", "totalTests": 1,
        });
        post(&reporter, "/api/ingest/setup", &body).await;
    }
    expected.push((rosa.clone(), subject(50, "test runs")));
    expected.sort();
    until_alerts(&mut server, 5).await;
    // Longer than either waits between two looks.
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.listen().await;
    assert_eq!(alerts(&server), expected);
    let suspended = as_member(&stage, &vera).call(Method::GET, "/api/users", None).await.unwrap();
    assert_eq!(suspended.status, 403);
    stage.stop().await;
    if let Some(other) = &mut other {
        other.stop().await;
    }
}
