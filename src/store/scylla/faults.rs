//! What goes wrong on purpose. Tests of what is built on statements stop a process before any of its writes, make one wait
//! there, or lose the answers of conditional statements, on a cluster that is well.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::store::contract::{StoreError, StoreResult};

/// Faults of one session; none until one is asked for.
#[derive(Debug)]
pub struct Faults {
    stop: watch::Sender<Stop>,
    /// Writes since the stop was set.
    writes: AtomicU64,
    /// Every how many conditional statements lose their answer; 0 is never.
    lose_every: AtomicU64,
    conditional: AtomicU64,
}

/// Where a process stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Nowhere,
    /// After so many writes it is gone.
    Dead(u64),
    /// After so many writes the next waits.
    Held(u64),
}

/// What becomes of a conditional statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is sent, and its answer arrives.
    Answered,
    /// It is sent, and its answer is lost.
    Unanswered,
    /// It is lost on its way.
    Unsent,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            stop: watch::Sender::new(Stop::Nowhere),
            writes: AtomicU64::new(0),
            lose_every: AtomicU64::new(0),
            conditional: AtomicU64::new(0),
        }
    }
}

impl Faults {
    /// After `writes` more writes nothing gets through any more, as if the process were gone.
    pub fn die_after(&self, writes: u64) {
        self.set(Stop::Dead(writes));
    }

    /// Whether a write was stopped by [`Faults::die_after`].
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(*self.stop.borrow(), Stop::Dead(writes) if self.writes.load(Ordering::Relaxed) > writes)
    }

    /// After `writes` more writes the next one waits for [`Faults::end`].
    pub fn hold_after(&self, writes: u64) {
        self.set(Stop::Held(writes));
    }

    /// Whether a write waits, after [`Faults::hold_after`].
    #[must_use]
    pub fn is_holding(&self) -> bool {
        matches!(*self.stop.borrow(), Stop::Held(writes) if self.writes.load(Ordering::Relaxed) > writes)
    }

    /// Of every `every` conditional statements one fails without an answer: by turns it has happened, and it has not.
    pub fn lose_answers(&self, every: u64) {
        self.lose_every.store(every, Ordering::Relaxed);
    }

    /// Nothing goes wrong any more; what waits goes on.
    pub fn end(&self) {
        self.lose_every.store(0, Ordering::Relaxed);
        self.set(Stop::Nowhere);
    }

    fn set(&self, stop: Stop) {
        self.writes.store(0, Ordering::Relaxed);
        self.stop.send_replace(stop);
    }

    /// Whether a read gets through.
    pub(super) fn before_read(&self) -> StoreResult<()> {
        if self.is_dead() { Err(gone()) } else { Ok(()) }
    }

    /// Whether a write gets through.
    pub(super) async fn before_write(&self) -> StoreResult<()> {
        let stop = *self.stop.borrow();
        match stop {
            Stop::Nowhere => Ok(()),
            Stop::Dead(writes) if self.writes.fetch_add(1, Ordering::Relaxed) < writes => Ok(()),
            Stop::Held(writes) if self.writes.fetch_add(1, Ordering::Relaxed) < writes => Ok(()),
            Stop::Dead(_) => Err(gone()),
            Stop::Held(_) => {
                let mut stop = self.stop.subscribe();
                let released = stop.wait_for(|stop| *stop == Stop::Nowhere).await;
                released.map(drop).map_err(|_| gone())
            }
        }
    }

    /// What becomes of the next conditional statement.
    pub(super) fn fate(&self) -> Fate {
        let every = self.lose_every.load(Ordering::Relaxed);
        if every == 0 {
            return Fate::Answered;
        }
        let number = self.conditional.fetch_add(1, Ordering::Relaxed);
        match (number % every, (number / every) % 2) {
            (0, 0) => Fate::Unanswered,
            (0, _) => Fate::Unsent,
            _ => Fate::Answered,
        }
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("this process is gone, as a test wanted".into())
}

/// What a statement without an answer fails with.
pub(super) fn unanswered() -> StoreError {
    StoreError::Unavailable("the answer is lost, as a test wanted".into())
}
