//! The numbers of a feed: which were given out, what they became, and how far everything is decided. Pure.

use std::collections::VecDeque;

use crate::limits;
use crate::store::contract::FeedRow;

/// The numbers of one feed.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The number that is given out next.
    next: u64,
    /// The last numbers that were given out, from the first of which nothing is known yet on.
    open: VecDeque<Fate>,
    /// The last rows up to the watermark.
    recent: VecDeque<FeedRow>,
    /// All rows above this number, up to the watermark, are in `recent`.
    recent_after: u64,
    /// The last durable number below which nothing is outstanding.
    watermark: u64,
    /// Up to here viewers were told.
    sealed: u64,
    /// Where recent ticks were sealed, ascending.
    boundaries: VecDeque<u64>,
}

/// What became of a number.
#[derive(Debug)]
enum Fate {
    /// It is on its way.
    Unknown,
    /// Nothing has it.
    Void,
    /// A durable row has it.
    Durable(FeedRow),
}

impl Ledger {
    /// A feed of which everything up to `head` is stored and nothing is on its way.
    pub(super) fn at(head: u64) -> Self {
        Self {
            next: head.saturating_add(1),
            open: VecDeque::new(),
            recent: VecDeque::new(),
            recent_after: head,
            watermark: head,
            sealed: head,
            boundaries: VecDeque::new(),
        }
    }

    /// Gives out the next number.
    pub(super) fn reserve(&mut self) -> u64 {
        let seq = self.next;
        self.next = self.next.saturating_add(1);
        self.open.push_back(Fate::Unknown);
        seq
    }

    /// The number is that of something durable, or of nothing.
    pub(super) fn resolve(&mut self, seq: u64, row: Option<FeedRow>) {
        let first = self.next - self.open.len() as u64;
        let place = seq.checked_sub(first).and_then(|place| self.open.get_mut(usize::try_from(place).ok()?));
        let Some(fate @ Fate::Unknown) = place else { return };
        *fate = row.map_or(Fate::Void, Fate::Durable);
        while let Some(fate) = self.open.pop_front() {
            match fate {
                Fate::Unknown => {
                    self.open.push_front(fate);
                    break;
                }
                Fate::Void => {}
                Fate::Durable(row) => {
                    self.watermark = row.seq;
                    self.recent.push_back(row);
                }
            }
        }
        self.trim();
    }

    /// Forgets the oldest rows that nobody waits for.
    fn trim(&mut self) {
        while self.recent.len() > limits::FEED_RECENT_ROWS_MAX
            && self.recent.front().is_some_and(|row| row.seq <= self.sealed)
        {
            self.recent_after = self.recent.pop_front().map_or(self.recent_after, |row| row.seq);
        }
        while self.boundaries.front().is_some_and(|boundary| *boundary <= self.recent_after) {
            self.boundaries.pop_front();
        }
    }

