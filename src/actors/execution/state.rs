//! What an execution actor knows of its run. Pure: no await, no clock, no store. Everything in here follows from the
//! run's stored facts and its segments in order, so an actor that vanished comes back as it was.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use xxhash_rust::xxh3::xxh3_64;

use super::message::{Applied, Refusal};
use super::numbers::AppliedNumbers;
use super::recent::Recent;
use crate::clock::UnixMs;
use crate::domain::batch::{Batch, Item, Receipt};
use crate::domain::execution::{Completeness, Delivery, Execution, Status};
use crate::domain::id::SessionId;
use crate::domain::segment::{Position, Refusals, Segment, SegmentBatch};
use crate::limits;
use crate::store::contract::ClosedRun;

/// The run: its facts, where it stands, and what is needed to judge the next batch.
pub struct RunState {
    /// Facts of the setup; `status` is the current one.
    pub(super) execution: Execution,
    /// Ownership epoch of the segments this process writes.
    pub(super) epoch: u32,
    /// Sequence number of the next segment.
    pub(super) next_seq: u64,
    /// Where the run stands, batches that are still being written included.
    pub(super) position: Position,
    /// The last closure, once there is one.
    pub(super) closure: Option<ClosedRun>,
    /// Refusals that no segment carries yet.
    pub(super) unsaved_refusals: Refusals,
    stream: Stream,
    tests: HashMap<u64, TestState, RandomState>,
    counters: Completeness,
}

/// What the reporter sent. Apart, so that it lies together: every batch is held against it.
struct Stream {
    /// The session that opened the run and feeds it.
    session: SessionId,
    heard_ms: UnixMs,
    recent: Recent,
    numbers: AppliedNumbers,
}

/// What is remembered of a test: enough to number its attempts and to see what is missing.
#[derive(Default, Clone, Copy)]
struct TestState {
    attempts: u32,
    open: bool,
}

/// What a request turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recognised {
    /// Not seen before.
    New,
    /// The engine's own second try of a request that was applied after all.
    SecondTry,
    /// Sent again by the client.
    Replay,
}

impl RunState {
    /// The state right after setup, or, with `closure`, after the run was closed; segments come by
    /// [`RunState::restore`]. Segments written from now on carry `epoch`.
    #[must_use]
    pub fn new(execution: Execution, closure: Option<ClosedRun>, epoch: u32) -> Self {
        let stream = Stream {
            session: execution.ingest.session,
            heard_ms: execution.start_ms,
            recent: Recent::default(),
            numbers: AppliedNumbers::default(),
        };
        Self {
            execution,
            epoch,
            next_seq: 1,
            position: Position::default(),
            closure,
            unsaved_refusals: Refusals::default(),
            stream,
            tests: HashMap::default(),
            counters: Completeness::default(),
        }
    }

    /// Takes in a stored segment.
    pub fn restore(&mut self, mut segment: Segment) {
        self.count_refusals(segment.refusals);
        for batch in &mut segment.batches {
            self.apply(batch);
        }
        self.next_seq = if segment.epoch == self.epoch { segment.seq + 1 } else { 1 };
    }

    /// When the session was last heard of, or `None` if it does not feed this run.
    pub(super) fn last_heard_ms(&self, session: SessionId) -> Option<UnixMs> {
        (self.stream.session == session).then_some(self.stream.heard_ms)
    }

    /// When its session was last heard of.
    pub(super) fn heard_ms(&self) -> UnixMs {
        self.stream.heard_ms
    }

    /// Tells whether a request was applied before: by the client's own number without limit of time, by its bytes
    /// within the replay window. A request is compared by when it arrived, not by when it was applied, so that a
    /// retry of a batch that is still being written is recognised.
    pub fn recognise(&self, session: SessionId, receipt: &Receipt) -> Recognised {
        let stream = &self.stream;
        if stream.session != session {
            return Recognised::New;
        }
        let mut replay = false;
        for seen in stream.recent.with(receipt.digest) {
            if seen.nonce == receipt.nonce {
                return Recognised::SecondTry;
            }
            let age_ms = receipt.received_ms - seen.received_ms;
            replay |= (millis(limits::REPLAY_MIN)..=millis(limits::REPLAY_MAX)).contains(&age_ms);
        }
        if replay || receipt.number.is_some_and(|number| stream.numbers.contains(number)) {
            Recognised::Replay
        } else {
            Recognised::New
        }
    }

