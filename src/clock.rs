//! The only reader of wall time. Everything that asks "what time is it" or "wake me later" takes a [`Clock`],
//! so that expiry, rate windows and token lifetimes are tested by moving a hand instead of by waiting.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Milliseconds since the Unix epoch.
pub type UnixMs = i64;

/// A future that resolves when a [`Clock`] has passed a point in time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A source of wall time and of delays measured on it.
pub trait Clock: Send + Sync + 'static {
    /// The current wall time in Unix milliseconds.
    fn now_ms(&self) -> UnixMs;

    /// Resolves once at least `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads wall time")]
    fn now_ms(&self) -> UnixMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is moved. Sleepers wake when the hand passes their moment.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<watch::Sender<UnixMs>>,
}

impl ManualClock {
    /// A clock that shows `now_ms` (Unix milliseconds).
    #[must_use]
    pub fn at(now_ms: UnixMs) -> Self {
        Self { now: Arc::new(watch::Sender::new(now_ms)) }
    }

    /// Moves the hand forward by `duration` and wakes the sleepers it passes.
    pub fn advance(&self, duration: Duration) {
        let step = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.now.send_modify(|now| *now = now.saturating_add(step));
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> UnixMs {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut hand = self.now.subscribe();
        let wake_ms = self.now_ms().saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
        Box::pin(async move {
            // An error means that the clock itself is gone: nobody can move it any more.
            if hand.wait_for(|now| *now >= wake_ms).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// A source of elapsed time that runs while the machine sleeps and is never set.
pub trait Uptime: Send + Sync + 'static {
    /// Since a fixed moment before the process began.
    fn since_boot(&self) -> Duration;
}

/// The machine's time since it was started.
#[derive(Debug, Default, Clone, Copy)]
pub struct BootClock;

impl Uptime for BootClock {
    fn since_boot(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(now).unwrap_or_default()
    }
}

/// Uptime that stands still until it is moved.
#[derive(Debug, Clone, Default)]
pub struct ManualUptime {
    millis: Arc<std::sync::atomic::AtomicU64>,
}

impl ManualUptime {
    /// Moves it forward.
    pub fn advance(&self, duration: Duration) {
        let step = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.millis.fetch_add(step, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Uptime for ManualUptime {
    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.millis.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_only_when_the_hand_passes_its_moment() {
        let clock = ManualClock::at(1_000);
        let mut sleep = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_millis(1_999));
        assert!(futures_util::poll!(&mut sleep).is_pending());
        clock.advance(Duration::from_millis(1));
        sleep.await;
        assert_eq!(clock.now_ms(), 3_000);
    }
}
