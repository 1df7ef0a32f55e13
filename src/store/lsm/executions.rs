//! Runs are kept by [`super::runs::RunStore`]; the store passes them on.

use std::sync::Arc;

use async_trait::async_trait;

use super::LsmStore;
use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId, SessionId, TaskId};
use crate::domain::result::TestResult;
use crate::domain::segment::{Position, Segment};
use crate::store::contract::{
    ClosedRun, ExecutionFilter, ExecutionPage, Executions, OpenRun, OpenedRun, RunState, StoreResult,
    Submitted, TextPage,
};

#[async_trait]
impl Executions for LsmStore {
    async fn open_run(&self, opened: OpenedRun) -> StoreResult<()> {
        self.runs.open_run(opened).await
    }

    async fn abandon_run(&self, org: OrgId, execution: ExecutionId, feed_seq: u64) -> StoreResult<bool> {
        self.runs.abandon_run(org, execution, feed_seq).await
    }

    async fn claim(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<u32>> {
        self.runs.claim(org, execution).await
    }

    async fn append(&self, segment: &Segment) -> StoreResult<()> {
        self.runs.append(segment).await
    }

    fn submit(self: Arc<Self>, segment: Arc<Segment>, done: Submitted) {
        self.runs.submit_segment(segment, done);
    }

    async fn close_run(&self, closed: ClosedRun) -> StoreResult<bool> {
        self.runs.close_run(closed).await
    }

    async fn settle(&self, org: OrgId, execution: ExecutionId) -> StoreResult<()> {
        self.runs.settle(org, execution).await
    }

    async fn unsettled_runs(&self) -> StoreResult<Vec<OpenRun>> {
        self.runs.unsettled_runs().await
    }

    async fn run_state(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<RunState>> {
        self.runs.run_state(org, execution).await
    }

    async fn segments(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after: (u32, u64),
        limit_bytes: usize,
    ) -> StoreResult<Vec<Segment>> {
        self.runs.segments(org, execution, after, limit_bytes).await
    }

    async fn closure(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<ClosedRun>> {
        self.runs.closure(org, execution).await
    }

    async fn execution(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Execution>> {
        self.runs.execution(org, execution).await
    }

    async fn execution_by_task(&self, org: OrgId, task: &TaskId) -> StoreResult<Option<Execution>> {
        self.runs.execution_by_task(org, task).await
    }

    async fn executions(
        &self,
        org: OrgId,
        filter: &ExecutionFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<ExecutionPage> {
        self.runs.executions(org, filter, limit, offset).await
    }

    async fn count_runs(&self, org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> StoreResult<u64> {
        self.runs.count_runs(org, from_ms, to_ms).await
    }

    async fn storage_used(&self, org: OrgId) -> StoreResult<u64> {
        self.runs.storage_used(org).await
    }

    async fn recount_storage(&self, org: OrgId) -> StoreResult<u64> {
        self.runs.recount_storage(org).await
    }

    async fn session(&self, session: SessionId) -> StoreResult<Option<Session>> {
        self.runs.session(session).await
    }

    async fn cycle_of(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Cycle>> {
        self.runs.cycle_of(org, execution).await
    }

    async fn text(
        &self,
        org: OrgId,
        execution: ExecutionId,
        from: u64,
        limit: u64,
    ) -> StoreResult<Option<TextPage>> {
        self.runs.text(org, execution, from, limit).await
    }

    async fn whole_text(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<TextPage>> {
        self.runs.whole_text(org, execution).await
    }

    async fn position(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Position>> {
        self.runs.position(org, execution).await
    }

    async fn results(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>> {
        self.runs.results(org, execution, after_seq, limit).await
    }

    async fn all_results(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Vec<TestResult>> {
        self.runs.all_results(org, execution).await
    }

    async fn purge_sessions(&self, now_ms: UnixMs) -> StoreResult<u64> {
        self.runs.purge_sessions(now_ms).await
    }
}