    /// Whether a number is outstanding.
    pub(super) fn is_busy(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn sealed(&self) -> u64 {
        self.sealed
    }

    /// The rows that can be sealed together, about `bytes` of text and at least one; none if they tell nothing.
    pub(super) fn sealable(&self, bytes: u64) -> Vec<FeedRow> {
        let mut taken = 0;
        let first = self.recent.partition_point(|row| row.seq <= self.sealed);
        let rows = self.recent.iter().skip(first).take_while(|row| {
            let is_first = taken == 0;
            taken += text_bytes(row);
            is_first || taken <= bytes
        });
        let rows: Vec<_> = rows.cloned().collect();
        if rows.iter().any(|row| row.updated || text_bytes(row) > 0) { rows } else { Vec::new() }
    }

    /// Viewers are told everything up to the row with this number.
    pub(super) fn seal(&mut self, upto: u64) {
        self.sealed = upto;
        self.boundaries.push_back(upto);
        self.trim();
    }

    /// There are no viewers: everything that can be is sealed.
    pub(super) fn skip(&mut self) {
        self.sealed = self.watermark;
        self.trim();
    }

    /// The first sealed rows above `after` up to `upto`, at most `limit`; `None` if they are not all in memory.
    pub(super) fn rows(&self, after: u64, upto: u64, limit: usize) -> Option<Vec<FeedRow>> {
        if after < self.recent_after {
            return None;
        }
        let first = self.recent.partition_point(|row| row.seq <= after);
        let rows = self.recent.iter().skip(first).take_while(|row| row.seq <= upto.min(self.sealed));
        Some(rows.take(limit).cloned().collect())
    }

    /// The last boundary of a tick above `after` and not above `upto`.
    pub(super) fn boundary(&self, after: u64, upto: u64) -> Option<u64> {
        let behind = self.boundaries.partition_point(|boundary| *boundary <= upto);
        self.boundaries.get(behind.checked_sub(1)?).copied().filter(|boundary| *boundary > after)
    }
}

/// Bytes of text that a row tells.
pub(super) fn text_bytes(row: &FeedRow) -> u64 {
    row.end.1.saturating_sub(row.start.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::ExecutionId;

    fn row(seq: u64) -> FeedRow {
        let execution = ExecutionId::from_bytes([1; 12]);
        FeedRow { seq, execution, start: (seq, seq), end: (seq + 1, seq + 1), updated: false, task: None }
    }

    fn sealed(ledger: &mut Ledger) -> Vec<u64> {
        let rows: Vec<u64> = ledger.sealable(u64::MAX).iter().map(|row| row.seq).collect();
        rows.last().iter().for_each(|last| ledger.seal(**last));
        rows
    }

    #[test]
    fn nothing_is_sealed_above_a_number_that_is_outstanding() {
        let mut ledger = Ledger::at(10);
        let [a, b, c, d] = std::array::from_fn(|_| ledger.reserve());
        assert_eq!([a, b, c, d], [11, 12, 13, 14]);
        ledger.resolve(b, Some(row(b)));
        assert!(sealed(&mut ledger).is_empty());
        assert!(ledger.is_busy());
        ledger.resolve(a, None);
        assert_eq!(sealed(&mut ledger), [12], "a void number is no boundary and holds nothing up");
        ledger.resolve(d, None);
        ledger.resolve(c, Some(row(c)));
        assert_eq!(sealed(&mut ledger), [13]);
        assert!(!ledger.is_busy());
        assert_eq!(ledger.sealed(), 13);
        ledger.resolve(c, Some(row(c)));
        assert!(sealed(&mut ledger).is_empty(), "a number is resolved once");
        assert_eq!(ledger.boundary(10, 100), Some(13));
        assert_eq!(ledger.boundary(10, 12), Some(12));
        assert_eq!((ledger.boundary(12, 12), ledger.boundary(13, 100)), (None, None));
    }

    #[test]
    fn recent_rows_are_bounded_and_what_is_gone_is_not_answered() {
        let mut ledger = Ledger::at(0);
        let count = limits::FEED_RECENT_ROWS_MAX as u64 + 10;
        for _ in 0..count {
            let seq = ledger.reserve();
            ledger.resolve(seq, Some(row(seq)));
            assert_eq!(sealed(&mut ledger), [seq]);
        }
        assert_eq!(ledger.recent.len(), limits::FEED_RECENT_ROWS_MAX);
        assert_eq!(ledger.rows(9, u64::MAX, 1), None);
        assert_eq!(ledger.rows(10, u64::MAX, 1), Some(vec![row(11)]));
        assert_eq!(ledger.rows(count, u64::MAX, 1), Some(vec![]));
        assert_eq!(ledger.rows(count - 3, count - 1, 9).map(|rows| rows.len()), Some(2));
        assert_eq!(ledger.boundary(0, 10), None);
    }

    #[test]
    fn much_text_is_sealed_in_steps_of_at_least_one_row() {
        let mut ledger = Ledger::at(0);
        for _ in 0..5 {
            let seq = ledger.reserve();
            ledger.resolve(seq, Some(row(seq)));
        }
        assert_eq!(ledger.sealable(0).len(), 1);
        assert_eq!(ledger.sealable(3).len(), 3);
        ledger.skip();
        assert_eq!((ledger.sealed(), ledger.sealable(9).len()), (5, 0));
    }

    proptest! {
        #[test]
        fn every_durable_number_is_sealed_once_and_in_order(
            fates in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<bool>()), 1..80),
        ) {
            let mut ledger = Ledger::at(3);
            let (mut open, mut durable, mut told) = (Vec::new(), Vec::new(), Vec::new());
            for (is_durable, which, seals) in fates {
                open.push(ledger.reserve());
                if seals {
                    told.extend(sealed(&mut ledger));
                }
                if open.len() > 3 {
                    let seq = open.swap_remove(which.index(open.len()));
                    ledger.resolve(seq, is_durable.then(|| row(seq)));
                    durable.extend(is_durable.then_some(seq));
                }
                prop_assert!(open.iter().all(|seq| *seq > ledger.sealed()), "sealed over one on its way");
            }
            for seq in open {
                ledger.resolve(seq, Some(row(seq)));
                durable.push(seq);
            }
            told.extend(sealed(&mut ledger));
            durable.sort_unstable();
            prop_assert_eq!(told, durable);
        }
    }
}
