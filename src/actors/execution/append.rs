//! Appending: what has collected becomes a segment, goes to the store, and is answered and published when it is durable.
//! At most one append of a run is in flight. The store tells its outcome in a task that many runs share, which answers
//! by itself; the actor is woken only if it has more to do, and otherwise sees at its next message that it is over.

use std::sync::Arc;

use smallvec::SmallVec;

use super::actor::{Run, send};
use super::flight::Flight;
use super::message::{Applied, Delivered, Reply};
use super::update;
use crate::actors::error::EngineError;
use crate::actors::feed::{Appended, Telling, Ticket};
use crate::domain::execution::Status;
use crate::domain::segment::{Position, Refusals, Segment};
use crate::limits;
use crate::store::contract::StoreResult;

/// An append that nobody knows the outcome of: whether it is stored will be seen on loading.
pub(super) const LOST_APPEND: EngineError = EngineError::Busy { retry_after_s: 1 };

/// A caller who waits until the first `after` batches are durable: its own is the last of them, or, if it was
/// recognised, the one it repeats is among them.
pub(super) struct Waiting {
    after: u64,
    reply: Reply<Applied>,
    applied: Applied,
    /// Keeps the byte permit until the batch is stored.
    _delivered: Arc<Delivered>,
}

impl Waiting {
    pub(super) fn new(
        after: u64,
        reply: Reply<Applied>,
        applied: Applied,
        delivered: Arc<Delivered>,
    ) -> Self {
        Self { after, reply, applied, _delivered: delivered }
    }

    fn answer(self) {
        send(self.reply, Ok(self.applied));
    }

    /// Answers with the error, unless the caller is better off with another actor: it is not answered then, and comes
    /// again.
    fn refuse(self, error: &EngineError) {
        if !error.is_outpaced() {
            send(self.reply, Err(error.clone()));
        }
    }
}

/// What is to be done when an append is over.
struct Landing {
    flight: Arc<Flight>,
    segment: Arc<Segment>,
    end: Position,
    waiting: SmallVec<[Waiting; 1]>,
    /// Its number in the feed.
    ticket: Option<Ticket>,
    announced: Option<Status>,
    is_told: bool,
}

impl Landing {
    fn land(mut self, outcome: StoreResult<()>) {
        let (waiting, ticket) = (std::mem::take(&mut self.waiting), self.ticket.take());
        match outcome {
            Ok(()) => {
                self.tell(Ok(()));
                waiting.into_iter().for_each(Waiting::answer);
                if let Some(ticket) = ticket {
                    ticket.appended(&self.appended(), || self.telling());
                }
            }
            Err(error) => {
                if let Some(ticket) = ticket {
                    ticket.failed(&error);
                }
                let error = EngineError::from(error);
                self.tell(Err(error.clone()));
                waiting.into_iter().for_each(|one| one.refuse(&error));
            }
        }
    }

    fn tell(&mut self, result: Result<(), EngineError>) {
        self.is_told = true;
        let (end, announced) = (self.end, self.announced);
        self.flight.end(result, |progress| {
            progress.units = end.units;
            progress.results = end.results;
            progress.status = announced.unwrap_or(progress.status);
        });
    }

    fn appended(&self) -> Appended {
        let Segment { execution, start, .. } = *self.segment;
        let (start, end) = ((start.units, start.bytes), (self.end.units, self.end.bytes));
        Appended { execution, start, end, updated: self.announced.is_some() }
    }

    /// What viewers are told of the durable segment: its text, and the status it announced.
    fn telling(&self) -> Option<Telling> {
        let (org, task) = (self.segment.org, self.flight.task()?);
        let body = self.announced.map(|status| update::status(org, &task, status).into());
        let text = self.segment.batches.iter().map(|entry| entry.batch.text.clone()).collect();
        Some(Telling { task, text, body })
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Err(LOST_APPEND));
        }
    }
}

