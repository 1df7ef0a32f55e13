//! When the next batch is due. In the closed loop that is when a connection is free. In the open loop arrivals come at
//! constant intervals whatever the server does: a batch that had to wait for a connection was due before it was sent,
//! and its latency counts from there (no coordinated omission).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::numbers::whole;
use super::stats::{Stats, Window};

/// The pacing thread wakes at most this often; arrivals in between are let go together.
const WAKE_MIN: Duration = Duration::from_micros(100);
/// And at least this often, to see that it is told to stop.
const WAKE_MAX: Duration = Duration::from_millis(20);

/// Told when the load has to end early.
pub(super) type Stop = std::sync::Arc<AtomicBool>;

/// The pace of one step.
#[derive(Debug)]
pub(super) struct Pace {
    /// The part that counts.
    pub(super) window: Window,
    /// When what is left of the step is given up.
    pub(super) deadline: Instant,
    stop: Stop,
    arrivals: Option<Arrivals>,
}

#[derive(Debug)]
struct Arrivals {
    begin: Instant,
    seconds_between: f64,
    total: u64,
    taken: AtomicU64,
    issued: AtomicU64,
    permits: Semaphore,
}

impl Arrivals {
    fn due(&self, number: u64) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "arrivals of one step are far below 2^52")]
        let seconds = number as f64 * self.seconds_between;
        self.begin + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
    }
}

impl Pace {
    /// A step from now on: `warm_up`, then `duration` that counts, then at most `grace` for what is under way.
    /// `arrivals_per_second` batches become due at constant intervals; `None` is the closed loop.
    pub(super) fn new(
        arrivals_per_second: Option<f64>,
        warm_up: Duration,
        duration: Duration,
        grace: Duration,
        stop: Stop,
    ) -> Self {
        let begin = Instant::now();
        let window = Window { begin: begin + warm_up, end: begin + warm_up + duration };
        let arrivals = arrivals_per_second.map(|rate| Arrivals {
            begin,
            seconds_between: 1.0 / rate,
            total: whole((warm_up + duration).as_secs_f64() * rate).max(1),
            taken: AtomicU64::new(0),
            issued: AtomicU64::new(0),
            permits: Semaphore::new(0),
        });
        Self { window, deadline: window.end + grace, stop, arrivals }
    }

    /// Whether the load has to end early.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until a batch may be sent; returns when it was due. `None` when the step is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        let Some(arrivals) = &self.arrivals else {
            let now = Instant::now();
            return (now < self.window.end && !self.is_stopped()).then_some(now);
        };
        // The semaphore is never closed.
        arrivals.permits.acquire().await.ok()?.forget();
        if self.is_stopped() || Instant::now() >= self.deadline {
            return None;
        }
        let number = arrivals.taken.fetch_add(1, Ordering::Relaxed);
        (number < arrivals.total).then(|| arrivals.due(number))
    }

    /// Lets go the arrivals as they become due; returns when the last one has. Blocks: for a thread of its own.
    /// `senders` is how many wait in [`Pace::next`]; each of them then sees the end.
    pub(super) fn drive(&self, senders: usize) {
        let Some(arrivals) = &self.arrivals else { return };
        let mut issued = 0;
        while issued < arrivals.total && !self.is_stopped() {
            let now = Instant::now();
            let first_due = issued;
            while issued < arrivals.total && arrivals.due(issued) <= now {
                issued += 1;
            }
            arrivals.issued.store(issued, Ordering::Relaxed);
            arrivals.permits.add_permits(usize::try_from(issued - first_due).unwrap_or(0));
            let pause = arrivals.due(issued).saturating_duration_since(Instant::now());
            std::thread::sleep(pause.clamp(WAKE_MIN, WAKE_MAX));
        }
        arrivals.permits.add_permits(senders);
    }

    /// Counts what was due and never sent. For after the step.
    pub(super) fn count_unsent(&self, stats: &mut Stats) {
        let Some(arrivals) = &self.arrivals else { return };
        let (taken, issued) =
            (arrivals.taken.load(Ordering::Relaxed), arrivals.issued.load(Ordering::Relaxed));
        if self.is_stopped() {
            return;
        }
        for number in taken..issued {
            stats.never_sent(&self.window, arrivals.due(number), self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn arrivals_are_due_at_constant_intervals_whoever_takes_them_when() {
        let ms = Duration::from_millis;
        let pace = Pace::new(Some(1_000.0), Duration::ZERO, ms(200), ms(1_000), Stop::default());
        let pace = std::sync::Arc::new(pace);
        let driver = std::sync::Arc::clone(&pace);
        let driving = std::thread::spawn(move || driver.drive(1));
        let mut due = Vec::new();
        while let Some(at) = pace.next().await {
            assert!(at <= Instant::now(), "let go before it was due");
            if due.len() == 50 {
                std::thread::sleep(Duration::from_millis(60));
            }
            due.push(at);
        }
        driving.join().unwrap();
        assert_eq!(due.len(), 200);
        for (first, second) in due.iter().zip(&due[1..]) {
            let micros = second.duration_since(*first).as_micros();
            assert!((999..=1_001).contains(&micros), "{micros}");
        }
    }

    #[tokio::test]
    async fn what_nobody_could_send_counts_with_the_time_it_waited() {
        let pace = Pace::new(
            Some(100.0),
            Duration::ZERO,
            Duration::from_millis(100),
            Duration::from_millis(50),
            Stop::default(),
        );
        pace.drive(1);
        assert!(pace.next().await.is_some());
        std::thread::sleep(Duration::from_millis(80));
        assert_eq!(pace.next().await, None, "past the deadline");
        let mut stats = Stats::default();
        pace.count_unsent(&mut stats);
        assert_eq!(stats.unsent, 9);
        let longest = stats.latencies.max();
        assert!((138_000..=142_000).contains(&longest), "due at 10 ms, given up at 150 ms: {longest}");
    }

    #[tokio::test]
    async fn a_stop_ends_both_loops() {
        let stop = Stop::default();
        let second = Duration::from_secs(1);
        let open = Pace::new(Some(10.0), Duration::ZERO, second, second, std::sync::Arc::clone(&stop));
        let closed = Pace::new(None, Duration::ZERO, second, second, std::sync::Arc::clone(&stop));
        assert!(closed.next().await.is_some());
        stop.store(true, Ordering::Relaxed);
        open.drive(1);
        assert_eq!((open.next().await, closed.next().await), (None, None));
    }
}
