//! What a start does, and a node that comes back after its lease had lapsed: it takes a numbering of the feed, takes over
//! the runs that nobody alive owns, finishes what follows from changes that were made, and sweeps what is left of setups
//! that never came to be.

use std::sync::{Arc, Weak};

use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::watch;
use uuid::Uuid;

use super::lane::Lane;
use super::read::View;
use super::row::RunRow;
use super::tables::Trace;
use super::{Core, OwnedRun};
use crate::domain::id::OrgId;
use crate::limits;
use crate::store::contract::{OpenRun, RunState, StoreError, StoreResult};
use crate::store::scylla::claims::Term;

/// Runs that are recovered at the same time.
const RUNS_PARALLEL: usize = 16;

/// Begins each new life of the node.
pub(super) async fn follow_terms(core: Weak<Core>, mut terms: watch::Receiver<Arc<Term>>, mut begun: Uuid) {
    loop {
        let term = Arc::clone(&terms.borrow_and_update());
        if term.incarnation != begun {
            let Some(core) = core.upgrade() else { return };
            core.owned.retain(|_, owned| owned.term.incarnation == term.incarnation);
            let mut next = terms.clone();
            // Resolves when there is a next life, or nobody to have one.
            let is_over = async move { drop(next.changed().await) };
            match core.begin_term(&term, is_over).await {
                Ok(()) => begun = term.incarnation,
                Err(error) => {
                    tracing::warn!(%error, "the node is not back yet");
                    drop(core);
                    tokio::time::sleep(limits::HEARTBEAT).await;
                    continue;
                }
            }
        }
        if terms.changed().await.is_err() {
            return;
        }
    }
}

impl Core {
    /// Begins a life of this node. When that `is_over`, what is left to take over is left to the next one: but not before
    /// it is known whose the numbering is.
    pub(super) async fn begin_term(&self, term: &Term, is_over: impl Future<Output = ()>) -> StoreResult<()> {
        // Positions that viewers hold are of the numbering that this process had: it goes on with no other.
        let before = self.lanes.current().map(|lane| lane.number);
        let Some((number, may_be_under_way)) = self.claim_lane(term, before).await? else {
            self.failure
                .fail("another node has taken this node's numbering of the feed while its lease was over");
            return Err(StoreError::Unavailable("the feed's numbering is another node's now".into()));
        };
        let lane = Arc::new(Lane::new(number, term.incarnation));
        self.lanes.set(Arc::clone(&lane));
        let traces = self.tables.unsettled().await?;
        let recovering: Vec<_> = traces.iter().map(|trace| self.recover(trace, term, &lane)).collect();
        let recovering = futures_util::stream::iter(recovering).buffer_unordered(RUNS_PARALLEL);
        tokio::select! {
            recovered = recovering.try_collect::<()>() => recovered?,
            () = is_over => return Err(StoreError::Unavailable("it ended before it had begun".into())),
        }
        if may_be_under_way {
            self.jump_heads(&lane).await?;
        }
        *self.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(term.incarnation);
        Ok(())
    }