impl Run {
    /// Starts an append of what is waiting, unless one is under way.
    pub(super) fn flush(&mut self) {
        if let Some(result) = self.flight.look()
            && !self.is_stored(result)
        {
            return;
        }
        if self.flight.is_up() {
            return;
        }
        if self.batches.is_empty() {
            // Whoever waits only waited for what is durable by now.
            self.waiting.drain(..).for_each(Waiting::answer);
            return;
        }
        let Some(segment) = self.next_segment() else { return };
        self.append(segment);
    }

    /// The next segment: as many of the waiting batches as fit, and the refusals so far.
    fn next_segment(&mut self) -> Option<Segment> {
        let state = self.loaded.as_mut().ok()?;
        let mut bytes = 0;
        let fits = self.batches.iter().take_while(|taken| {
            bytes += taken.batch.bytes();
            bytes <= limits::SEGMENT_BYTES_MAX
        });
        let count = fits.count().max(1).min(self.batches.len());
        let rest = self.batches.split_off(count);
        let segment = Segment {
            org: self.org,
            execution: self.id,
            epoch: state.epoch,
            seq: state.next_seq,
            start: self.segment_start,
            batches: std::mem::replace(&mut self.batches, rest),
            refusals: std::mem::take(&mut state.unsaved_refusals),
            // Given when it is stored.
            feed_seq: 0,
            is_update: false,
        };
        state.next_seq += 1;
        Some(segment)
    }

    /// Gives the segment its number in the feed and hands it to the store.
    fn append(&mut self, mut segment: Segment) {
        let (Ok(_), Some(numbering)) = (&self.loaded, &self.numbering) else { return };
        let ticket = numbering.reserve();
        let durable = self.taken - self.batches.len() as u64;
        let answered = self.waiting.partition_point(|one| one.after <= durable);
        let announced = if self.batches.is_empty() { self.announced.take() } else { None };
        segment.is_update = announced.is_some();
        segment.feed_seq = ticket.seq();
        self.segment_start = segment.end();
        // More to do afterwards: batches that did not fit, callers who wait for a later one, a closure.
        let is_awaited = self.late || !self.batches.is_empty() || answered < self.waiting.len();
        self.flight.begin(is_awaited);
        let segment = Arc::new(segment);
        let landing = Landing {
            flight: Arc::clone(&self.flight),
            segment: Arc::clone(&segment),
            end: self.segment_start,
            waiting: self.waiting.drain(..answered).collect(),
            ticket: Some(ticket),
            announced,
            is_told: false,
        };
        let store = Arc::clone(&self.deps.store);
        store.submit(segment, Box::new(move |outcome| landing.land(outcome)));
    }

    /// An append is over, or there may be more to do for another reason.
    pub(super) async fn appended(&mut self) {
        self.flush();
        if self.is_to_be_closed_again() {
            self.close_again().await;
        }
    }

    /// Whether something came after the run was closed, and is stored by now.
    pub(super) fn is_to_be_closed_again(&self) -> bool {
        self.late && self.loaded.is_ok() && !self.flight.is_up()
    }

    /// Whether the append was stored. If not, the state has run ahead of the store: it is dropped and loaded anew by the
    /// next message.
    fn is_stored(&mut self, result: Result<(), EngineError>) -> bool {
        let Err(error) = result else { return true };
        tracing::warn!(execution.id = %self.id, %error, "append failed");
        self.batches.clear();
        self.waiting.drain(..).for_each(|one| one.refuse(&error));
        self.loaded = Err(error);
        false
    }

    /// Waits until nothing is in flight and nothing is waiting, refusals included.
    pub(super) async fn quiesce(&mut self) {
        loop {
            while self.flight.is_up() {
                let result = self.flight.outcome().await;
                if self.is_stored(result) {
                    self.appended().await;
                }
            }
            let unsaved =
                self.loaded.as_ref().is_ok_and(|state| state.unsaved_refusals != Refusals::default());
            match unsaved.then(|| self.next_segment()).flatten() {
                Some(segment) => self.append(segment),
                None => return,
            }
        }
    }
}
