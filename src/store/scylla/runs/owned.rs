//! A run that this node owns: its row as it is, and its segments' places.

use std::sync::{Arc, PoisonError, RwLock};

use super::index::{Read, RunIndex};
use super::row::RunRow;
use crate::domain::id::{ExecutionId, OrgId};
use crate::store::scylla::claims::Term;

/// A run that this node owns.
pub(super) struct OwnedRun {
    pub(super) execution: ExecutionId,
    pub(super) org: OrgId,
    /// The life in which this node owns it.
    pub(super) term: Arc<Term>,
    /// Its row: whoever holds this is the only one who changes the run or appends to it.
    pub(super) turn: tokio::sync::Mutex<Turn>,
    known: RwLock<(RunRow, Arc<RunIndex>)>,
}

/// What the one who has the turn knows.
pub(super) struct Turn {
    pub(super) row: RunRow,
    /// It is settled, taken back, or was taken over: nothing is changed any more.
    pub(super) is_over: bool,
    /// The lists do not have the status announced last.
    pub(super) is_list_behind: bool,
}

impl OwnedRun {
    pub(super) fn new(term: Arc<Term>, row: RunRow, index: RunIndex) -> Self {
        let turn = Turn { row: row.clone(), is_over: false, is_list_behind: false };
        Self {
            execution: row.execution,
            org: row.org,
            term,
            turn: tokio::sync::Mutex::new(turn),
            known: RwLock::new((row, Arc::new(index))),
        }
    }

    /// The run as it is.
    pub(super) fn known(&self) -> (RunRow, Arc<RunIndex>) {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn index(&self) -> Arc<RunIndex> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// The row was changed.
    pub(super) fn changed(&self, row: &RunRow) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).0 = row.clone();
    }

    /// A segment is stored.
    pub(super) fn push(&self, read: &Read) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut known.1).push(read);
    }
}

/// Claims of a run are made one at a time; runs share as many turns as there are here.
pub(super) struct Claiming([tokio::sync::Mutex<()>; 256]);

impl Default for Claiming {
    fn default() -> Self {
        Self(std::array::from_fn(|_| tokio::sync::Mutex::default()))
    }
}

impl Claiming {
    pub(super) async fn turn(&self, execution: ExecutionId) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let last = *execution.as_bytes().last()?;
        Some(self.0.get(usize::from(last))?.lock().await)
    }
}
