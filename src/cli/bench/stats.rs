//! What one step of a load measured.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::numbers::{micros, per_second};

/// Longest latency told apart; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_secs(600);
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// An empty histogram of microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    let bounded = Histogram::new_with_max(micros(LATENCY_MAX), DIGITS);
    bounded.expect("bounds and digits are constants that the histogram allows")
}

/// The part of a step that counts: what arrives before it is warm-up, what arrives after it is not sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Its begin.
    pub(super) begin: Instant,
    /// Its end.
    pub(super) end: Instant,
}

impl Window {
    /// Whether `at` lies in it.
    pub(super) fn contains(&self, at: Instant) -> bool {
        self.begin <= at && at < self.end
    }

    /// Its length.
    pub(super) fn length(&self) -> Duration {
        self.end.saturating_duration_since(self.begin)
    }
}

/// Counters of a step.
#[derive(Debug, Clone)]
pub(super) struct Stats {
    /// Microseconds from when a batch was due (open loop) or sent (closed loop) to its acknowledgement.
    pub(super) latencies: Histogram<u64>,
    /// Batches acknowledged within the window.
    pub(super) batches: u64,
    /// Events in them.
    pub(super) events: u64,
    /// Body bytes of them.
    pub(super) bytes: u64,
    /// Answers 429 in the whole step.
    pub(super) refused_by_tier: u64,
    /// Answers 503 in the whole step.
    pub(super) refused_by_pressure: u64,
    /// Batches given up after a refusal.
    pub(super) given_up: u64,
    /// Batches whose fate is unknown.
    pub(super) uncertain: u64,
    /// Batches that were due and never sent.
    pub(super) unsent: u64,
    /// What went wrong first.
    pub(super) trouble: Option<String>,
    /// Since the progress was last shown.
    pub(super) recent: Histogram<u64>,
    /// Events acknowledged since the progress was last shown.
    pub(super) recent_events: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            latencies: histogram(),
            batches: 0,
            events: 0,
            bytes: 0,
            refused_by_tier: 0,
            refused_by_pressure: 0,
            given_up: 0,
            uncertain: 0,
            unsent: 0,
            trouble: None,
            recent: histogram(),
            recent_events: 0,
        }
    }
}

impl Stats {
    /// Counts a batch that was acknowledged at `now`.
    pub(super) fn acknowledged(
        &mut self,
        window: &Window,
        due: Instant,
        now: Instant,
        events: u64,
        bytes: u64,
    ) {
        let latency = micros(now.saturating_duration_since(due));
        if window.contains(due) {
            self.latencies.saturating_record(latency);
        }
        if window.contains(now) {
            self.batches += 1;
            self.events += events;
            self.bytes += bytes;
        }
        self.recent.saturating_record(latency);
        self.recent_events += events;
    }

    /// Counts a batch that was due and not sent until `given_up`: its latency is at least that.
    pub(super) fn never_sent(&mut self, window: &Window, due: Instant, given_up: Instant) {
        self.unsent += 1;
        if window.contains(due) {
            self.latencies.saturating_record(micros(given_up.saturating_duration_since(due)));
        }
    }

    /// Notes what went wrong, if it is the first.
    pub(super) fn note(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }

    /// Adds what another thread measured in the same step.
    pub(super) fn add(&mut self, other: Self) {
        self.latencies += &other.latencies;
        self.batches += other.batches;
        self.events += other.events;
        self.bytes += other.bytes;
        self.refused_by_tier += other.refused_by_tier;
        self.refused_by_pressure += other.refused_by_pressure;
        self.given_up += other.given_up;
        self.uncertain += other.uncertain;
        self.unsent += other.unsent;
        self.trouble = self.trouble.take().or(other.trouble);
    }
}

/// One step of a load, finished.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Events a second that were due; absent in the closed loop.
    pub(super) offered: Option<f64>,
    /// How long it was measured.
    pub(super) window: Duration,
    /// What was measured.
    pub(super) stats: Stats,
    /// Share of its core that the busiest thread of the generator used.
    pub(super) generator_cpu: f64,
    /// Whether it met the limit, where there is one.
    pub(super) met: Option<bool>,
}

impl Step {
    /// Events a second acknowledged.
    pub(super) fn achieved(&self) -> f64 {
        per_second(self.stats.events, self.window)
    }

    /// A latency in milliseconds.
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        super::numbers::micros_as_ms(self.stats.latencies.value_at_quantile(quantile))
    }

    /// Whether nothing was refused, lost or left unsent.
    pub(super) fn is_clean(&self) -> bool {
        let Stats { refused_by_tier, refused_by_pressure, given_up, uncertain, unsent, .. } = &self.stats;
        refused_by_tier + refused_by_pressure + given_up + uncertain + unsent == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_counts() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let window = Window { begin: at(100), end: at(200) };
        let mut stats = Stats::default();
        stats.acknowledged(&window, at(90), at(110), 5, 50);
        assert_eq!((stats.latencies.len(), stats.events), (0, 5), "due in the warm-up, stored in the window");
        stats.acknowledged(&window, at(190), at(230), 5, 50);
        assert_eq!((stats.latencies.len(), stats.events), (1, 5), "due in the window, stored after it");
        stats.acknowledged(&window, at(110), at(120), 5, 50);
        assert_eq!((stats.latencies.len(), stats.events, stats.batches, stats.bytes), (2, 10, 2, 100));
        stats.never_sent(&window, at(150), at(650));
        assert_eq!(stats.unsent, 1);
        let longest = stats.latencies.max();
        assert!((499_000..=501_000).contains(&longest), "{longest}");
    }
}
