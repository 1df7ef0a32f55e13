//! The rows that a run's facts become: opened, taken back, closed. Each is made whole from the fact and what is stored,
//! so that making it again after a crash gives the same, whichever of the rows the crash had left behind.

use serde::{Deserialize, Serialize};

use super::feed::put_fed;
use super::keys;
use super::rows::{Batch, Rows, Table};
use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId, SessionId, stored_org};
use crate::store::contract::{ClosedRun, StoreResult};
pub(super) use crate::store::fold::documents::ListRow;
use crate::store::fold::documents::{close_cycle, close_execution, close_session};
use crate::store::fold::feed::FeedRecord;
pub(super) use crate::store::fold::records::{
    AbandonedRecord, OpenedRecord, SettledRow, closed_to_bytes, read_closed,
};
pub(super) use crate::store::fold::text::{Cut, Gap};
use crate::store::record;

/// That a run is not settled: what start-up needs to know of it besides its segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenRow {
    #[serde(with = "stored_org")]
    pub(super) org: OrgId,
    pub(super) sessions: Vec<SessionId>,
    pub(super) opened_ms: UnixMs,
}

impl OpenRow {
    /// The row of a run that was opened.
    pub(super) fn of_opened(opened: &OpenedRecord) -> Self {
        let Session { id, org, start_ms, .. } = opened.session;
        Self { org, sessions: vec![id], opened_ms: start_ms }
    }

    /// The row of a run of which only the document is left.
    pub(super) fn of(execution: &Execution) -> Self {
        let Execution { org, ingest, start_ms, .. } = execution;
        Self { org: *org, sessions: vec![ingest.session], opened_ms: *start_ms }
    }
}

/// The record at `key`, if there is one.
pub(super) fn get<T: serde::de::DeserializeOwned>(
    rows: &dyn Rows,
    table: Table,
    key: &[u8],
) -> StoreResult<Option<T>> {
    rows.get(table, key)?.map(|bytes| record::decode(&bytes)).transpose()
}

fn put<T: Serialize>(batch: &mut Batch, table: Table, key: Vec<u8>, record: &T) -> StoreResult<()> {
    batch.put(table, key, record::encode(record)?);
    Ok(())
}

fn put_execution(batch: &mut Batch, execution: &Execution) -> StoreResult<()> {
    let Execution { org, id, start_ms, .. } = *execution;
    put(batch, Table::Executions, keys::run(org, id), execution)?;
    put(batch, Table::List, keys::listed(org, start_ms, id), &ListRow::of(execution))
}

/// The rows of an opened run.
pub(super) fn opened(rows: &dyn Rows, opened: &OpenedRecord) -> StoreResult<Batch> {
    let OpenedRecord { execution, cycle, session, feed_seq } = opened;
    let Execution { org, id, .. } = *execution;
    let mut batch = Batch::default();
    let stored: Option<Execution> = get(rows, Table::Executions, &keys::run(org, id))?;
    let deleted_ms = stored.and_then(|stored| stored.deleted_ms);
    put_execution(&mut batch, &Execution { deleted_ms, ..execution.clone() })?;
    put(&mut batch, Table::Cycles, keys::run(org, id), cycle)?;
    put(&mut batch, Table::Sessions, session.id.0.as_bytes().to_vec(), session)?;
    batch.put(Table::Tasks, keys::task(org, execution.task_id.as_str()), id.as_bytes().to_vec());
    put(&mut batch, Table::Open, id.as_bytes().to_vec(), &OpenRow::of_opened(opened))?;
    put_fed(&mut batch, org, *feed_seq, &FeedRecord::of_opened(execution))?;
    Ok(batch)
}

/// Removes the rows of a run that is taken back.
pub(super) fn abandoned(
    org: OrgId,
    execution: ExecutionId,
    abandoned: &AbandonedRecord,
) -> StoreResult<Batch> {
    let AbandonedRecord { task, session, start_ms, feed_seq } = abandoned;
    let mut batch = Batch::default();
    put_fed(&mut batch, org, *feed_seq, &abandoned.told(execution))?;
    batch.remove(Table::List, keys::listed(org, *start_ms, execution));
    batch.remove(Table::Tasks, keys::task(org, task.as_str()));
    batch.remove(Table::Sessions, session.0.as_bytes().to_vec());
    batch.remove(Table::Cycles, keys::run(org, execution));
    batch.remove(Table::Executions, keys::run(org, execution));
    batch.remove(Table::Open, execution.as_bytes().to_vec());
    Ok(batch)
}

/// The closure that is stored, or `None`.
pub(super) fn closure(rows: &dyn Rows, org: OrgId, execution: ExecutionId) -> StoreResult<Option<ClosedRun>> {
    rows.get(Table::Closures, &keys::run(org, execution))?.map(|bytes| read_closed(&bytes)).transpose()
}

/// The row of the feed that tells of a closure; none if it has no number.
pub(super) fn closing_told(closed: &ClosedRun) -> StoreResult<Batch> {
    let mut batch = Batch::default();
    put_fed(&mut batch, closed.org, closed.feed_seq, &FeedRecord::of_closed(closed))?;
    Ok(batch)
}

/// The rows of a closed run; `None` if there is no such run.
pub(super) fn closed(rows: &dyn Rows, closed: &ClosedRun) -> StoreResult<Option<Batch>> {
    let key = keys::run(closed.org, closed.execution);
    let Some(mut execution) = get::<Execution>(rows, Table::Executions, &key)? else { return Ok(None) };
    let mut batch = closing_told(closed)?;
    close_execution(&mut execution, closed);
    put_execution(&mut batch, &execution)?;
    if let Some(mut cycle) = get::<Cycle>(rows, Table::Cycles, &key)? {
        close_cycle(&mut cycle, closed);
        put(&mut batch, Table::Cycles, key.clone(), &cycle)?;
    }
    for ended in &closed.sessions {
        let session_key = ended.session.0.as_bytes().to_vec();
        // A session that the archive has forgotten stays forgotten.
        let Some(mut session) = get::<Session>(rows, Table::Sessions, &session_key)? else { continue };
        if session.end_ms.is_some() && session.expires_ms != ended.expires_ms {
            batch.remove(Table::SessionExpiry, keys::expiry(session.expires_ms, session.id));
        }
        close_session(&mut session, ended, closed.end_ms);
        batch.put(Table::SessionExpiry, keys::expiry(session.expires_ms, session.id), Vec::new());
        put(&mut batch, Table::Sessions, session_key, &session)?;
    }
    batch.put(Table::Closures, key, closed_to_bytes(closed)?);
    Ok(Some(batch))
}
