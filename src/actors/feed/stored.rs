//! Windows made from the store: the rows say what lies between two positions, the runs' text and documents the rest.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::frames::{self, RunPart};
use super::{FeedError, Unusable, Window};
use crate::actors::execution::update;
use crate::domain::execution::{Execution, Status};
use crate::domain::id::{ExecutionId, OrgId, TaskId};
use crate::limits;
use crate::store::contract::{FeedRow, Store};

/// What a run has between two positions, according to its rows.
struct Stretch {
    /// Where its text stood before and after, in units.
    units: (u64, u64),
    updated: bool,
    task: Option<TaskId>,
}

/// The window that these rows make.
pub(super) async fn window(
    store: &dyn Store,
    org: OrgId,
    from: u64,
    upto: u64,
    rows: &[FeedRow],
) -> Result<Window, FeedError> {
    let mut stretches: BTreeMap<ExecutionId, Stretch> = BTreeMap::new();
    for FeedRow { execution, start, end, updated, task, .. } in rows {
        let stretch = stretches.entry(*execution).or_insert(Stretch {
            units: (start.0, start.0),
            updated: false,
            task: None,
        });
        stretch.units.1 = stretch.units.1.max(end.0);
        stretch.updated |= updated;
        stretch.task = stretch.task.take().or_else(|| task.clone());
    }
    let mut runs = BTreeMap::new();
    for (execution, Stretch { units, updated, task }) in stretches {
        let stored = store.execution(org, execution).await?;
        let is_deleted = stored.as_ref().is_some_and(|stored| stored.deleted_ms.is_some());
        let (task, text, body) = match stored {
            Some(stored) => {
                let body = if updated { Some(document(store, org, &stored).await?) } else { None };
                (stored.task_id, read(store, org, execution, units).await?, body)
            }
            // A run that was taken back: its text went with it.
            None => {
                let Some(task) = task else { continue };
                let body = gone(org, &task, updated);
                (task, Vec::new(), body)
            }
        };
        runs.insert(execution, RunPart { task, offset: units.0, text, body, is_deleted });
    }
    Ok(frames::window(from, upto, runs))
}

/// What is told of a run that was taken back.
fn gone(org: OrgId, task: &TaskId, updated: bool) -> Option<Bytes> {
    updated.then(|| update::status(org, task, Status::Cancelled).into())
}

/// The newest state of a run: its document and, once it is final, what its final update carries.
pub(super) async fn state_of(
    store: &dyn Store,
    org: OrgId,
    execution: ExecutionId,
    task: &TaskId,
) -> Result<Bytes, FeedError> {
    match store.execution(org, execution).await? {
        Some(stored) => document(store, org, &stored).await,
        None => Ok(gone(org, task, true).unwrap_or_default()),
    }
}

async fn document(store: &dyn Store, org: OrgId, execution: &Execution) -> Result<Bytes, FeedError> {
    if execution.deleted_ms.is_some() {
        return Ok(update::status(org, &execution.task_id, execution.status).into());
    }
    let results = execution.completeness.as_ref().map_or(0, |completeness| completeness.results);
    let results = if execution.status.is_final() && results <= limits::UPDATE_RESULTS_MAX {
        Some(store.all_results(org, execution.id).await?)
    } else {
        None
    };
    Ok(update::whole(execution, results).into())
}

/// The run's text between two places.
async fn read(
    store: &dyn Store,
    org: OrgId,
    execution: ExecutionId,
    (mut from, end): (u64, u64),
) -> Result<Vec<Bytes>, FeedError> {
    let mut pieces = Vec::new();
    while from < end {
        let page = store.text(org, execution, from, (end - from).min(limits::LOG_PAGE_UNITS_MAX)).await?;
        // What the log cap has taken out is not kept any more.
        let page = page.filter(|page| page.from == from && page.next > from && page.next <= end);
        let page = page.ok_or(Unusable::TooOld)?;
        from = page.next;
        pieces.push(page.text.into());
    }
    Ok(pieces)
}
