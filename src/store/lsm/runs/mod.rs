//! Runs: what is acknowledged goes to the journal first, what is asked for comes from the index and the rows.
//!
//! - [`write`]: a fact (opened, closed, taken back) becomes durable in the journal, then its rows are made ([`facts`]),
//!   unsynced: after a crash the journal makes them again. A segment becomes durable in the journal and known to the
//!   [`index`].
//! - [`read`] (pages of a log: [`text`]), [`results`], [`lists`]: an unsettled run is read from its segments, a settled one from its rows.
//! - [`feed`]: the numbered rows of what viewers are told.
//! - [`settle`] folds a closed run's segments into rows; [`keeper`] lets go of what is folded and of whole journal files.
//! - [`recover`] puts all of it together at start.
//!
//! The rows' store is behind the seam of [`rows`], so that power cuts can be played with both halves.

mod ahead;
mod core;
mod facts;
mod feed;
mod index;
mod keeper;
mod keys;
mod lists;
mod locks;
mod read;
mod recover;
mod results;
pub mod rows;
mod settle;
mod storage;
mod transfer;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use self::core::Core;
pub(super) use self::transfer::{RunRows, is_of_runs};
use index::Run;
use keeper::{Chores, Keeper};
use recover::Recovery;
use rows::{Rows, Table};

use super::failure::FailureLatch;
use super::journal::{Journal, JournalCounts, JournalSettings, Key, Kind, RecoveryReport};
use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId, SessionId, TaskId};
use crate::domain::result::TestResult;
use crate::domain::segment::{Position, Segment};
use crate::fs::Fs;
use crate::limits;
use crate::rank;
use crate::store::contract::{
    ClosedRun, ExecutionFilter, ExecutionPage, Executions, FeedLog, FeedRow, OpenRun, OpenedRun, RunState,
    StoreError, StoreResult, Submitted, TextPage,
};
use crate::store::fold::{segment, text};
use crate::store::record;
use crate::telemetry::name::RECOVERY_SECONDS;

/// How runs are kept.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Sizes of the journal.
    pub journal: JournalSettings,
    /// Complete journal files that are kept before segments of old open runs are moved out of them.
    pub files_max: usize,
}

/// The store of runs.
pub struct RunStore {
    core: Arc<Core>,
    keeper: std::sync::Mutex<Keeper>,
    report: RecoveryReport,
}

impl RunStore {
    /// Opens the store and recovers what the last process left. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if the disk cannot be used, `Damaged` if it holds what this build cannot read.
    pub fn open(settings: RunSettings, fs: Arc<dyn Fs>, rows: Arc<dyn Rows>) -> StoreResult<Self> {
        Self::open_with(settings, fs, rows, Arc::new(FailureLatch::new()))
    }

    pub(super) fn open_with(
        settings: RunSettings,
        fs: Arc<dyn Fs>,
        rows: Arc<dyn Rows>,
        failure: Arc<FailureLatch>,
    ) -> StoreResult<Self> {
        let began = std::time::Instant::now();
        let first = rows.get(Table::Journal, keys::FIRST_FILE)?;
        let first: u32 = first.map_or(Ok(1), |first| record::decode(&first))?;
        let reach = rows.get(Table::Journal, keys::REACH)?;
        let reach = reach.map(|reach| record::decode(&reach)).transpose()?;
        let mut recovery = Recovery::new(rows.as_ref())?;
        let latch = Arc::clone(&failure);
        let opened =
            Journal::open(fs, settings.journal, latch, first, reach, &mut |event| recovery.take(event));
        let (journal, mut report) = opened?;
        let recovered = recovery.finish()?;
        let feed_epoch = feed::epoch(rows.as_ref(), &recovered.evidence)?;
        let index = index::Index::default();
        for (execution, run) in recovered.runs {
            run.places(0).for_each(|place| journal.pin(place));
            index.add(execution, run);
        }
        let chores = Chores::new(settings.files_max, recovered.evidence);
        recovered.settled.into_iter().for_each(|execution| chores.clear(execution));
        report.damaged_runs = recovered.damaged;
        report.took = began.elapsed();
        metrics::gauge!(RECOVERY_SECONDS).set(report.took.as_secs_f64());
        let core = Arc::new(Core {
            rows,
            journal,
            index: Arc::new(index),
            locks: locks::Locks::default(),
            chores,
            collapsed: results::Collapsed::default(),
            storage: storage::StorageUsed::default(),
            reach: std::sync::Mutex::new(reach),
            feed_epoch,
            failure,
        });
        core.note_reach()?;
        let keeper = std::sync::Mutex::new(Keeper::start(Arc::clone(&core))?);
        Ok(Self { core, keeper, report })
    }

