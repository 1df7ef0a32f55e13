//! A reporter that keeps a ledger: what it sent and what it was told. It may know several servers, and goes to the next one
//! when one refuses or does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runstream::cli::client::Client;
use serde_json::{Value, json};

use super::process::Account;

/// The public reporter's timeout and its pause before its one retry.
const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const BATCHES_PER_RUN: usize = 12;

/// How a reporter sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// The next batch when the one before is answered or given up.
    OneAtATime,
    /// Three at a time, like the public reporter, whose flushes are not awaited.
    SeveralInFlight,
    /// Batch numbers, and the same bytes again until they are acknowledged.
    Numbered,
    /// The same with three at a time, each at another server first.
    Spread,
}

impl Habit {
    /// Whether batches have numbers and are sent until they are acknowledged.
    const fn is_numbered(self) -> bool {
        matches!(self, Self::Numbered | Self::Spread)
    }

    /// How many batches are under way at a time.
    const fn width(self) -> usize {
        if matches!(self, Self::SeveralInFlight | Self::Spread) { 3 } else { 1 }
    }
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
pub(crate) struct Run {
    pub(super) task: String,
    pub(super) in_order: bool,
    pub(super) batches: Vec<Sent>,
    /// What the teardown answered, if it was reached.
    pub(super) answered: Option<String>,
    /// How often it was told to come back later.
    pub(crate) refusals: usize,
}

/// Everything one reporter did.
pub(crate) type Ledger = Vec<Run>;

pub(crate) struct Reporter {
    /// A client of each server.
    servers: Vec<Client>,
    /// The one that answered well last.
    turn: AtomicUsize,
    refusals: AtomicUsize,
    project: String,
    writer: usize,
    habit: Habit,
    dice: StdRng,
}

impl Reporter {
    /// Who sends to one server.
    pub(super) fn new(account: &Account, writer: usize, habit: Habit, seed: u64) -> Self {
        Self::of_several(&[account], writer, habit, seed)
    }

    /// Who sends to several, by the same account at each.
    pub(crate) fn of_several(accounts: &[&Account], writer: usize, habit: Habit, seed: u64) -> Self {
        let servers = accounts.iter().map(|account| account.client.clone()).collect();
        let (turn, refusals) = (AtomicUsize::new(writer), AtomicUsize::default());
        let (project, dice) = (accounts[0].project.clone(), StdRng::seed_from_u64(seed));
        Self { servers, turn, refusals, project, writer, habit, dice }
    }

    /// Streams runs until told to stop; the run under way is finished.
    pub(crate) async fn run(mut self, stop: Arc<AtomicBool>) -> Ledger {
        let mut ledger = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let number = ledger.len();
            ledger.push(self.one_run(number).await);
        }
        ledger
    }

    async fn one_run(&mut self, number: usize) -> Run {
        let (session, task) = self.set_up().await;
        let width = self.habit.width();
        let mut run = Run { task, in_order: width == 1, batches: Vec::new(), answered: None, refusals: 0 };
        for start in (0..BATCHES_PER_RUN).step_by(width) {
            let bodies = (start..start + width).map(|n| self.batch(&session, number, n)).collect::<Vec<_>>();
            let sending = bodies.iter().zip(start..).map(|((body, ..), n)| self.deliver(n, body));
            let fates = futures_util::future::join_all(sending).await;
            for ((_, test, lines), fate) in bodies.into_iter().zip(fates) {
                run.batches.push(Sent { test, lines, fate });
            }
        }
        run.answered = Some(self.tear_down(&session).await);
        run.refusals = self.refusals.swap(0, Ordering::Relaxed);
        run
    }

    /// Setup until it succeeds; a setup whose answer was lost leaves a run nobody knows of.
    async fn set_up(&self) -> (String, String) {
        let body = json!({
            "projectId": self.project, "framework": "playwright", "reporterVersion": "1",
            "totalTests": BATCHES_PER_RUN
        });
        for server in self.turn.load(Ordering::Relaxed).. {
            if let Some((StatusCode::CREATED, body)) = self.post(server, "/api/ingest/setup", &body).await {
                let text = |key: &str| body["data"][key].as_str().unwrap().to_owned();
                self.turn.store(server, Ordering::Relaxed);
                return (text("sessionId"), text("taskId"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!("there is always a next try")
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
        if self.habit.is_numbered() {
            body["batch"] = format!("{:08x}:{n}", self.writer).into();
        }
        (body, test, lines)
    }

    /// Sends batch number `n` of a run.
    async fn deliver(&self, n: usize, body: &Value) -> Fate {
        let numbered = self.habit.is_numbered();
        let first = if self.habit == Habit::Spread { n } else { self.turn.load(Ordering::Relaxed) };
        for attempt in 0..if numbered { usize::MAX } else { 2 } {
            if attempt > 0 {
                tokio::time::sleep(if numbered { RETRY_PAUSE / 5 } else { RETRY_PAUSE }).await;
            }
            let server = first.wrapping_add(attempt);
            match self.post(server, "/api/ingest/event", body).await {
                Some((StatusCode::OK, _)) => {
                    self.turn.store(server, Ordering::Relaxed);
                    return Fate::Acknowledged;
                }
                Some((status, _)) if !numbered => return Fate::Refused(status),
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) | None => {}
                Some((status, body)) => panic!("{status} {body}"),
            }
        }
        Fate::Unknown
    }

    async fn tear_down(&self, session: &str) -> String {
        let summary = json!({ "total": BATCHES_PER_RUN, "passed": BATCHES_PER_RUN, "failed": 0, "skipped": 0, "duration": 5 });
        let body = json!({ "sessionId": session, "status": "PASSED", "summary": summary });
        for server in self.turn.load(Ordering::Relaxed).. {
            match self.post(server, "/api/ingest/teardown", &body).await {
                Some((StatusCode::OK, body)) => {
                    self.turn.store(server, Ordering::Relaxed);
                    return body["status"].as_str().unwrap().to_owned();
                }
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) | None => {
                    tokio::time::sleep(RETRY_PAUSE / 5).await
                }
                Some((status, body)) => panic!("{status} {body}"),
            }
        }
        unreachable!("there is always a next try")
    }

    /// Status and body, or `None` if no answer came. Whoever is to come back later is told when.
    async fn post(&self, server: usize, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let call = self.servers[server % self.servers.len()].call(Method::POST, path, Some(body));
        let answer = tokio::time::timeout(TIMEOUT, call).await.ok()?.ok()?;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(answer.headers.contains_key("retry-after"), "{path}: {:?}", answer.headers);
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        Some((answer.status, answer.body))
    }
}
