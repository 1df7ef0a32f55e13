//! How a live stream begins, breathes and ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, Method, StatusCode};
use runstream::clock::ManualClock;
use runstream::domain::account::User;
use runstream::domain::role::AccountStatus;
use serde_json::json;

use crate::support::events::{Stop, Stream, Transcript, last_event_id};
use crate::support::stage::{Stage, get, no_headers, post, text, try_get, with_header};

#[tokio::test]
async fn text_comes_before_the_status_that_follows_it() {
    let stage = Stage::start_with(Arc::new(runstream::clock::SystemClock), |settings| {
        // Much, for a busy machine.
        settings.engine.late_events = Duration::from_secs(3);
    })
    .await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let mut transcript = Transcript::default();
    let mut stream = Stream::open(&organization.reporter, &run.task, "", no_headers()).await.unwrap();
    stream.until(&mut transcript, |seen| seen.statuses == ["RUNNING"]).await;
    assert_eq!(transcript.text, "");
    run.log("one").await;
    stream.until(&mut transcript, |seen| seen.text == "one\n").await;
    run.send(json!([{"type": "status", "status": "ANALYZING", "timestamp": 1}])).await;
    stream.until(&mut transcript, |seen| seen.statuses == ["RUNNING", "ANALYZING"]).await;
    run.log("two").await;
    run.end("FAILED").await;
    stream.until(&mut transcript, |seen| seen.statuses.len() == 3).await;
    assert_eq!(
        (transcript.text.as_str(), transcript.end.as_deref()),
        ("one\ntwo\n", None),
        "late text may still come"
    );
    run.log("late").await;
    stream.until(&mut transcript, |seen| seen.end.is_some()).await;
    assert_eq!((transcript.text.as_str(), transcript.end.as_deref()), ("one\ntwo\nlate\n", Some("FAILED")));
    assert_eq!(stream.until(&mut transcript, |_| false).await, Stop::Closed);
}

#[tokio::test]
async fn the_header_wins_and_bad_positions_are_named() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    run.log("0123456789").await;
    let mut transcript = Transcript::from(8);
    let mut stream =
        Stream::open(&organization.member, &run.task, "?from=2", last_event_id("8")).await.unwrap();
    stream.until(&mut transcript, |seen| !seen.text.is_empty()).await;
    assert_eq!(transcript.text, "89\n");
    for (query, id, error) in [
        ("?from=x", None, "Invalid from"),
        ("?from=-1", Some("3"), "Invalid from"),
        ("?from=1", Some("x"), "Invalid Last-Event-ID"),
        ("", Some("1.5"), "Invalid Last-Event-ID"),
    ] {
        let client = match id {
            Some(id) => with_header(&organization.member, HeaderName::from_static("last-event-id"), id),
            None => organization.member.clone(),
        };
        let refused = try_get(&client, &run.path(&format!("/live{query}"))).await;
        assert_eq!((refused.status.as_u16(), &refused.body["error"]), (400, &json!(error)), "{query} {id:?}");
    }
}

/// How long it takes until the server closes the stream; no `end` may come.
async fn closes_within(stream: &mut Stream, limit: Duration) {
    let begun = Instant::now();
    let mut transcript = Transcript::default();
    stream.until_closed(&mut transcript).await;
    assert!(begun.elapsed() < limit, "closed after {:?}", begun.elapsed());
    assert_eq!(transcript.end, None, "the run goes on");
}

