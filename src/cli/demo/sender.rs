//! Streams the recording through the HTTP door as a reporter does: several requests in flight, at the pace of the
//! recorded run or as fast as they are acknowledged. Events of one test stay in one lane, and a lane waits for each
//! answer, so every test's attempts arrive in order; each lane numbers its batches, so a batch may be sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use http::{Method, StatusCode, header};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::DemoError;
use super::recording::{Recorded, Recording};
use super::tally::Tally;
use crate::cli::client::{Answer, Client, ClientError};
use crate::clock::{Clock, UnixMs};

/// Lanes, as the recorded run had workers.
const LANES: u32 = 4;
/// Events a batch may have; the public reporter's default.
const BATCH_EVENTS: usize = 50;
/// How long a lane gathers events; four lanes stay below 500 requests a minute.
const FLUSH_AFTER: Duration = Duration::from_millis(500);
/// Longest pause before a batch is sent again.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often a batch is sent again before the demo gives up.
const RETRIES: usize = 8;

/// How fast the recording plays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded.
    Times(f64),
    /// As fast as batches are acknowledged.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if (0.05..=1000.0).contains(&times) => Ok(Self::Times(times)),
            _ => Err("a number from 0.05 to 1000, or max".into()),
        }
    }
}

impl Speed {
    /// When something recorded at `at_ms` happens, in milliseconds after the start.
    fn due_ms(self, at_ms: u64) -> u64 {
        match self {
            Self::Max => 0,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "a recording lasts minutes and speeds are positive: both are far inside a double's exact range"
            )]
            Self::Times(times) => (at_ms as f64 / times) as u64,
        }
    }
}

/// What was acknowledged, and how long that took.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// What the acknowledged requests carried.
    pub(super) tally: Tally,
    /// Time from sending a request to its answer, one per acknowledged request.
    pub(super) latencies: Vec<Duration>,
}

/// One session's sender.
#[derive(Clone)]
pub(super) struct Sender {
    /// The server; with the API key.
    pub(super) client: Client,
    /// Paces the run.
    pub(super) clock: Arc<dyn Clock>,
    /// The session.
    pub(super) session: String,
    /// The pace.
    pub(super) speed: Speed,
    /// Counts acknowledged events.
    pub(super) progress: ProgressBar,
}

