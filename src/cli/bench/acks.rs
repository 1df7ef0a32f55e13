//! When each batch was acknowledged, for those who measure how long its text takes to reach them.

use std::time::Instant;

use dashmap::DashMap;

/// Acknowledgements by run: the number before which all events are acknowledged, and when.
#[derive(Debug, Default)]
pub(super) struct Acks {
    runs: DashMap<u32, Vec<(u32, Instant)>>,
}

impl Acks {
    /// Notes that the events of `run` before `end` were acknowledged at `now`.
    pub(super) fn note(&self, run: u32, end: u32, now: Instant) {
        self.runs.entry(run).or_default().push((end, now));
    }

    /// Acknowledgement number `index` of `run`, if there are so many.
    pub(super) fn get(&self, run: u32, index: usize) -> Option<(u32, Instant)> {
        self.runs.get(&run).and_then(|acks| acks.get(index).copied())
    }
}