    /// What was found at start.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.report
    }

    /// What the journal did since.
    #[must_use]
    pub fn journal_counts(&self) -> JournalCounts {
        self.core.journal.counts()
    }

    /// Lets go of what is not needed any more, now instead of when the keeper looks.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn tend(&self) -> StoreResult<()> {
        self.blocking(Core::tend).await
    }

    /// A round trip through the journal.
    ///
    /// # Errors
    /// `Unavailable` or `Full` if nothing is accepted now.
    pub async fn probe(&self) -> StoreResult<()> {
        self.blocking(|core| {
            let place = core.journal.append_and_wait(Key::of_file(Kind::Mark), Vec::new())?;
            core.journal.release(place);
            Ok(())
        })
        .await
    }

    /// Resolves with the reason once the store has failed for good.
    pub async fn failed(&self) -> String {
        self.core.failure.failed().await
    }

    /// Finishes what is under way and makes everything durable. Nothing is accepted afterwards.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn shut_down(&self) -> StoreResult<()> {
        self.keeper_ends();
        self.blocking(|core| {
            core.journal.shut_down();
            match core.failure.reason() {
                Some(reason) => Err(StoreError::Unavailable(reason)),
                None => core.note_reach().and_then(|()| core.rows.persist()),
            }
        })
        .await
    }

    /// See the contract's `submit`.
    pub(super) fn submit_segment(&self, segment: Arc<Segment>, done: Submitted) {
        self.core.submit(segment, done);
    }

    fn keeper_ends(&self) {
        self.keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner).end();
    }

    /// Runs `work` where it may block; it runs to its end even if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let core = Arc::clone(&self.core);
        tokio::task::spawn_blocking(move || work(&core))
            .await
            .map_err(|error| StoreError::Unavailable(format!("a store call ended early: {error}")))?
    }
}

/// Waits until a record that is on its way has arrived. Blocks.
fn wait(mut pending: watch::Receiver<()>) {
    // An error is what is waited for: the sender goes when the record has arrived.
    let _arrived = Handle::current().block_on(pending.changed());
}

#[async_trait]
impl Executions for RunStore {
    async fn open_run(&self, opened: OpenedRun) -> StoreResult<()> {
        self.blocking(move |core| core.open(opened)).await
    }

    async fn abandon_run(&self, org: OrgId, execution: ExecutionId, feed_seq: u64) -> StoreResult<bool> {
        self.blocking(move |core| core.abandon(org, execution, feed_seq)).await
    }

