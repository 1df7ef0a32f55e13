//! What is asked of the tables of runs, one method a statement. Those of the feed are in `feed_tables`.

use std::sync::Arc;

use futures_util::TryStreamExt;
use uuid::Uuid;

use super::index::{At, Read};
use super::row::{Columns, RunRow};
use super::statements::Statements;
use crate::clock::UnixMs;
use crate::domain::id::{ExecutionId, OrgId, SessionId, TaskId};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::fold::segment::Facts;
use crate::store::scylla::Cql;
use crate::store::scylla::statement::Prepared;

/// Partitions of the runs that are not settled.
pub(super) const SHARDS: i32 = 64;
/// How often the outcome of a conditional write is looked for.
const LOOKS: usize = 5;
/// Between two looks.
const LOOK_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// A run that is perhaps not settled: what leads to everything that its setup wrote.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    pub(super) execution: ExecutionId,
    pub(super) org: OrgId,
    pub(super) task: TaskId,
    pub(super) session: SessionId,
    pub(super) start_ms: UnixMs,
    /// The node that wrote it.
    pub(super) owner: Uuid,
}

/// A row of a list.
pub(super) struct Listed {
    pub(super) start_ms: UnixMs,
    pub(super) execution: ExecutionId,
    pub(super) listed: Vec<u8>,
    /// The run's own row was seen.
    pub(super) is_confirmed: bool,
}

/// The tables of runs and of the feed.
pub(super) struct Tables {
    pub(super) cql: Arc<Cql>,
    pub(super) statements: Statements,
}

/// The one partition of a small table.
pub(super) const ZONE: i32 = 0;

impl Tables {
    pub(super) async fn prepare(cql: Arc<Cql>) -> StoreResult<Self> {
        let statements = Statements::prepare(&cql).await?;
        Ok(Self { cql, statements })
    }