    async fn recover(&self, trace: &Trace, term: &Term, lane: &Lane) -> StoreResult<()> {
        let Trace { org, execution, .. } = *trace;
        let Some(row) = self.tables.run_now(execution).await? else { return self.sweep(trace, term).await };
        if row.opened.is_none() {
            return match &row.abandoned {
                Some(_) => self.taken_back(&row, (org, trace.start_ms, execution), row.removed_at()).await,
                None => self.sweep(trace, term).await,
            };
        }
        if row.settled.is_some() {
            return self.finish_settled(&row).await;
        }
        let is_left = match row.claim.owner {
            Some(owner) => owner == term.incarnation || self.nodes.is_dead(owner).await?,
            None => true,
        };
        if is_left {
            match self.own(org, execution).await {
                Ok(Some(owned)) => {
                    let (row, index) = owned.known();
                    lane.tell_run(&row, &index);
                    return Ok(());
                }
                Ok(None) => return Ok(()),
                // Another node was faster, or the run is damaged and says so to whoever reads it.
                Err(error) => tracing::warn!(execution.id = %execution, %error, "a run is not taken over"),
            }
        }
        match self.view(org, execution).await {
            Ok(Some(View::Unsettled(row, index))) => lane.tell_run(&row, &index),
            Ok(_) => {}
            Err(StoreError::Damaged(damage)) => {
                tracing::error!(execution.id = %execution, damage, "a run is damaged");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Removes what is left of a setup that never came to be, once its node is dead.
    async fn sweep(&self, trace: &Trace, term: &Term) -> StoreResult<()> {
        let Trace { execution, org, task, session, start_ms, owner } = trace;
        if *owner == term.incarnation || !self.nodes.is_dead(*owner).await? {
            return Ok(());
        }
        if !self.make_void(*org, *execution).await? {
            return Ok(());
        }
        let nothing = RunRow::void(*org, *execution);
        self.tables.remove_listed((*org, *start_ms, *execution), nothing.removed_at()).await?;
        self.tables.remove_session(*session).await?;
        self.tables.free_task(*org, task, *execution).await?;
        self.tables.remove_unsettled(*execution).await
    }

    /// See the contract.
    pub(super) async fn unsettled_runs(&self) -> StoreResult<Vec<OpenRun>> {
        let traces = self.tables.unsettled().await?;
        let looking: Vec<_> = traces.iter().map(|trace| self.open_run(trace)).collect();
        let found: Vec<_> =
            futures_util::stream::iter(looking).buffer_unordered(RUNS_PARALLEL).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn open_run(&self, trace: &Trace) -> StoreResult<Option<OpenRun>> {
        let (org, execution): (OrgId, _) = (trace.org, trace.execution);
        let found = match self.view(org, execution).await {
            Ok(Some(View::Unsettled(row, index))) => row.state().map(|state| (state, index)),
            Ok(_) => None,
            // It is unsettled all the same, and says what is wrong to whoever reads it.
            Err(StoreError::Damaged(_)) => {
                Some((RunState::Open, Arc::new(super::index::RunIndex::new(trace.start_ms))))
            }
            Err(error) => return Err(error),
        };
        Ok(found.map(|(state, index)| OpenRun {
            org,
            execution,
            state,
            sessions: vec![trace.session],
            epoch: index.epoch(),
            last_heard_ms: index.heard_ms,
        }))
    }

    /// See [`super::ScyllaRuns::shut_down`].
    pub(super) async fn let_go(&self) -> StoreResult<()> {
        let said = self.let_runs_go().await;
        // Even if not everything could be said: this node does nothing any more, and nobody has to wait to know that.
        said.and(self.lease.let_go().await)
    }

    async fn let_runs_go(&self) -> StoreResult<()> {
        let owned: Vec<Arc<OwnedRun>> = self.owned.iter().map(|owned| Arc::clone(&owned)).collect();
        let letting: Vec<_> = owned.iter().map(|owned| self.let_run_go(owned)).collect();
        futures_util::stream::iter(letting).buffer_unordered(RUNS_PARALLEL).try_collect::<()>().await?;
        let term = self.term()?;
        if let Some(lane) = self.lanes.current() {
            self.tables.take_lane(lane.number, Some(term.incarnation), None).await?;
        }
        Ok(())
    }

    async fn let_run_go(&self, owned: &Arc<OwnedRun>) -> StoreResult<()> {
        let mut turn = owned.turn.lock().await;
        if turn.is_over || !owned.term.is_fresh() {
            return Ok(());
        }
        let index = owned.index();
        let mut row = turn.row.clone();
        row.claim = row.claim.sealed_by_owner(index.last_seq(row.claim.epoch), index.end, None);
        self.change(owned, &mut turn, row).await?;
        turn.is_over = true;
        self.drop_run(owned);
        Ok(())
    }
}
