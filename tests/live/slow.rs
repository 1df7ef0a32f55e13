//! Viewers that do not keep up, stop, or break off in the middle of things.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use runstream::actors::feed::Delivery;
use runstream::clock::SystemClock;
use runstream::limits;
use runstream::live::{LiveSettings, StallLimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::channel::{Channel, HOUR, an_org, log, next_text};

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn stalled_viewers_cost_little_lose_nothing_and_are_removed() {
    crate::support::alone::run_alone("live::slow::stalled_viewers");
}

#[tokio::test]
#[ignore = "measures its process: run alone by the test above"]
async fn stalled_viewers() {
    let settings = LiveSettings {
        stall: StallLimit { window: Duration::from_secs(3), bytes_min: 16 << 10 },
        ..LiveSettings::default()
    };
    let channel = Channel::open_with(settings, Arc::new(SystemClock)).await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut healthy = channel.dashboard(json!({ "token": "good", "transports": ["websocket"] }));
    healthy.until_event("auth-success", 1).await;
    // Stalled viewers: let in, then they never read again.
    let mut stalled = Vec::new();
    for _ in 0..10 {
        stalled.push(channel.raw_member("good").await);
    }
    assert_eq!(channel.live.sockets(), 11);

    // The text is made beforehand, so that what grows is not the feed of the test.
    let chunk = "x".repeat(32 << 10);
    let frames = 1_000;
    let ticks: Vec<_> = (0..frames)
        .map(|frame| channel.rows.add(org, &[log("run", frame * chunk.len() as u64, &chunk)]))
        .collect();
    let before = resident();
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for (tick, seen) in ticks.iter().zip(1..) {
        let sent = Instant::now();
        channel.live.sealed(org, tick);
        slowest = slowest.max(sent.elapsed());
        healthy.until_event("execution-log", seen).await;
        // Only its size matters here.
        healthy.said.last_mut().unwrap()["args"][0]["log"] = Value::from("");
    }
    let grown = resident().saturating_sub(before);
    let offsets: Vec<u64> =
        healthy.arguments("execution-log").iter().map(|event| event[0]["offset"].as_u64().unwrap()).collect();
    assert!(offsets.iter().zip(0..).all(|(offset, frame)| *offset == frame * chunk.len() as u64));
    // 32 MiB went by each of ten stalled viewers, of which one holds at most one window; what is kept for all is bounded too.
    // The rest is the test's own client, which falls behind on a busy machine.
    let bound = (limits::LIVE_CACHE_BYTES_MAX + 10 * limits::LIVE_WINDOW_BYTES + (16 << 20)) as u64;
    assert!(grown < bound, "grew by {} KiB", grown >> 10);
    assert!(slowest < Duration::from_secs(1), "a delivery took {slowest:?}");

    // They are gone once they have taken nothing for the stall window.
    while channel.live.sockets() > 1 {
        assert!(started.elapsed() < Duration::from_secs(60), "{} sockets", channel.live.sockets());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    channel.log(org, "run", frames * chunk.len() as u64, "end\n");
    healthy.until_event("execution-log", usize::try_from(frames).unwrap() + 1).await;
    eprintln!("stalled viewers: {} KiB for ten, slowest delivery {slowest:?}", grown >> 10);
}

/// One HTTP request over its own connection; returns the status and the body.
pub(super) async fn http(channel: &Channel, method: &str, query: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(channel.address).await.unwrap();
    let head = format!(
        "{method} /socket.io/?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Opens a polling session and lets it in; returns its query.
pub(super) async fn polling_member(channel: &Channel) -> String {
    let (status, open) = http(channel, "GET", "EIO=4&transport=polling", "").await;
    assert_eq!(status, 200);
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let query = format!("EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(http(channel, "POST", &query, r#"40{"token":"good"}"#).await, (200, "ok".to_owned()));
    // The first heartbeat comes at once, before or after the rest.
    let mut heard = String::from("\u{1e}");
    while !(heard.contains("auth-success") && heard.contains("\u{1e}2\u{1e}")) {
        heard.push_str(&http(channel, "GET", &query, "").await.1);
        heard.push('\u{1e}');
    }
    assert_eq!(http(channel, "POST", &query, "3").await.0, 200);
    query
}

#[tokio::test]
async fn a_polling_viewer_that_does_not_poll_misses_nothing_and_gets_answers_of_bounded_size() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let query = polling_member(&channel).await;
    let chunk = "\u{1}".repeat(48 << 10);
    for frame in 0..100 {
        channel.log(org, "run", frame * chunk.len() as u64, &chunk);
    }
    let mut frames = 0;
    while frames < 100 {
        let (status, body) = http(&channel, "GET", &query, "").await;
        assert_eq!(status, 200, "after {frames} frames: {body}");
        assert!(body.len() <= limits::LIVE_PAYLOAD_BYTES_MAX as usize, "{}", body.len());
        for packet in body.split('\u{1e}').filter(|packet| packet.starts_with("42")) {
            let event: Value = serde_json::from_str(&packet[2..]).unwrap();
            assert_eq!(event[1]["offset"], frames * chunk.len());
            frames += 1;
        }
    }
}

#[tokio::test]
async fn a_polling_viewer_whose_connection_is_cut_is_gone_at_once() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let query = polling_member(&channel).await;
    let mut stream = TcpStream::connect(channel.address).await.unwrap();
    let poll = format!("GET /socket.io/?{query} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(poll.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(channel.live.has_viewers(org), "it waits for its answer");
    drop(stream);
    let gone = channel.until_viewers(org, false);
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("no heartbeat is waited for");
    assert_eq!(http(&channel, "GET", &query, "").await.0, 400);
}

#[tokio::test]
async fn an_upgrade_that_breaks_off_closes_the_session_instead_of_stranding_it() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    // Cut at each step: right after the 101, after the probe, after the probe's answer.
    for step in 0..3 {
        let query = polling_member(&channel).await;
        let url = format!("ws://{}/socket.io/?{}", channel.address, query.replace("polling", "websocket"));
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        if step > 0 {
            socket.send(Message::text("2probe")).await.unwrap();
        }
        if step > 1 {
            assert_eq!(next_text(&mut socket).await.as_deref(), Some("3probe"));
        }
        drop(socket);
        channel.until_viewers(org, false).await;
        let (status, body) = http(&channel, "GET", &query, "").await;
        assert_eq!(status, 400, "step {step}: a stock client starts anew on this: {body}");
    }
}

#[tokio::test]
async fn what_is_no_request_of_the_channel_is_refused_cleanly() {
    let channel = Channel::open().await;
    for (method, query, body, expected) in [
        ("GET", "", "", 400),
        ("GET", "EIO=3&transport=polling", "", 400),
        ("GET", "EIO=4&transport=carrier-pigeon", "", 400),
        ("GET", "EIO=4&transport=polling&sid=unknown", "", 400),
        ("GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", "", 400),
        ("POST", "EIO=4&transport=polling", "40", 400),
        ("POST", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", "40", 400),
        // A WebSocket without the headers of one.
        ("GET", "EIO=4&transport=websocket", "", 400),
        ("POST", "EIO=4&transport=websocket", "", 404),
        ("DELETE", "EIO=4&transport=polling", "", 404),
    ] {
        let (status, answer) = http(&channel, method, query, body).await;
        assert_eq!(status, expected, "{method} {query}: {answer}");
    }
}

#[tokio::test]
async fn what_a_viewer_posts_is_bounded() {
    let channel = Channel::open().await;
    channel.tokens.issue("good", an_org(), HOUR);
    let query = polling_member(&channel).await;
    let long = "4".repeat(limits::LIVE_PAYLOAD_BYTES_MAX as usize + 1);
    let (status, body) = http(&channel, "POST", &query, &long).await;
    assert_eq!(status, 413, "{body}");
    assert!(body.contains("Payload too large"), "{body}");
    // The session is none the worse for it.
    assert_eq!(http(&channel, "POST", &query, "3").await.0, 200);
}

/// Every moment of a handshake is a moment at which the connection can go; none may leave a viewer behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_goes_at_any_moment_leaves_nothing_behind() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    for round in 0..300_u64 {
        let mut raw = channel.raw().await;
        raw.send(Message::text(r#"40{"token":"good"}"#)).await.unwrap();
        if round % 3 == 0 {
            // A packet that makes the server end the session right behind the handshake.
            raw.send(Message::text("9")).await.unwrap();
        }
        tokio::time::sleep(Duration::from_micros(round * 7 % 900)).await;
        drop(raw);
    }
    let waiting = async {
        while channel.live.sockets() > 0 || channel.live.has_viewers(org) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}

#[tokio::test]
async fn a_websocket_message_over_the_limit_ends_that_connection_only() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut healthy = channel.raw().await;
    healthy.send(Message::text(r#"40{"token":"good"}"#)).await.unwrap();
    while !next_text(&mut healthy).await.unwrap().starts_with("42[\"auth-success\"") {}
    let mut big = channel.raw().await;
    big.send(Message::text(r#"40{"token":"good"}"#)).await.unwrap();
    let long = format!("42[\"x\",\"{}\"]", "z".repeat(limits::LIVE_PAYLOAD_BYTES_MAX as usize));
    // Whether the peer still takes it all depends on when it closes.
    let _sent = big.send(Message::text(long)).await;
    while next_text(&mut big).await.is_some() {}
    channel.log(org, "run", 0, "fine\n");
    while !next_text(&mut healthy).await.unwrap().starts_with("42[\"execution-log\"") {}
    while channel.live.sockets() > 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    channel.log(org, "run", 5, "still fine\n");
    while !next_text(&mut healthy).await.unwrap().contains("still fine") {}
}
