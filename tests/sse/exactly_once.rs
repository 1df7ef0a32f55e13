//! A client that is cut off anywhere and comes back with its last id has every character exactly once: while the run is
//! fed, over restarts of the server, and afterwards.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;

use crate::support::events::{Stop, Stream, Transcript, last_event_id};
use crate::support::stage::{Stage, end, get, log, no_headers};

/// Text with everything that makes offsets hard.
fn chunk(random: &mut StdRng) -> String {
    const PARTS: [&str; 8] = ["plain ", "é", "手帳", "🕯️", "\u{1b}[31mred\u{1b}[39m", "\r", "\"\\", "\n"];
    let mut text = String::new();
    for _ in 0..random.random_range(0..40) {
        text.push_str(PARTS[random.random_range(0..PARTS.len())]);
    }
    text
}

/// Follows a run through one connection after another, each cut after some bytes, until the end.
async fn follow(
    url: String,
    credential: runstream::cli::client::Client,
    task: String,
    seed: u64,
) -> (Transcript, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut transcript = Transcript::default();
    let mut cuts = 0;
    while transcript.end.is_none() {
        let by_header = random.random_bool(0.5) && !transcript.id.is_empty();
        let (query, headers) = if by_header {
            // The header wins over what the address still says.
            ("?from=0".to_owned(), last_event_id(&transcript.id))
        } else {
            (format!("?from={}", transcript.offset), no_headers())
        };
        let Ok(mut stream) = Stream::open(&credential, &task, &query, headers).await else {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        cuts += 1;
        assert!(cuts < 5_000, "no end in sight at {url}: {transcript:?}");
        let mut bytes = if random.random_bool(0.1) { usize::MAX } else { random.random_range(0..3_000) };
        while bytes > 0 && transcript.end.is_none() {
            let before = transcript.offset;
            if stream.read(&mut transcript, bytes).await == Stop::Closed {
                break;
            }
            bytes = bytes.saturating_sub(200 + usize::try_from(transcript.offset - before).unwrap());
        }
    }
    (transcript, cuts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_character_comes_once_over_cuts_and_restarts() {
    let seed = rand::rng().next_u64();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::start_with(std::sync::Arc::new(runstream::clock::SystemClock), |settings| {
        // Much, for a busy machine.
        settings.engine.late_events = std::time::Duration::from_secs(3);
    })
    .await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let followers: Vec<_> = (0..4)
        .map(|n| {
            let client = if n % 2 == 0 { &organization.member } else { &organization.reporter };
            tokio::spawn(follow(stage.url(), client.clone(), run.task.clone(), seed ^ n))
        })
        .collect();
    let mut sent = String::new();
    for step in 0..160 {
        let chunks: Vec<_> = (0..random.random_range(1..6)).map(|_| chunk(&mut random)).collect();
        // Each batch has its own bytes: the same ones a second later would be taken for the same batch sent again.
        let step_ms = 1_774_000_000_000_i64 + step;
        let event = |chunk: &String| json!({ "type": "log", "chunk": chunk, "timestamp": step_ms });
        run.send(json!(chunks.iter().map(event).collect::<Vec<_>>())).await;
        for chunk in &chunks {
            sent.push_str(chunk);
            if !chunk.ends_with('\n') {
                sent.push('\n');
            }
        }
        if step % 40 == 20 {
            stage.restart().await;
        }
        if step % 10 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    run.end("PASSED").await;
    // Late, and still part of the text.
    run.log("late").await;
    sent.push_str("late\n");
    let stored = get(&organization.member, &run.path("/logs")).await["data"]["output"].clone();
    assert!(stored.as_str().unwrap() == sent, "stored is not sent, seed {seed}");
    for follower in followers {
        let (transcript, cuts) = follower.await.unwrap();
        assert!(transcript.text == sent, "seen is not stored after {cuts} cuts");
        assert_eq!((transcript.gaps.len(), transcript.end.as_deref()), (0, Some("PASSED")));
        assert!(cuts > 3, "it was hardly cut: {cuts}");
    }
}

#[tokio::test]
async fn a_run_that_is_over_is_a_snapshot_and_an_end() {
    let stage = Stage::start_with(std::sync::Arc::new(runstream::clock::SystemClock), |settings| {
        settings.engine.late_events = std::time::Duration::from_millis(50);
    })
    .await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    run.send(json!([log("one 🕯"), end("a", "failed")])).await;
    run.end("FAILED").await;
    let text = "one 🕯\n✘ FAILED   a (12ms)\n";
    let length = text.encode_utf16().count() as u64;
    for from in 0..=length + 3 {
        let mut transcript = Transcript::from(from);
        let mut stream =
            Stream::open(&organization.member, &run.task, &format!("?from={from}"), no_headers())
                .await
                .unwrap();
        if from == 5 {
            // Inside the candle: its first half is sent again, as a character has no halves.
            transcript.offset = 4;
        }
        stream.until_closed(&mut transcript).await;
        let known: usize = text
            .chars()
            .scan(0, |units, c| {
                *units += c.len_utf16() as u64;
                Some((*units, c))
            })
            .take_while(|(units, _)| *units <= from)
            .map(|(_, c)| c.len_utf8())
            .sum();
        assert_eq!(transcript.text, text[known..], "from {from}");
        assert_eq!(
            (transcript.statuses, transcript.end.as_deref()),
            (vec!["FAILED".to_owned()], Some("FAILED"))
        );
    }
}

#[tokio::test]
async fn what_the_log_cap_removed_shows_as_a_gap() {
    let stage = Stage::start_with(std::sync::Arc::new(runstream::clock::SystemClock), |settings| {
        settings.engine.late_events = std::time::Duration::from_millis(50);
    })
    .await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    for n in 0..12_u8 {
        run.log(&char::from(b'a' + n).to_string().repeat((1 << 20) - 1)).await;
    }
    run.end("PASSED").await;
    let mut transcript = Transcript::default();
    let mut stream = Stream::open(&organization.member, &run.task, "", no_headers()).await.unwrap();
    stream.until_closed(&mut transcript).await;
    assert_eq!(
        (transcript.offset, transcript.text.len(), transcript.gaps),
        (12 << 20, 10 << 20, vec![2 << 20])
    );
    assert_eq!(transcript.end.as_deref(), Some("PASSED"));
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_everything_when_it_does() {
    let stage = Stage::start_with(std::sync::Arc::new(runstream::clock::SystemClock), |settings| {
        settings.engine.late_events = std::time::Duration::from_millis(50);
    })
    .await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let mut slow = Stream::open(&organization.member, &run.task, "", no_headers()).await.unwrap();
    let mut sent = String::new();
    for n in 0..80 {
        let chunk = format!("{n} {}\n", "slow 🐢 ".repeat(8_000));
        run.log(&chunk).await;
        sent.push_str(&chunk);
    }
    run.end("PASSED").await;
    let mut transcript = Transcript::default();
    slow.until_closed(&mut transcript).await;
    assert!(transcript.text == sent, "seen is not stored");
    assert_eq!(transcript.end.as_deref(), Some("PASSED"));
}
