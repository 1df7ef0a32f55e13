//! Which client batch numbers a session has applied (addition E6). Numbers of a writer mostly arrive in order, so they
//! are kept as ranges: a writer without gaps costs one range however long it writes.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::domain::batch::BatchNumber;
use crate::limits;

/// The applied numbers of one session.
#[derive(Debug, Default)]
pub(super) struct AppliedNumbers {
    /// The range of the number that came last, if it is the highest of its writer. Mostly the next number continues it:
    /// then nothing else need be looked at.
    latest: Option<Latest>,
    /// All others, per writer: first number of a range → its last number.
    writers: HashMap<u32, BTreeMap<u64, u64>, RandomState>,
    /// How many of these there are.
    ranges: usize,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    writer: u32,
    first: u64,
    last: u64,
}

impl AppliedNumbers {
    /// Whether the number has been applied.
    pub(super) fn contains(&self, number: BatchNumber) -> bool {
        if let Some(latest) = &self.latest
            && number.writer == latest.writer
            && number.n >= latest.first
        {
            return number.n <= latest.last;
        }
        let range = self.writers.get(&number.writer).and_then(|ranges| ranges.range(..=number.n).next_back());
        range.is_some_and(|(_, last)| number.n <= *last)
    }

    /// Whether one more number can be remembered whatever it is.
    pub(super) fn has_room(&self) -> bool {
        self.range_count() < limits::BATCH_NUMBER_RANGES_MAX
    }

    fn range_count(&self) -> usize {
        self.ranges + usize::from(self.latest.is_some())
    }

    /// Remembers a number.
    pub(super) fn insert(&mut self, number: BatchNumber) {
        if let Some(latest) = &mut self.latest
            && number.writer == latest.writer
            && latest.last.checked_add(1) == Some(number.n)
        {
            latest.last = number.n;
            return;
        }
        if self.contains(number) {
            return;
        }
        if let Some(Latest { writer, first, last }) = self.latest.take() {
            self.writers.entry(writer).or_default().insert(first, last);
            self.ranges += 1;
        }
        let ranges = self.writers.entry(number.writer).or_default();
        let before = ranges.len();
        let joins_next = number.n.checked_add(1).and_then(|next| ranges.remove(&next));
        let last = joins_next.unwrap_or(number.n);
        let previous = ranges.range(..number.n).next_back().map(|(first, last)| (*first, *last));
        match previous {
            Some((first, previous_last)) if previous_last.checked_add(1) == Some(number.n) => {
                ranges.insert(first, last);
            }
            _ => {
                ranges.insert(number.n, last);
            }
        }
        if let Some(highest) = ranges.last_entry().filter(|range| *range.get() == last) {
            self.latest = Some(Latest { writer: number.writer, first: *highest.key(), last });
            highest.remove();
        }
        self.ranges = self.ranges + ranges.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn number(writer: u32, n: u64) -> BatchNumber {
        BatchNumber { writer, n }
    }

    #[test]
    fn numbers_in_order_cost_one_range_and_gaps_close() {
        let mut applied = AppliedNumbers::default();
        (0..1_000).for_each(|n| applied.insert(number(1, n)));
        assert_eq!(applied.range_count(), 1);
        applied.insert(number(1, 1_002));
        assert_eq!(applied.range_count(), 2);
        applied.insert(number(1, 1_000));
        applied.insert(number(1, 1_001));
        assert_eq!(applied.range_count(), 1);
        assert!(applied.contains(number(1, 1_002)) && !applied.contains(number(1, 1_003)));
        assert!(!applied.contains(number(2, 0)));
    }

    proptest::proptest! {
        #[test]
        fn a_set_of_numbers_and_the_ranges_agree(numbers in proptest::collection::vec((0_u32..3, 0_u64..40), 0..200)) {
            let mut applied = AppliedNumbers::default();
            let mut set = HashSet::new();
            for (writer, n) in numbers {
                proptest::prop_assert_eq!(applied.contains(number(writer, n)), set.contains(&(writer, n)));
                applied.insert(number(writer, n));
                set.insert((writer, n));
            }
            for writer in 0..3 {
                for n in 0..40 {
                    proptest::prop_assert_eq!(applied.contains(number(writer, n)), set.contains(&(writer, n)));
                }
            }
            let runs = set.iter().filter(|(writer, n)| *n == 0 || !set.contains(&(*writer, n - 1))).count();
            proptest::prop_assert_eq!(applied.range_count(), runs);
        }

        #[test]
        fn the_largest_number_is_like_any_other(first in u64::MAX - 3..=u64::MAX) {
            let mut applied = AppliedNumbers::default();
            applied.insert(number(0, first));
            applied.insert(number(0, u64::MAX));
            proptest::prop_assert!(applied.contains(number(0, u64::MAX)) && applied.contains(number(0, first)));
        }
    }
}
