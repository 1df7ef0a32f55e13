//! Setup, and taking back. What leads to a run is written first; the run is there from the moment its row is, and what led
//! to one whose row never came means nothing.

use std::sync::Arc;

use super::Core;
use super::index::RunIndex;
use super::owned::OwnedRun;
use super::row::{Claim, RunRow};
use super::tables::{Trace, hour};
use crate::domain::id::{ExecutionId, OrgId, TaskId};
use crate::store::contract::{Conflict, OpenedRun, StoreError, StoreResult};
use crate::store::fold::documents::ListRow;
use crate::store::fold::feed::FeedRecord;
use crate::store::fold::records::{AbandonedRecord, OpenedRecord};
use crate::store::record;

const EXISTS: StoreError = StoreError::Conflict(Conflict::RunExists);

impl Core {
    /// See the contract.
    pub(super) async fn open(&self, opened: OpenedRun) -> StoreResult<()> {
        let term = self.term()?;
        let lane = self.lanes.of(&term)?;
        let opened = OpenedRecord::from(opened);
        let execution = &opened.execution;
        let (org, id, task) = (execution.org, execution.id, execution.task_id.clone());
        let (session, start_ms) = (opened.session.id, execution.start_ms);
        let before = self.tables.run_now(id).await?;
        if before.as_ref().is_some_and(|before| before.opened.is_some()) {
            return Err(EXISTS);
        }
        self.claim_task(org, &task, id).await?;
        let owner = term.incarnation;
        self.tables.put_unsettled(&Trace { execution: id, org, task, session, start_ms, owner }).await?;
        self.tables.put_session(session, id).await?;
        self.tables.put_window(org, start_ms).await?;
        let generation = before.as_ref().map_or(0, |before| before.claim.generation.saturating_add(1));
        let epoch = before.as_ref().map_or(1, |before| before.claim.epoch + 1);
        let mut row = RunRow { opened: Some(opened), ..RunRow::void(org, id) };
        row.claim = Claim {
            owner: Some(owner),
            epoch,
            lane: lane.number,
            hours: vec![hour(start_ms)],
            generation,
            opened_lane: lane.number,
            ..Claim::default()
        };
        let listed = row.document().map(|execution| record::encode(&ListRow::of(&execution))).transpose()?;
        self.tables.put_listed(row.listed_at(), &listed.unwrap_or_default(), row.derived_at(0) - 1).await?;
        let is_written = match before {
            None => self.tables.insert_run(&mut row).await?,
            Some(before) => {
                row.version = before.version;
                self.tables.change_run(&mut row).await?
            }
        };
        if !is_written {
            // Somebody else has taken the task's id over, or opened the same run.
            return Err(EXISTS);
        }
        term.fresh()?;
        let index = RunIndex::new(row.opened.as_ref().map_or(0, |opened| opened.session.start_ms));
        self.derive(&row, &index).await?;
        term.fresh()?;
        self.owned.insert(id, Arc::new(OwnedRun::new(term, row, index)));
        Ok(())
    }

    /// Gets a task's id for a run. One that belongs to a run that never came is taken from it, after its row was made one
    /// that keeps it from coming.
    async fn claim_task(&self, org: OrgId, task: &TaskId, execution: ExecutionId) -> StoreResult<()> {
        let Err(holder) = self.tables.claim_task(org, task, execution).await? else { return Ok(()) };
        if !self.make_void(org, holder).await? {
            return Err(EXISTS);
        }
        if self.tables.hand_task((org, task), holder, execution).await? { Ok(()) } else { Err(EXISTS) }
    }

    /// Sees to it that whoever is about to write the row of this run cannot; `false` if the run is there.
    pub(super) async fn make_void(&self, org: OrgId, execution: ExecutionId) -> StoreResult<bool> {
        match self.tables.run_now(execution).await? {
            None => self.tables.insert_run(&mut RunRow::void(org, execution)).await,
            Some(row) if row.opened.is_some() => Ok(false),
            // Changed all the same: its version is what a writer looks at.
            Some(mut row) => self.tables.change_run(&mut row).await,
        }
    }

    /// See the contract.
    pub(super) async fn abandon(
        &self,
        org: OrgId,
        execution: ExecutionId,
        feed_seq: u64,
    ) -> StoreResult<bool> {
        let Some(owned) = self.own(org, execution).await? else { return Ok(false) };
        let mut turn = owned.turn.lock().await;
        let Some(document) = turn.row.document().filter(|_| !turn.is_over) else { return Ok(false) };
        let lane = self.lanes.of(&owned.term)?;
        let mut row = turn.row.clone();
        let opened = row.opened.take();
        row.abandoned = Some(AbandonedRecord::of(&document, feed_seq));
        row.closure = None;
        // Its epochs are over and none of them counts any more.
        row.claim = Claim {
            epoch: row.claim.epoch,
            generation: row.claim.generation,
            opened_lane: row.claim.opened_lane,
            closed_lane: lane.number,
            ..Claim::default()
        };
        let (listed_at, removed_at) = (turn.row.listed_at(), turn.row.removed_at());
        if let Some(opened) = &opened {
            // Of the opening only its row of the feed is left.
            let told = FeedRecord::of_opened(&opened.execution);
            self.put_told(org, turn.row.claim.opened_lane, opened.feed_seq, &told).await?;
        }
        self.change(&owned, &mut turn, row.clone()).await?;
        turn.is_over = true;
        self.drop_run(&owned);
        self.lanes.forget_run(org, &owned.index());
        self.collapsed.forget(execution);
        self.taken_back(&turn.row, listed_at, removed_at).await?;
        Ok(true)
    }

    /// Removes what led to a run that was taken back, and tells of it.
    pub(super) async fn taken_back(
        &self,
        row: &RunRow,
        listed_at: (OrgId, i64, ExecutionId),
        removed_at: i64,
    ) -> StoreResult<()> {
        let Some(abandoned) = &row.abandoned else { return Ok(()) };
        let told = abandoned.told(row.execution);
        self.put_told(row.org, row.claim.closed_lane, abandoned.feed_seq, &told).await?;
        self.tables.remove_listed(listed_at, removed_at).await?;
        self.tables.remove_session(abandoned.session).await?;
        self.tables.free_task(row.org, &abandoned.task, row.execution).await?;
        self.tables.remove_unsettled(row.execution).await
    }
}
