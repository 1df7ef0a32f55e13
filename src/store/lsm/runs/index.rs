//! What is kept in memory of runs that are not settled: where their segments are and where they stand. A few hundred
//! bytes a run and 40 bytes a segment; everything else is on disk.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use tokio::sync::watch;

use super::segment::{Facts, SegmentKey};
use crate::clock::UnixMs;
use crate::domain::execution::Status;
use crate::domain::id::{ExecutionId, OrgId, SessionId};
use crate::domain::segment::{Position, Segment};
use crate::store::contract::{Conflict, FeedRow, OpenRun, RunState, StoreError, StoreResult};
use crate::store::lsm::journal::Place;

/// Where a segment is, and where its run stood before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentRef {
    file: u32,
    position: u32,
    bytes: u32,
    results: u32,
    units: u64,
    text_bytes: u64,
    /// Twice its number in the feed, and one if it is an update.
    feed: u64,
}

/// The number that no journal file has: the segment was moved out of the journal.
const MOVED: u32 = 0;

impl SegmentRef {
    /// A reference to a segment in the journal, or to one that was moved out of it.
    pub(super) fn new(place: Option<Place>, facts: &Facts) -> Self {
        let Place { file, position, bytes } = place.unwrap_or(Place { file: MOVED, position: 0, bytes: 0 });
        let Position { units, bytes: text_bytes, results } = facts.start;
        let results = u32::try_from(results).unwrap_or(u32::MAX);
        let feed = facts.feed_seq << 1 | u64::from(facts.is_update);
        Self { file, position, bytes, results, units, text_bytes, feed }
    }

    /// Its number in the feed; 0 if it is not in it.
    fn feed_seq(&self) -> u64 {
        self.feed >> 1
    }

    /// Where it is in the journal, unless it was moved.
    pub(super) fn place(&self) -> Option<Place> {
        let Self { file, position, bytes, .. } = *self;
        (file != MOVED).then_some(Place { file, position, bytes })
    }

    /// Where the run stood before it.
    pub(super) fn start(&self) -> Position {
        Position { units: self.units, bytes: self.text_bytes, results: u64::from(self.results) }
    }
}

/// A segment and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) key: SegmentKey,
    pub(super) segment: SegmentRef,
    /// Where the run stood after it.
    pub(super) end: Position,
}

/// Segments of one epoch are numbered from 1 without gaps: the first one's index gives all numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Epoch {
    epoch: u32,
    first: u32,
}

/// A run that is not settled.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) org: OrgId,
    pub(super) sessions: Box<[SessionId]>,
    /// When its newest batch was received.
    pub(super) heard_ms: UnixMs,
    pub(super) end: Position,
    /// How often it was closed.
    pub(super) revision: u32,
    /// The status announced last; it counts until the run is closed.
    pub(super) announced: Option<Status>,
    /// Why its text and results cannot be given any more.
    pub(super) damage: Option<Box<str>>,
    epochs: Vec<Epoch>,
    segments: Vec<SegmentRef>,
    /// Whether a record is on its way to the disk.
    pending: bool,
    /// Goes when that record has arrived there or was refused; made for the first who waits for it.
    awaited: Option<watch::Sender<()>>,
    /// Whether it is being folded: its segments are fixed.
    settling: bool,
}

impl Run {
    pub(super) fn new(org: OrgId, sessions: Vec<SessionId>, heard_ms: UnixMs) -> Self {
        Self {
            org,
            sessions: sessions.into(),
            heard_ms,
            end: Position::default(),
            revision: 0,
            announced: None,
            damage: None,
            epochs: Vec::new(),
            segments: Vec::new(),
            pending: false,
            awaited: None,
            settling: false,
        }
    }

    /// How far it has come.
    pub(super) fn state(&self) -> RunState {
        if self.revision == 0 { RunState::Open } else { RunState::Closed }
    }

    /// Epoch and number of the last segment; zeros without segments.
    pub(super) fn last(&self) -> (u32, u64) {
        self.epochs.last().map_or((0, 0), |epoch| {
            (epoch.epoch, self.segments.len().saturating_sub(epoch.first as usize) as u64)
        })
    }

    /// Whether a segment with this number and start is the next one.
    pub(super) fn is_continued_by(&self, epoch: u32, seq: u64, start: Position) -> bool {
        let last = self.last();
        let follows = if epoch == last.0 { seq == last.1 + 1 } else { epoch > last.0 && seq == 1 };
        follows && start == self.end
    }

