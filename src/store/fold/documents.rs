//! What the documents of a run become when it is closed, and what lists know of it.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session, Source, Status};
use crate::domain::id::ProjectId;
use crate::store::contract::{ClosedRun, ExecutionFilter, SessionEnd};

/// The execution of a run that was closed like this.
pub(in crate::store) fn close_execution(execution: &mut Execution, closed: &ClosedRun) {
    execution.status = closed.status;
    execution.end_ms = Some(closed.end_ms);
    execution.completeness = Some(closed.completeness.clone());
}

/// The cycle of a run that was closed like this.
pub(in crate::store) fn close_cycle(cycle: &mut Cycle, closed: &ClosedRun) {
    cycle.completed = true;
    cycle.item_status = closed.item_status;
    (cycle.total, cycle.passed, cycle.failed) = closed.cycle_summary;
}

/// A session that ended like this, with a run that ended at `end_ms`.
pub(in crate::store) fn close_session(session: &mut Session, ended: &SessionEnd, end_ms: UnixMs) {
    session.status = ended.status;
    session.end_ms = Some(end_ms);
    session.final_summary = ended.summary;
    session.delivery = ended.delivery;
    session.answered = Some(ended.answered);
    session.expires_ms = ended.expires_ms;
}

/// What lists filter by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct ListRow {
    pub(in crate::store) status: Status,
    pub(in crate::store) source: Source,
    pub(in crate::store) environment: String,
    pub(in crate::store) group_name: Option<String>,
    pub(in crate::store) project: ProjectId,
    pub(in crate::store) is_deleted: bool,
}

impl ListRow {
    /// What lists filter an execution by.
    pub(in crate::store) fn of(execution: &Execution) -> Self {
        Self {
            status: execution.status,
            source: execution.source,
            environment: execution.environment.clone(),
            group_name: execution.group_name.clone(),
            project: execution.project,
            is_deleted: execution.deleted_ms.is_some(),
        }
    }

    /// Whether a list with this filter shows the run, whose status is `status` now.
    pub(in crate::store) fn matches(&self, filter: &ExecutionFilter, status: Status) -> bool {
        let ExecutionFilter { statuses, environment, group_name, source, project, .. } = filter;
        let same = |wanted: &String| wanted.to_lowercase() == self.environment.to_lowercase();
        !self.is_deleted
            && statuses.as_ref().is_none_or(|statuses| statuses.contains(&status))
            && environment.as_ref().is_none_or(same)
            && group_name.as_ref().is_none_or(|wanted| Some(wanted) == self.group_name.as_ref())
            && source.is_none_or(|wanted| wanted == self.source)
            && project.is_none_or(|wanted| wanted == self.project)
    }
}
