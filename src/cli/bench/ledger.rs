//! What is known of each run on the sender's side: which events were acknowledged, which may or may not be stored, and
//! which were refused. Numbers are kept as ranges, so a run without trouble costs a few bytes.

use tokio::task::JoinHandle;

use super::follow::Follower;

/// Ascending, disjoint ranges of event numbers, each from its first to before its end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Ranges {
    ranges: Vec<(u32, u32)>,
}

impl Ranges {
    /// Adds `start..end`, which lies behind everything there is.
    pub(super) fn push(&mut self, start: u32, end: u32) {
        match self.ranges.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.ranges.push((start, end)),
        }
    }

    /// Whether `number` is in.
    pub(super) fn contains(&self, number: u32) -> bool {
        self.at_or_after(number) == Some(number)
    }

    /// The first number that is in and not below `number`.
    pub(super) fn at_or_after(&self, number: u32) -> Option<u32> {
        let index = self.ranges.partition_point(|range| range.1 <= number);
        self.ranges.get(index).map(|range| range.0.max(number))
    }

    /// How many numbers are in.
    pub(super) fn count(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(range.1 - range.0)).sum()
    }

    /// All numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|range| range.0..range.1)
    }
}

/// One run and what became of its events.
#[derive(Debug)]
pub(super) struct Run {
    /// Its number within this bench; stands in every event.
    pub(super) number: u32,
    /// Its session.
    pub(super) session: String,
    /// Its name on the server.
    pub(super) task: String,
    /// Number of the next event.
    pub(super) next: u32,
    /// Bytes of log text sent so far, about.
    pub(super) text_bytes: u64,
    /// Acknowledged.
    pub(super) acknowledged: Ranges,
    /// The answer was lost or says nothing about it.
    pub(super) uncertain: Ranges,
    /// Batches made.
    pub(super) made: u64,
    /// Batches acknowledged.
    pub(super) batches: u64,
    /// Refusals answered to its batches, those that were sent again included.
    pub(super) refusals: u64,
    /// Batches sent again after a refusal.
    pub(super) retries: u64,
    /// What a follower of its live text has seen, for the runs that have one.
    pub(super) followed: Option<Follower>,
    /// The teardown that is under way, for runs that ended before the load did.
    pub(super) ending: Option<JoinHandle<Result<(), super::BenchError>>>,
}

impl Run {
    /// A run that has just been opened.
    pub(super) fn new(number: u32, session: String, task: String) -> Self {
        Self {
            number,
            session,
            task,
            next: 0,
            text_bytes: 0,
            acknowledged: Ranges::default(),
            uncertain: Ranges::default(),
            made: 0,
            batches: 0,
            refusals: 0,
            retries: 0,
            followed: None,
            ending: None,
        }
    }

    /// Events that were sent and are known or feared not to be stored.
    pub(super) fn dropped(&self) -> u64 {
        u64::from(self.next) - self.acknowledged.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together_and_are_searched() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.at_or_after(0), None);
        for (start, end) in [(0, 10), (10, 20), (30, 31), (40, 50)] {
            ranges.push(start, end);
        }
        assert_eq!(ranges.ranges, [(0, 20), (30, 31), (40, 50)]);
        assert_eq!(ranges.count(), 31);
        assert_eq!(
            [0, 19, 20, 31, 49, 50].map(|at| ranges.at_or_after(at)),
            [Some(0), Some(19), Some(30), Some(40), Some(49), None]
        );
        assert_eq!([19, 20, 30, 35].map(|at| ranges.contains(at)), [true, false, true, false]);
        assert_eq!(ranges.iter().filter(|at| *at >= 19 && *at < 42).collect::<Vec<_>>(), [19, 30, 40, 41]);
    }
}
