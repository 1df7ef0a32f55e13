//! One at a time: what opens, closes, takes back or folds a run holds its name meanwhile.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

/// Names that are held.
#[derive(Debug, Default)]
pub(super) struct Locks {
    held: Mutex<HashSet<Vec<u8>>>,
    freed: Condvar,
}

impl Locks {
    /// Waits until nobody holds `name`, and holds it. Blocks.
    pub(super) fn hold(&self, name: Vec<u8>) -> Held<'_> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.contains(&name) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.insert(name.clone());
        Held { locks: self, name }
    }
}

/// Frees the name when it goes.
pub(super) struct Held<'a> {
    locks: &'a Locks,
    name: Vec<u8>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.locks.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        self.locks.freed.notify_all();
    }
}
