//! A teardown that is sent again gets the same answer and changes nothing; batches sent again around it count once.

use std::sync::Arc;
use std::time::Duration;

use runstream::clock::ManualClock;
use serde_json::json;

use super::{accepted, counts, event, line, text};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::stage::{Stage, begin, end, get};

on_each_store_beneath! {
    a_teardown_is_answered_alike_however_often_it_is_sent,
    a_batch_before_the_teardown_is_recognised_after_it,
}

async fn a_teardown_is_answered_alike_however_often_it_is_sent(beneath: &Beneath) {
    let clock = ManualClock::at(1_774_000_000_000);
    let mut stage = Stage::over(beneath, Arc::new(clock.clone())).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    run.send(json!([begin("a", "adds"), end("a", "failed")])).await;
    let answers = futures_util::future::join_all((0..4).map(|_| run.end("FAILED"))).await;
    let document = get(&organization.member, &run.path("")).await;
    assert_eq!(document["data"]["execution"]["status"], "FAILED");
    for (pause, restart) in [(1, false), (60, true), (3 * 24 * 3600, true)] {
        clock.advance(Duration::from_secs(pause));
        if restart {
            stage.restart().await;
        }
        // What it says the second time is not listened to.
        let again = run.end("PASSED").await;
        assert!(answers.iter().all(|answer| answer.body == again.body), "{} {:?}", again.body, answers);
        assert_eq!(get(&organization.reporter, &run.path("")).await, document);
    }
    clock.advance(Duration::from_secs(5 * 24 * 3600));
    let summary = json!({"total": 1, "passed": 0, "failed": 1, "skipped": 0, "duration": 1});
    let body = json!({"sessionId": run.session, "status": "FAILED", "summary": summary});
    let gone =
        organization.reporter.call(http::Method::POST, "/api/ingest/teardown", Some(&body)).await.unwrap();
    assert_eq!((gone.status.as_u16(), &gone.body["error"]), (404, &json!("Session not found or expired")));
}

async fn a_batch_before_the_teardown_is_recognised_after_it(beneath: &Beneath) {
    let clock = ManualClock::at(1_774_000_000_000);
    let mut stage = Stage::over(beneath, Arc::new(clock.clone())).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let (first, late) = (line(&run, "first", None), line(&run, "late", None));
    let numbered = line(&run, "numbered", Some("0000000a:1"));
    accepted(&organization.reporter, &first).await;
    accepted(&organization.reporter, &numbered).await;
    run.end("PASSED").await;
    clock.advance(Duration::from_secs(1));
    accepted(&organization.reporter, &first).await;
    accepted(&organization.reporter, &numbered).await;
    accepted(&organization.reporter, &late).await;
    clock.advance(Duration::from_secs(1));
    accepted(&organization.reporter, &late).await;
    assert_eq!(text(&organization, &run).await, "first\nnumbered\nlate\n");
    assert_eq!(counts(&organization, &run).await, (3, 3));
    // The time for late events ends by itself, or with the server.
    let other = organization.open().await;
    let body = line(&other, "other", None);
    accepted(&organization.reporter, &body).await;
    other.end("PASSED").await;
    stage.restart().await;
    clock.advance(Duration::from_secs(15));
    for (body, run, wanted) in [(&first, &run, "first\nnumbered\nlate\n"), (&body, &other, "other\n")] {
        let closed = event(&organization.reporter, body).await;
        assert_eq!(
            (closed.status.as_u16(), &closed.body["error"]),
            (404, &json!("Session not found or expired"))
        );
        assert_eq!(text(&organization, run).await, wanted);
    }
}