#[tokio::test]
async fn a_voided_credential_ends_its_streams_and_no_others() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let mut by_token = Stream::open(&organization.member, &run.task, "", no_headers()).await.unwrap();
    let mut by_key = Stream::open(&organization.reporter, &run.task, "", no_headers()).await.unwrap();

    post(&organization.member, "/api/auth/logout", &json!({})).await;
    closes_within(&mut by_token, Duration::from_secs(5)).await;
    let again = Stream::open(&organization.member, &run.task, "", no_headers()).await.err();
    assert_eq!(again, Some(StatusCode::UNAUTHORIZED));
    let mut transcript = Transcript::default();
    run.log("still there").await;
    by_key.until(&mut transcript, |seen| seen.text == "still there\n").await;

    let login = json!({"email": "rosa@pinewood.test", "password": "Correct-horse-1!"});
    let token = text(&post(&stage.client(), "/api/auth/login", &login).await, "/token");
    let member = with_header(&stage.client(), http::header::AUTHORIZATION, &format!("Bearer {token}"));
    let key = get(&member, "/api/auth/api-keys").await["data"][0]["id"].as_str().unwrap().to_owned();
    let deleted = member.call(Method::DELETE, &format!("/api/auth/api-keys/{key}"), None).await.unwrap();
    assert_eq!(deleted.status, 200);
    closes_within(&mut by_key, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_suspension_by_another_server_ends_streams_by_token_and_by_key_within_five_seconds() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let mut by_token = Stream::open(&organization.member, &run.task, "", no_headers()).await.unwrap();
    let mut by_key = Stream::open(&organization.reporter, &run.task, "", no_headers()).await.unwrap();
    // As another server does: past what this one remembers.
    let rosa = stage.store().user_by_email("rosa@pinewood.test").await.unwrap().unwrap();
    let suspended = User { status: AccountStatus::Suspended, ..rosa };
    assert_eq!(stage.store().update_user(suspended, None).await, Ok(true));
    let limit = Duration::from_secs(5);
    tokio::join!(closes_within(&mut by_token, limit), closes_within(&mut by_key, limit));
}

#[tokio::test]
async fn a_token_that_expires_ends_its_streams_and_silence_is_broken_every_15_s() {
    let clock = ManualClock::at(1_774_000_000_000);
    let stage = Stage::start_with(Arc::new(clock.clone()), |_| {}).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let mut transcript = Transcript::default();
    let mut stream = Stream::open(&organization.member, &run.task, "", no_headers()).await.unwrap();
    stream.until(&mut transcript, |seen| !seen.statuses.is_empty()).await;
    for beat in 1..=3 {
        clock.advance(Duration::from_secs(15));
        while stream.comments < beat {
            assert_eq!(stream.read(&mut transcript, usize::MAX).await, Stop::Reached);
        }
    }
    assert_eq!(transcript.text, "");
    clock.advance(Duration::from_secs(24 * 3600));
    stream.until_closed(&mut transcript).await;
    assert_eq!(transcript.end, None);
}

#[tokio::test]
async fn streams_are_counted_per_organization() {
    let stage = Stage::start().await;
    let (one, other) = (stage.organization("rosa").await, stage.organization("amir").await);
    let (run, others) = (one.open().await, other.open().await);
    let mut open = Vec::new();
    for _ in 0..200 {
        open.push(Stream::open(&one.member, &run.task, "", no_headers()).await.unwrap());
    }
    let refused = try_get(&one.member, &run.path("/live")).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]), (429, &json!("Too many live streams")));
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(refused.body["retryAfter"], 10);
    let neighbour = Stream::open(&other.member, &others.task, "", no_headers()).await;
    assert!(neighbour.is_ok(), "one organization's streams are its own");
    drop(open);
    // The places come back when the server notices that the clients are gone: at the next piece it sends.
    run.log("anybody?").await;
    for _ in 0..100 {
        if let Ok(mut stream) = Stream::open(&one.member, &run.task, "", no_headers()).await {
            let mut transcript = Transcript::default();
            stream.until(&mut transcript, |seen| seen.text == "anybody?\n").await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no place came back");
}

#[tokio::test]
async fn a_server_that_ends_does_not_wait_for_its_streams() {
    let mut stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let mut stream = Stream::open(&organization.member, &run.task, "", no_headers()).await.unwrap();
    let mut transcript = Transcript::default();
    stream.until(&mut transcript, |seen| !seen.statuses.is_empty()).await;
    let begun = Instant::now();
    stage.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    stream.until_closed(&mut transcript).await;
    assert_eq!(transcript.end, None);
    stage.resume().await;
    run.log("back").await;
    let mut stream = Stream::open(&organization.member, &run.task, "?from=0", no_headers()).await.unwrap();
    stream.until(&mut transcript, |seen| seen.text == "back\n").await;
}