    /// Adds the next segment.
    pub(super) fn push(&mut self, epoch: u32, place: Option<Place>, facts: &Facts) {
        if self.epochs.last().is_none_or(|last| last.epoch != epoch) {
            let first = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
            self.epochs.push(Epoch { epoch, first });
        }
        self.segments.push(SegmentRef::new(place, facts));
        self.end = facts.end;
        self.heard_ms = facts.heard_ms.map_or(self.heard_ms, |heard_ms| heard_ms.max(self.heard_ms));
        self.announced = facts.status.or(self.announced);
    }

    /// The segment with this index.
    pub(super) fn located(&self, execution: ExecutionId, index: usize) -> Option<Located> {
        let segment = *self.segments.get(index)?;
        let end = self.segments.get(index + 1).map_or(self.end, SegmentRef::start);
        let at = self.epochs.partition_point(|epoch| epoch.first as usize <= index).checked_sub(1)?;
        let Epoch { epoch, first } = *self.epochs.get(at)?;
        let seq = (index - first as usize) as u64 + 1;
        Some(Located { key: SegmentKey { org: self.org, execution, epoch, seq }, segment, end })
    }

    /// The index of the segment with this number.
    fn index_of(&self, epoch: u32, seq: u64) -> Option<usize> {
        let at = self.epochs.iter().position(|known| known.epoch == epoch)?;
        let first = self.epochs.get(at)?.first as usize;
        let behind = self.epochs.get(at + 1).map_or(self.segments.len(), |next| next.first as usize);
        let index = first.checked_add(usize::try_from(seq.checked_sub(1)?).ok()?)?;
        (index < behind).then_some(index)
    }

    /// The index of the first segment whose epoch and number are above `after`.
    pub(super) fn index_after(&self, after: (u32, u64)) -> usize {
        let below = self.epochs.partition_point(|epoch| epoch.epoch <= after.0);
        let Some(at) = below.checked_sub(1) else { return 0 };
        let Some(Epoch { epoch, first }) = self.epochs.get(at).copied() else { return 0 };
        let behind = self.epochs.get(below).map_or(self.segments.len(), |next| next.first as usize);
        if epoch < after.0 {
            return behind;
        }
        (first as usize).saturating_add(usize::try_from(after.1).unwrap_or(usize::MAX)).min(behind)
    }

    /// The index of the segment that holds the text at `units`, which must be below the run's end.
    pub(super) fn index_at_units(&self, units: u64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.units <= units).checked_sub(1)
    }

    /// The index of the segment that holds the text's byte `bytes`, which must be below the run's end.
    pub(super) fn index_at_bytes(&self, bytes: u64) -> Option<usize> {
        self.segments.partition_point(|segment| segment.text_bytes <= bytes).checked_sub(1)
    }

    /// Adds the run's rows of the feed above `after` and up to `upto` to `rows`, at most `limit`.
    fn feed_rows(
        &self,
        execution: ExecutionId,
        (after, upto): (u64, u64),
        limit: usize,
        rows: &mut Vec<FeedRow>,
    ) {
        let first = self.segments.partition_point(|segment| segment.feed_seq() <= after);
        let above = self.segments.iter().enumerate().skip(first).take(limit);
        for (index, segment) in above.take_while(|(_, segment)| segment.feed_seq() <= upto) {
            let end = self.segments.get(index + 1).map_or(self.end, SegmentRef::start);
            rows.push(FeedRow {
                seq: segment.feed_seq(),
                execution,
                start: (segment.units, segment.text_bytes),
                end: (end.units, end.bytes),
                updated: segment.feed & 1 == 1,
                task: None,
            });
        }
    }

    pub(super) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Where its segments from this index on are in the journal.
    pub(super) fn places(&self, first: usize) -> impl Iterator<Item = Place> {
        self.segments.get(first..).unwrap_or_default().iter().filter_map(SegmentRef::place)
    }

    /// The first of its segments that is still in the journal. Segments move out oldest first.
    fn first_in_journal(&self) -> Option<(usize, Place)> {
        let index = self.segments.partition_point(|segment| segment.file == MOVED);
        Some((index, self.segments.get(index)?.place()?))
    }

    /// Resolves, with an error, when the record that is on its way has arrived or was refused.
    fn arrival(&mut self) -> watch::Receiver<()> {
        self.awaited.get_or_insert_default().subscribe()
    }

    fn readable(&self) -> StoreResult<()> {
        match &self.damage {
            Some(damage) => Err(StoreError::Damaged(damage.to_string())),
            None => Ok(()),
        }
    }
}

/// What to do with a segment that is to be appended.
pub(super) enum Admission {
    /// Write it, and say so when it has arrived or was refused.
    Write {
        /// How often the run was closed.
        revision: u32,
    },
    /// Another record of the run is on its way: wait for it and ask again.
    Wait(watch::Receiver<()>),
    /// There is one with its number: compare.
    Compare(Located),
}

