//! Bodies that are cut off, too large, packed, mislabelled or plain nonsense: a clear envelope each time, nothing half
//! applied, and the connection or the next one goes on. Source: API reference, ingest 1.4.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use runstream::domain::role::Role;
use runstream::ingest::IngestSettings;
use serde_json::json;

use super::site::{Reporter, Run, Setting, Site, log};

async fn ready() -> (Site, Reporter, Run) {
    ready_with(IngestSettings::default()).await
}

async fn ready_with(ingest: IngestSettings) -> (Site, Reporter, Run) {
    let site = Site::start_with(Setting { ingest, ..Setting::default() }).await;
    let reporter = site.reporter(Role::Developer).await;
    let run = site.set_up(&reporter).await;
    (site, reporter, run)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn body(run: &Run, chunk: &str) -> Vec<u8> {
    json!({ "sessionId": run.session, "events": [log(chunk)] }).to_string().into_bytes()
}

/// A request's head up to and including the key.
fn head(reporter: &Reporter) -> String {
    format!(
        "POST /api/ingest/event HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-api-key: {}\r\n",
        reporter.key
    )
}

#[tokio::test]
async fn what_is_no_json_is_refused_on_every_endpoint() {
    let (site, reporter, _) = ready().await;
    let deep = "[".repeat(100_000);
    let bad: [&[u8]; 9] = [
        b"",
        b"{",
        b"{\"a\":}",
        b"nonsense",
        b"\xff\xfe",
        b"{\"a\":\"\xc3\x28\"}",
        b"{\"a\":\"\0\"}",
        b"NaN",
        deep.as_bytes(),
    ];
    for endpoint in ["setup", "event", "teardown"] {
        for body in bad {
            site.post_bytes(&reporter.key, endpoint, &[], body).await.refused(400, "Invalid JSON");
        }
    }
}

#[tokio::test]
async fn other_media_types_and_packings_are_refused() {
    let (site, reporter, run) = ready().await;
    let body = body(&run, "x");
    for headers in [
        &[("content-type", "text/plain")][..],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json; charset=utf-16")],
        &[("content-encoding", "br")],
        &[("content-encoding", "gzip, gzip")],
    ] {
        for endpoint in ["setup", "event", "teardown"] {
            let answer = site.post_bytes(&reporter.key, endpoint, headers, &body).await;
            answer.refused(415, "Unsupported media type");
        }
    }
    // The media type comes before the credential.
    let plain = [("content-type", "text/plain")];
    site.post_bytes("nonsense", "event", &plain, &body).await.refused(415, "Unsupported media type");
    let utf8 = [("content-type", "application/json; charset=UTF-8")];
    site.post_bytes(&reporter.key, "event", &utf8, &body).await.accepted();
    assert_eq!(site.log(&reporter, &run).await, "x\n");
}

#[tokio::test]
async fn each_endpoint_has_its_own_size() {
    let (site, reporter, run) = ready().await;
    for endpoint in ["setup", "teardown"] {
        let at = format!("{{\"x\":\"{}\"}}", "y".repeat((256 << 10) - 8));
        let error = if endpoint == "setup" { "Invalid setup payload" } else { "Invalid teardown payload" };
        site.post_text(&reporter.key, endpoint, &at).await.refused(400, error);
        site.post_text(&reporter.key, endpoint, &format!("{at} ")).await.refused(413, "Payload too large");
    }
    let mut large = body(&run, &"z".repeat(1 << 20));
    large.resize(16 << 20, b' ');
    let answer = site.post_bytes(&reporter.key, "event", &[], &large).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    large.push(b' ');
    site.post_bytes(&reporter.key, "event", &[], &large).await.refused(413, "Payload too large");
    // Before the credential, and before a byte of the body was sent.
    let mut wire = site.connect().await;
    let request = "POST /api/ingest/event HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\nexpect: 100-continue\r\n\r\n";
    wire.send(request.as_bytes()).await;
    wire.answer().await.refused(413, "Payload too large");
}

#[tokio::test]
async fn packed_bodies_are_unpacked() {
    let (site, reporter, run) = ready().await;
    for (name, packed) in [
        ("gzip", gzip(&body(&run, "one"))),
        ("x-gzip", gzip(&body(&run, "two"))),
        ("zstd", zstd(&body(&run, "three"))),
        ("identity", body(&run, "four")),
    ] {
        let answer = site.post_bytes(&reporter.key, "event", &[("content-encoding", name)], &packed).await;
        answer.accepted();
    }
    assert_eq!(site.log(&reporter, &run).await, "one\ntwo\nthree\nfour\n");
    let setup = gzip(reporter.setup().to_string().as_bytes());
    let answer = site.post_bytes(&reporter.key, "setup", &[("content-encoding", "gzip")], &setup).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn bombs_and_broken_packings_are_refused() {
    let (site, reporter, run) = ready().await;
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let nested = gzip(&bomb);
    for (name, packed, status, error) in [
        ("gzip", bomb.clone(), 413, "Payload too large"),
        ("gzip", nested, 400, "Invalid JSON"),
        ("gzip", b"not packed".to_vec(), 400, "Invalid JSON"),
        ("gzip", gzip(&body(&run, "x"))[..20].to_vec(), 400, "Invalid JSON"),
        ("zstd", gzip(&body(&run, "x")), 400, "Invalid JSON"),
        ("zstd", zstd(&body(&run, "x"))[..20].to_vec(), 400, "Invalid JSON"),
        // A frame that asks for a window of two gigabytes.
        ("zstd", vec![0x28, 0xB5, 0x2F, 0xFD, 0, 21 << 3, 1, 0, 0], 400, "Invalid JSON"),
        ("zstd", zstd(&vec![b' '; 17 << 20]), 413, "Payload too large"),
    ] {
        let answer = site.post_bytes(&reporter.key, "event", &[("content-encoding", name)], &packed).await;
        answer.refused(status, error);
    }
    let answer = site.post_bytes(&reporter.key, "setup", &[("content-encoding", "gzip")], &bomb).await;
    answer.refused(413, "Payload too large");
    assert_eq!(site.log(&reporter, &run).await, "");
    assert_eq!(site.door.budget().used_bytes(), 0);
}

#[tokio::test]
async fn chunked_bodies_are_taken_in_any_pieces() {
    let (site, reporter, run) = ready().await;
    for (piece, chunk) in [(1, "a"), (7, "b"), (4096, "c")] {
        let mut request = format!("{}transfer-encoding: chunked\r\n\r\n", head(&reporter)).into_bytes();
        for part in body(&run, chunk).chunks(piece) {
            request.extend(format!("{:x}\r\n", part.len()).into_bytes());
            request.extend(part);
            request.extend(b"\r\n");
        }
        request.extend(b"0\r\n\r\n");
        let mut wire = site.connect().await;
        wire.send(&request).await;
        wire.answer().await.accepted();
    }
    assert_eq!(site.log(&reporter, &run).await, "a\nb\nc\n");
    // Without an end to it.
    let mut wire = site.connect().await;
    let mut endless = format!("{}transfer-encoding: chunked\r\n\r\n", head(&reporter)).into_bytes();
    for _ in 0..17 {
        endless.extend(b"100000\r\n");
        endless.resize(endless.len() + (1 << 20), b' ');
        endless.extend(b"\r\n");
    }
    wire.send(&endless).await;
    wire.answer().await.refused(413, "Payload too large");
}

#[tokio::test]
async fn a_body_that_never_comes_whole_is_nothing() {
    let impatient = IngestSettings { body_timeout: Duration::from_secs(1), ..IngestSettings::default() };
    let (site, reporter, run) = ready_with(impatient).await;
    let whole = body(&run, "never");
    let request = |length: usize| format!("{}content-length: {length}\r\n\r\n", head(&reporter)).into_bytes();
    // Too slow: told so, and the room is given back.
    let mut wire = site.connect().await;
    wire.send(&[request(whole.len()), whole[..10].to_vec()].concat()).await;
    wire.answer().await.refused(408, "Request timeout");
    // Gone.
    let mut wire = site.connect().await;
    wire.send(&[request(whole.len()), whole[..10].to_vec()].concat()).await;
    drop(wire);
    // Announced shorter than it is: what was announced is no JSON, and what follows is no request.
    let mut wire = site.connect().await;
    wire.send(&[request(10), whole.clone()].concat()).await;
    let answers = wire.rest().await;
    assert!(answers.starts_with("HTTP/1.1 400") && answers.contains("Invalid JSON"), "{answers}");
    assert_eq!(site.log(&reporter, &run).await, "");
    for _ in 0..500 {
        if site.door.budget().used_bytes() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} bytes of the budget were not given back", site.door.budget().used_bytes());
}

/// Requests that a proxy in front and this server might read differently: none of them may smuggle an event in.
#[tokio::test]
async fn nothing_is_smuggled() {
    let (site, reporter, run) = ready().await;
    let inner = body(&run, "smuggled");
    let hidden = format!(
        "{}content-length: {}\r\n\r\n{}",
        head(&reporter),
        inner.len(),
        String::from_utf8_lossy(&inner)
    );
    for framing in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 0x5\r\n",
        "content-length : 5\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        " content-length: 5\r\n",
        "content-length: 99999999999999999999999\r\n",
    ] {
        let mut wire = site.connect().await;
        wire.send(format!("{}{framing}\r\n{hidden}", head(&reporter)).as_bytes()).await;
        wire.finish().await;
        let answers = wire.rest().await;
        assert!(!answers.contains(" 200 "), "{framing:?}: {answers}");
        assert!(!answers.contains(" 500 "), "{framing:?}: {answers}");
    }
    assert_eq!(site.log(&reporter, &run).await, "");
}

#[tokio::test]
async fn a_refused_request_does_not_break_its_connection() {
    let (site, reporter, run) = ready().await;
    let mut wire = site.connect().await;
    let good = body(&run, "kept alive");
    let post = |key: &str, media: &str, body: &[u8]| {
        let head = format!(
            "POST /api/ingest/event HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\nx-api-key: {key}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    wire.send(&post("nonsense", "application/json", &vec![b'x'; 300_000])).await;
    wire.answer().await.refused(401, "Invalid API key");
    wire.send(&post(&reporter.key, "text/plain", &vec![b'x'; 300_000])).await;
    wire.answer().await.refused(415, "Unsupported media type");
    wire.send(&post(&reporter.key, "application/json", b"{}")).await;
    wire.answer().await.refused(400, "Invalid event batch");
    wire.send(&post(&reporter.key, "application/json", &good)).await;
    wire.answer().await.accepted();
    assert_eq!(site.log(&reporter, &run).await, "kept alive\n");
}
