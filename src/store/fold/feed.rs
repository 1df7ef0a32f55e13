//! What the feed tells of a run's facts and segments.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::domain::execution::Execution;
use crate::domain::id::{ExecutionId, TaskId};
use crate::domain::segment::Segment;
use crate::store::contract::{ClosedRun, FeedRow};

/// Stored form of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct FeedRecord {
    execution: ExecutionId,
    start: (u64, u64),
    end: (u64, u64),
    updated: bool,
    task: Option<TaskId>,
    /// When it happened; Unix milliseconds.
    pub(in crate::store) at_ms: UnixMs,
}

impl FeedRecord {
    /// A row that tells of the run's document only, whose text stands at `at`.
    pub(in crate::store) fn update(
        execution: ExecutionId,
        at: (u64, u64),
        task: Option<TaskId>,
        at_ms: UnixMs,
    ) -> Self {
        Self { execution, start: at, end: at, updated: true, task, at_ms }
    }

    /// The row of a segment.
    pub(in crate::store) fn of(segment: &Segment, at_ms: UnixMs) -> Self {
        let (start, end) = (segment.start, segment.end());
        Self {
            execution: segment.execution,
            start: (start.units, start.bytes),
            end: (end.units, end.bytes),
            updated: segment.is_update,
            task: None,
            at_ms,
        }
    }

    /// The row of an opening.
    pub(in crate::store) fn of_opened(execution: &Execution) -> Self {
        Self::update(execution.id, (0, 0), Some(execution.task_id.clone()), execution.start_ms)
    }

    /// The row of a closure.
    pub(in crate::store) fn of_closed(closed: &ClosedRun) -> Self {
        let at = (closed.completeness.log_units, closed.completeness.log_bytes);
        Self::update(closed.execution, at, None, closed.end_ms)
    }

    /// The row with this number, as readers get it.
    pub(in crate::store) fn row(self, seq: u64) -> FeedRow {
        let Self { execution, start, end, updated, task, .. } = self;
        FeedRow { seq, execution, start, end, updated, task }
    }
}
