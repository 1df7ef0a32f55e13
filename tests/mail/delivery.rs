//! What a mail server gets, and what becomes of a letter when it does not take it.

use runstream::domain::mail::{Letter, SealedContent};
use runstream::limits::MAIL_RETRY;
use runstream::outbound::mail::Content;
use runstream::store::contract::Posting;
use serde_json::json;

use super::server::MailServer;
use super::{DAY_MS, GIVEN_UP, SENT, address, failed, invitation, post, site_for, token, until_state};
use crate::store::sample;
use crate::support::site::{NOW_MS, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_arrives_over_each_kind_of_connection() {
    for (secure, signs_in) in [("none", false), ("starttls", false), ("starttls", true), ("implicit", true)] {
        let user = if signs_in { json!("runs") } else { json!(null) };
        let options = json!({ "secure": secure, "user": user, "password": "pass: wörd" });
        let mut server = MailServer::start_with(options).await;
        let mut settings = server.settings();
        if !signs_in {
            settings.password = None;
        }
        let site = Site::start_with(|all| all.mail = settings).await;
        let org = sample::org();
        post(&site, org, "invitation/1", "ivo@pinewood.test", &invitation("Pinewood Labs", "Rosa Linde"))
            .await;
        assert!(site.server.mail().was_sent(org, "invitation/1").await, "{secure}");
        let mail = server.mail(1).await;
        assert_eq!(mail["isSecure"], json!(secure != "none"), "{secure}");
        assert_eq!(mail["user"], user, "{secure}");
        assert_eq!(mail["envelope"], json!(["runs@pinewood.test", "ivo@pinewood.test"]));
        assert_eq!(address(&mail["from"]), json!(["Runs of Pinewood", "runs@pinewood.test", 1]));
        assert_eq!(address(&mail["to"]), json!(["", "ivo@pinewood.test", 1]));
        assert_eq!(mail["subject"], "Rosa Linde invites you to Pinewood Labs");
        assert_eq!(mail["hello"], "pinewood.test");
        let link = format!("https://runs.pinewood.test/signup?token={}", token());
        assert!(mail["text"].as_str().unwrap().lines().any(|line| line == link), "{}", mail["text"]);
        assert!(mail["html"].as_str().unwrap().contains("Create your account"));
        assert!(mail["messageId"].as_str().unwrap().ends_with("@pinewood.test>"));
        assert!(mail["raw"].as_str().unwrap().contains("Auto-Submitted: auto-generated\r\n"));
        site.server.shut_down().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_who_it_should_be_gets_nothing() {
    let mut server = MailServer::start_with(json!({ "secure": "starttls" })).await;
    let mut settings = server.settings();
    // Signed by nobody that browsers know.
    settings.tls_authorities = None;
    let site = Site::start_with(|all| all.mail = settings).await;
    let org = sample::org();
    post(&site, org, "a", "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
    assert!(!site.server.mail().was_sent(org, "a").await);
    until_state(&site, org, "a", failed(1)).await;
    server.until("connected", 1).await;
    server.listen().await;
    assert_eq!(server.count("mail"), 0);

    // A server without TLS does not get the letter, or the password, in the clear.
    let mut server =
        MailServer::start_with(json!({ "secure": "none", "user": "runs", "password": "x" })).await;
    let mut settings = server.settings();
    settings.tls = runstream::outbound::mail::MailTls::StartTls;
    let site = Site::start_with(|all| all.mail = settings).await;
    post(&site, org, "a", "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
    assert!(!site.server.mail().was_sent(org, "a").await);
    server.until("connected", 1).await;
    server.listen().await;
    assert_eq!((server.count("mail"), server.count("refused")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_now_is_tried_three_times_with_growing_pauses() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let org = sample::org();
    for (number, how) in ["busy", "cut", "busy"].iter().enumerate() {
        let key = format!("late/{number}");
        server.answer(how).await;
        let refusals = server.count("refused");
        post(&site, org, &key, "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
        assert!(!site.server.mail().was_sent(org, &key).await);
        server.until("refused", refusals + 1).await;
        until_state(&site, org, &key, failed(1)).await;
        let pause_s = MAIL_RETRY[0].as_secs();
        site.advance(pause_s - 10);
        site.server.mail().wake();
        server.listen().await;
        assert_eq!(server.count("refused"), refusals + 1, "too early");
        site.advance(11);
        site.server.mail().wake();
        until_state(&site, org, &key, failed(2)).await;
        assert!(MAIL_RETRY[1] > MAIL_RETRY[0]);
        // The first two get well, the last does not.
        if number < 2 {
            server.answer("take").await;
        }
        site.advance(MAIL_RETRY[1].as_secs() - 10);
        site.server.mail().wake();
        server.listen().await;
        assert_eq!(server.count("refused"), refusals + 2, "too early");
        site.advance(11);
        site.server.mail().wake();
        until_state(&site, org, &key, if number < 2 { SENT } else { GIVEN_UP }).await;
    }
    server.listen().await;
    assert_eq!((server.count("mail"), server.count("refused")), (2, 7));
    site.advance(24 * 3600);
    site.server.mail().wake();
    server.listen().await;
    assert_eq!((server.count("mail"), server.count("refused")), (2, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_for_good_is_given_up_at_once() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let org = sample::org();
    for (number, how) in ["unknown", "refuse"].iter().enumerate() {
        server.answer(how).await;
        post(&site, org, how, "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
        assert!(!site.server.mail().was_sent(org, how).await);
        until_state(&site, org, how, GIVEN_UP).await;
        server.until("refused", number + 1).await;
    }
    server.answer("take").await;
    // It does not keep others from arriving, and neither do letters that nobody can read or that are of no use any more.
    post(&site, org, "bad address", "a<b>@pinewood.test", &invitation("Pinewood", "Rosa")).await;
    site.server.mail().wake();
    until_state(&site, org, "bad address", GIVEN_UP).await;
    let written =
        site.server.mail().write(org, "x".into(), "x@y.test", &invitation("a", "b"), NOW_MS + DAY_MS);
    let damaged =
        Letter { key: "damaged".into(), content: SealedContent(vec![1, 2]), ..written.clone().unwrap() };
    let swapped = Letter { key: "swapped".into(), ..written.clone().unwrap() };
    let late = Letter { key: "late".into(), expires_ms: NOW_MS, ..written.unwrap() };
    for letter in [damaged, swapped, late] {
        let key = letter.key.clone();
        assert_eq!(site.store().post_letter(letter).await, Ok(Posting::Stored));
        site.server.mail().wake();
        until_state(&site, org, &key, GIVEN_UP).await;
    }
    post(&site, org, "good", "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
    assert!(site.server.mail().was_sent(org, "good").await);
    server.listen().await;
    assert_eq!(server.count("mail"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_no_reason_to_give_a_letter_up_at_once() {
    let options = json!({ "secure": "implicit", "user": "runs", "password": "right" });
    let mut server = MailServer::start_with(options).await;
    let mut settings = server.settings();
    settings.password = Some(runstream::store::scylla::Password("wrong".into()));
    let site = Site::start_with(|all| all.mail = settings).await;
    let org = sample::org();
    post(&site, org, "a", "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
    assert!(!site.server.mail().was_sent(org, "a").await);
    assert_eq!(server.until("refused", 1).await["code"], 535);
    until_state(&site, org, "a", failed(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_whose_answer_was_lost_comes_again_under_the_same_message_id() {
    let mut server = MailServer::start_with(json!({ "secure": "none", "answer": "lose" })).await;
    let site = site_for(&server).await;
    let org = sample::org();
    post(&site, org, "a", "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
    assert!(!site.server.mail().was_sent(org, "a").await);
    let first = server.mail(1).await;
    until_state(&site, org, "a", failed(1)).await;
    server.answer("take").await;
    site.advance(MAIL_RETRY[0].as_secs() + 1);
    site.server.mail().wake();
    let second = server.mail(2).await;
    assert_eq!(first["messageId"], second["messageId"]);
    until_state(&site, org, "a", SENT).await;
    // The same is not told a second time, whoever asks.
    let again =
        site.server.mail().write(org, "a".into(), "ivo@pinewood.test", &invitation("a", "b"), NOW_MS * 2);
    assert_eq!(site.store().post_letter(again.unwrap()).await, Ok(Posting::Known));
    site.advance(3_600);
    site.server.mail().wake();
    server.listen().await;
    assert_eq!(server.count("mail"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_cannot_break_out_of_headers_or_pages() {
    let mut server = MailServer::start().await;
    let site = site_for(&server).await;
    let org = sample::org();
    let evil = "x\r\nBcc: all@pinewood.test\r\n\r\n<script>alert(1)</script>\r\n.\r\nMAIL FROM:<a@b.test>";
    let contents = [
        invitation(evil, evil),
        Content::Welcome { name: evil.into(), organization: evil.into() },
        Content::PasswordReset { name: evil.into(), token: token(), expires_ms: NOW_MS + DAY_MS },
        Content::UsageAlert {
            organization: evil.into(),
            resource: "test runs".into(),
            used: "41 of 50".into(),
            threshold: 80,
            is_exhausted: false,
        },
    ];
    for (number, content) in contents.iter().enumerate() {
        let key = number.to_string();
        post(&site, org, &key, "ivo@pinewood.test", content).await;
        assert!(site.server.mail().was_sent(org, &key).await);
        let mail = server.mail(number + 1).await;
        assert_eq!(mail["envelope"], json!(["runs@pinewood.test", "ivo@pinewood.test"]));
        let raw = mail["raw"].as_str().unwrap();
        let (head, _) = raw.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("\nbcc"), "{head}");
        assert!(!mail["html"].as_str().unwrap().contains("<script"), "{mail}");
    }
    server.listen().await;
    assert_eq!(server.count("mail"), contents.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mail_server_nothing_is_written_and_nothing_waits() {
    let site = Site::start().await;
    let mail = site.server.mail();
    assert!(!mail.is_configured());
    let content = invitation("Pinewood", "Rosa");
    let org = sample::org();
    assert_eq!(mail.write(org, "a".into(), "ivo@pinewood.test", &content, NOW_MS + DAY_MS), None);
    // What the server before this one left is given up.
    let mut server = MailServer::start().await;
    let configured = site_for(&server).await;
    let letter =
        configured.server.mail().write(org, "a".into(), "ivo@pinewood.test", &content, NOW_MS + DAY_MS);
    assert_eq!(site.store().post_letter(letter.unwrap()).await, Ok(Posting::Stored));
    assert!(!mail.was_sent(org, "a").await);
    until_state(&site, org, "a", GIVEN_UP).await;
    server.listen().await;
    assert_eq!(server.count("mail"), 0);
    let metrics = String::from_utf8(site.get("/metrics").send().await.body.to_vec()).unwrap();
    for line in [
        "runstream_mail_letters_total{kind=\"invitation\",outcome=\"unsent\"} ",
        "runstream_mail_letters_total{kind=\"invitation\",outcome=\"given_up\"} ",
        "runstream_mail_queued ",
        "runstream_mail_oldest_seconds ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_waits_a_bounded_time_for_the_first_try() {
    let mut server = MailServer::start_with(json!({ "secure": "none", "answer": "silent" })).await;
    let site = site_for(&server).await;
    let org = sample::org();
    post(&site, org, "a", "ivo@pinewood.test", &invitation("Pinewood", "Rosa")).await;
    let waiting = site.server.mail().was_sent(org, "a");
    let moving = async {
        server.until("connected", 1).await;
        site.advance(3);
        site.server.mail().wake();
    };
    let (was_sent, ()) = tokio::join!(waiting, moving);
    assert!(!was_sent);
    assert_eq!(site.store().letter_state(org, "a").await, Ok(Some(failed(0))));
    // An end in order does not wait for it for long.
    let begun = std::time::Instant::now();
    site.server.shut_down().await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "{:?}", begun.elapsed());
}
