//! Runs: opening, appending, closing, reading.
//!
//! A run's life: [`Executions::open_run`] → any number of [`Executions::append`] → [`Executions::close_run`] →
//! (late segments and perhaps a second `close_run`) → [`Executions::settle`], which folds its segments into the final
//! documents and lets the segments go. Readers see the same text and results before and after settling.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::execution::{
    Completeness, Cycle, Delivery, Execution, ItemStatus, Session, SessionStatus, Source, Status, Summary,
};
use crate::domain::id::{ExecutionId, OrgId, ProjectId, SessionId, TaskId};
use crate::domain::result::TestResult;
use crate::domain::segment::{Position, Segment};

/// What a setup stores, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedRun {
    /// The run.
    pub execution: Execution,
    /// Its cycle.
    pub cycle: Cycle,
    /// The session that feeds it.
    pub session: Session,
    /// Number of the opening in the organization's feed; 0 if it is not in it.
    pub feed_seq: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Accepts segments.
    Open,
    /// Closed, its segments still apart.
    Closed,
}

/// A run that is not settled, as found at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Tenant.
    pub org: OrgId,
    /// The run.
    pub execution: ExecutionId,
    /// How far it has come.
    pub state: RunState,
    /// Its sessions with their expiry as stored at setup; appended segments extend it.
    pub sessions: Vec<SessionId>,
    /// Highest epoch any of its segments has; 0 without segments.
    pub epoch: u32,
    /// `received_ms` of the newest stored batch, or the setup's time.
    pub last_heard_ms: UnixMs,
}

/// How one session of a closed run ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SessionEnd {
    /// The session.
    pub session: SessionId,
    /// `Completed` or `Failed`.
    pub status: SessionStatus,
    /// Counters of the teardown; `None` for orphans.
    pub summary: Option<Summary>,
    /// Delivery report of the teardown, if sent.
    pub delivery: Option<Delivery>,
    /// What the teardown answers.
    pub answered: Status,
    /// When the archive forgets it; Unix milliseconds.
    pub expires_ms: UnixMs,
}

/// What closing a run stores, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClosedRun {
    /// Tenant.
    #[serde(with = "crate::domain::id::stored_org")]
    pub org: OrgId,
    /// The run.
    pub execution: ExecutionId,
    /// Counts closures of this run from 1: a late failing result may close it a second time.
    pub revision: u32,
    /// Effective status.
    pub status: Status,
    /// Whether the quality gate let a run pass that its reporter called failed.
    pub gated: bool,
    /// Unix milliseconds.
    pub end_ms: UnixMs,
    /// What arrived.
    pub completeness: Completeness,
    /// Quarantined tests of the run at this moment.
    pub quarantined: Vec<String>,
    /// Item status of the cycle.
    pub item_status: ItemStatus,
    /// Cycle counters: total, passed, failed.
    pub cycle_summary: (u64, u64, u64),
    /// How its sessions ended.
    pub sessions: Vec<SessionEnd>,
    /// Number of the closure in the organization's feed; 0 if it is not in it. Stored beside the record, which is older.
    #[serde(skip)]
    pub feed_seq: u64,
}

/// Which executions a list wants. Empty means no restriction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Any of these; `Some(vec![])` matches nothing.
    pub statuses: Option<Vec<Status>>,
    /// Whole match, case-insensitive.
    pub environment: Option<String>,
    /// `start_ms ≥`.
    pub start_after_ms: Option<UnixMs>,
    /// `start_ms ≤`.
    pub start_before_ms: Option<UnixMs>,
    /// Exact.
    pub group_name: Option<String>,
    /// Exact.
    pub source: Option<Source>,
    /// Exact.
    pub project: Option<ProjectId>,
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionPage {
    /// Newest start first, ties by id descending.
    pub executions: Vec<Execution>,
    /// How many match the filter in all.
    pub total: u64,
}

/// A part of a run's log text. Offsets are UTF-16 code units from the run's start, not reduced by the log cap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextPage {
    /// The text.
    pub text: String,
    /// Offset of its first unit; greater than asked for where the log cap removed text.
    pub from: u64,
    /// Offset after its last unit.
    pub next: u64,
    /// Units appended so far.
    pub length: u64,
}

/// Is told what became of a segment that was submitted; in a task, so it must be short.
pub type Submitted = Box<dyn FnOnce(StoreResult<()>) + Send>;

