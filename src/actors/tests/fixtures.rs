//! What the tests of this room share.

use std::sync::Arc;

use crate::actors::finish::FinishedRun;
use crate::domain::execution::{Completeness, Execution, IngestMeta, ItemStatus, Source, Status};
use crate::domain::id::{CycleId, ExecutionId, OrgId, ProjectId, SessionId, TaskId};
use crate::store::contract::ClosedRun;

/// A run of a new organization that has just been opened.
pub(crate) fn execution() -> Execution {
    let session = SessionId::generate();
    Execution {
        id: ExecutionId::generate(1_000),
        task_id: TaskId::of_ingest(1_000, session),
        org: OrgId::generate(1_000),
        project: ProjectId::generate(1_000),
        status: Status::Running,
        source: Source::ExternalCi,
        image: "external-ci".into(),
        command: "playwright (external reporter)".into(),
        folder: "all".into(),
        start_ms: 1_000,
        end_ms: None,
        environment: "production".into(),
        env_vars: std::collections::BTreeMap::new(),
        trigger: "webhook".into(),
        group_name: None,
        cycle: CycleId::generate(1_000),
        cycle_item: uuid::Uuid::new_v4(),
        ingest: IngestMeta {
            session,
            reporter_version: "1".into(),
            framework: "playwright".into(),
            total_tests: 3,
            ci_context: None,
        },
        completeness: None,
        deleted_ms: None,
    }
}

/// A run that has been closed as passed.
pub(crate) fn finished_run() -> FinishedRun {
    let execution = execution();
    let closed = ClosedRun {
        org: execution.org,
        execution: execution.id,
        revision: 1,
        status: Status::Passed,
        gated: false,
        end_ms: 2_000,
        completeness: Completeness::default(),
        quarantined: Vec::new(),
        item_status: ItemStatus::Passed,
        cycle_summary: (3, 3, 0),
        sessions: Vec::new(),
        feed_seq: 0,
    };
    FinishedRun { execution: Arc::new(execution), closed: Arc::new(closed) }
}