/// The runs that are not settled.
#[derive(Default)]
pub(super) struct Index {
    runs: DashMap<ExecutionId, Run, RandomState>,
}

impl Index {
    /// Adds a run.
    pub(super) fn add(&self, execution: ExecutionId, run: Run) {
        self.runs.insert(execution, run);
    }

    /// Takes a run out.
    pub(super) fn take(&self, execution: ExecutionId) -> Option<Run> {
        self.runs.remove(&execution).map(|(_, run)| run)
    }

    pub(super) fn count(&self) -> usize {
        self.runs.len()
    }

    /// What `look` sees of the organization's run; `None` if there is no such unsettled run.
    pub(super) fn look<T>(
        &self,
        org: OrgId,
        execution: ExecutionId,
        look: impl FnOnce(&Run) -> T,
    ) -> Option<T> {
        self.runs.get(&execution).filter(|run| run.org == org).map(|run| look(&run))
    }

    /// As [`Index::look`], for reading text or results: fails if they are damaged.
    pub(super) fn read<T>(
        &self,
        org: OrgId,
        execution: ExecutionId,
        look: impl FnOnce(&Run) -> T,
    ) -> StoreResult<Option<T>> {
        self.look(org, execution, |run| run.readable().map(|()| look(run))).transpose()
    }

    /// Changes the organization's run.
    pub(super) fn change<T>(
        &self,
        org: OrgId,
        execution: ExecutionId,
        change: impl FnOnce(&mut Run) -> T,
    ) -> Option<T> {
        self.runs.get_mut(&execution).filter(|run| run.org == org).map(|mut run| change(&mut run))
    }

    /// Decides about an append and, if it is to be written, lets no other record of the run in meanwhile.
    pub(super) fn admit(&self, segment: &Segment) -> StoreResult<Admission> {
        let conflict = Err(StoreError::Conflict(Conflict::SegmentSequence));
        let Entry::Occupied(mut entry) = self.runs.entry(segment.execution) else { return conflict };
        let run = entry.get_mut();
        if run.org != segment.org {
            return conflict;
        }
        run.readable()?;
        if run.pending {
            return Ok(Admission::Wait(run.arrival()));
        }
        if let Some(index) = run.index_of(segment.epoch, segment.seq) {
            return run
                .located(segment.execution, index)
                .map_or(conflict, |found| Ok(Admission::Compare(found)));
        }
        if run.settling || !run.is_continued_by(segment.epoch, segment.seq, segment.start) {
            return conflict;
        }
        run.pending = true;
        Ok(Admission::Write { revision: run.revision })
    }

    /// The record that was on its way has arrived, or was refused. Returns whether the run still needs it.
    pub(super) fn arrived(&self, key: &SegmentKey, outcome: Option<(Place, &Facts)>) -> bool {
        let Some(mut run) = self.runs.get_mut(&key.execution) else { return false };
        run.pending = false;
        run.awaited = None;
        match outcome {
            Some((place, facts)) => {
                run.push(key.epoch, Some(place), facts);
                true
            }
            None => false,
        }
    }