    /// Whether it can remember one more batch number.
    pub(super) fn has_room_for_numbers(&self) -> bool {
        self.stream.numbers.has_room()
    }

    /// Applies a batch: numbers its attempts, holds the results cap, moves the position.
    pub fn apply(&mut self, delivered: &mut SegmentBatch) {
        let SegmentBatch { session, receipt, batch } = delivered;
        for index in 0..batch.items.len() {
            self.apply_item(batch, index);
        }
        self.position.units += batch.text_units;
        self.position.bytes += batch.text.len() as u64;
        let counters = &mut self.counters;
        counters.batches_stored += 1;
        counters.events_received += u64::from(batch.received);
        counters.events_stored += u64::from(batch.accepted());
        counters.events_cut += u64::from(batch.truncated);
        counters.events_rejected += u64::from(batch.rejected);
        counters.bytes_received += u64::from(receipt.body_bytes);
        if self.stream.session == *session {
            self.stream.heard(receipt);
        }
    }

    fn apply_item(&mut self, batch: &mut Batch, index: usize) {
        let Some(item) = batch.items.get(index).copied() else { return };
        let changed = match item {
            Item::Log { .. } => return,
            Item::Begin { test, .. } => {
                self.tests.entry(test_key(batch.str_bytes(test))).or_default().open = true;
                return;
            }
            Item::Status { status, .. } => {
                if !self.execution.status.is_final() {
                    self.execution.status = status;
                }
                return;
            }
            Item::End {
                test,
                status,
                duration_ms,
                error,
                timestamp_ms,
                runtime_context,
                extra,
                text_end,
                ..
            } => {
                let known = self.tests.entry(test_key(batch.str_bytes(test))).or_default();
                if !known.open {
                    self.counters.ended_without_begin += 1;
                }
                known.open = false;
                known.attempts += 1;
                let recorded = self.position.results < limits::RESULTS_MAX;
                if recorded {
                    self.position.results += 1;
                    self.counters.failed_attempts += u64::from(status.is_failure());
                } else {
                    self.counters.results_dropped += 1;
                }
                let attempt_count = known.attempts;
                Item::End {
                    test,
                    status,
                    duration_ms,
                    error,
                    timestamp_ms,
                    runtime_context,
                    extra,
                    attempt_count,
                    recorded,
                    text_end,
                }
            }
        };
        if let Some(slot) = batch.items.get_mut(index) {
            *slot = changed;
        }
    }

    /// Counts a request that was not applied.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        let one = match refusal {
            Refusal::Tier => Refusals { tier: 1, ..Refusals::default() },
            Refusal::Pressure => Refusals { pressure: 1, ..Refusals::default() },
            Refusal::Rejected => Refusals { rejected: 1, ..Refusals::default() },
        };
        self.note(one);
    }

    /// Counts a request that was recognised.
    pub(super) fn replayed(&mut self) {
        self.note(Refusals { replayed: 1, ..Refusals::default() });
    }

    fn note(&mut self, refusals: Refusals) {
        self.count_refusals(refusals);
        let unsaved = &mut self.unsaved_refusals;
        unsaved.replayed = unsaved.replayed.saturating_add(refusals.replayed);
        unsaved.tier = unsaved.tier.saturating_add(refusals.tier);
        unsaved.pressure = unsaved.pressure.saturating_add(refusals.pressure);
        unsaved.rejected = unsaved.rejected.saturating_add(refusals.rejected);
    }

    fn count_refusals(&mut self, refusals: Refusals) {
        let counters = &mut self.counters;
        counters.batches_replayed += u64::from(refusals.replayed);
        counters.batches_refused_tier += u64::from(refusals.tier);
        counters.batches_refused_pressure += u64::from(refusals.pressure);
        counters.batches_rejected += u64::from(refusals.rejected);
    }

    /// What arrived and what became of it, as of now.
    pub(super) fn completeness(&self, delivery: Option<Delivery>, orphaned: bool) -> Completeness {
        let begun_without_end = self.tests.values().filter(|test| test.open).count() as u64;
        Completeness {
            log_bytes: self.position.bytes,
            log_units: self.position.units,
            results: self.position.results,
            begun_without_end,
            log_truncated: self.position.bytes > limits::LOG_KEPT_BYTES_MAX,
            delivery,
            orphaned,
            ..self.counters.clone()
        }
    }

    /// The current status: that of the closure once there is one.
    pub(super) fn status(&self) -> Status {
        self.closure.as_ref().map_or(self.execution.status, |closed| closed.status)
    }
}