    async fn claim(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<u32>> {
        // The data folder is locked: whoever has it open owns every run in it.
        Ok(self.core.index.look(org, execution, |_| limits::EPOCH))
    }

    async fn append(&self, segment: &Segment) -> StoreResult<()> {
        self.core.append_and_wait(segment).await
    }

    async fn close_run(&self, closed: ClosedRun) -> StoreResult<bool> {
        self.blocking(move |core| core.close(&closed)).await
    }

    async fn settle(&self, org: OrgId, execution: ExecutionId) -> StoreResult<()> {
        let core = Arc::clone(&self.core);
        let runtime = Handle::current();
        let (done, outcome) = oneshot::channel();
        // On a thread of its own for its rank: who sends goes first, and a thread that has given way cannot come back.
        let folding = move || {
            let _inside = runtime.enter();
            rank::give_way();
            let outcome = core.settle(org, execution);
            // Before anybody hears of it: the store may be opened again right after.
            drop(core);
            // Whoever asked may have gone.
            let _unheard = done.send(outcome);
        };
        std::thread::Builder::new()
            .name("folding".into())
            .spawn(folding)
            .map_err(|error| StoreError::Unavailable(format!("no thread to fold a run: {error}")))?;
        outcome.await.map_err(|_| StoreError::Unavailable("the folding ended early".into()))?
    }

    async fn unsettled_runs(&self) -> StoreResult<Vec<OpenRun>> {
        Ok(self.core.index.open_runs())
    }

    async fn run_state(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<RunState>> {
        Ok(self.core.index.look(org, execution, Run::state))
    }

    async fn segments(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after: (u32, u64),
        limit_bytes: usize,
    ) -> StoreResult<Vec<Segment>> {
        self.blocking(move |core| core.segments(org, execution, after, limit_bytes)).await
    }

    async fn closure(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<ClosedRun>> {
        self.blocking(move |core| facts::closure(core.rows.as_ref(), org, execution)).await
    }

    async fn execution(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Execution>> {
        self.blocking(move |core| core.execution(org, execution)).await
    }

    async fn execution_by_task(&self, org: OrgId, task: &TaskId) -> StoreResult<Option<Execution>> {
        let task = task.clone();
        self.blocking(move |core| core.execution_by_task(org, &task)).await
    }

    async fn executions(
        &self,
        org: OrgId,
        filter: &ExecutionFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<ExecutionPage> {
        let filter = filter.clone();
        self.blocking(move |core| core.executions(org, &filter, limit, offset)).await
    }

    async fn count_runs(&self, org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> StoreResult<u64> {
        self.blocking(move |core| core.count_runs(org, from_ms, to_ms)).await
    }

    async fn storage_used(&self, org: OrgId) -> StoreResult<u64> {
        self.blocking(move |core| core.storage.of(core.rows.as_ref(), org)).await
    }

    async fn recount_storage(&self, org: OrgId) -> StoreResult<u64> {
        self.blocking(move |core| core.storage.recount(core.rows.as_ref(), org)).await
    }

    async fn session(&self, session: SessionId) -> StoreResult<Option<Session>> {
        self.blocking(move |core| core.session(session)).await
    }

    async fn cycle_of(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Cycle>> {
        self.blocking(move |core| core.cycle_of(org, execution)).await
    }

    async fn text(
        &self,
        org: OrgId,
        execution: ExecutionId,
        from: u64,
        limit: u64,
    ) -> StoreResult<Option<TextPage>> {
        self.blocking(move |core| core.text(org, execution, from, limit)).await
    }

    async fn whole_text(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<TextPage>> {
        self.blocking(move |core| core.whole_text(org, execution)).await
    }

    async fn position(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Position>> {
        self.blocking(move |core| core.position(org, execution)).await
    }

    async fn results(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>> {
        self.blocking(move |core| core.results(org, execution, after_seq, limit)).await
    }

    async fn all_results(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Vec<TestResult>> {
        self.blocking(move |core| core.all_results(org, execution)).await
    }

    async fn purge_sessions(&self, now_ms: UnixMs) -> StoreResult<u64> {
        self.blocking(move |core| core.purge_sessions(now_ms)).await
    }
}

#[async_trait]
impl FeedLog for RunStore {
    async fn feed_epoch(&self) -> StoreResult<u64> {
        Ok(self.core.feed_epoch)
    }

    async fn feed_head(&self, org: OrgId) -> StoreResult<u64> {
        self.blocking(move |core| core.feed_head(org)).await
    }

    async fn feed_floor(&self, org: OrgId) -> StoreResult<u64> {
        self.blocking(move |core| core.feed_floor(org)).await
    }

    async fn feed_rows(&self, org: OrgId, after: u64, limit: usize) -> StoreResult<Vec<FeedRow>> {
        self.blocking(move |core| core.feed_rows(org, after, limit)).await
    }

    async fn purge_feed(&self, before_ms: UnixMs) -> StoreResult<u64> {
        self.blocking(move |core| core.purge_feed(before_ms)).await
    }
}
