//! The bodies of `execution-updated`. Dashboards merge them shallowly: a key that is absent stays as it was.
//! Source: API reference, ingest 8.5.

use serde::Serialize;
use uuid::Uuid;

use crate::domain::execution::{Execution, Status};
use crate::domain::id::{CycleId, OrgId, TaskId};
use crate::domain::result::TestResult;
use crate::domain::time::IsoMs;
use crate::domain::view::{ExecutionView, TestResultView};
use crate::limits;
use crate::store::contract::ClosedRun;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusUpdate<'a> {
    task_id: &'a TaskId,
    organization_id: OrgId,
    status: Status,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FinalUpdate<'a> {
    task_id: &'a TaskId,
    organization_id: OrgId,
    status: Status,
    cycle_id: CycleId,
    cycle_item_id: Uuid,
    end_time: IsoMs,
    #[serde(skip_serializing_if = "Option::is_none")]
    tests: Option<Vec<TestResultView>>,
}

/// A run was opened: its whole document.
pub(in crate::actors) fn opened(execution: &Execution) -> String {
    to_json(&ExecutionView::from(execution))
}

/// A run as it is now: its whole document. `results` ride along while they stay small; without them a final run's are
/// left as they were, and dashboards refetch.
pub(in crate::actors) fn whole(execution: &Execution, results: Option<Vec<TestResult>>) -> String {
    let mut view = ExecutionView::from(execution);
    if let Some(results) = results {
        view.tests = results.into_iter().map(TestResultView::from).collect();
        let body = to_json(&view);
        if body.len() < limits::UPDATE_TESTS_BYTES_MAX {
            return body;
        }
        view.tests = Vec::new();
    } else if !execution.status.is_final() {
        return to_json(&view);
    }
    let mut body = serde_json::to_value(&view).expect("as in to_json");
    if let Some(members) = body.as_object_mut() {
        members.remove("tests");
    }
    to_json(&body)
}

/// The client announced a status.
pub(in crate::actors) fn status(org: OrgId, task: &TaskId, status: Status) -> String {
    to_json(&StatusUpdate { task_id: task, organization_id: org, status })
}

/// A run became final. `results` ride along while they stay small; without them dashboards refetch.
pub(in crate::actors) fn closed(
    execution: &Execution,
    closed: &ClosedRun,
    results: Option<Vec<TestResult>>,
) -> String {
    let mut update = FinalUpdate {
        task_id: &execution.task_id,
        organization_id: execution.org,
        status: closed.status,
        cycle_id: execution.cycle,
        cycle_item_id: execution.cycle_item,
        end_time: IsoMs(closed.end_ms),
        tests: results.map(|results| results.into_iter().map(TestResultView::from).collect()),
    };
    let body = to_json(&update);
    if body.len() < limits::UPDATE_TESTS_BYTES_MAX {
        return body;
    }
    update.tests = None;
    to_json(&update)
}

fn to_json<T: Serialize>(body: &T) -> String {
    serde_json::to_string(body).expect("these shapes have string keys and no failing serializer")
}
