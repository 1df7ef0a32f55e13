//! In real time over real sockets: clients that lose answers and send everything again, as the public reporter does and
//! more often, while the server is restarted.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use runstream::clock::SystemClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{counts, text};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::stage::{Stage, end, get, log};

on_each_store_beneath! { everything_sent_again_over_lost_answers_and_restarts_counts_once }

/// Pause before a batch is sent again: the reporter's one second and what an overloaded machine may add to the moment
/// the first one was received.
const PAUSE: Duration = Duration::from_millis(2_500);
const CLIENTS: usize = 6;
const BATCHES: usize = 8;

/// What a client does with the answer of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Reads it.
    Waits,
    /// Sends the whole request and hangs up.
    HangsUp,
    /// Hangs up at the first byte of the answer.
    HangsUpLate,
}

/// Sends `body` over a connection of its own; `true` if a 2xx was read.
async fn send(authority: &str, key: &str, body: &Value, patience: Patience) -> bool {
    let Ok(mut stream) = TcpStream::connect(authority).await else { return false };
    let body = body.to_string();
    let request = format!(
        "POST /api/ingest/event HTTP/1.1\r\nhost: {authority}\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(request.as_bytes()).await.is_err() || patience == Patience::HangsUp {
        return false;
    }
    if patience == Patience::HangsUpLate {
        // Nothing is believed that was not read to its end.
        let _ = stream.read_u8().await;
        return false;
    }
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer).await;
    if answer.starts_with("HTTP/1.1 503") || read.is_err() || answer.is_empty() {
        return false;
    }
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    true
}

/// Sends one batch one to four times, at least [`PAUSE`] apart, until it was sent often enough and acknowledged once.
async fn deliver(authority: String, key: String, body: Value, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let wanted = random.random_range(2..5);
    let (mut sent, mut acknowledged) = (0, false);
    while sent < wanted || !acknowledged {
        let patience = match random.random_range(0..4) {
            0 => Patience::HangsUp,
            1 => Patience::HangsUpLate,
            _ => Patience::Waits,
        };
        acknowledged |= send(&authority, &key, &body, patience).await;
        sent += 1;
        assert!(sent < 20, "never acknowledged: {body}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn everything_sent_again_over_lost_answers_and_restarts_counts_once(beneath: &Beneath) {
    let seed = rand::rng().next_u64();
    println!("seed {seed}");
    let mut stage = Stage::over(beneath, Arc::new(SystemClock)).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let authority = stage.url().trim_start_matches("http://").to_owned();
    let mut wanted = Vec::new();
    let mut deliveries = Vec::new();
    for client in 0..CLIENTS {
        for n in 0..BATCHES {
            let name = format!("client {client} batch {n}");
            let mut body = json!({"sessionId": run.session, "events": [log(&name), end(&name, "failed")]});
            if client % 2 == 0 {
                body["batch"] = format!("{client:08x}:{n}").into();
            }
            wanted.push(name);
            let seed = seed ^ (client * BATCHES + n) as u64;
            deliveries.push(tokio::spawn(deliver(authority.clone(), organization.key.clone(), body, seed)));
        }
    }
    for _ in 0..2 {
        tokio::time::sleep(PAUSE).await;
        stage.restart().await;
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let stored = text(&organization, &run).await;
    for name in &wanted {
        let lines = stored.lines().filter(|line| line == name).count();
        assert_eq!(lines, 1, "{name} counted {lines} times");
    }
    assert_eq!(stored.lines().count(), 2 * wanted.len(), "each batch is two lines");
    let (batches, replayed) = counts(&organization, &run).await;
    assert_eq!(batches, wanted.len() as u64);
    assert!(replayed >= batches / 2, "hardly anything was recognised: {replayed}");
    let results = get(&organization.member, &run.path("/tests?limit=1000")).await["data"]["tests"].clone();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), wanted.len());
    assert!(results.iter().all(|result| result["attemptCount"] == 1), "an attempt counted twice");
}
