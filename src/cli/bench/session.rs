//! One stream of events: a run at a time, one batch at a time, so that its order is known. Before a run's log outgrows
//! what a server keeps of it, the next run takes over.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::BenchError;
use super::ledger::Run;
use super::opener::Opener;
use crate::limits;

/// Bytes of log text a run may get: the contract keeps 10 MiB of a run, and all of it has to be read back.
const RUN_TEXT_BYTES_MAX: u64 = limits::LOG_KEPT_BYTES_MAX / 10 * 8;
/// From so many bytes on the next run is opened, so that no batch has to wait for it.
const PREPARE_AT_BYTES: u64 = RUN_TEXT_BYTES_MAX / 2;
/// Events a run may get: below what a server records of a run's results.
const RUN_EVENTS_MAX: u32 = 190_000;

const _: () = assert!((RUN_EVENTS_MAX as u64) < limits::RESULTS_MAX);

/// Runs that are over for the load.
pub(super) type Finished = Arc<Mutex<Vec<Run>>>;

/// A batch that is ready to be sent.
pub(super) struct Batch {
    /// Its body.
    pub(super) body: Bytes,
    /// Its events: from the first to before the end.
    pub(super) events: (u32, u32),
}

/// A stream of events.
pub(super) struct Session {
    /// The run that is being fed.
    pub(super) run: Run,
    next: Option<JoinHandle<Result<Run, BenchError>>>,
    opener: Arc<Opener>,
    finished: Finished,
    followed: bool,
    /// Of the last body, so that the next one is allocated once.
    body_bytes: usize,
}

impl Session {
    /// A stream that begins with `run`; `followed` if the live text of its runs is.
    pub(super) fn new(run: Run, opener: Arc<Opener>, finished: Finished, followed: bool) -> Self {
        Self { run, next: None, opener, finished, followed, body_bytes: 4 << 10 }
    }

    /// Makes the next batch of `events` events. With `numbered` it carries a number by which the server knows a batch
    /// that is sent again.
    ///
    /// # Errors
    /// If the next run was needed and could not be opened.
    pub(super) async fn batch(&mut self, events: u32, numbered: bool) -> Result<Batch, BenchError> {
        let mix = Arc::clone(&self.opener.mix);
        let (first, end) = (self.run.next, self.run.next + events);
        let adds: u64 = (first..end).map(|seq| mix.text_bytes(seq)).sum();
        if self.run.text_bytes + adds > RUN_TEXT_BYTES_MAX || end > RUN_EVENTS_MAX {
            self.turn_over().await?;
            return Box::pin(self.batch(events, numbered)).await;
        }
        if self.run.text_bytes > PREPARE_AT_BYTES || end > RUN_EVENTS_MAX / 2 {
            let (opener, followed) = (&self.opener, self.followed);
            self.next.get_or_insert_with(|| opener.open(followed));
        }
        let mut body = Vec::with_capacity(self.body_bytes + self.body_bytes / 8);
        body.extend_from_slice(br#"{"sessionId":""#);
        body.extend_from_slice(self.run.session.as_bytes());
        if numbered {
            body.extend_from_slice(
                format!(r#"","batch":"00000001:{}","events":["#, self.run.made + 1).as_bytes(),
            );
        } else {
            body.extend_from_slice(br#"","events":["#);
        }
        for seq in first..end {
            if seq > first {
                body.push(b',');
            }
            mix.render(self.run.number, seq, &mut body);
        }
        body.extend_from_slice(b"]}");
        self.body_bytes = body.len();
        self.run.next = end;
        self.run.made += 1;
        self.run.text_bytes += adds;
        Ok(Batch { body: body.into(), events: (first, end) })
    }

    /// Ends the run and goes on with the next.
    async fn turn_over(&mut self) -> Result<(), BenchError> {
        let next = self.next.take().unwrap_or_else(|| self.opener.open(self.followed));
        let next = next.await.map_err(|error| BenchError::Unexpected(error.to_string()))??;
        let mut over = std::mem::replace(&mut self.run, next);
        over.ending = Some(self.opener.end(&over));
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).push(over);
        Ok(())
    }

    /// The run that is being fed, and the one that was prepared, if any.
    pub(super) async fn into_runs(self) -> Result<Vec<Run>, BenchError> {
        let mut runs = vec![self.run];
        if let Some(next) = self.next {
            runs.push(next.await.map_err(|error| BenchError::Unexpected(error.to_string()))??);
        }
        Ok(runs)
    }
}
