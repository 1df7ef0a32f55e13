//! The rows that a run's facts become: opened, taken back, closed. Each is made whole from the fact and what is stored,
//! so that making it again after a crash gives the same, whichever of the rows the crash had left behind.

use serde::{Deserialize, Serialize};

use super::feed::FeedRecord;
use super::keys;
use super::rows::{Batch, Rows, Table};
use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session, Source, Status};
use crate::domain::id::{ExecutionId, OrgId, ProjectId, SessionId, TaskId, stored_org};
use crate::domain::segment::Position;
use crate::store::contract::{ClosedRun, OpenedRun, StoreResult};
use crate::store::record;

/// Stored form of [`OpenedRun`].
#[derive(Serialize, Deserialize)]
pub(super) struct OpenedRecord {
    execution: Execution,
    cycle: Cycle,
    session: Session,
    /// Added by the second version.
    #[serde(skip)]
    feed_seq: u64,
}

impl From<OpenedRun> for OpenedRecord {
    fn from(OpenedRun { execution, cycle, session, feed_seq }: OpenedRun) -> Self {
        Self { execution, cycle, session, feed_seq }
    }
}

impl OpenedRecord {
    pub(super) fn to_bytes(&self) -> StoreResult<Vec<u8>> {
        record::encode_with(self, &self.feed_seq)
    }

    pub(super) fn read(bytes: &[u8]) -> StoreResult<Self> {
        let (opened, feed_seq) = record::decode_with(bytes)?;
        Ok(Self { feed_seq, ..opened })
    }

    pub(super) fn open_row(&self) -> OpenRow {
        let Session { id, org, start_ms, .. } = self.session;
        OpenRow { org, sessions: vec![id], opened_ms: start_ms }
    }
}

/// Stored form of a run that is taken back: what finds its rows, however many of them a crash has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AbandonedRecord {
    task: TaskId,
    session: SessionId,
    start_ms: UnixMs,
    /// Added by the second version.
    #[serde(skip)]
    feed_seq: u64,
}

impl AbandonedRecord {
    pub(super) fn of(execution: &Execution, feed_seq: u64) -> Self {
        let Execution { task_id, ingest, start_ms, .. } = execution;
        Self { task: task_id.clone(), session: ingest.session, start_ms: *start_ms, feed_seq }
    }

    pub(super) fn to_bytes(&self) -> StoreResult<Vec<u8>> {
        record::encode_with(self, &self.feed_seq)
    }

    pub(super) fn read(bytes: &[u8]) -> StoreResult<Self> {
        let (abandoned, feed_seq) = record::decode_with(bytes)?;
        Ok(Self { feed_seq, ..abandoned })
    }
}

/// The stored form of a closure.
pub(super) fn closed_to_bytes(closed: &ClosedRun) -> StoreResult<Vec<u8>> {
    record::encode_with(closed, &closed.feed_seq)
}

/// Reads a stored closure.
pub(super) fn read_closed(bytes: &[u8]) -> StoreResult<ClosedRun> {
    let (closed, feed_seq) = record::decode_with(bytes)?;
    Ok(ClosedRun { feed_seq, ..closed })
}

/// That a run is not settled: what start-up needs to know of it besides its segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenRow {
    #[serde(with = "stored_org")]
    pub(super) org: OrgId,
    pub(super) sessions: Vec<SessionId>,
    pub(super) opened_ms: UnixMs,
}

impl OpenRow {
    /// The row of a run of which only the document is left.
    pub(super) fn of(execution: &Execution) -> Self {
        let Execution { org, ingest, start_ms, .. } = execution;
        Self { org: *org, sessions: vec![ingest.session], opened_ms: *start_ms }
    }
}

/// What lists filter by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListRow {
    pub(super) status: Status,
    pub(super) source: Source,
    pub(super) environment: String,
    pub(super) group_name: Option<String>,
    pub(super) project: ProjectId,
    pub(super) is_deleted: bool,
}

