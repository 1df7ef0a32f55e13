//! The contract, as this store keeps it. What changes something runs to its end even if nobody waits for it.

use async_trait::async_trait;

use super::ScyllaRuns;
use super::append::Encoded;
use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId, SessionId, TaskId};
use crate::domain::result::TestResult;
use crate::domain::segment::{Position, Segment};
use crate::store::contract::{
    ClosedRun, ExecutionFilter, ExecutionPage, Executions, FeedLog, FeedRow, OpenRun, OpenedRun, RunState,
    StoreResult, TextPage,
};

impl ScyllaRuns {
    /// As [`Executions::settle`]; the bytes of the run if it was this call that settled it.
    ///
    /// # Errors
    /// As [`Executions::settle`].
    pub async fn settle_counted(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<u64>> {
        self.to_end(move |core| async move { core.settle(org, execution).await }).await
    }
}

#[async_trait]
impl Executions for ScyllaRuns {
    async fn open_run(&self, opened: OpenedRun) -> StoreResult<()> {
        self.to_end(|core| async move { core.open(opened).await }).await
    }

    async fn abandon_run(&self, org: OrgId, execution: ExecutionId, feed_seq: u64) -> StoreResult<bool> {
        self.to_end(move |core| async move { core.abandon(org, execution, feed_seq).await }).await
    }

    async fn claim(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<u32>> {
        self.to_end(move |core| async move {
            let Some(owned) = core.own(org, execution).await? else { return Ok(None) };
            Ok(Some(owned.known().0.claim.epoch))
        })
        .await
    }

    async fn append(&self, segment: &Segment) -> StoreResult<()> {
        let encoded = Encoded::of(segment)?;
        self.to_end(|core| async move { core.append(encoded).await }).await
    }

    async fn close_run(&self, closed: ClosedRun) -> StoreResult<bool> {
        self.to_end(|core| async move { core.close(closed).await }).await
    }

    async fn settle(&self, org: OrgId, execution: ExecutionId) -> StoreResult<()> {
        self.settle_counted(org, execution).await.map(drop)
    }

    async fn unsettled_runs(&self) -> StoreResult<Vec<OpenRun>> {
        self.core.unsettled_runs().await
    }

    async fn run_state(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<RunState>> {
        self.core.run_state(org, execution).await
    }

    async fn segments(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after: (u32, u64),
        limit_bytes: usize,
    ) -> StoreResult<Vec<Segment>> {
        self.core.segments(org, execution, after, limit_bytes).await
    }

    async fn closure(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<ClosedRun>> {
        Ok(self.core.row(org, execution).await?.and_then(|row| row.closure))
    }

    async fn execution(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Execution>> {
        self.core.execution(org, execution).await
    }

    async fn execution_by_task(&self, org: OrgId, task: &TaskId) -> StoreResult<Option<Execution>> {
        self.core.execution_by_task(org, task).await
    }

    async fn executions(
        &self,
        org: OrgId,
        filter: &ExecutionFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<ExecutionPage> {
        self.core.executions(org, filter, limit, offset).await
    }

    async fn count_runs(&self, org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> StoreResult<u64> {
        self.core.count_runs(org, from_ms, to_ms).await
    }

    async fn storage_used(&self, org: OrgId) -> StoreResult<u64> {
        self.core.storage_used(org).await
    }

    async fn recount_storage(&self, org: OrgId) -> StoreResult<u64> {
        self.core.storage.forget(org);
        self.core.storage_used(org).await
    }

    async fn session(&self, session: SessionId) -> StoreResult<Option<Session>> {
        self.core.session(session).await
    }

    async fn cycle_of(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Cycle>> {
        Ok(self.core.row(org, execution).await?.and_then(|row| row.cycle()))
    }

    async fn text(
        &self,
        org: OrgId,
        execution: ExecutionId,
        from: u64,
        limit: u64,
    ) -> StoreResult<Option<TextPage>> {
        self.core.text(org, execution, from, limit).await
    }

    async fn whole_text(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<TextPage>> {
        self.core.whole_text(org, execution).await
    }

    async fn position(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Position>> {
        self.core.position(org, execution).await
    }

    async fn results(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>> {
        self.core.results(org, execution, after_seq, limit).await
    }

    async fn all_results(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Vec<TestResult>> {
        self.core.all_results(org, execution).await
    }

    async fn purge_sessions(&self, now_ms: UnixMs) -> StoreResult<u64> {
        self.to_end(move |core| async move { core.purge_sessions(now_ms).await }).await
    }
}

#[async_trait]
impl FeedLog for ScyllaRuns {
    async fn feed_epoch(&self) -> StoreResult<u64> {
        Ok(self.core.lane()?.number)
    }

    async fn feed_head(&self, org: OrgId) -> StoreResult<u64> {
        self.core.feed_head(org).await
    }

    async fn feed_floor(&self, org: OrgId) -> StoreResult<u64> {
        self.core.feed_floor(org).await
    }

    async fn feed_rows(&self, org: OrgId, after: u64, limit: usize) -> StoreResult<Vec<FeedRow>> {
        self.core.feed_rows(org, after, limit).await
    }

    async fn purge_feed(&self, before_ms: UnixMs) -> StoreResult<u64> {
        self.to_end(move |core| async move { core.purge_feed(before_ms).await }).await
    }
}