impl Stream {
    fn heard(&mut self, receipt: &Receipt) {
        self.heard_ms = self.heard_ms.max(receipt.received_ms);
        if let Some(number) = receipt.number {
            self.numbers.insert(number);
        }
        self.recent.push(receipt);
    }
}

/// The answer to a batch.
pub(super) fn answer(batch: &Batch, replayed: bool) -> Applied {
    Applied { accepted: batch.accepted(), truncated: batch.truncated, rejected: batch.rejected, replayed }
}

/// Tests are told apart by a 64-bit hash of their id: 200 000 tests share one with a chance of 1 in 10⁹, and what hangs
/// on it here are counters only.
fn test_key(test_id: &[u8]) -> u64 {
    xxh3_64(test_id)
}

/// A duration in milliseconds.
pub(super) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::tests::fixtures as testing;
    use crate::domain::batch::{BatchNumber, Items, Span, TestStatus};

    const ARRIVED_MS: UnixMs = 1_000_000;

    fn state() -> (RunState, SessionId) {
        let execution = testing::execution();
        let session = execution.ingest.session;
        (RunState::new(execution, None, 1), session)
    }

    fn receipt(digest: u128, nonce: u64, received_ms: UnixMs) -> Receipt {
        Receipt { received_ms, digest, nonce, body_bytes: 10, number: None }
    }

    fn deliver(state: &mut RunState, session: SessionId, receipt: Receipt, batch: Batch) -> Batch {
        let mut delivered = SegmentBatch { session, receipt, batch };
        state.apply(&mut delivered);
        delivered.batch
    }

    fn begin() -> Item {
        let span = Span { start: 0, len: 1 };
        Item::Begin { test: span, title: span, file: span, timestamp_ms: 0, text_end: 0 }
    }

    fn end(status: TestStatus) -> Item {
        Item::End {
            test: Span { start: 0, len: 1 },
            status,
            duration_ms: 1,
            error: None,
            timestamp_ms: 0,
            runtime_context: None,
            extra: None,
            attempt_count: 0,
            recorded: false,
            text_end: 0,
        }
    }

    fn batch(items: Vec<Item>) -> Batch {
        let items = Items::from_vec(items);
        let received = u32::try_from(items.len()).unwrap();
        Batch { strings: "t".into(), items, received, ..Batch::default() }
    }

    #[test]
    fn the_same_bytes_are_a_replay_only_between_nine_tenths_of_a_second_and_thirty_seconds() {
        let (mut state, session) = state();
        deliver(&mut state, session, receipt(7, 1, ARRIVED_MS), Batch::default());
        let recognised = |after_ms| state.recognise(session, &receipt(7, 2, ARRIVED_MS + after_ms));
        assert_eq!(recognised(0), Recognised::New);
        assert_eq!(recognised(899), Recognised::New);
        assert_eq!(recognised(900), Recognised::Replay);
        assert_eq!(recognised(30_000), Recognised::Replay);
        assert_eq!(recognised(30_001), Recognised::New);
        assert_eq!(state.recognise(session, &receipt(8, 2, ARRIVED_MS + 1_000)), Recognised::New);
        assert_eq!(state.recognise(session, &receipt(7, 1, ARRIVED_MS)), Recognised::SecondTry);
        let elsewhere = SessionId::generate();
        assert_eq!(state.recognise(elsewhere, &receipt(7, 2, ARRIVED_MS + 1_000)), Recognised::New);
    }

    #[test]
    fn a_numbered_batch_is_a_replay_however_late_it_comes() {
        let (mut state, session) = state();
        let number = Some(BatchNumber { writer: 1, n: 4 });
        deliver(&mut state, session, Receipt { number, ..receipt(7, 1, ARRIVED_MS) }, Batch::default());
        let late = ARRIVED_MS + 20 * 3_600_000;
        let recognised = |number| state.recognise(session, &Receipt { number, ..receipt(9, 2, late) });
        assert_eq!(recognised(number), Recognised::Replay);
        assert_eq!(recognised(Some(BatchNumber { writer: 1, n: 5 })), Recognised::New);
        assert_eq!(recognised(Some(BatchNumber { writer: 2, n: 4 })), Recognised::New);
    }

    #[test]
    fn attempts_are_numbered_and_what_is_missing_is_counted() {
        let (mut state, session) = state();
        let items = vec![begin(), end(TestStatus::Failed), end(TestStatus::Passed), begin()];
        let applied = deliver(&mut state, session, receipt(1, 1, ARRIVED_MS), batch(items));
        let attempts = applied.items.iter().filter_map(|item| match item {
            Item::End { attempt_count, recorded, .. } => Some((*attempt_count, *recorded)),
            _ => None,
        });
        let attempts: Vec<_> = attempts.collect();
        assert_eq!(attempts, [(1, true), (2, true)]);
        let completeness = state.completeness(None, false);
        assert_eq!(completeness.results, 2);
        assert_eq!(completeness.failed_attempts, 1);
        assert_eq!(completeness.ended_without_begin, 1);
        assert_eq!(completeness.begun_without_end, 1);
        assert_eq!(completeness.events_stored, 4);
    }

    #[test]
    fn results_beyond_the_cap_are_counted_and_not_recorded() {
        let (mut state, session) = state();
        state.position.results = limits::RESULTS_MAX - 1;
        let items = vec![end(TestStatus::Passed), end(TestStatus::Failed)];
        let applied = deliver(&mut state, session, receipt(1, 1, ARRIVED_MS), batch(items));
        assert_eq!(applied.recorded_results(), 1);
        let completeness = state.completeness(None, false);
        assert_eq!((completeness.results, completeness.results_dropped), (limits::RESULTS_MAX, 1));
        assert_eq!(completeness.failed_attempts, 0);
    }

    #[test]
    fn a_run_loaded_from_its_segments_is_the_run_that_wrote_them() {
        let (mut live, session) = state();
        let mut loaded = RunState::new(live.execution.clone(), None, 1);
        for n in 0..4 {
            let start = live.position;
            let items = vec![
                begin(),
                end(TestStatus::Failed),
                Item::Status { status: Status::Analyzing, timestamp_ms: 0 },
            ];
            let text = Batch { text: "é\n".into(), text_units: 2, truncated: 1, ..batch(items) };
            let number = Some(BatchNumber { writer: 3, n });
            let mut one = SegmentBatch {
                session,
                receipt: Receipt {
                    number,
                    ..receipt(u128::from(n), n, ARRIVED_MS + i64::try_from(n).unwrap())
                },
                batch: text,
            };
            live.apply(&mut one);
            live.refuse(Refusal::Tier);
            let refusals = std::mem::take(&mut live.unsaved_refusals);
            let (org, execution) = (live.execution.org, live.execution.id);
            loaded.restore(Segment {
                org,
                execution,
                epoch: 1,
                seq: n + 1,
                start,
                batches: vec![one],
                refusals,
                feed_seq: 0,
                is_update: false,
            });
        }
        live.next_seq = 5;
        assert_eq!(loaded.position, live.position);
        assert_eq!(loaded.next_seq, live.next_seq);
        assert_eq!(loaded.completeness(None, false), live.completeness(None, false));
        assert_eq!(loaded.status(), Status::Analyzing);
        assert_eq!(loaded.last_heard_ms(session), Some(ARRIVED_MS + 3));
        let again = Receipt { number: None, ..receipt(2, 99, ARRIVED_MS + 1_000) };
        assert_eq!(loaded.recognise(session, &again), Recognised::Replay);
    }
}
