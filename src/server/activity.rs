//! What one connection is doing, as counters that its socket, its requests and its watchdog share. No clock is read on
//! the way of a request: the watchdog compares counters between its ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The counters of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests begun.
    requests: AtomicU64,
    /// Requests whose answer has not been handed to the socket whole.
    in_flight: AtomicU32,
    /// Successful reads of the socket.
    reads: AtomicU64,
    /// `reads` when the last answer was done.
    reads_answered: AtomicU64,
    /// Whether bytes of an answer may still be unwritten.
    answering: AtomicBool,
}

impl Activity {
    /// Counts a request; it is in flight until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.answering.store(true, Ordering::Relaxed);
        InFlight { activity: Arc::clone(self) }
    }

    /// Notes that bytes were read.
    pub(super) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that everything handed to the socket has been written.
    pub(super) fn flushed(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 {
            self.answering.store(false, Ordering::Relaxed);
        }
    }

    /// Whether no request of ours can be what is being written: then it is hyper's own answer to a broken head.
    pub(super) fn is_silent(&self) -> bool {
        !self.answering.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// Whether bytes came since the last answer, so that a request's head is under way.
    fn head_begun(&self) -> bool {
        self.reads.load(Ordering::Relaxed) != self.reads_answered.load(Ordering::Relaxed)
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let reads = self.activity.reads.load(Ordering::Relaxed);
        self.activity.reads_answered.store(reads, Ordering::Relaxed);
        self.activity.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Finds connections that cost a place and do nothing.
#[derive(Debug)]
pub(super) struct Watchdog {
    activity: Arc<Activity>,
    /// How long a request's head may take.
    head_timeout: Duration,
    /// How long a connection may be without a request.
    idle_timeout: Duration,
    requests_seen: u64,
    quiet: Duration,
}

impl Watchdog {
    pub(super) fn new(activity: Arc<Activity>, head_timeout: Duration, idle_timeout: Duration) -> Self {
        Self { activity, head_timeout, idle_timeout, requests_seen: 0, quiet: Duration::ZERO }
    }

    /// How often [`Watchdog::tick`] is to be called.
    pub(super) fn period(&self) -> Duration {
        (self.head_timeout / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
    }

    /// Says whether the connection has been quiet for too long. `multiplexed`: HTTP/2, where bytes between requests
    /// are not the head of one.
    pub(super) fn tick(&mut self, multiplexed: bool) -> bool {
        let requests = self.activity.requests.load(Ordering::Relaxed);
        if !self.activity.is_idle() || requests != self.requests_seen {
            self.requests_seen = requests;
            self.quiet = Duration::ZERO;
            return false;
        }
        self.quiet += self.period();
        let awaiting_head = requests == 0 || (!multiplexed && self.activity.head_begun());
        let limit = if awaiting_head { self.head_timeout.min(self.idle_timeout) } else { self.idle_timeout };
        self.quiet >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(4);
    const IDLE: Duration = Duration::from_secs(10);

    fn ticks_until_quiet(watchdog: &mut Watchdog, multiplexed: bool) -> u32 {
        (1..100).find(|_| watchdog.tick(multiplexed)).unwrap()
    }

    #[test]
    fn a_connection_without_a_request_has_the_time_of_a_head() {
        let mut watchdog = Watchdog::new(Arc::default(), HEAD, IDLE);
        assert_eq!(ticks_until_quiet(&mut watchdog, false), 4);
    }

    #[test]
    fn a_kept_connection_has_the_idle_time_unless_a_head_trickles_in() {
        let activity = Arc::<Activity>::default();
        let mut watchdog = Watchdog::new(Arc::clone(&activity), HEAD, IDLE);
        activity.read();
        drop(activity.begin());
        assert!(!watchdog.tick(false), "a new request restarts the count");
        assert_eq!(ticks_until_quiet(&mut watchdog, false), 10);
        activity.read();
        assert!(watchdog.tick(false), "a head has been under way for longer than it may");
        assert!(watchdog.tick(true), "idle for longer than even that may be");
    }

    #[test]
    fn a_request_in_flight_is_never_quiet() {
        let activity = Arc::<Activity>::default();
        let mut watchdog = Watchdog::new(Arc::clone(&activity), HEAD, IDLE);
        let in_flight = activity.begin();
        assert!((0..50).all(|_| !watchdog.tick(false)));
        drop(in_flight);
        assert_eq!(ticks_until_quiet(&mut watchdog, false), 10);
    }
}
