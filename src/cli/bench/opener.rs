//! Opens runs and ends them, on the main runtime: the threads that send stand still between two steps, and a connection
//! must not stand still with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::BenchError;
use super::follow::Follower;
use super::ledger::Run;
use super::mix::{Kind, Mix};
use super::pace::Stop;
use crate::cli::client::{Answer, Client};

/// How long a request of this tool waits in all for a tier that is used up, or a server under pressure.
const PATIENCE: Duration = Duration::from_secs(180);
/// Pause if the server does not say how long.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends a request, again for as long as the server says "later", and returns the answer whatever it is.
///
/// # Errors
/// If the server cannot be reached, or is not to be had within [`PATIENCE`].
pub(super) async fn patiently(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
    stop: &Stop,
) -> Result<Answer, BenchError> {
    let begun = Instant::now();
    loop {
        let answer = client.call(method.clone(), path, body).await?;
        let later = matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let asked =
            answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let pause = asked.map_or(PAUSE, Duration::from_secs);
        if !later || begun.elapsed() + pause > PATIENCE || stop.load(Ordering::Relaxed) {
            return Ok(answer);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Refuses what is no success.
pub(super) fn succeeded(what: &str, answer: Answer) -> Result<Answer, BenchError> {
    if answer.status.is_success() {
        Ok(answer)
    } else {
        Err(BenchError::Refused {
            what: what.to_owned(),
            answer: format!("{} {}", answer.status, answer.body),
        })
    }
}

/// Makes and ends the runs of one bench.
pub(super) struct Opener {
    /// The server; with the key.
    pub(super) client: Client,
    /// Where the runs go.
    pub(super) project: String,
    /// What is sent.
    pub(super) mix: Arc<Mix>,
    /// Where requests are made.
    pub(super) runtime: Handle,
    /// Told when to hurry.
    pub(super) stop: Stop,
    /// The live text of the runs of so many sessions, the first ones, is followed.
    pub(super) follows: u32,
    /// Runs opened so far.
    pub(super) opened: AtomicU32,
}

impl Opener {
    /// Opens a run; `followed` if its live text is to be followed.
    pub(super) fn open(self: &Arc<Self>, followed: bool) -> JoinHandle<Result<Run, BenchError>> {
        let opener = Arc::clone(self);
        self.runtime.spawn(async move {
            let number = opener.opened.fetch_add(1, Ordering::Relaxed);
            let body = json!({
                "projectId": opener.project, "runName": format!("bench {number}"), "framework": "playwright",
                "reporterVersion": env!("CARGO_PKG_VERSION"), "totalTests": 0,
            });
            let path = "/api/ingest/setup";
            let answer = patiently(&opener.client, Method::POST, path, Some(&body), &opener.stop).await?;
            let answer = succeeded("setup", answer)?;
            let text = |name: &str| {
                let text = answer.body.pointer(name).and_then(Value::as_str).map(str::to_owned);
                text.ok_or_else(|| BenchError::Unexpected(format!("setup's answer without {name}")))
            };
            let mut run = Run::new(number, text("/data/sessionId")?, text("/data/taskId")?);
            if followed {
                run.followed = Some(Follower::start(opener.client.clone(), run.task.clone()));
            }
            Ok(run)
        })
    }

    /// Ends a run.
    pub(super) fn end(self: &Arc<Self>, run: &Run) -> JoinHandle<Result<(), BenchError>> {
        let (mut passed, mut failed) = (0_u64, 0_u64);
        for seq in run.acknowledged.iter() {
            if let Kind::End { failed: is_failed, .. } = self.mix.kind(seq) {
                *(if is_failed { &mut failed } else { &mut passed }) += 1;
            }
        }
        let body = json!({
            "sessionId": run.session,
            "status": if failed > 0 { "FAILED" } else { "PASSED" },
            "summary": { "total": passed + failed, "passed": passed, "failed": failed, "skipped": 0, "duration": 0 },
            "delivery": {
                "sent": run.next, "droppedEvents": run.dropped(), "droppedLogBytes": 0, "retries": run.retries,
                "spooled": 0,
            },
        });
        let opener = Arc::clone(self);
        self.runtime.spawn(async move {
            let path = "/api/ingest/teardown";
            let answer = patiently(&opener.client, Method::POST, path, Some(&body), &opener.stop).await?;
            succeeded("teardown", answer).map(drop)
        })
    }
}
