//! How a run is found and its segments read. By the owner from memory, by others from the store: sealed epochs up to their
//! ends, the open one up to its first gap, and nothing while an epoch is being sealed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::Core;
use super::index::{At, RunIndex};
use super::row::{RunRow, Settled};
use crate::domain::execution::{Execution, Status};
use crate::domain::id::{ExecutionId, OrgId, TaskId};
use crate::domain::segment::{Position, Segment};
use crate::store::contract::{RunState, StoreError, StoreResult};
use crate::store::fold::documents::ListRow;
use crate::store::fold::segment::{self, SegmentKey};
use crate::store::record;

/// How often a reader looks whether a run that is being taken over has been.
const LOOKS: usize = 100;
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A run as a reader finds it.
pub(super) enum View {
    /// Its text and results are in segments.
    Unsettled(Box<RunRow>, Arc<RunIndex>),
    /// They are in rows.
    Settled(Settled),
}

impl Core {
    /// Finds a run; `None` if the organization has none such.
    pub(super) async fn view(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<View>> {
        for _ in 0..LOOKS {
            if let Some(mine) = self.mine(org, execution) {
                let (row, index) = mine.known();
                return Ok(Some(View::Unsettled(Box::new(row), index)));
            }
            let found = self.tables.run(execution).await?;
            let Some(row) = found.filter(|row| row.opened_in(org).is_some()) else { return Ok(None) };
            if let Some(settled) = row.settled {
                return Ok(Some(View::Settled(settled)));
            }
            if row.claim.sealing.is_none() {
                let opened_ms = row.opened.as_ref().map_or(0, |opened| opened.session.start_ms);
                let index = self.load_index(execution, opened_ms, &row.claim).await?;
                // What was read counts only if no epoch was begun to be sealed meanwhile.
                let again = self.tables.run(execution).await?;
                if again.is_some_and(|again| again.version == row.version) {
                    return Ok(Some(View::Unsettled(Box::new(row), Arc::new(index))));
                }
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Err(StoreError::Unavailable("the run is being taken over by another node".into()))
    }

    /// The row of the organization's run.
    pub(super) async fn row(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<RunRow>> {
        if let Some(mine) = self.mine(org, execution) {
            return Ok(Some(mine.known().0));
        }
        let found = self.tables.run(execution).await?;
        Ok(found.filter(|row| row.opened_in(org).is_some()))
    }

    pub(super) async fn run_state(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> StoreResult<Option<RunState>> {
        Ok(self.row(org, execution).await?.and_then(|row| row.state()))
    }

    pub(super) async fn execution(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> StoreResult<Option<Execution>> {
        let Some(row) = self.row(org, execution).await? else { return Ok(None) };
        let Some(mut document) = row.document() else { return Ok(None) };
        if row.closure.is_none() {
            document.status = self.announced(&row).await?.unwrap_or(document.status);
        }
        Ok(Some(document))
    }

    /// The status announced last of a run that is not closed.
    async fn announced(&self, row: &RunRow) -> StoreResult<Option<Status>> {
        if let Some(mine) = self.mine(row.org, row.execution) {
            return Ok(mine.index().announced);
        }
        let listed = self.tables.listed_one(row.listed_at()).await?;
        Ok(listed.map(|listed| record::decode::<ListRow>(&listed)).transpose()?.map(|listed| listed.status))
    }

    pub(super) async fn execution_by_task(
        &self,
        org: OrgId,
        task: &TaskId,
    ) -> StoreResult<Option<Execution>> {
        let Some(id) = self.tables.task(org, task).await? else { return Ok(None) };
        let found = self.execution(org, id).await?;
        Ok(found.filter(|execution| execution.task_id == *task && execution.deleted_ms.is_none()))
    }

    pub(super) async fn position(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Position>> {
        Ok(self.view(org, execution).await?.map(|view| match view {
            View::Unsettled(_, index) => index.end,
            View::Settled(settled) => settled.row.end,
        }))
    }

    /// See the contract.
    pub(super) async fn segments(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after: (u32, u64),
        limit_bytes: usize,
    ) -> StoreResult<Vec<Segment>> {
        let Some(View::Unsettled(_, index)) = self.view(org, execution).await? else { return Ok(Vec::new()) };
        let wanted = index.from(index.index_after(after));
        let mut segments = Vec::new();
        let mut bytes = 0;
        for range in ranges(&wanted) {
            let (Some(first), Some(last)) = (range.first(), range.last()) else { continue };
            let mut rows = self.tables.segments(execution, *first, last.seq).await?;
            let mut places = range.iter();
            while let Some((seq, data)) = rows.try_next().await? {
                let at = places.next().filter(|at| at.seq == seq.cast_unsigned()).ok_or_else(lost)?;
                bytes += data.len();
                segments.push(decode(org, execution, *at, data)?);
                if bytes >= limit_bytes.max(1) {
                    return Ok(segments);
                }
            }
            if places.next().is_some() {
                return Err(lost());
            }
        }
        Ok(segments)
    }

    /// Hands the stored bytes of these segments to `each`, in order.
    pub(super) async fn each_stored(
        &self,
        execution: ExecutionId,
        wanted: &[At],
        mut each: impl FnMut(At, Vec<u8>) -> StoreResult<()>,
    ) -> StoreResult<()> {
        for range in ranges(wanted) {
            let (Some(first), Some(last)) = (range.first(), range.last()) else { continue };
            let mut rows = self.tables.segments(execution, *first, last.seq).await?;
            let mut places = range.iter();
            while let Some((seq, data)) = rows.try_next().await? {
                let at = places.next().filter(|at| at.seq == seq.cast_unsigned()).ok_or_else(lost)?;
                each(*at, data)?;
            }
            if places.next().is_some() {
                return Err(lost());
            }
        }
        Ok(())
    }

    /// The stored bytes of a segment.
    pub(super) async fn stored(&self, execution: ExecutionId, at: At) -> StoreResult<Vec<u8>> {
        let mut found = None;
        self.each_stored(execution, &[at], |_, data| {
            found = Some(data);
            Ok(())
        })
        .await?;
        found.ok_or_else(lost)
    }
}

/// A stored segment, which must continue its run there.
pub(super) fn decode(org: OrgId, execution: ExecutionId, at: At, data: Vec<u8>) -> StoreResult<Segment> {
    let At { epoch, seq, start, .. } = at;
    let segment = segment::decode(SegmentKey { org, execution, epoch, seq }, &Bytes::from(data))?;
    if segment.start == start { Ok(segment) } else { Err(lost()) }
}

/// Segments that follow each other in one partition and epoch.
fn ranges(wanted: &[At]) -> impl Iterator<Item = &[At]> {
    wanted.chunk_by(|one, next| (one.hour, one.epoch, one.seq + 1) == (next.hour, next.epoch, next.seq))
}

fn lost() -> StoreError {
    StoreError::Damaged("a segment of the run is gone".into())
}
