//! A closed-loop load: every connection sends its next batch when the one before is acknowledged.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::crash::process::Account;

pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) events: usize,
    pub(super) duration: Duration,
}

pub(super) struct Report {
    pub(super) requests: u32,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Load {
    /// Runs it; one session per connection.
    pub(super) async fn run(&self, account: &Account, port: u16) -> Report {
        let deadline = Instant::now() + self.duration;
        let tasks = (0..self.connections).map(|n| {
            let (account, events) = (account.clone(), self.events);
            tokio::spawn(async move {
                let mut connection = Connection::open(&account, port).await;
                let session = connection.open_run(&account).await;
                let body = batch(&session, events, n);
                let mut latencies = Vec::new();
                while Instant::now() < deadline {
                    let sent = Instant::now();
                    connection.post("/api/ingest/event", number(&body, latencies.len())).await;
                    latencies.push(sent.elapsed());
                }
                latencies
            })
        });
        let mut latencies = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            latencies.extend(task.await.unwrap());
        }
        latencies.sort_unstable();
        let at = |share: f64| latencies[(latencies.len() as f64 * share) as usize];
        Report { requests: latencies.len() as u32, p50: at(0.5), p99: at(0.99) }
    }
}

/// Opens runs and sends one batch into each.
pub(super) async fn open_runs(account: &Account, port: u16, runs: usize) {
    let mut connection = Connection::open(account, port).await;
    for n in 0..runs {
        let session = connection.open_run(account).await;
        connection.post("/api/ingest/event", batch(&session, 3, n).into()).await;
    }
}

/// A batch of log lines of about 100 bytes; its `batch` member is filled in by [`number`].
pub(super) fn batch(session: &str, events: usize, n: usize) -> String {
    let line = |event| format!("connection {n} event {event} {}", "x".repeat(72));
    let events = (0..events).map(|event| json!({ "type": "log", "chunk": line(event), "timestamp": 1 }));
    let events = events.collect::<Vec<_>>();
    json!({ "batch": "00000000:NUMBER", "sessionId": session, "events": events }).to_string()
}

/// Bytes that differ from batch to batch, so that none is taken for a replay.
pub(super) fn number(body: &str, n: usize) -> Bytes {
    body.replacen("NUMBER", &n.to_string(), 1).into()
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    key: http::HeaderValue,
}

impl Connection {
    async fn open(account: &Account, port: u16) -> Self {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, key: account.key.clone() }
    }

    async fn open_run(&mut self, account: &Account) -> String {
        let body = json!({ "projectId": account.project, "framework": "load", "reporterVersion": "1", "totalTests": 1 });
        let answer = self.post("/api/ingest/setup", body.to_string().into()).await;
        answer["data"]["sessionId"].as_str().unwrap().to_owned()
    }

    async fn post(&mut self, path: &str, body: Bytes) -> serde_json::Value {
        let request = Request::post(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("x-api-key", self.key.clone())
            .body(Full::new(body))
            .unwrap();
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success() && status != StatusCode::NO_CONTENT, "{path}: {status} {body:?}");
        serde_json::from_slice(&body).unwrap()
    }
}
