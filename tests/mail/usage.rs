//! Letters about how much an organization uses.

use std::collections::BTreeSet;

use runstream::domain::id::UserId;
use runstream::jobs::usage::{Admin, Use};

use super::server::MailServer;
use super::{DAY_MS, site_for};
use crate::store::sample;
use crate::support::site::{NOW_MS, Site};

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