impl ListRow {
    fn of(execution: &Execution) -> Self {
        Self {
            status: execution.status,
            source: execution.source,
            environment: execution.environment.clone(),
            group_name: execution.group_name.clone(),
            project: execution.project,
            is_deleted: execution.deleted_ms.is_some(),
        }
    }
}

/// The middle of a log that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    /// Where the run stood at its start.
    pub(super) from: Cut,
    /// Where the run stood at its end.
    pub(super) to: Cut,
}

/// A place in a log's text, between two characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Cut {
    pub(super) units: u64,
    pub(super) bytes: u64,
}

/// That a run is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SettledRow {
    pub(super) end: Position,
    pub(super) gap: Option<Gap>,
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
    put(&mut batch, Table::Open, id.as_bytes().to_vec(), &opened.open_row())?;
    let told = FeedRecord::update(id, (0, 0), Some(execution.task_id.clone()), execution.start_ms);
    told.put(&mut batch, org, *feed_seq)?;
    Ok(batch)
}

/// Removes the rows of a run that is taken back.
pub(super) fn abandoned(
    org: OrgId,
    execution: ExecutionId,
    abandoned: &AbandonedRecord,
) -> StoreResult<Batch> {
    let AbandonedRecord { task, start_ms, feed_seq, .. } = abandoned;
    let mut batch = Batch::default();
    let told = FeedRecord::update(execution, (0, 0), Some(task.clone()), *start_ms);
    told.put(&mut batch, org, *feed_seq)?;
    batch.remove(Table::List, keys::listed(org, abandoned.start_ms, execution));
    batch.remove(Table::Tasks, keys::task(org, abandoned.task.as_str()));
    batch.remove(Table::Sessions, abandoned.session.0.as_bytes().to_vec());
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
    let at = (closed.completeness.log_units, closed.completeness.log_bytes);
    let told = FeedRecord::update(closed.execution, at, None, closed.end_ms);
    told.put(&mut batch, closed.org, closed.feed_seq)?;
    Ok(batch)
}

/// The rows of a closed run; `None` if there is no such run.
pub(super) fn closed(rows: &dyn Rows, closed: &ClosedRun) -> StoreResult<Option<Batch>> {
    let key = keys::run(closed.org, closed.execution);
    let Some(mut execution) = get::<Execution>(rows, Table::Executions, &key)? else { return Ok(None) };
    let mut batch = closing_told(closed)?;
    execution.status = closed.status;
    execution.end_ms = Some(closed.end_ms);
    execution.completeness = Some(closed.completeness.clone());
    put_execution(&mut batch, &execution)?;
    if let Some(mut cycle) = get::<Cycle>(rows, Table::Cycles, &key)? {
        cycle.completed = true;
        cycle.item_status = closed.item_status;
        (cycle.total, cycle.passed, cycle.failed) = closed.cycle_summary;
        put(&mut batch, Table::Cycles, key.clone(), &cycle)?;
    }
    for ended in &closed.sessions {
        let session_key = ended.session.0.as_bytes().to_vec();
        // A session that the archive has forgotten stays forgotten.
        let Some(mut session) = get::<Session>(rows, Table::Sessions, &session_key)? else { continue };
        if session.end_ms.is_some() && session.expires_ms != ended.expires_ms {
            batch.remove(Table::SessionExpiry, keys::expiry(session.expires_ms, session.id));
        }
        session.status = ended.status;
        session.end_ms = Some(closed.end_ms);
        session.final_summary = ended.summary;
        session.delivery = ended.delivery;
        session.answered = Some(ended.answered);
        session.expires_ms = ended.expires_ms;
        batch.put(Table::SessionExpiry, keys::expiry(session.expires_ms, session.id), Vec::new());
        put(&mut batch, Table::Sessions, session_key, &session)?;
    }
    batch.put(Table::Closures, key, closed_to_bytes(closed)?);
    Ok(Some(batch))
}
