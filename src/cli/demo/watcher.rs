//! Watches the run as a dashboard does: over the live channel, from the first line to the final status, only appending
//! what comes. On the way it cuts its own connection a few times and goes on over another one, which misses nothing. Should
//! the channel not know its place any more, that shows as a gap in the offsets, and the text is read from the log.

use std::io::{self, Write};

use http::Method;
use indicatif::ProgressBar;
use serde_json::Value;

use super::DemoError;
use crate::cli::client::Client;
use crate::cli::socket::{LiveEvent, LiveSocket};
use crate::domain::execution::Status;
use crate::domain::text::utf16_len;

/// How often the viewer cuts its own connection during the run.
pub(super) const CUTS: u64 = 3;

/// What was seen of a run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its text.
    pub(super) text: String,
    /// Its results, if the final update carried them.
    pub(super) tests: Option<Vec<Value>>,
    /// UTF-16 units that came from the log because the channel skipped them.
    pub(super) fetched_units: u64,
    /// How often its connection was cut.
    pub(super) cuts: u64,
    units: u64,
}

/// A viewer.
pub(super) struct Watcher {
    /// The signed-in channel.
    pub(super) socket: LiveSocket,
    /// To sign in again after a cut.
    pub(super) token: String,
    /// UTF-16 units after which the connection is cut the next time.
    pub(super) cut_every: u64,
    /// The server; with a credential.
    pub(super) client: Client,
    /// What the lines are printed above.
    pub(super) progress: ProgressBar,
}

impl Watcher {
    /// Watches the first run that shows up until it is final.
    pub(super) async fn watch(mut self) -> Result<Seen, DemoError> {
        let mut seen = Seen::default();
        loop {
            let event = self.socket.next().await?;
            match event.name.as_str() {
                "execution-log" => {
                    self.take_text(&event, &mut seen).await?;
                    while seen.cuts < CUTS && seen.units >= self.cut_every.saturating_mul(seen.cuts + 1) {
                        seen.cuts += 1;
                        self.cut().await?;
                    }
                }
                "execution-updated" => {
                    let status = event.body.get("status").cloned().unwrap_or_default();
                    let status: Status = serde_json::from_value(status).map_err(|_| unexpected(&event))?;
                    if status.is_final() {
                        seen.tests = event.body.get("tests").and_then(Value::as_array).cloned();
                        return Ok(seen);
                    }
                }
                _ => {}
            }
        }
    }

    /// Drops the connection as it is, without a word, and goes on over another one.
    async fn cut(&mut self) -> Result<(), DemoError> {
        let place = self.socket.place();
        self.socket = LiveSocket::open(&self.client, &self.token, place).await?;
        if self.socket.recovered() {
            Ok(())
        } else {
            Err(DemoError::Unexpected("the live channel does not know where its viewer was".into()))
        }
    }

    async fn take_text(&mut self, event: &LiveEvent, seen: &mut Seen) -> Result<(), DemoError> {
        let text = event.body.get("log").and_then(Value::as_str);
        let offset = event.body.get("offset").and_then(Value::as_u64);
        let task = event.body.get("taskId").and_then(Value::as_str);
        let (Some(text), Some(offset), Some(task)) = (text, offset, task) else {
            return Err(unexpected(event));
        };
        while seen.units < offset {
            let path =
                format!("/api/executions/{task}/logs?from={}&limit={}", seen.units, offset - seen.units);
            let answer = self.client.call(Method::GET, &path, None).await?;
            let missed =
                answer.body.pointer("/data/output").and_then(Value::as_str).filter(|text| !text.is_empty());
            let Some(missed) = missed else { return Err(DemoError::refused("logs", &answer)) };
            seen.fetched_units += utf16_len(missed);
            self.show(missed, seen)?;
        }
        // The log is ahead of the channel where it was just read: what is known already is not shown again.
        if seen.units == offset { self.show(text, seen) } else { Ok(()) }
    }

    fn show(&mut self, text: &str, seen: &mut Seen) -> Result<(), DemoError> {
        seen.units += utf16_len(text);
        seen.text.push_str(text);
        let print = || {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        };
        self.progress.suspend(print).map_err(DemoError::Print)
    }
}

fn unexpected(event: &LiveEvent) -> DemoError {
    DemoError::Unexpected(format!("live event {}", event.name))
}
