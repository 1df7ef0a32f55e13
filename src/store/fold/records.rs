//! Facts of a run as they are stored: opened, taken back, closed, settled.

use serde::{Deserialize, Serialize};

use super::feed::FeedRecord;
use super::text::Gap;
use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, SessionId, TaskId};
use crate::domain::segment::Position;
use crate::store::contract::{ClosedRun, OpenedRun, StoreResult};
use crate::store::record;

/// Stored form of [`OpenedRun`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::store) struct OpenedRecord {
    pub(in crate::store) execution: Execution,
    pub(in crate::store) cycle: Cycle,
    pub(in crate::store) session: Session,
    /// Added by the second version.
    #[serde(skip)]
    pub(in crate::store) feed_seq: u64,
}

impl From<OpenedRun> for OpenedRecord {
    fn from(OpenedRun { execution, cycle, session, feed_seq }: OpenedRun) -> Self {
        Self { execution, cycle, session, feed_seq }
    }
}

impl OpenedRecord {
    pub(in crate::store) fn to_bytes(&self) -> StoreResult<Vec<u8>> {
        record::encode_with(self, &self.feed_seq)
    }

    pub(in crate::store) fn read(bytes: &[u8]) -> StoreResult<Self> {
        let (opened, feed_seq) = record::decode_with(bytes)?;
        Ok(Self { feed_seq, ..opened })
    }
}

/// Stored form of a run that is taken back: what finds its rows, however many of them a crash has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct AbandonedRecord {
    pub(in crate::store) task: TaskId,
    pub(in crate::store) session: SessionId,
    pub(in crate::store) start_ms: UnixMs,
    /// Added by the second version.
    #[serde(skip)]
    pub(in crate::store) feed_seq: u64,
}

impl AbandonedRecord {
    /// The taking back of this run.
    pub(in crate::store) fn of(execution: &Execution, feed_seq: u64) -> Self {
        let Execution { task_id, ingest, start_ms, .. } = execution;
        Self { task: task_id.clone(), session: ingest.session, start_ms: *start_ms, feed_seq }
    }

    /// What the feed tells of it.
    pub(in crate::store) fn told(&self, execution: ExecutionId) -> FeedRecord {
        FeedRecord::update(execution, (0, 0), Some(self.task.clone()), self.start_ms)
    }

    pub(in crate::store) fn to_bytes(&self) -> StoreResult<Vec<u8>> {
        record::encode_with(self, &self.feed_seq)
    }

    pub(in crate::store) fn read(bytes: &[u8]) -> StoreResult<Self> {
        let (abandoned, feed_seq) = record::decode_with(bytes)?;
        Ok(Self { feed_seq, ..abandoned })
    }
}

/// The stored form of a closure.
pub(in crate::store) fn closed_to_bytes(closed: &ClosedRun) -> StoreResult<Vec<u8>> {
    record::encode_with(closed, &closed.feed_seq)
}

/// Reads a stored closure.
pub(in crate::store) fn read_closed(bytes: &[u8]) -> StoreResult<ClosedRun> {
    let (closed, feed_seq) = record::decode_with(bytes)?;
    Ok(ClosedRun { feed_seq, ..closed })
}

/// That a run is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct SettledRow {
    pub(in crate::store) end: Position,
    pub(in crate::store) gap: Option<Gap>,
}
