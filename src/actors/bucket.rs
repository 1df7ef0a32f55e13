//! Token buckets with interval refill: full again at the end of the window that the first counted request opened, so
//! "500 a minute" admits exactly 500 in any one window. A bucket is one atomic; taking from it waits for nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::UnixMs;

/// The limit of a bucket: `capacity` requests per window of `window_ms` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests per window; at most [`Quota::CAPACITY_MAX`].
    pub capacity: u32,
    /// Length of a window in milliseconds.
    pub window_ms: u32,
}

impl Quota {
    /// The largest capacity a bucket can count.
    pub const CAPACITY_MAX: u32 = (1 << 22) - 1;
}

/// What a bucket said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request passes.
    pub admitted: bool,
    /// The quota's capacity.
    pub limit: u32,
    /// Requests left in this window.
    pub remaining: u32,
    /// End of this window; Unix milliseconds.
    pub reset_ms: UnixMs,
}

/// One counter: the window's start in the upper 42 bits (Unix milliseconds), requests so far in the lower 22.
#[derive(Debug, Default)]
pub struct Bucket {
    state: AtomicU64,
}

const COUNT_BITS: u32 = 22;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl Bucket {
    /// Counts one request at `now_ms` and says whether it passes. A refused request is not counted.
    pub fn take(&self, quota: Quota, now_ms: UnixMs) -> Verdict {
        let now = u64::try_from(now_ms).unwrap_or(0);
        let capacity = u64::from(quota.capacity.min(Quota::CAPACITY_MAX));
        let window = u64::from(quota.window_ms);
        let mut verdict = None;
        let step = |state: u64| {
            let (start, count) = (state >> COUNT_BITS, state & COUNT_MASK);
            // A start in the future means that the clock was set back: the window begins anew.
            let expired = state == 0 || now >= start + window || start > now;
            let (start, count) = if expired { (now, 0) } else { (start, count) };
            let admitted = count < capacity;
            let count = if admitted { count + 1 } else { count };
            verdict = Some(Verdict {
                admitted,
                limit: quota.capacity,
                remaining: u32::try_from(capacity - count).unwrap_or(0),
                reset_ms: i64::try_from(start + window).unwrap_or(i64::MAX),
            });
            admitted.then_some(start << COUNT_BITS | count)
        };
        // A refusal leaves the state alone and comes back as an error; either way the verdict is set.
        let _refused = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        verdict.unwrap_or(Verdict { admitted: true, limit: quota.capacity, remaining: 0, reset_ms: now_ms })
    }

    /// What [`Bucket::take`] would say, without counting.
    pub fn peek(&self, quota: Quota, now_ms: UnixMs) -> Verdict {
        let copy = Self { state: AtomicU64::new(self.state.load(Ordering::Acquire)) };
        copy.take(quota, now_ms)
    }

    /// Whether its window has ended: such a bucket is as good as a new one and may be forgotten.
    pub fn is_spent(&self, window_ms: u32, now_ms: UnixMs) -> bool {
        let start = self.state.load(Ordering::Acquire) >> COUNT_BITS;
        u64::try_from(now_ms).unwrap_or(0) >= start + u64::from(window_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { capacity: 3, window_ms: 60_000 };

    #[test]
    fn a_window_admits_exactly_its_capacity_and_opens_with_the_first_request() {
        let bucket = Bucket::default();
        let admitted = |at| bucket.take(QUOTA, at).admitted;
        assert!(admitted(1_000) && admitted(30_000) && admitted(60_999));
        assert_eq!(
            bucket.take(QUOTA, 60_999),
            Verdict { admitted: false, limit: 3, remaining: 0, reset_ms: 61_000 }
        );
        assert_eq!(
            bucket.take(QUOTA, 61_000),
            Verdict { admitted: true, limit: 3, remaining: 2, reset_ms: 121_000 }
        );
    }

    #[test]
    fn threads_share_one_window() {
        let bucket = Bucket::default();
        let quota = Quota { capacity: 500, window_ms: 60_000 };
        let admitted: usize = std::thread::scope(|scope| {
            let count = || (0..400).filter(|_| bucket.take(quota, 5_000).admitted).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(admitted, 500);
    }

    #[test]
    fn a_clock_set_back_opens_a_new_window() {
        let bucket = Bucket::default();
        assert_eq!(bucket.take(QUOTA, 100_000).reset_ms, 160_000);
        assert_eq!(bucket.take(QUOTA, 10_000).reset_ms, 70_000);
    }
}
