//! A reporter that keeps a ledger: what it sent and what it was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::process::Account;

/// The public reporter's timeout and its pause before its one retry.
const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const BATCHES_PER_RUN: usize = 12;

/// How a reporter sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// The next batch when the one before is answered or given up.
    OneAtATime,
    /// Three at a time, like the public reporter, whose flushes are not awaited.
    SeveralInFlight,
    /// Batch numbers, and the same bytes again until they are acknowledged.
    Numbered,
}

/// What became of a batch, as far as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Answered 2xx.
    Acknowledged,
    /// Neither try was answered: it may be stored or not.
    Unknown,
    /// Answered with an error status.
    Refused(StatusCode),
}

/// One batch: a test of its own and some lines.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) test: String,
    pub(super) lines: Vec<String>,
    pub(super) fate: Fate,
}

/// One run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) task: String,
    pub(super) in_order: bool,
    pub(super) batches: Vec<Sent>,
    /// What the teardown answered, if it was reached.
    pub(super) answered: Option<String>,
}

/// Everything one reporter did.
pub(super) type Ledger = Vec<Run>;

pub(super) struct Reporter {
    account: Account,
    writer: usize,
    habit: Habit,
    dice: StdRng,
}

impl Reporter {
    pub(super) fn new(account: &Account, writer: usize, habit: Habit, seed: u64) -> Self {
        Self { account: account.clone(), writer, habit, dice: StdRng::seed_from_u64(seed) }
    }

    /// Streams runs until told to stop; the run under way is finished.
    pub(super) async fn run(mut self, stop: Arc<AtomicBool>) -> Ledger {
        let mut ledger = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let number = ledger.len();
            ledger.push(self.one_run(number).await);
        }
        ledger
    }

    async fn one_run(&mut self, number: usize) -> Run {
        let (session, task) = self.set_up().await;
        let mut run =
            Run { task, in_order: self.habit != Habit::SeveralInFlight, batches: Vec::new(), answered: None };
        let width = if self.habit == Habit::SeveralInFlight { 3 } else { 1 };
        for start in (0..BATCHES_PER_RUN).step_by(width) {
            let bodies = (start..start + width).map(|n| self.batch(&session, number, n)).collect::<Vec<_>>();
            let sending = bodies.iter().map(|(body, ..)| self.deliver(body));
            let fates = futures_util::future::join_all(sending).await;
            for ((_, test, lines), fate) in bodies.into_iter().zip(fates) {
                run.batches.push(Sent { test, lines, fate });
            }
        }
        run.answered = Some(self.tear_down(&session).await);
        run
    }

    /// Setup until it succeeds; a setup whose answer was lost leaves a run nobody knows of.
    async fn set_up(&self) -> (String, String) {
        let body = json!({
            "projectId": self.account.project, "framework": "playwright", "reporterVersion": "1",
            "totalTests": BATCHES_PER_RUN
        });
        loop {
            if let Some((StatusCode::CREATED, body)) = self.post("/api/ingest/setup", &body).await {
                let text = |key: &str| body["data"][key].as_str().unwrap().to_owned();
                return (text("sessionId"), text("taskId"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn batch(&mut self, session: &str, run: usize, n: usize) -> (Value, String, Vec<String>) {
        let test = format!("w{}-r{run}-b{n}", self.writer);
        let lines =
            (0..self.dice.random_range(1..30)).map(|line| format!("{test}-l{line} {}", "é€😀".repeat(3)));
        let lines: Vec<String> = lines.collect();
        let mut events = vec![
            json!({ "type": "test-begin", "testId": test, "title": test, "file": "a.spec.ts", "timestamp": n }),
        ];
        events.extend(
            lines.iter().map(|line| json!({ "type": "log", "testId": test, "chunk": line, "timestamp": n })),
        );
        events.push(
            json!({ "type": "test-end", "testId": test, "status": "passed", "duration": 1, "timestamp": n }),
        );
        let mut body = json!({ "sessionId": session, "events": events });
        if self.habit == Habit::Numbered {
            body["batch"] = format!("{:08x}:{n}", self.writer).into();
        }
        (body, test, lines)
    }

    async fn deliver(&self, body: &Value) -> Fate {
        let tries = if self.habit == Habit::Numbered { usize::MAX } else { 2 };
        for n in 0..tries {
            if n > 0 {
                let pause = if self.habit == Habit::Numbered { RETRY_PAUSE / 5 } else { RETRY_PAUSE };
                tokio::time::sleep(pause).await;
            }
            match self.post("/api/ingest/event", body).await {
                Some((StatusCode::OK, _)) => return Fate::Acknowledged,
                Some((status, _)) if self.habit != Habit::Numbered => return Fate::Refused(status),
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) | None => {}
                Some((status, body)) => panic!("{status} {body}"),
            }
        }
        Fate::Unknown
    }

    async fn tear_down(&self, session: &str) -> String {
        let summary = json!({ "total": BATCHES_PER_RUN, "passed": BATCHES_PER_RUN, "failed": 0, "skipped": 0, "duration": 5 });
        let body = json!({ "sessionId": session, "status": "PASSED", "summary": summary });
        loop {
            match self.post("/api/ingest/teardown", &body).await {
                Some((StatusCode::OK, body)) => return body["status"].as_str().unwrap().to_owned(),
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) | None => {
                    tokio::time::sleep(RETRY_PAUSE / 5).await
                }
                Some((status, body)) => panic!("{status} {body}"),
            }
        }
    }

    /// Status and body, or `None` if no answer came.
    async fn post(&self, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let call = self.account.client.call(Method::POST, path, Some(body));
        let answer = tokio::time::timeout(TIMEOUT, call).await.ok()?.ok()?;
        Some((answer.status, answer.body))
    }
}
