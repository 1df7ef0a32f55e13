//! A small server of the ingest interface that misbehaves on demand: slow in a known way, stalling once, refusing, or
//! losing, doubling or swapping one event.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use runstream::domain::batch::TestStatus;
use runstream::domain::text::{push_begin, push_chunk, push_end, utf16_len};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

/// What it does wrong with what it acknowledged, at the event of this number over all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Lose(u64),
    Double(u64),
    /// Stores it behind the event after it.
    Swap(u64),
}

/// How it behaves.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    pub(super) fault: Option<Fault>,
    /// Requests that are worked on at the same time, and for how long each.
    pub(super) work: Option<(usize, Duration)>,
    /// The batch at which everything stands still, and for how long.
    pub(super) stall: Option<(u64, Duration)>,
    /// The batches that are refused: from the first to before the end, with this status.
    pub(super) refuse: (u64, u64, u16),
    /// The batch whose answer is an internal error with this text.
    pub(super) break_at: Option<(u64, &'static str)>,
    /// Whether what is stored is never told.
    pub(super) reads_hang: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self { fault: None, work: None, stall: None, refuse: (0, 0, 429), break_at: None, reads_hang: false }
    }
}

#[derive(Default)]
struct Run {
    text: String,
    results: Vec<Value>,
}

#[derive(Default)]
struct Kept {
    runs: HashMap<String, Run>,
    batches: u64,
    events: u64,
    held: Option<Value>,
    arrivals: Vec<Instant>,
    stalled_until: Option<Instant>,
}

pub(super) struct Stub {
    pub(super) url: String,
    manners: Manners,
    places: Semaphore,
    kept: Mutex<Kept>,
    read: Notify,
}

impl Stub {
    /// Starts it; it ends with the test's runtime.
    pub(super) async fn start(manners: Manners) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let places = Semaphore::new(manners.work.map_or(1, |(places, _)| places));
        let stub = Arc::new(Self { url, manners, places, kept: Mutex::default(), read: Notify::new() });
        let server = Arc::clone(&stub);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let service = service_fn(|request| server.answer(request));
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        stub
    }

    /// When each batch arrived.
    pub(super) fn arrivals(&self) -> Vec<Instant> {
        self.kept.lock().unwrap().arrivals.clone()
    }

    /// Waits until somebody reads what is stored.
    pub(super) async fn read_from(&self) {
        self.read.notified().await;
    }

    /// Arguments that lead `runstream bench` here.
    pub(super) fn arguments<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["ingest", "--url", &self.url, "--key", "pk_live_x", "--project", "69bd2a7f4c1e8830a5d7f912"], rest]
            .concat()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path_and_query().unwrap().to_string();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, answer) = match path.as_str() {
            "/api/ingest/setup" => (201, self.open()),
            "/api/ingest/event" => self.take(body).await,
            "/api/ingest/teardown" => (200, json!({ "success": true, "data": {} })),
            // The stream of a run is not what is stored.
            path if self.manners.reads_hang && !path.contains("/live") => {
                self.read.notify_one();
                std::future::pending().await
            }
            path => self.read(path),
        };
        let response = Response::builder().status(status).header("retry-after", "1");
        let body = match answer {
            Value::String(text) => text,
            answer => answer.to_string(),
        };
        Ok(response.body(Full::from(body)).unwrap())
    }

    fn open(&self) -> Value {
        let mut kept = self.kept.lock().unwrap();
        let task = format!("run-{}", kept.runs.len());
        kept.runs.insert(task.clone(), Run::default());
        json!({ "success": true, "data": { "sessionId": task, "taskId": task, "cycleId": "c" } })
    }

    async fn take(&self, body: Value) -> (u16, Value) {
        let (number, stalled_until) = {
            let mut kept = self.kept.lock().unwrap();
            kept.batches += 1;
            kept.arrivals.push(Instant::now());
            if let Some((at, pause)) = self.manners.stall
                && kept.batches == at
            {
                kept.stalled_until = Some(Instant::now() + pause);
            }
            (kept.batches - 1, kept.stalled_until)
        };
        let (first, end, status) = self.manners.refuse;
        if (first..end).contains(&number) {
            return (status, json!({ "success": false, "error": "Rate limit exceeded" }));
        }
        if let Some((_, text)) = self.manners.break_at.filter(|(at, _)| *at == number) {
            return (500, json!(text));
        }
        if let Some(until) = stalled_until {
            tokio::time::sleep_until(until.into()).await;
        }
        if let Some((_, time)) = self.manners.work {
            let _place = self.places.acquire().await.unwrap();
            tokio::time::sleep(time).await;
        }
        let mut kept = self.kept.lock().unwrap();
        let task = body["sessionId"].as_str().unwrap().to_owned();
        for event in body["events"].as_array().unwrap() {
            let number = kept.events;
            kept.events += 1;
            let held = kept.held.take();
            let mut store = |event: &Value| kept.runs.get_mut(&task).unwrap().store(event);
            match self.manners.fault {
                Some(Fault::Lose(at)) if at == number => {}
                Some(Fault::Double(at)) if at == number => {
                    store(event);
                    store(event);
                }
                Some(Fault::Swap(at)) if at == number => kept.held = Some(event.clone()),
                _ => store(event),
            }
            if let Some(held) = held {
                kept.runs.get_mut(&task).unwrap().store(&held);
            }
        }
        (200, json!({ "success": true }))
    }

    fn read(&self, path: &str) -> (u16, Value) {
        let absent = (404, json!({ "success": false, "error": "Not found" }));
        let mut parts = path.trim_start_matches("/api/executions/").split(['/', '?']);
        let kept = self.kept.lock().unwrap();
        let Some(run) = parts.next().and_then(|task| kept.runs.get(task)) else { return absent };
        match parts.next() {
            Some("logs") => (200, json!({ "data": { "output": run.text, "length": utf16_len(&run.text) } })),
            None => (200, json!({ "data": { "tests": run.results } })),
            // It knows no pages of results, no completeness report and no stream.
            Some(_) => absent,
        }
    }
}

impl Run {
    fn store(&mut self, event: &Value) {
        let member = |name: &str| event[name].as_str().unwrap_or_default();
        match member("type") {
            "log" => push_chunk(&mut self.text, member("chunk"), false),
            "test-begin" => {
                push_begin(&mut self.text, member("title"));
            }
            _ => {
                let failed = member("status") == "failed";
                let status = if failed { TestStatus::Failed } else { TestStatus::Passed };
                let duration = event["duration"].as_u64().unwrap();
                push_end(&mut self.text, status, member("testId"), duration, member("error"));
                self.results.push(event.clone());
            }
        }
    }
}