/// Runs.
#[async_trait]
pub trait Executions: Send + Sync + 'static {
    /// Stores a run, its cycle and its session together.
    ///
    /// # Errors
    /// `Conflict(RunExists)` if the organization has a run with this task id, `Full` without room.
    async fn open_run(&self, opened: OpenedRun) -> StoreResult<()>;

    /// Takes back a run that nobody was told of: execution, cycle and session are gone, as if never opened. Its taking
    /// back has this number in the organization's feed; 0 if it is not in it. `false`, and nothing changed, if `org` has
    /// no such unsettled run.
    async fn abandon_run(&self, org: OrgId, execution: ExecutionId, feed_seq: u64) -> StoreResult<bool>;

    /// Makes this process the one that appends to an unsettled run, and tells the epoch of its segments: at least that of
    /// the segments there are, of which the run has all that were ever appended with success. `None` if `org` has no such
    /// unsettled run. The process that opened a run need not claim it first, and claiming twice is the same as once.
    ///
    /// # Errors
    /// `Unavailable` if another process may still be appending.
    async fn claim(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<u32>>;

    /// Appends a segment to a run. Durable when it returns. Appending the same segment again changes nothing.
    /// Segments of one run are appended one after another; segments of different runs share the cost of a sync.
    /// A [`crate::domain::batch::Item::Status`] in it becomes the execution's status unless that is final.
    ///
    /// # Errors
    /// `Full` without room: nothing was stored. `Conflict(SegmentSequence)` if it does not continue the run, or the run
    /// is not this process's own. After `Unavailable` the run has to be claimed again.
    async fn append(&self, segment: &Segment) -> StoreResult<()>;

    /// As [`Executions::append`], without a task that waits: returns at once, and tells `done` what became of it. A
    /// `done` that is dropped untold means that nobody will know. To be called in a task.
    fn submit(self: Arc<Self>, segment: Arc<Segment>, done: Submitted) {
        tokio::spawn(async move { done(self.append(&segment).await) });
    }

    /// Makes a run final: execution, cycle and sessions together. A closure with a revision not above the stored one
    /// changes nothing, nor does one of a run that `org` does not have: the answer is then `false`.
    async fn close_run(&self, closed: ClosedRun) -> StoreResult<bool>;

    /// Folds a closed run's segments into its final documents and lets the segments go. Safe to repeat and to be cut
    /// off anywhere. Does nothing for an open or unknown run.
    async fn settle(&self, org: OrgId, execution: ExecutionId) -> StoreResult<()>;

    /// Every run that is not settled, in no particular order.
    async fn unsettled_runs(&self) -> StoreResult<Vec<OpenRun>>;

    /// How far an unsettled run has come; `None` once it is settled, or if `org` has no such run.
    async fn run_state(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<RunState>>;

    /// The run's segments with `(epoch, seq)` above `after`, in order, at most about `limit_bytes` of them but at
    /// least one if there is one. Empty when there are no more. Settled runs have none.
    async fn segments(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after: (u32, u64),
        limit_bytes: usize,
    ) -> StoreResult<Vec<Segment>>;

    /// The closure of a closed run, or `None`.
    async fn closure(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<ClosedRun>>;

    /// The execution, deleted ones included, or `None` if `org` has none such.
    async fn execution(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Execution>>;

    /// The execution with this task id that is not deleted, or `None` if `org` has none such.
    async fn execution_by_task(&self, org: OrgId, task: &TaskId) -> StoreResult<Option<Execution>>;

    /// A page of the organization's executions that are not deleted.
    async fn executions(
        &self,
        org: OrgId,
        filter: &ExecutionFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<ExecutionPage>;

    /// How many runs of the organization started in `[from_ms, to_ms)`, deleted ones included.
    async fn count_runs(&self, org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> StoreResult<u64>;

    /// Bytes kept for the organization's settled runs: their log text and their results, as counted when they were
    /// settled. A counter that is kept, not a sum that is made at each call.
    async fn storage_used(&self, org: OrgId) -> StoreResult<u64>;

    /// Counts what [`Executions::storage_used`] tells anew, run by run, and corrects it; the bytes. For once a day: a crash
    /// between settling a run and counting it leaves a counter behind.
    async fn recount_storage(&self, org: OrgId) -> StoreResult<u64>;

    /// The session, running or archived, or `None`. `expires_ms` of a running one is that of its setup.
    async fn session(&self, session: SessionId) -> StoreResult<Option<Session>>;

    /// The cycle of a run, or `None`.
    async fn cycle_of(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Cycle>>;

    /// Text from `from` (UTF-16 units) on, at most about `limit` units, cut between characters; an offset inside a
    /// surrogate pair is moved to its start. Beyond the end: empty, `from = next = length`. At most the log cap is
    /// kept: the first part, a marker line, the last part; a page that starts before the gap ends at it, one that
    /// starts inside begins after it. `None` if `org` has no such run.
    async fn text(
        &self,
        org: OrgId,
        execution: ExecutionId,
        from: u64,
        limit: u64,
    ) -> StoreResult<Option<TextPage>>;

    /// The whole kept text, with the marker line where the log cap removed text. `None` if `org` has no such run.
    async fn whole_text(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<TextPage>>;

    /// Where the run's durable text and results end. `None` if `org` has no such run.
    async fn position(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Position>>;

    /// Collapsed results whose last attempt is later than `after_seq`, by `seq`, at most `limit`. While the run is open
    /// an entry may be superseded by a later one of the same test.
    async fn results(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>>;

    /// All results of a closed run, collapsed, in the order of first attempts.
    async fn all_results(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Vec<TestResult>>;

    /// Forgets archived sessions that expired before `now_ms`; returns how many.
    async fn purge_sessions(&self, now_ms: UnixMs) -> StoreResult<u64>;
}
