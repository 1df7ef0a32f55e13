//! What can be wrong with a request before any door sees it: each case is answered with a clear envelope, and nothing
//! that follows on the connection is taken for a request.

use super::wire::Site;

/// The answer's body must be the whole envelope.
fn assert_envelope(answer: &str, status: &str, error: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["success"], &body["error"]), (&false.into(), &error.into()));
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
    let head = head.to_lowercase();
    for header in
        ["content-type: application/json", "x-content-type-options: nosniff", "x-frame-options: deny"]
    {
        assert!(head.contains(header), "{head}");
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_in_the_envelope() {
    let site = Site::start().await;
    let long = "x".repeat(40 << 10);
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let cases = [
        ("GARBAGE\r\n\r\n".to_owned(), "400", "Bad request"),
        ("GET / HTTP/9.9\r\nhost: a\r\n\r\n".to_owned(), "400", "Bad request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n".to_owned(), "400", "Bad request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nbad name: 1\r\n\r\n".to_owned(), "400", "Bad request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n".to_owned(), "400", "Bad request"),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {long}\r\n\r\n"),
            "431",
            "Request header fields too large",
        ),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431", "Request header fields too large"),
    ];
    for (request, status, error) in cases {
        assert_envelope(&site.exchange(&request).await, status, error);
    }
}

#[tokio::test]
async fn an_endless_head_is_cut_at_its_bound() {
    let site = Site::start().await;
    let mut wire = site.connect().await;
    wire.send("GET / HTTP/1.1\r\n").await;
    for n in 0..200 {
        wire.send(&format!("x-{n}: {}\r\n", "y".repeat(400))).await;
    }
    assert_envelope(&wire.rest().await, "431", "Request header fields too large");
}

#[tokio::test]
async fn lengths_that_disagree_are_refused() {
    let site = Site::start().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let refused = [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: -1\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
    ];
    for header in refused {
        let answer =
            site.exchange(&format!("POST / HTTP/1.1\r\nhost: a\r\n{header}\r\n0\r\n\r\n{smuggled}")).await;
        assert_envelope(&answer, "400", "Bad request");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{header}: {answer}");
    }
    let old = site
        .exchange(&format!("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"))
        .await;
    assert_envelope(&old, "400", "Bad request");
}

#[tokio::test]
async fn nothing_after_a_chunked_body_is_taken_for_a_request() {
    let site = Site::start().await;
    let both = [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ];
    for lengths in both {
        let request = format!(
            "POST /none HTTP/1.1\r\nhost: a\r\n{lengths}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let answer = site.exchange(&request).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}
