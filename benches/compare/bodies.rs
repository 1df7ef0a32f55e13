//! Event requests as the public reporter sends them, rendered once: what differs from request to request is overwritten
//! in place, so that sending one costs the load generator next to nothing.

use serde_json::{Value, json};

/// Events of one test: a begin, log lines, an end.
const EVENTS_PER_TEST: usize = 10;
/// Held by nothing else in a request.
const NUMBER: &str = "##########";
const SESSION: &str = "ssssssss-ssss-ssss-ssss-ssssssssssss";

/// A whole request, head and body.
#[derive(Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    body: usize,
    session: usize,
    /// Where the request's number stands: in `batch`, and at the end of each test's name.
    numbers: Vec<usize>,
}

/// What a test prints, begins with and ends with.
fn event(index: usize) -> Value {
    let test = format!("8c1f0a7be2d94c30aa11-{:04x}{NUMBER}", index / EVENTS_PER_TEST);
    match index % EVENTS_PER_TEST {
        1 => {
            json!({ "type": "test-begin", "testId": test, "file": "cart.spec.ts", "timestamp": 1_774_000_000_123i64,
                     "title": " › chromium › cart.spec.ts › cart › adds an item and shows the new total" })
        }
        9 => {
            json!({ "type": "test-end", "testId": test, "status": "passed", "duration": 4211,
                     "timestamp": 1_774_000_004_334i64 })
        }
        _ => {
            json!({ "type": "log", "testId": test, "timestamp": 1_774_000_000_456i64,
                     "chunk": "\u{1b}[2mapi\u{1b}[22m \u{1b}[36mGET\u{1b}[39m /cart/items?sku=TEE-001 200 12.4 ms\n" })
        }
    }
}

impl Request {
    /// A request of `events` events by `key`; `writer` keeps the batch numbers of connections apart.
    pub(crate) fn new(key: &str, events: usize, writer: usize) -> Self {
        let list: Vec<_> = (0..events).map(event).collect();
        let body = json!({ "batch": format!("{writer:08x}:{NUMBER}"), "sessionId": SESSION, "events": list });
        Self::of(key, &body.to_string())
    }

    /// A request of `lines` log events, each with `text`.
    pub(crate) fn of_lines(key: &str, text: &str, lines: usize, writer: usize) -> Self {
        let event = json!({ "type": "log", "timestamp": 1_774_000_000_456i64, "chunk": text });
        let body = json!({ "batch": format!("{writer:08x}:{NUMBER}"), "sessionId": SESSION,
                           "events": vec![event; lines] });
        Self::of(key, &body.to_string())
    }

    fn of(key: &str, body: &str) -> Self {
        let head = format!(
            "POST /api/ingest/event HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let session = head.len() + body.find(SESSION).unwrap();
        let numbers = body.match_indices(NUMBER).map(|(at, _)| head.len() + at).collect();
        Self { body: head.len(), bytes: [head, body.to_owned()].concat().into_bytes(), session, numbers }
    }

    /// Makes it request `number` of `session`, an id of 36 characters.
    pub(crate) fn set(&mut self, session: &str, number: u64) {
        self.bytes[self.session..][..SESSION.len()].copy_from_slice(session.as_bytes());
        let mut digits = [0; NUMBER.len()];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap();
            rest /= 10;
        }
        for at in &self.numbers {
            self.bytes[*at..][..digits.len()].copy_from_slice(&digits);
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn body_bytes(&self) -> usize {
        self.bytes.len() - self.body
    }
}