    pub(super) async fn write(
        &self,
        statement: &Prepared,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> StoreResult<()> {
        self.cql.run(statement, values).await
    }

    pub(super) async fn applied(
        &self,
        statement: &Prepared,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> StoreResult<bool> {
        self.cql.applied(statement, values).await
    }

    /// The row of a run as a quorum has it.
    pub(super) async fn run(&self, execution: ExecutionId) -> StoreResult<Option<RunRow>> {
        self.run_by(&self.statements.run, execution).await
    }

    /// The row of a run; changes that were under way are finished or will not happen.
    pub(super) async fn run_now(&self, execution: ExecutionId) -> StoreResult<Option<RunRow>> {
        self.run_by(&self.statements.run_now, execution).await
    }

    async fn run_by(&self, statement: &Prepared, execution: ExecutionId) -> StoreResult<Option<RunRow>> {
        let columns: Option<Columns> = self.cql.first(statement, (execution.as_bytes().as_slice(),)).await?;
        columns.map(|columns| RunRow::read(execution, columns)).transpose()
    }

    /// Writes the row of a run that has none; `false` if it has one.
    pub(super) async fn insert_run(&self, row: &mut RunRow) -> StoreResult<bool> {
        (row.version, row.change) = (1, Uuid::new_v4());
        self.decide(row, None).await
    }

    /// Writes the row of a run whose version is still that of `row`, which gets a new one; `false` if it has another.
    pub(super) async fn change_run(&self, row: &mut RunRow) -> StoreResult<bool> {
        let before = row.version;
        (row.version, row.change) = (before.wrapping_add(1), Uuid::new_v4());
        self.decide(row, Some(before)).await
    }

    /// Makes a conditional change and finds out what became of it.
    async fn decide(&self, row: &RunRow, before: Option<i32>) -> StoreResult<bool> {
        let (org, version, change, opened, closure, claim, settled, abandoned) = row.columns()?;
        let id = row.execution.as_bytes().to_vec();
        let mut looks = 0;
        loop {
            let columns = (&org, version, change, &opened, &closure, &claim, &settled, &abandoned, &id);
            let outcome = match before {
                None => self.applied(&self.statements.insert_run, columns).await,
                Some(before) => {
                    let (org, version, change, opened, closure, claim, settled, abandoned, id) = columns;
                    let values =
                        (org, version, change, opened, closure, claim, settled, abandoned, id, before);
                    self.applied(&self.statements.change_run, values).await
                }
            };
            match outcome {
                Ok(true) => return Ok(true),
                // The first try may have been applied although its answer was lost.
                Ok(false) if looks == 0 => return Ok(false),
                Err(error) if looks == LOOKS => return Err(error),
                Ok(false) | Err(_) => {}
            }
            looks += 1;
            match self.run_now(row.execution).await {
                Ok(Some(stored)) if stored.change == row.change => return Ok(true),
                // Something else took its turn. Whether this came before that shows in what is stored then.
                Ok(Some(stored)) if Some(stored.version) != before => return Ok(false),
                // Not applied, and by a serial read not under way any more: once again.
                Ok(_) => {}
                Err(error) if looks == LOOKS => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }

    /// Claims a task id for a run; `Err` inside with the run that has it.
    pub(super) async fn claim_task(
        &self,
        org: OrgId,
        task: &TaskId,
        execution: ExecutionId,
    ) -> StoreResult<Result<(), ExecutionId>> {
        let values = (org.as_bytes().as_slice(), task.as_str(), execution.as_bytes().as_slice());
        if self.applied(&self.statements.claim_task, values).await? {
            return Ok(Ok(()));
        }
        let values = (org.as_bytes().as_slice(), task.as_str());
        let row: Option<(Vec<u8>,)> = self.cql.first(&self.statements.task_now, values).await?;
        Ok(match row.map(|row| execution_of(&row.0)).transpose()? {
            Some(holder) if holder != execution => Err(holder),
            // An answer before was lost, or it was freed meanwhile: the latter is told apart by the next try.
            _ => Ok(()),
        })
    }

    /// Hands a task id from one run to another; `false` if the first has not got it.
    pub(super) async fn hand_task(
        &self,
        (org, task): (OrgId, &TaskId),
        from: ExecutionId,
        to: ExecutionId,
    ) -> StoreResult<bool> {
        let (from, to) = (from.as_bytes().as_slice(), to.as_bytes().as_slice());
        self.applied(&self.statements.change_task, (to, org.as_bytes().as_slice(), task.as_str(), from)).await
    }

    /// Frees a task id if this run has it.
    pub(super) async fn free_task(&self, org: OrgId, task: &TaskId, from: ExecutionId) -> StoreResult<()> {
        let values = (org.as_bytes().as_slice(), task.as_str(), from.as_bytes().as_slice());
        self.applied(&self.statements.free_task, values).await.map(drop)
    }

    /// The run that has a task id.
    pub(super) async fn task(&self, org: OrgId, task: &TaskId) -> StoreResult<Option<ExecutionId>> {
        let values = (org.as_bytes().as_slice(), task.as_str());
        let row: Option<(Vec<u8>,)> = self.cql.first(&self.statements.task, values).await?;
        row.map(|row| execution_of(&row.0)).transpose()
    }

    pub(super) async fn put_session(&self, session: SessionId, execution: ExecutionId) -> StoreResult<()> {
        self.write(&self.statements.put_session, (session.0, execution.as_bytes().as_slice())).await
    }

    pub(super) async fn remove_session(&self, session: SessionId) -> StoreResult<()> {
        self.write(&self.statements.remove_session, (session.0,)).await
    }

    /// The run that a session feeds.
    pub(super) async fn session(&self, session: SessionId) -> StoreResult<Option<ExecutionId>> {
        let row: Option<(Vec<u8>,)> = self.cql.first(&self.statements.session, (session.0,)).await?;
        row.map(|row| execution_of(&row.0)).transpose()
    }

    pub(super) async fn put_unsettled(&self, trace: &Trace) -> StoreResult<()> {
        let Trace { execution, org, task, session, start_ms, owner } = trace;
        let (org, id) = (org.as_bytes().as_slice(), execution.as_bytes().as_slice());
        let values = (shard(*execution), id, org, task.as_str(), session.0, *start_ms, *owner);
        self.write(&self.statements.put_unsettled, values).await
    }

    pub(super) async fn remove_unsettled(&self, execution: ExecutionId) -> StoreResult<()> {
        let values = (shard(execution), execution.as_bytes().as_slice());
        self.write(&self.statements.remove_unsettled, values).await
    }

    /// Runs that may be unsettled.
    pub(super) async fn unsettled(&self) -> StoreResult<Vec<Trace>> {
        type Row = (Vec<u8>, Vec<u8>, String, Uuid, i64, Uuid);
        let read = |shard: i32| async move {
            let rows: Vec<Row> =
                self.cql.rows(&self.statements.unsettled, (shard,)).await?.try_collect().await?;
            Ok::<_, StoreError>(rows)
        };
        let shards = futures_util::future::try_join_all((0..SHARDS).map(read)).await?;
        let traces = shards.into_iter().flatten().map(|(execution, org, task, session, start_ms, owner)| {
            let (execution, org) = (execution_of(&execution)?, org_of(&org)?);
            let (task, session) = (TaskId::from(task.as_str()), SessionId(session));
            Ok(Trace { execution, org, task, session, start_ms, owner })
        });
        traces.collect()
    }

    pub(super) async fn put_listed(
        &self,
        (org, start_ms, execution): (OrgId, UnixMs, ExecutionId),
        listed: &[u8],
        at: i64,
    ) -> StoreResult<()> {
        let (org, id) = (org.as_bytes().as_slice(), execution.as_bytes().as_slice());
        self.write(&self.statements.put_listed, (org, window(start_ms), start_ms, id, listed, at)).await
    }

    pub(super) async fn confirm_listed(
        &self,
        (org, start_ms, execution): (OrgId, UnixMs, ExecutionId),
        at: i64,
    ) -> StoreResult<()> {
        let (org, id) = (org.as_bytes().as_slice(), execution.as_bytes().as_slice());
        self.write(&self.statements.confirm_listed, (org, window(start_ms), start_ms, id, at)).await
    }

    pub(super) async fn put_stored_bytes(
        &self,
        (org, start_ms, execution): (OrgId, UnixMs, ExecutionId),
        bytes: u64,
        at: i64,
    ) -> StoreResult<()> {
        let (org, id) = (org.as_bytes().as_slice(), execution.as_bytes().as_slice());
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.write(&self.statements.put_stored, (org, window(start_ms), start_ms, id, bytes, at)).await
    }

    pub(super) async fn remove_listed(
        &self,
        (org, start_ms, execution): (OrgId, UnixMs, ExecutionId),
        at: i64,
    ) -> StoreResult<()> {
        let (org, id) = (org.as_bytes().as_slice(), execution.as_bytes().as_slice());
        self.write(&self.statements.remove_listed, (at, org, window(start_ms), start_ms, id)).await
    }

    /// The rows of a window with `from_ms ≤ start ≤ to_ms`, newest first.
    pub(super) async fn listed(
        &self,
        org: OrgId,
        window: i64,
        (from_ms, to_ms): (UnixMs, UnixMs),
    ) -> StoreResult<Vec<Listed>> {
        type Row = (i64, Vec<u8>, Option<Vec<u8>>, Option<bool>);
        let values = (org.as_bytes().as_slice(), window, from_ms, to_ms);
        let rows: Vec<Row> = self.cql.rows(&self.statements.listed, values).await?.try_collect().await?;
        let rows = rows.into_iter().filter_map(|(start_ms, execution, listed, is_confirmed)| {
            // A row of which only a later column is there belongs to a run that was taken back.
            let listed = listed?;
            let is_confirmed = is_confirmed == Some(true);
            Some(execution_of(&execution).map(|execution| Listed {
                start_ms,
                execution,
                listed,
                is_confirmed,
            }))
        });
        rows.collect()
    }

    /// What the lists have of a run.
    pub(super) async fn listed_one(
        &self,
        (org, start_ms, execution): (OrgId, UnixMs, ExecutionId),
    ) -> StoreResult<Option<Vec<u8>>> {
        let (org, id) = (org.as_bytes().as_slice(), execution.as_bytes().as_slice());
        let values = (org, window(start_ms), start_ms, id);
        let row: Option<(Option<Vec<u8>>,)> = self.cql.first(&self.statements.listed_one, values).await?;
        Ok(row.and_then(|row| row.0))
    }

    /// Bytes of the settled runs of a window.
    pub(super) async fn stored_bytes(&self, org: OrgId, window: i64) -> StoreResult<u64> {
        let values = (org.as_bytes().as_slice(), window);
        let rows = self.cql.rows::<(Option<i64>,)>(&self.statements.stored_bytes, values).await?;
        rows.try_fold(
            0_u64,
            |sum, row| async move { Ok(sum.saturating_add(row.0.unwrap_or(0).unsigned_abs())) },
        )
        .await
    }

    pub(super) async fn put_window(&self, org: OrgId, start_ms: UnixMs) -> StoreResult<()> {
        self.write(&self.statements.put_window, (org.as_bytes().as_slice(), window(start_ms))).await
    }

    /// The windows in which the organization has runs, newest first.
    pub(super) async fn windows(&self, org: OrgId) -> StoreResult<Vec<i64>> {
        let rows = self.cql.rows::<(i64,)>(&self.statements.windows, (org.as_bytes().as_slice(),)).await?;
        rows.map_ok(|row| row.0).try_collect().await
    }

    /// The write of the ack path.
    pub(super) async fn put_segment(
        &self,
        execution: ExecutionId,
        (hour, epoch, seq): (i32, u32, u64),
        facts: &[u8],
        data: &[u8],
    ) -> StoreResult<()> {
        let values = (execution.as_bytes().as_slice(), hour, signed(epoch), signed_long(seq), facts, data);
        self.write(&self.statements.put_segment, values).await
    }

    /// The facts of the segments of an hour, in order.
    pub(super) async fn segment_facts(&self, execution: ExecutionId, hour: i32) -> StoreResult<Vec<Read>> {
        let values = (execution.as_bytes().as_slice(), hour);
        let rows = self.cql.rows::<(i32, i64, Vec<u8>)>(&self.statements.segment_facts, values).await?;
        let read = |(epoch, seq, facts): (i32, i64, Vec<u8>)| {
            let (epoch, seq) = (epoch.cast_unsigned(), seq.cast_unsigned());
            Ok(Read { epoch, seq, hour, facts: Facts::read(&facts)? })
        };
        rows.and_then(|row| std::future::ready(read(row))).try_collect().await
    }

    /// The bytes of segments that follow each other in an hour and an epoch.
    pub(super) async fn segments(
        &self,
        execution: ExecutionId,
        first: At,
        last_seq: u64,
    ) -> StoreResult<futures_util::stream::BoxStream<'static, StoreResult<(i64, Vec<u8>)>>> {
        let At { hour, epoch, seq, .. } = first;
        let values =
            (execution.as_bytes().as_slice(), hour, signed(epoch), signed_long(seq), signed_long(last_seq));
        self.cql.rows(&self.statements.segments, values).await
    }

    pub(super) async fn put_text(
        &self,
        (execution, fold): (ExecutionId, i64),
        start: (u64, u64),
        piece: &str,
    ) -> StoreResult<()> {
        let id = execution.as_bytes().as_slice();
        let values = (id, fold, signed_long(start.0), signed_long(start.1), piece);
        self.write(&self.statements.put_text, values).await
    }

    /// The pieces of text that hold the units from `from` up to `to`, in order: start in units and bytes, text.
    pub(super) async fn text(
        &self,
        (execution, fold): (ExecutionId, i64),
        (from, to): (u64, u64),
    ) -> StoreResult<Vec<(u64, u64, String)>> {
        type Row = (i64, i64, String);
        let id = execution.as_bytes().as_slice();
        let (from, to) = (signed_long(from), signed_long(to));
        let first: Option<Row> = self.cql.first(&self.statements.text_before, (id, fold, from)).await?;
        let rest = self.cql.rows::<Row>(&self.statements.text_between, (id, fold, from, to)).await?;
        let rest: Vec<Row> = rest.try_collect().await?;
        let rows = first.into_iter().chain(rest);
        Ok(rows.map(|(units, bytes, text)| (units.cast_unsigned(), bytes.cast_unsigned(), text)).collect())
    }

    pub(super) async fn put_result(
        &self,
        (execution, fold): (ExecutionId, i64),
        seq: u64,
        result: &[u8],
    ) -> StoreResult<()> {
        let id = execution.as_bytes().as_slice();
        let values = (id, fold, signed_long(seq >> RESULT_PART_BITS), signed_long(seq), result);
        self.write(&self.statements.put_result, values).await
    }

    /// The results of a part with numbers above `after`, at most `limit`.
    pub(super) async fn results(
        &self,
        (execution, fold): (ExecutionId, i64),
        (part, after): (u64, u64),
        limit: usize,
    ) -> StoreResult<Vec<Vec<u8>>> {
        let id = execution.as_bytes().as_slice();
        let values = (id, fold, signed_long(part), signed_long(after));
        let rows: Vec<(Vec<u8>,)> = self.cql.first_rows(&self.statements.results, values, limit).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Notes when the archive forgets a session.
    pub(super) async fn put_expiry(
        &self,
        expires_ms: UnixMs,
        session: SessionId,
        execution: ExecutionId,
    ) -> StoreResult<()> {
        let day = day(expires_ms);
        self.write(&self.statements.put_expiry_day, (ZONE, day)).await?;
        let values = (day, expires_ms, session.0, execution.as_bytes().as_slice());
        self.write(&self.statements.put_expiry, values).await
    }

    pub(super) async fn remove_expiry(&self, expires_ms: UnixMs, session: SessionId) -> StoreResult<()> {
        self.write(&self.statements.remove_expiry, (day(expires_ms), expires_ms, session.0)).await
    }

    /// The days on which sessions are forgotten.
    pub(super) async fn expiry_days(&self) -> StoreResult<Vec<i64>> {
        let rows = self.cql.rows::<(i64,)>(&self.statements.expiry_days, (ZONE,)).await?;
        rows.map_ok(|row| row.0).try_collect().await
    }

    /// Sessions of a day that are forgotten before `now_ms`, at most `limit`.
    pub(super) async fn expiries(
        &self,
        day: i64,
        now_ms: UnixMs,
        limit: usize,
    ) -> StoreResult<Vec<(UnixMs, SessionId, ExecutionId)>> {
        let rows: Vec<(i64, Uuid, Vec<u8>)> =
            self.cql.first_rows(&self.statements.expiries, (day, now_ms), limit).await?;
        let rows = rows.into_iter().map(|(expires_ms, session, execution)| {
            Ok((expires_ms, SessionId(session), execution_of(&execution)?))
        });
        rows.collect()
    }

    /// Forgets a day that has no sessions any more, and is over.
    pub(super) async fn close_day(&self, day: i64) -> StoreResult<()> {
        let left: Option<(Uuid,)> = self.cql.first(&self.statements.any_expiry, (day,)).await?;
        if left.is_some() {
            return Ok(());
        }
        self.write(&self.statements.remove_expiry_day, (ZONE, day)).await
    }
}

/// Numbers of results in a partition: 2 to the power of this.
pub(super) const RESULT_PART_BITS: u32 = 12;
/// The window of 30 days of a start.
pub(super) fn window(start_ms: UnixMs) -> i64 {
    start_ms.div_euclid(30 * 86_400_000)
}

/// The day of a moment.
pub(super) fn day(moment_ms: UnixMs) -> i64 {
    moment_ms.div_euclid(86_400_000)
}

/// The hour of a moment.
pub(super) fn hour(moment_ms: UnixMs) -> i32 {
    i32::try_from(moment_ms.div_euclid(3_600_000)).unwrap_or(i32::MAX)
}

fn shard(execution: ExecutionId) -> i32 {
    let sum: u32 = execution.as_bytes().iter().map(|byte| u32::from(*byte)).sum();
    sum.cast_signed().rem_euclid(SHARDS)
}

const fn signed(number: u32) -> i32 {
    number.cast_signed()
}

/// Numbers are far below the sign bit; one that is not sorts as the last.
pub(super) fn signed_long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn execution_of(column: &[u8]) -> StoreResult<ExecutionId> {
    let bytes = column.try_into().map_err(|_| StoreError::Damaged("the id of a run".into()))?;
    Ok(ExecutionId::from_bytes(bytes))
}

pub(super) fn org_of(column: &[u8]) -> StoreResult<OrgId> {
    let bytes = column.try_into().map_err(|_| StoreError::Damaged("the id of an organization".into()))?;
    Ok(OrgId::from_bytes(bytes))
}
