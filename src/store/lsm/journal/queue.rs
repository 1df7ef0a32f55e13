//! What waits to be written. Callers put records in from async threads and never wait here; the writer takes all that
//! has gathered at once, when a [`super::gather`] says so, or at once if a thread waits. The bound is not here: a record
//! carries the byte permit of its batch.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

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
    pub(crate) parts: SmallVec<[Bytes; 3]>,
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
    /// Whether the writer is to take what is there.
    released: bool,
    /// Whether somebody is going to release it.
    gathering: bool,
    /// Whether the writer writes, and what comes meanwhile waits for it.
    writing: bool,
    /// Whether the writer sleeps: only then does it have to be woken, which costs a call to the system.
    asleep: bool,
}

impl Queue {
    /// Hands a record to the writer, or back to its waiter if there is none any more. If it is the first of a group,
    /// `true`: whoever put it there must see to it that [`Queue::release`] is called.
    pub(crate) fn put(&self, record: Record, waiter: Waiter) -> bool {
        let mut state = self.lock();
        if let Some(reason) = state.closed.clone() {
            drop(state);
            (record.done)(Err(StoreError::Unavailable(reason)));
            return false;
        }
        state.records.push_back((record, waiter));
        if waiter == Waiter::Thread {
            self.let_go(state);
            return false;
        }
        let begins = !state.released && !state.gathering && !state.writing;
        state.gathering |= begins;
        begins
    }

    /// How many records wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().records.len()
    }

    /// Lets the writer take what is there.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        state.gathering = false;
        if !state.records.is_empty() {
            self.let_go(state);
        }
    }

    fn let_go(&self, mut state: MutexGuard<'_, State>) {
        state.released = true;
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.changed.notify_one();
        }
    }

    /// The writer has written what it took. If something else has come meanwhile, `true`: as with [`Queue::put`].
    pub(crate) fn written(&self) -> bool {
        let mut state = self.lock();
        state.writing = false;
        let begins = !state.records.is_empty() && !state.released && !state.gathering;
        state.gathering |= begins;
        begins
    }

    /// Waits for work; without a limit if `patience` is `None`. At most about `bytes_max`, at least one record.
    pub(crate) fn take(&self, patience: Option<Duration>, bytes_max: usize) -> Work {
        let mut state = self.lock();
        while state.records.is_empty() || !state.released {
            if state.closed.is_some() {
                if state.records.is_empty() {
                    return Work::Ended;
                }
                break;
            }
            state.asleep = true;
            state = match patience {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let (mut state, waited) =
                        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() && state.closed.is_none() {
                        if state.records.is_empty() {
                            return Work::Idle;
                        }
                        // Who was to release them cannot: its runtime stands still.
                        state.released = true;
                    }
                    state
                }
            };
        }
        state.asleep = false;
        state.writing = true;
        let mut bytes = 0;
        let mut group = Vec::with_capacity(state.records.len());
        while let Some((record, _)) = state.records.front() {
            bytes += record.payload_bytes();
            if bytes > bytes_max && !group.is_empty() {
                break;
            }
            group.extend(state.records.pop_front());
        }
        // What does not fit goes next, without waiting for more.
        state.released = !state.records.is_empty();
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