impl Sender {
    /// Sends every event of the recording; returns when all are acknowledged.
    pub(super) async fn stream(&self, recording: &Recording) -> Result<Sent, DemoError> {
        let start_ms = self.clock.now_ms();
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let events =
                recording.events.iter().filter(|recorded| lane_of(recorded) == lane).cloned().collect();
            let sender = self.clone();
            lanes.spawn(async move { sender.run_lane(lane, start_ms, events).await });
        }
        let mut sent = Sent::default();
        while let Some(lane) = lanes.join_next().await {
            let (events, latencies) = lane.map_err(|error| DemoError::Task(error.to_string()))??;
            events.iter().for_each(|event| sent.tally.add_event(event));
            sent.latencies.extend(latencies);
        }
        Ok(sent)
    }

    /// Sends one lane's events in batches, one request after another.
    async fn run_lane(
        &self,
        lane: u32,
        start_ms: UnixMs,
        events: Vec<Recorded>,
    ) -> Result<(Vec<Map<String, Value>>, Vec<Duration>), DemoError> {
        let (mut sent, mut latencies, mut number) = (Vec::with_capacity(events.len()), Vec::new(), 0);
        let mut rest = events.as_slice();
        while let Some(first) = rest.first() {
            let due_ms = self.speed.due_ms(first.at_ms);
            let until_ms = match self.speed {
                Speed::Max => u64::MAX,
                Speed::Times(_) => due_ms + u64::try_from(FLUSH_AFTER.as_millis()).unwrap_or(u64::MAX),
            };
            let is_in = |recorded: &Recorded| self.speed.due_ms(recorded.at_ms) < until_ms;
            let count = rest.iter().take(BATCH_EVENTS).take_while(|recorded| is_in(recorded)).count().max(1);
            let (batch, later) = rest.split_at(count.min(rest.len()));
            rest = later;
            let last_due_ms = batch.last().map_or(due_ms, |last| self.speed.due_ms(last.at_ms));
            let ready_ms =
                if batch.len() < BATCH_EVENTS && self.speed != Speed::Max { until_ms } else { last_due_ms };
            self.wait_until(start_ms, ready_ms).await;
            let batch: Vec<_> = batch.iter().map(|recorded| self.at_present(recorded, start_ms)).collect();
            number += 1;
            let body = json!({
                "sessionId": self.session, "batch": format!("{lane:08x}:{number}"), "events": batch,
            });
            latencies.push(self.deliver(&body).await?);
            self.progress.inc(batch.len() as u64);
            sent.extend(batch);
        }
        Ok((sent, latencies))
    }

    async fn wait_until(&self, start_ms: UnixMs, due_ms: u64) {
        let elapsed = u64::try_from(self.clock.now_ms() - start_ms).unwrap_or_default();
        if let Some(left) = due_ms.checked_sub(elapsed).filter(|left| *left > 0) {
            self.clock.sleep(Duration::from_millis(left)).await;
        }
    }

    /// The event as if it had happened now.
    fn at_present(&self, recorded: &Recorded, start_ms: UnixMs) -> Map<String, Value> {
        let moment = |at_ms: u64| start_ms + i64::try_from(self.speed.due_ms(at_ms)).unwrap_or_default();
        let mut event = recorded.event.clone();
        if let Some(started) = event.get("startedAt").and_then(Value::as_u64) {
            event.insert("startedAt".into(), moment(started).into());
        }
        event.insert("timestamp".into(), moment(recorded.at_ms).into());
        event
    }

    /// Sends a batch until it is acknowledged; returns how long the acknowledged request took.
    async fn deliver(&self, body: &Value) -> Result<Duration, DemoError> {
        let mut pauses =
            ExponentialBuilder::default().with_max_delay(RETRY_MAX).with_max_times(RETRIES).build();
        loop {
            let begun = Instant::now();
            let outcome = self.client.call(Method::POST, "/api/ingest/event", Some(body)).await;
            let (error, asked) = match outcome {
                Ok(answer) if answer.status.is_success() => return Ok(begun.elapsed()),
                Ok(answer) if may_pass(answer.status) => {
                    (DemoError::refused("event", &answer), retry_after(&answer))
                }
                Ok(answer) => return Err(DemoError::refused("event", &answer)),
                Err(error @ (ClientError::Connect { .. } | ClientError::Exchange { .. })) => {
                    (error.into(), None)
                }
                Err(error) => return Err(error.into()),
            };
            let Some(pause) = pauses.next() else { return Err(error) };
            self.clock.sleep(pause.max(asked.unwrap_or_default())).await;
        }
    }
}

/// The lane of an event: that of its test.
fn lane_of(recorded: &Recorded) -> u32 {
    let test = recorded.event.get("testId").and_then(Value::as_str).unwrap_or_default();
    crc32fast::hash(test.as_bytes()) % LANES
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_numbers_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for bad in ["", "0", "-1", "fast", "inf", "NaN", "1001"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
        assert_eq!(Speed::Times(4.0).due_ms(10_000), 2_500);
        assert_eq!(Speed::Max.due_ms(10_000), 0);
    }

    #[test]
    fn a_test_keeps_its_lane() {
        let recording = Recording::embedded().unwrap();
        let mut lanes = std::collections::HashMap::new();
        for recorded in &recording.events {
            let test = recorded.event.get("testId").cloned();
            assert_eq!(
                *lanes.entry(test.map(|id| id.to_string())).or_insert(lane_of(recorded)),
                lane_of(recorded)
            );
        }
        for lane in 0..LANES {
            assert!(lanes.values().any(|used| *used == lane), "lane {lane} has nothing to do");
        }
    }
}
