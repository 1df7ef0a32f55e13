//! A load: opened runs and the threads that feed them, one step after the other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use indicatif::ProgressBar;
use serde::Serialize;

use super::BenchError;
use super::acks::Acks;
use super::lane::{Lane, LaneRuntime, OnRefusal, Sender, Shared};
use super::ledger::Run;
use super::numbers::{micros_as_ms, per_second, shown_rate};
use super::opener::Opener;
use super::pace::Pace;
use super::session::{Finished, Session};
use super::stats::{Stats, Step};
use super::wire::Wire;

/// How long a step that is over waits for what is under way and late.
const GRACE: Duration = Duration::from_secs(2);
/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(400);
/// From this share of its core on the generator may be what limits.
pub(super) const BOTTLENECK_CPU: f64 = 0.95;

/// How the load is spread.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shape {
    /// Streams of events.
    pub(super) sessions: u32,
    /// Connections that carry them.
    pub(super) connections: u32,
    /// Threads that drive the connections.
    pub(super) threads: u32,
    /// Events of a batch.
    pub(super) events_per_batch: u32,
    /// What to do when refused.
    pub(super) on_refusal: OnRefusal,
}

/// What a step is to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepPlan {
    /// Events a second; absent for the closed loop.
    pub(super) rate: Option<f64>,
    /// What does not count.
    pub(super) warm_up: Duration,
    /// What counts.
    pub(super) duration: Duration,
}

/// An open load.
pub(super) struct Load {
    shape: Shape,
    lanes: Vec<Lane>,
    finished: Finished,
    opener: Arc<Opener>,
    progress: ProgressBar,
    acks: Option<Arc<Acks>>,
}

impl Load {
    /// Opens the runs and prepares the connections; acknowledgements are noted in `acks`, if there are some.
    ///
    /// # Errors
    /// If a run cannot be opened or a thread not be had.
    pub(super) async fn open(
        shape: Shape,
        opener: Arc<Opener>,
        key: &HeaderValue,
        progress: ProgressBar,
        acks: Option<Arc<Acks>>,
    ) -> Result<Self, BenchError> {
        let finished = Finished::default();
        let mut lanes = Vec::new();
        for _ in 0..shape.threads {
            let runtime = LaneRuntime::new()?;
            lanes.push(Lane { runtime, senders: Vec::new(), stats: Arc::new(Mutex::new(Stats::default())) });
        }
        progress.set_message("opening runs");
        let mut sessions = Vec::new();
        for index in 0..shape.sessions {
            let followed = index < opener.follows;
            let run =
                opener.open(followed).await.map_err(|error| BenchError::Unexpected(error.to_string()))??;
            sessions.push(Session::new(run, Arc::clone(&opener), Arc::clone(&finished), followed));
        }
        let mut shares: Vec<Vec<Session>> = (0..shape.connections).map(|_| Vec::new()).collect();
        let count = shares.len().max(1);
        for (index, session) in sessions.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(index % count) {
                share.push(session);
            }
        }
        let count = lanes.len().max(1);
        for (index, sessions) in shares.into_iter().enumerate() {
            if let Some(lane) = lanes.get_mut(index % count) {
                lane.senders.push(Sender { wire: Wire::new(&opener.client, key)?, sessions, turn: 0 });
            }
        }
        Ok(Self { shape, lanes, finished, opener, progress, acks })
    }

    /// Runs one step.
    ///
    /// # Errors
    /// If the server will not take batches like these, or fails too often.
    pub(super) async fn step(&mut self, plan: StepPlan) -> Result<Step, BenchError> {
        let per_batch = f64::from(self.shape.events_per_batch);
        let stop = Arc::clone(&self.opener.stop);
        let pace =
            Pace::new(plan.rate.map(|rate| rate / per_batch), plan.warm_up, plan.duration, GRACE, stop);
        let Shape { events_per_batch: batch_events, on_refusal, .. } = self.shape;
        let shared = Arc::new(Shared { pace, batch_events, on_refusal, acks: self.acks.clone() });
        let watched: Vec<_> = self.lanes.iter().map(|lane| Arc::clone(&lane.stats)).collect();
        let driving = std::thread::spawn({
            let (shared, senders) = (Arc::clone(&shared), self.shape.connections as usize);
            move || shared.pace.drive(senders)
        });
        let running: Vec<_> = std::mem::take(&mut self.lanes)
            .into_iter()
            .map(|mut lane| {
                let shared = Arc::clone(&shared);
                tokio::task::spawn_blocking(move || {
                    let cpu = lane.run(&shared);
                    (lane, cpu)
                })
            })
            .collect();
        let lanes = {
            let mut ended = std::pin::pin!(futures_util::future::try_join_all(running));
            loop {
                tokio::select! {
                    ended = &mut ended => break ended.map_err(|error| BenchError::Unexpected(error.to_string()))?,
                    () = tokio::time::sleep(PROGRESS_INTERVAL) => self.show(&watched, plan.rate),
                }
            }
        };
        // It ended with the last sender at the latest.
        drop(driving.join());
        let (mut stats, mut generator_cpu, mut failed) = (Stats::default(), 0.0_f64, None);
        for (lane, cpu) in lanes {
            stats.add(std::mem::take(&mut *lane.stats.lock().unwrap_or_else(PoisonError::into_inner)));
            self.lanes.push(lane);
            match cpu {
                Ok(cpu) => generator_cpu = generator_cpu.max(cpu),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        shared.pace.count_unsent(&mut stats);
        Ok(Step { offered: plan.rate, window: shared.pace.window.length(), stats, generator_cpu, met: None })
    }

    /// Shows the rate and the p99 since it was last shown.
    fn show(&self, watched: &[Arc<Mutex<Stats>>], rate: Option<f64>) {
        let (mut recent, mut events) = (super::stats::histogram(), 0);
        for stats in watched {
            let mut stats = stats.lock().unwrap_or_else(PoisonError::into_inner);
            recent += &stats.recent;
            events += std::mem::take(&mut stats.recent_events);
            stats.recent.reset();
        }
        let offered = rate.map_or_else(String::new, |rate| format!(" of {}", shown_rate(rate)));
        let achieved = shown_rate(per_second(events, PROGRESS_INTERVAL));
        let p99 = micros_as_ms(recent.value_at_quantile(0.99));
        self.progress.inc(u64::try_from(PROGRESS_INTERVAL.as_millis()).unwrap_or(0));
        self.progress.set_message(format!("{achieved}{offered} events/s, p99 {p99:.1} ms"));
    }

    /// Ends all runs and hands them over.
    ///
    /// # Errors
    /// If the server refuses a teardown.
    pub(super) async fn close(self) -> Result<Vec<Run>, BenchError> {
        let mut runs = std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        for lane in self.lanes {
            for session in lane.senders.into_iter().flat_map(|sender| sender.sessions) {
                runs.extend(session.into_runs().await?);
            }
        }
        self.progress.set_message("ending runs");
        for run in &mut runs {
            let ending = run.ending.take().unwrap_or_else(|| self.opener.end(run));
            ending.await.map_err(|error| BenchError::Unexpected(error.to_string()))??;
        }
        Ok(runs)
    }
}
