//! Where the segments of a run are, and where it stood at each: 32 bytes a segment.

use super::row::{Claim, Sealed};
use crate::clock::UnixMs;
use crate::domain::execution::Status;
use crate::domain::segment::Position;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::fold::segment::Facts;
use crate::store::fold::text::Cut;

/// A segment of which only the facts were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) epoch: u32,
    pub(super) seq: u64,
    pub(super) hour: i32,
    pub(super) facts: Facts,
}

/// A segment, by where it is and where the run stood before it.
#[derive(Debug, Clone, Copy)]
struct Meta {
    hour: i32,
    results: u32,
    units: u64,
    bytes: u64,
    /// Twice its number in the feed, and one if it is an update.
    feed: u64,
}

/// Where a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) hour: i32,
    pub(super) epoch: u32,
    pub(super) seq: u64,
    /// Where the run stood before it.
    pub(super) start: Position,
}

/// The segments of one epoch: without gaps, the first one's index gives all numbers.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    epoch: u32,
    first: usize,
}

/// What of a run's segments is kept in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct RunIndex {
    metas: Vec<Meta>,
    epochs: Vec<Epoch>,
    /// Where the run stands.
    pub(super) end: Position,
    /// When its newest batch was received; the setup's time without one.
    pub(super) heard_ms: UnixMs,
    /// The status announced last.
    pub(super) announced: Option<Status>,
}

impl RunIndex {
    /// A run without segments.
    pub(super) fn new(opened_ms: UnixMs) -> Self {
        Self { heard_ms: opened_ms, ..Self::default() }
    }

    /// The segments that count of what was found: of sealed epochs up to their ends, of the open one up to the first gap.
    ///
    /// # Errors
    /// `Damaged` if one of a sealed epoch is missing.
    pub(super) fn of(opened_ms: UnixMs, claim: &Claim, mut found: Vec<Read>) -> StoreResult<Self> {
        found.sort_unstable_by_key(|read| (read.epoch, read.seq));
        let mut index = Self::new(opened_ms);
        for Sealed { epoch, last_seq, .. } in &claim.sealed {
            let taken = index.take(&found, *epoch, *last_seq);
            if taken != *last_seq {
                let missing = taken + 1;
                return Err(StoreError::Damaged(format!("segment {missing} of epoch {epoch} is lost")));
            }
        }
        if let Some(epoch) = claim.open_epoch() {
            index.take(&found, epoch, u64::MAX);
        }
        Ok(index)
    }

    /// Adds an epoch's segments up to `last` or the first gap; returns how many.
    fn take(&mut self, found: &[Read], epoch: u32, last: u64) -> u64 {
        let first = found.partition_point(|read| read.epoch < epoch);
        let mut taken = 0;
        for read in found.iter().skip(first) {
            let follows = read.epoch == epoch && read.seq == taken + 1 && read.facts.start == self.end;
            if !follows || taken == last {
                break;
            }
            self.push(read);
            taken += 1;
        }
        taken
    }

    /// Adds the next segment.
    pub(super) fn push(&mut self, read: &Read) {
        if self.epochs.last().is_none_or(|last| last.epoch != read.epoch) {
            self.epochs.push(Epoch { epoch: read.epoch, first: self.metas.len() });
        }
        let Facts { start, end, heard_ms, status, feed_seq, is_update, .. } = read.facts;
        self.metas.push(Meta {
            hour: read.hour,
            results: u32::try_from(start.results).unwrap_or(u32::MAX),
            units: start.units,
            bytes: start.bytes,
            feed: feed_seq << 1 | u64::from(is_update),
        });
        self.end = end;
        self.heard_ms = heard_ms.map_or(self.heard_ms, |heard_ms| heard_ms.max(self.heard_ms));
        self.announced = status.or(self.announced);
    }

    pub(super) fn len(&self) -> usize {
        self.metas.len()
    }

    /// Highest epoch of any segment; 0 without segments.
    pub(super) fn epoch(&self) -> u32 {
        self.epochs.last().map_or(0, |epoch| epoch.epoch)
    }

    /// The last number of an epoch; 0 without segments.
    pub(super) fn last_seq(&self, epoch: u32) -> u64 {
        let last = self.epochs.last().filter(|last| last.epoch == epoch);
        last.map_or(0, |last| (self.metas.len() - last.first) as u64)
    }

    /// The hour of the last segment.
    pub(super) fn last_hour(&self) -> Option<i32> {
        self.metas.last().map(|meta| meta.hour)
    }

    /// The segment with this index.
    pub(super) fn at(&self, index: usize) -> Option<At> {
        let meta = self.metas.get(index)?;
        let epoch = self.epochs.partition_point(|epoch| epoch.first <= index).checked_sub(1)?;
        let Epoch { epoch, first } = *self.epochs.get(epoch)?;
        let start = Position { units: meta.units, bytes: meta.bytes, results: u64::from(meta.results) };
        Some(At { hour: meta.hour, epoch, seq: (index - first) as u64 + 1, start })
    }

