//! What a setup stores. Source: API reference, ingest 2, "Side effects".

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::actors::deps::EngineSettings;
use crate::clock::UnixMs;
use crate::domain::execution::{
    Cycle, Execution, IngestMeta, ItemStatus, Session, SessionStatus, Source, Status,
};
use crate::domain::id::{CycleId, ExecutionId, SessionId, TaskId, UserId};
use crate::domain::project::Project;
use crate::domain::setup::SetupRequest;
use crate::store::contract::OpenedRun;

/// The three records of a new run.
pub(super) fn open(
    request: SetupRequest,
    project: &Project,
    user: UserId,
    now_ms: UnixMs,
    settings: &EngineSettings,
) -> OpenedRun {
    let session = SessionId::generate();
    let execution = ExecutionId::generate(now_ms);
    let cycle = CycleId::generate(now_ms);
    let item = Uuid::new_v4();
    let task = TaskId::of_ingest(now_ms, session);
    let (name, trigger) = (request.run_name_at(now_ms), request.trigger().to_owned());
    let SetupRequest {
        framework, reporter_version, total_tests, environment, ci_context, group_name, ..
    } = request;
    let lifetime_ms = i64::try_from(settings.session_lifetime.as_millis()).unwrap_or(i64::MAX);
    OpenedRun {
        cycle: Cycle {
            id: cycle,
            org: project.org,
            project: project.id,
            name,
            completed: false,
            ci_context: ci_context.clone(),
            item,
            item_title: format!("External CI Run ({framework})"),
            item_status: ItemStatus::Running,
            task_id: task.clone(),
            total: u64::from(total_tests),
            passed: 0,
            failed: 0,
            created_ms: now_ms,
            created_by: user,
        },
        session: Session {
            id: session,
            org: project.org,
            project: project.id,
            project_name: project.name.clone(),
            execution,
            task_id: task.clone(),
            status: SessionStatus::Running,
            framework: framework.clone(),
            reporter_version: reporter_version.clone(),
            total_tests,
            start_ms: now_ms,
            end_ms: None,
            expires_ms: now_ms.saturating_add(lifetime_ms),
            final_summary: None,
            delivery: None,
            answered: None,
        },
        execution: Execution {
            id: execution,
            task_id: task,
            org: project.org,
            project: project.id,
            status: Status::Running,
            source: Source::ExternalCi,
            image: "external-ci".to_owned(),
            command: format!("{framework} (external reporter)"),
            folder: "all".to_owned(),
            start_ms: now_ms,
            end_ms: None,
            environment,
            env_vars: BTreeMap::new(),
            trigger,
            group_name,
            cycle,
            cycle_item: item,
            ingest: IngestMeta { session, reporter_version, framework, total_tests, ci_context },
            completeness: None,
            deleted_ms: None,
        },
        // Given when it is stored.
        feed_seq: 0,
    }
}