    /// Fixes the run's segments so that they can be folded: `None` if it is unknown or open, `Err` with the record to
    /// wait for if one is on its way.
    pub(super) fn begin_settle(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> StoreResult<Option<Result<usize, watch::Receiver<()>>>> {
        self.change(org, execution, |run| {
            run.readable()?;
            if run.revision == 0 {
                return Ok(None);
            }
            if run.pending {
                return Ok(Some(Err(run.arrival())));
            }
            run.settling = true;
            Ok(Some(Ok(run.segments.len())))
        })
        .unwrap_or(Ok(None))
    }

    /// Folding was cut off: the run accepts segments again.
    pub(super) fn end_settle(&self, org: OrgId, execution: ExecutionId) {
        self.change(org, execution, |run| run.settling = false);
    }

    pub(super) fn contains(&self, execution: ExecutionId) -> bool {
        self.runs.contains_key(&execution)
    }

    /// The segments of readable runs in this journal file. Segments in older files have moved out before.
    pub(super) fn in_file(&self, file: u32) -> Vec<Located> {
        let mut found = Vec::new();
        for entry in &self.runs {
            let run = entry.value();
            let Some((first, place)) = run.first_in_journal() else { continue };
            if place.file == file {
                let in_file = (first..run.segments.len()).map_while(|index| run.located(*entry.key(), index));
                found.extend(
                    in_file.take_while(|found| found.segment.place().is_some_and(|place| place.file == file)),
                );
            }
        }
        found
    }

    /// The segment is now found outside the journal. Returns whether the run still knew it there.
    pub(super) fn moved(&self, key: &SegmentKey) -> Option<Place> {
        let mut run = self.runs.get_mut(&key.execution)?;
        let index = run.index_of(key.epoch, key.seq)?;
        let segment = run.segments.get_mut(index)?;
        let place = segment.place()?;
        segment.file = MOVED;
        Some(place)
    }

    /// The highest number in the feed that a segment of an unsettled run of the organization has.
    pub(super) fn feed_head(&self, org: OrgId) -> u64 {
        let runs = self.runs.iter().filter(|run| run.org == org);
        runs.filter_map(|run| run.segments.last().map(SegmentRef::feed_seq)).max().unwrap_or(0)
    }

    /// The first rows of the organization's feed above `after` that are segments of unsettled runs, at most `limit`.
    pub(super) fn feed_rows(&self, org: OrgId, after: u64, limit: usize) -> Vec<FeedRow> {
        let mut rows: Vec<FeedRow> = Vec::new();
        let mut upto = u64::MAX;
        for run in self.runs.iter().filter(|run| run.org == org) {
            run.feed_rows(*run.key(), (after, upto), limit, &mut rows);
            // Many runs of which each has many rows: once there are enough, later ones need not be looked at.
            if rows.len() >= limit.saturating_mul(2) {
                rows.sort_unstable_by_key(|row| row.seq);
                rows.truncate(limit);
                upto = rows.last().map_or(upto, |row| row.seq);
            }
        }
        rows.sort_unstable_by_key(|row| row.seq);
        rows.truncate(limit);
        rows
    }

    /// Every run, as found at start.
    pub(super) fn open_runs(&self) -> Vec<OpenRun> {
        let describe = |entry: dashmap::mapref::multiple::RefMulti<'_, ExecutionId, Run>| {
            let run = entry.value();
            OpenRun {
                org: run.org,
                execution: *entry.key(),
                state: run.state(),
                sessions: run.sessions.to_vec(),
                epoch: run.last().0,
                last_heard_ms: run.heard_ms,
            }
        };
        self.runs.iter().map(describe).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(start: Position, units: u64) -> Facts {
        let end =
            Position { units: start.units + units, bytes: start.bytes + units, results: start.results + 1 };
        Facts { start, end, feed_seq: start.units + 1, ..Facts::default() }
    }

    /// Three segments of epoch 1, two of epoch 4; the third is empty.
    fn run() -> Run {
        let mut run = Run::new(OrgId::from_bytes([1; 12]), Vec::new(), 0);
        for (epoch, units) in [(1, 10), (1, 10), (1, 0), (4, 10), (4, 10)] {
            let position = u32::try_from(run.segments.len()).unwrap();
            run.push(epoch, Some(Place { file: 9, position, bytes: 1 }), &facts(run.end, units));
        }
        run
    }

    #[test]
    fn a_segment_costs_40_bytes() {
        assert_eq!(size_of::<SegmentRef>(), 40);
        assert!(size_of::<Run>() <= 256, "{}", size_of::<Run>());
    }

    #[test]
    fn numbers_and_places_are_found_both_ways() {
        let run = run();
        let numbers = [(1, 1), (1, 2), (1, 3), (4, 1), (4, 2)];
        for (index, number) in numbers.into_iter().enumerate() {
            let located = run.located(ExecutionId::from_bytes([2; 12]), index).unwrap();
            assert_eq!((located.key.epoch, located.key.seq), number);
            assert_eq!(run.index_of(number.0, number.1), Some(index));
            assert_eq!(run.index_after(number), index + 1);
        }
        for absent in [(1, 0), (1, 4), (4, 3), (2, 1), (5, 1)] {
            assert_eq!(run.index_of(absent.0, absent.1), None, "{absent:?}");
        }
        assert_eq!(
            [(0, 0), (1, 0), (1, 9), (3, 1), (4, 0), (5, 0)].map(|after| run.index_after(after)),
            [0, 0, 3, 3, 3, 5]
        );
        assert_eq!(
            [0, 9, 10, 19, 20, 39].map(|units| run.index_at_units(units)),
            [0, 0, 1, 1, 3, 4].map(Some)
        );
        assert_eq!(run.last(), (4, 2));
    }

    #[test]
    fn only_the_next_segment_continues_a_run() {
        let run = run();
        assert!(run.is_continued_by(4, 3, run.end));
        assert!(run.is_continued_by(5, 1, run.end));
        for (epoch, seq) in [(4, 2), (4, 4), (5, 2), (3, 1), (1, 4)] {
            assert!(!run.is_continued_by(epoch, seq, run.end), "{epoch} {seq}");
        }
        assert!(!run.is_continued_by(4, 3, Position { units: 39, ..run.end }));
    }
}
