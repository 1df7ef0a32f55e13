//! What waits to be written. Callers put records in from async threads and never wait here; the writer takes all that
//! has gathered at once. The bound is not here: a record carries the byte permit of its batch.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::file::Place;
use super::frame::Key;
use crate::store::contract::{StoreError, StoreResult};

/// Called once the record is durable or is known not to be, on the writer's thread or in a task; says whether the record is still
/// needed, so that its file stays until it is released. Must be short.
pub(crate) type Done = Box<dyn FnOnce(StoreResult<Place>) -> bool + Send>;

/// A record on its way to the disk.
pub(crate) struct Record {
    /// Whose it is.
    pub(crate) key: Key,
    /// Its payload, in parts that are copied only once, into the group.
    pub(crate) parts: Vec<Bytes>,
    /// Who waits for it.
    pub(crate) done: Done,
}

impl Record {
    pub(crate) fn payload_bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// Who waits for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A task of the async runtime: it may be told from there.
    Task,
    /// A thread that blocks, perhaps the runtime's only one.
    Thread,
}

/// What the writer is to do next.
pub(crate) enum Work {
    /// Write these, in this order.
    Write(Vec<(Record, Waiter)>),
    /// Nothing has come for a while.
    Idle,
    /// Everything has been taken and nothing will come any more.
    Ended,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: VecDeque<(Record, Waiter)>,
    closed: Option<String>,
    /// Whether the writer sleeps: only then does it have to be woken, which costs a call to the system.
    asleep: bool,
}

impl Queue {
    /// Hands a record to the writer, or back to its waiter if there is none any more.
    pub(crate) fn put(&self, record: Record, waiter: Waiter) {
        let mut state = self.lock();
        match state.closed.clone() {
            None => {
                state.records.push_back((record, waiter));
                let wake = std::mem::take(&mut state.asleep);
                drop(state);
                if wake {
                    self.changed.notify_one();
                }
            }
            Some(reason) => {
                drop(state);
                (record.done)(Err(StoreError::Unavailable(reason)));
            }
        }
    }

    /// Waits for work; without a limit if `patience` is `None`. At most about `bytes_max`, at least one record.
    pub(crate) fn take(&self, patience: Option<Duration>, bytes_max: usize) -> Work {
        let mut state = self.lock();
        while state.records.is_empty() {
            if state.closed.is_some() {
                return Work::Ended;
            }
            state.asleep = true;
            state = match patience {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let (state, waited) =
                        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() && state.records.is_empty() && state.closed.is_none() {
                        return Work::Idle;
                    }
                    state
                }
            };
        }
        state.asleep = false;
        let mut bytes = 0;
        let mut group = Vec::new();
        while let Some((record, _)) = state.records.front() {
            bytes += record.payload_bytes();
            if bytes > bytes_max && !group.is_empty() {
                break;
            }
            group.extend(state.records.pop_front());
        }
        Work::Write(group)
    }

    /// Lets nothing more in. What is in is still taken.
    pub(crate) fn close(&self, reason: &str) {
        self.lock().closed.get_or_insert_with(|| reason.to_owned());
        self.changed.notify_all();
    }

    /// Lets nothing more in and tells everyone who waits.
    pub(crate) fn fail(&self, reason: &str) {
        let mut state = self.lock();
        state.closed = Some(reason.to_owned());
        let records = std::mem::take(&mut state.records);
        drop(state);
        self.changed.notify_all();
        for (record, _) in records {
            (record.done)(Err(StoreError::Unavailable(reason.to_owned())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
