//! What waits to be written. Callers put records in from async threads and never wait here; the writer takes all that
//! has gathered at once. The bound is not here: a record carries the byte permit of its batch.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::file::Place;
use super::frame::Key;
use crate::store::contract::{StoreError, StoreResult};

/// Called on the writer's thread once the record is durable or is known not to be; says whether the record is still
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

/// What the writer is to do next.
pub(crate) enum Work {
    /// Write these, in this order.
    Write(Vec<Record>),
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
    records: VecDeque<Record>,
    closed: Option<String>,
}

impl Queue {
    /// Hands a record to the writer, or back to its waiter if there is none any more.
    pub(crate) fn put(&self, record: Record) {
        let mut state = self.lock();
        match state.closed.clone() {
            None => {
                state.records.push_back(record);
                drop(state);
                self.changed.notify_one();
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
        let mut bytes = 0;
        let mut group = Vec::new();
        while let Some(record) = state.records.front() {
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
        for record in records {
            (record.done)(Err(StoreError::Unavailable(reason.to_owned())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
