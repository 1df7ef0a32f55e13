//! A thread that sends: its connections, each with the sessions it serves in turn, on a runtime of its own. One thread
//! is one core, so its processor time tells whether the generator itself is the limit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

use super::BenchError;
use super::acks::Acks;
use super::pace::Pace;
use super::session::Session;
use super::stats::Stats;
use super::wire::{Outcome, Wire};

/// Batches of one thread whose fate is unknown before the load is given up.
const FAILURES_MAX: u64 = 1_000;
/// Pause after a connection could not be opened.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// A wait is cut into pieces, so that a stop is seen.
const STOP_SEEN_AFTER: Duration = Duration::from_millis(100);

/// What to do with a batch that the server refuses for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnRefusal {
    /// Wait as long as the server asks for and send it again.
    Wait,
    /// Count it, drop it, and go on.
    Count,
}

/// What all senders of a step share.
pub(super) struct Shared {
    /// When to send.
    pub(super) pace: Pace,
    /// Events of a batch.
    pub(super) batch_events: u32,
    /// What to do when refused.
    pub(super) on_refusal: OnRefusal,
    /// Where acknowledgements are noted for viewers, if there are any.
    pub(super) acks: Option<Arc<Acks>>,
}

/// One connection and its sessions.
pub(super) struct Sender {
    /// The connection.
    pub(super) wire: Wire,
    /// Served in turn.
    pub(super) sessions: Vec<Session>,
    /// Whose turn it is.
    pub(super) turn: usize,
}

/// A thread's worth of connections.
pub(super) struct Lane {
    /// Drives the connections; stands still between two steps.
    pub(super) runtime: LaneRuntime,
    /// The connections.
    pub(super) senders: Vec<Sender>,
    /// What they measure; the progress looks in.
    pub(super) stats: Arc<Mutex<Stats>>,
}

/// A runtime for one thread that may be dropped anywhere.
pub(super) struct LaneRuntime(Option<Runtime>);

impl LaneRuntime {
    /// A runtime of its own.
    pub(super) fn new() -> Result<Self, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(BenchError::Runtime)
    }

    /// The runtime, to run something on this thread.
    pub(super) fn get(&self) -> Result<&Runtime, BenchError> {
        self.0.as_ref().ok_or_else(|| BenchError::Unexpected("a runtime that is gone".into()))
    }
}

impl Drop for LaneRuntime {
    fn drop(&mut self) {
        // Waiting for it is not allowed where another runtime runs.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Processor time of this thread, and the share of its core that it is.
pub(super) struct CpuMeter {
    begun: Instant,
    used: Duration,
}

impl CpuMeter {
    /// Begins to measure.
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), used: thread_cpu() }
    }

    /// The share of a core that this thread took since.
    pub(super) fn share(&self) -> f64 {
        let wall = self.begun.elapsed().max(Duration::from_micros(1));
        thread_cpu().saturating_sub(self.used).as_secs_f64() / wall.as_secs_f64()
    }
}

impl Lane {
    /// Sends until the step is over. Blocks. Returns the share of a core that it took.
    pub(super) fn run(&mut self, shared: &Shared) -> Result<f64, BenchError> {
        let cpu = CpuMeter::start();
        let stats = &*self.stats;
        let sending = self.senders.iter_mut().map(|sender| sender.run(shared, stats));
        self.runtime.get()?.block_on(futures_util::future::try_join_all(sending))?;
        Ok(cpu.share())
    }
}

impl Sender {
    async fn run(&mut self, shared: &Shared, stats: &Mutex<Stats>) -> Result<(), BenchError> {
        while let Some(due) = shared.pace.next().await {
            self.turn = (self.turn + 1) % self.sessions.len().max(1);
            let Some(session) = self.sessions.get_mut(self.turn) else { return Ok(()) };
            deliver(&mut self.wire, session, shared, stats, due).await?;
        }
        Ok(())
    }
}

/// Sends one batch that was due at `due`, and books what became of it.
async fn deliver(
    wire: &mut Wire,
    session: &mut Session,
    shared: &Shared,
    stats: &Mutex<Stats>,
    due: Instant,
) -> Result<(), BenchError> {
    let lock = || stats.lock().unwrap_or_else(PoisonError::into_inner);
    let batch = session.batch(shared.batch_events, shared.on_refusal == OnRefusal::Wait).await?;
    let run = &mut session.run;
    let (first, end) = batch.events;
    // A server under pressure may have stored what it says it had no room for.
    let mut doubtful = false;
    loop {
        match wire.send(batch.body.clone()).await {
            Outcome::Acknowledged => {
                run.acknowledged.push(first, end);
                run.batches += 1;
                let (now, bytes) = (Instant::now(), batch.body.len() as u64);
                if let Some(acks) = &shared.acks {
                    acks.note(run.number, end, now);
                }
                lock().acknowledged(&shared.pace.window, due, now, u64::from(end - first), bytes);
                return Ok(());
            }
            Outcome::Refused { status, wait } => {
                run.refusals += 1;
                doubtful |= status == StatusCode::SERVICE_UNAVAILABLE;
                let gives_up = shared.on_refusal == OnRefusal::Count
                    || shared.pace.is_stopped()
                    || Instant::now() + wait > shared.pace.deadline;
                {
                    let mut stats = lock();
                    let tier = status == StatusCode::TOO_MANY_REQUESTS;
                    *(if tier { &mut stats.refused_by_tier } else { &mut stats.refused_by_pressure }) += 1;
                    stats.given_up += u64::from(gives_up);
                }
                if gives_up {
                    if doubtful {
                        run.uncertain.push(first, end);
                    }
                    return Ok(());
                }
                run.retries += 1;
                sleep(wait, &shared.pace).await;
            }
            Outcome::Unusable(answer) => {
                return Err(BenchError::Refused { what: "a batch".into(), answer });
            }
            Outcome::Uncertain(reason) => {
                run.uncertain.push(first, end);
                return failed(&mut lock(), reason);
            }
            Outcome::Unsent(reason) => {
                failed(&mut lock(), reason)?;
                tokio::time::sleep(RECONNECT_PAUSE).await;
                return Ok(());
            }
        }
    }
}

fn failed(stats: &mut Stats, reason: String) -> Result<(), BenchError> {
    stats.uncertain += 1;
    if stats.uncertain > FAILURES_MAX {
        return Err(BenchError::Failures(stats.trouble.take().unwrap_or(reason)));
    }
    stats.note(reason);
    Ok(())
}

async fn sleep(wait: Duration, pace: &Pace) {
    let until = Instant::now() + wait;
    while !pace.is_stopped() && Instant::now() < until {
        tokio::time::sleep(STOP_SEEN_AFTER.min(until.saturating_duration_since(Instant::now()))).await;
    }
}

/// Processor time that this thread has used.
fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(used.tv_sec), u32::try_from(used.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_tells_work_from_waiting() {
        let waiting = CpuMeter::start();
        std::thread::sleep(Duration::from_millis(60));
        assert!(waiting.share() < 0.3, "{}", waiting.share());
        let working = CpuMeter::start();
        while thread_cpu().saturating_sub(working.used) < Duration::from_millis(30) {
            std::hint::black_box(0);
        }
        let (took, share) = (working.begun.elapsed().as_secs_f64(), working.share());
        assert!((share - 0.03 / took).abs() < 0.5 * share, "{share} of {took} s");
    }
}
