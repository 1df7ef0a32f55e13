//! Closing: one conditional write of the row, then what follows from it.

use super::Core;
use super::index::RunIndex;
use super::row::RunRow;
use super::tables::Trace;
use crate::store::contract::{ClosedRun, StoreResult};

impl Core {
    /// See the contract.
    pub(super) async fn close(&self, closed: ClosedRun) -> StoreResult<bool> {
        let (org, execution) = (closed.org, closed.execution);
        let Some(owned) = self.own(org, execution).await? else { return self.close_settled(closed).await };
        let mut turn = owned.turn.lock().await;
        if turn.is_over {
            drop(turn);
            return self.close_settled(closed).await;
        }
        if turn.row.revision() >= closed.revision {
            return Ok(false);
        }
        let lane = self.lanes.of(&owned.term)?;
        // The closure that is replaced leaves its row of the feed behind: that number was given to viewers.
        self.tell_closing(&turn.row).await?;
        let mut row = turn.row.clone();
        row.closure = Some(closed);
        row.claim.closed_lane = lane.number;
        self.change(&owned, &mut turn, row).await?;
        self.derive(&turn.row, &owned.index()).await?;
        owned.term.fresh()?;
        Ok(true)
    }

    /// Closes a run that nobody owns any more once more.
    async fn close_settled(&self, closed: ClosedRun) -> StoreResult<bool> {
        let term = self.term()?;
        let lane = self.lanes.of(&term)?;
        loop {
            let found = self.tables.run_now(closed.execution).await?;
            let Some(mut row) = found.filter(|row| row.opened_in(closed.org).is_some()) else {
                return Ok(false);
            };
            if row.settled.is_none() || row.revision() >= closed.revision {
                return Ok(false);
            }
            // Whoever finds it among the unsettled finishes what follows from it.
            if let Some(trace) = trace(&row, term.incarnation) {
                self.tables.put_unsettled(&trace).await?;
            }
            self.tell_closing(&row).await?;
            row.closure = Some(closed.clone());
            row.claim.closed_lane = lane.number;
            if self.tables.change_run(&mut row).await? {
                self.finish_settled(&row).await?;
                return Ok(true);
            }
        }
    }

    /// Writes what follows from the row of a settled run, which is then not among the unsettled any more.
    pub(super) async fn finish_settled(&self, row: &RunRow) -> StoreResult<()> {
        self.derive(row, &RunIndex::default()).await?;
        if let Some(settled) = &row.settled {
            self.tables.put_stored_bytes(row.listed_at(), settled.bytes, row.derived_at(0)).await?;
        }
        self.tables.remove_unsettled(row.execution).await
    }
}

/// What leads to a run's rows.
fn trace(row: &RunRow, owner: uuid::Uuid) -> Option<Trace> {
    let (org, start_ms, execution) = row.listed_at();
    let opened = row.opened.as_ref()?;
    let (task, session) = (opened.execution.task_id.clone(), opened.session.id);
    Some(Trace { execution, org, task, session, start_ms, owner })
}