    /// All segments from this index on.
    pub(super) fn from(&self, index: usize) -> Vec<At> {
        (index..self.metas.len()).filter_map(|index| self.at(index)).collect()
    }

    /// The index of the segment with this number.
    pub(super) fn index_of(&self, epoch: u32, seq: u64) -> Option<usize> {
        let at = self.epochs.iter().position(|known| known.epoch == epoch)?;
        let first = self.epochs.get(at)?.first;
        let behind = self.epochs.get(at + 1).map_or(self.metas.len(), |next| next.first);
        let index = first.checked_add(usize::try_from(seq.checked_sub(1)?).ok()?)?;
        (index < behind).then_some(index)
    }

    /// The index of the first segment whose epoch and number are above `after`.
    pub(super) fn index_after(&self, after: (u32, u64)) -> usize {
        let below = self.epochs.partition_point(|epoch| epoch.epoch <= after.0);
        let Some(last) = below.checked_sub(1).and_then(|at| self.epochs.get(at)) else { return 0 };
        let behind = self.epochs.get(below).map_or(self.metas.len(), |next| next.first);
        if last.epoch < after.0 {
            return behind;
        }
        last.first.saturating_add(usize::try_from(after.1).unwrap_or(usize::MAX)).min(behind)
    }

    /// The segment that holds the text's byte `bytes`.
    pub(super) fn at_bytes(&self, bytes: u64) -> Option<At> {
        self.at(self.metas.partition_point(|meta| meta.bytes <= bytes).checked_sub(1)?)
    }

    /// The segments that hold the text from `from` up to `to` (UTF-16 units).
    pub(super) fn between_units(&self, from: u64, to: u64) -> Vec<At> {
        let first = self.metas.partition_point(|meta| meta.units <= from).saturating_sub(1);
        let behind = self.metas.partition_point(|meta| meta.units < to).max(first);
        (first..behind).filter_map(|index| self.at(index)).collect()
    }

    /// What the feed tells of each segment: its epoch and number in the feed, where it lies, and whether it is an update.
    pub(super) fn told(&self) -> impl Iterator<Item = (u32, u64, Cut, Cut, bool)> {
        (0..self.metas.len()).filter_map(|index| {
            let at = self.at(index)?;
            let meta = self.metas.get(index)?;
            let end = self
                .metas
                .get(index + 1)
                .map_or((self.end.units, self.end.bytes), |next| (next.units, next.bytes));
            let (start, end) =
                (Cut { units: meta.units, bytes: meta.bytes }, Cut { units: end.0, bytes: end.1 });
            Some((at.epoch, meta.feed >> 1, start, end, meta.feed & 1 == 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(epoch: u32, seq: u64, from: u64, to: u64) -> Read {
        let at = |units| Position { units, bytes: units, results: 0 };
        let facts = Facts { start: at(from), end: at(to), ..Facts::default() };
        Read { epoch, seq, hour: 1, facts }
    }

    fn sealed(epoch: u32, last_seq: u64) -> Sealed {
        Sealed { epoch, last_seq, lane: 0, end: Position::default() }
    }

    #[test]
    fn what_landed_late_under_a_seal_and_behind_a_gap_does_not_exist() {
        let claim = Claim { epoch: 3, sealed: vec![sealed(1, 2), sealed(2, 0)], ..Claim::default() };
        let found = vec![
            read(3, 3, 9, 10),
            read(1, 1, 0, 2),
            read(1, 3, 4, 6),
            read(3, 1, 4, 7),
            read(1, 2, 2, 4),
            read(2, 1, 4, 9),
        ];
        let index = RunIndex::of(5, &claim, found).unwrap();
        let numbers: Vec<_> = index.from(0).iter().map(|at| (at.epoch, at.seq)).collect();
        assert_eq!(numbers, [(1, 1), (1, 2), (3, 1)]);
        assert_eq!((index.end.units, index.epoch(), index.last_seq(3), index.heard_ms), (7, 3, 1, 5));
        assert_eq!(index.index_after((1, 1)), 1);
        assert_eq!(index.index_after((2, 9)), 2);
        assert_eq!((index.index_of(1, 3), index.index_of(3, 1)), (None, Some(2)));
        let between: Vec<_> = index.between_units(1, 4).iter().map(|at| at.start.units).collect();
        assert_eq!(between, [0, 2]);
        assert_eq!(index.at_bytes(6).map(|at| at.seq), Some(1));
    }

    #[test]
    fn a_segment_that_is_missing_under_a_seal_is_damage() {
        let claim = Claim { epoch: 2, sealed: vec![sealed(1, 2)], ..Claim::default() };
        let damaged = RunIndex::of(5, &claim, vec![read(1, 1, 0, 2)]);
        assert!(matches!(damaged, Err(StoreError::Damaged(_))), "{damaged:?}");
    }
}
