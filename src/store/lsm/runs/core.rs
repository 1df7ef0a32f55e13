//! The parts that keep runs, and how a run is found: in memory while it is not settled, in the rows afterwards.

use std::sync::{Arc, Mutex};

use super::facts::{self, SettledRow};
use super::index::{Index, Located};
use super::keeper::Chores;
use super::keys;
use super::locks::Locks;
use super::results::Collapsed;
use super::rows::{Rows, Table};
use super::storage::StorageUsed;
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Position;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::lsm::failure::FailureLatch;
use crate::store::lsm::journal::{Journal, Key, Kind, Reach};

/// How often a read starts anew when what it reads is moved under its eyes; each run moves a few times in its life.
const READ_TRIES: usize = 16;

/// The parts that keep runs.
pub(super) struct Core {
    pub(super) rows: Arc<dyn Rows>,
    pub(super) journal: Journal,
    pub(super) index: Arc<Index>,
    pub(super) locks: Locks,
    pub(super) chores: Chores,
    pub(super) collapsed: Collapsed,
    pub(super) storage: StorageUsed,
    pub(super) failure: Arc<FailureLatch>,
    /// How far the journal was durable when that was noted last.
    pub(super) reach: Mutex<Option<Reach>>,
    /// The epoch of the feeds.
    pub(super) feed_epoch: u64,
}

/// Where a run's text and results are.
pub(super) enum Found {
    /// In segments.
    Unsettled(Position),
    /// In rows.
    Settled(SettledRow),
    /// Nowhere: the organization has no such run.
    Nowhere,
}

impl Core {
    /// Finds a run. Fails if its text and results are damaged.
    pub(super) fn find(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Found> {
        if let Some(end) = self.index.read(org, execution, |run| run.end)? {
            return Ok(Found::Unsettled(end));
        }
        // A run leaves the index only after its row is there.
        let settled = facts::get(self.rows.as_ref(), Table::Settled, &keys::run(org, execution))?;
        Ok(settled.map_or(Found::Nowhere, Found::Settled))
    }

    /// The stored bytes of a segment; `None` if it has moved since it was located.
    pub(super) fn stored(&self, located: &Located) -> StoreResult<Option<Vec<u8>>> {
        let key = located.key;
        let is_wanted = |found: &Key| {
            found.kind == Kind::Segment
                && (found.org, found.execution) == (key.org, key.execution)
                && (found.epoch, found.seq) == (key.epoch, key.seq)
        };
        match located.segment.place() {
            Some(place) => self.journal.read(place, is_wanted),
            None => self.rows.get(Table::Segments, &keys::segment(key.execution, key.epoch, key.seq)),
        }
    }
}

/// Tries a read until nothing moves under its eyes.
pub(super) fn read_at_rest<T>(mut attempt: impl FnMut() -> StoreResult<Option<T>>) -> StoreResult<T> {
    for _ in 0..READ_TRIES {
        if let Some(read) = attempt()? {
            return Ok(read);
        }
    }
    Err(StoreError::Damaged("a segment of the run is gone".into()))
}
