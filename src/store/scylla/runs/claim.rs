//! Taking a run over, by the rules of `claims`: the claim says that the epoch before is being sealed, then that epoch is
//! read up to its first gap and its last segment written again, then the claim says where it ends. Nothing is appended
//! and nobody reads the run between the two.

use std::sync::Arc;

use super::Core;
use super::index::RunIndex;
use super::owned::OwnedRun;
use super::row::{Claim, RunRow};
use crate::domain::id::{ExecutionId, OrgId};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::fold::segment::Facts;
use crate::store::scylla::claims::Nodes;

/// How often a claim starts anew when others change the row meanwhile.
const TRIES: usize = 8;

impl Core {
    /// The unsettled run as this node's own, taken over if need be; `None` if there is no such run.
    pub(super) async fn own(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Arc<OwnedRun>>> {
        if let Some(mine) = self.mine(org, execution) {
            return Ok(Some(mine));
        }
        let _turn = self.claiming.turn(execution).await;
        if let Some(mine) = self.mine(org, execution) {
            return Ok(Some(mine));
        }
        for _ in 0..TRIES {
            let Some(mut row) = self.tables.run_now(execution).await? else { return Ok(None) };
            if row.org != org || row.state().is_none() {
                return Ok(None);
            }
            let term = self.term()?;
            let lane = self.lanes.of(&term)?;
            if let Some(owner) = row.claim.owner
                && owner != term.incarnation
                && !self.nodes.is_dead(owner).await?
            {
                return Err(Nodes::owned_elsewhere(owner));
            }
            row.claim = row.claim.taken_over(term.incarnation, lane.number);
            if !self.tables.change_run(&mut row).await? {
                continue;
            }
            let index = self.sealed_index(&mut row).await?;
            let Some(index) = index else { continue };
            let owned = Arc::new(OwnedRun::new(Arc::clone(&term), row, index));
            // What the node before may not have come to.
            self.derive(&owned.known().0, &owned.index()).await?;
            term.fresh()?;
            self.owned.insert(execution, Arc::clone(&owned));
            return Ok(Some(owned));
        }
        Err(StoreError::Unavailable("several nodes reach for the run".into()))
    }

    /// Finds the end of the epoch that is being sealed and writes it down; `None` if the row was changed meanwhile.
    async fn sealed_index(&self, row: &mut RunRow) -> StoreResult<Option<RunIndex>> {
        let opened_ms = row.opened.as_ref().map_or(0, |opened| opened.session.start_ms);
        // Like a claim whose last epoch is still open: up to the first gap.
        let as_open = match row.claim.sealing {
            Some((epoch, _)) => Claim { epoch, ..row.claim.clone() },
            None => row.claim.clone(),
        };
        let index = self.load_index(row.execution, opened_ms, &as_open).await?;
        let Some((epoch, _)) = row.claim.sealing else { return Ok(Some(index)) };
        let last_seq = index.last_seq(epoch);
        if last_seq > 0 {
            self.write_again(row.execution, &index).await?;
        }
        row.claim = row.claim.sealed_at(last_seq, index.end);
        Ok(self.tables.change_run(row).await?.then_some(index))
    }

    /// Writes the last segment again: its owner may not have come to know that a quorum has it.
    async fn write_again(&self, execution: ExecutionId, index: &RunIndex) -> StoreResult<()> {
        let Some(at) = index.len().checked_sub(1).and_then(|last| index.at(last)) else { return Ok(()) };
        let stored = self.stored(execution, at).await?;
        let facts = Facts::read(&stored)?.to_bytes();
        self.tables.put_segment(execution, (at.hour, at.epoch, at.seq), &facts, &stored).await
    }

    /// The segments of a run by what the store has.
    pub(super) async fn load_index(
        &self,
        execution: ExecutionId,
        opened_ms: i64,
        claim: &Claim,
    ) -> StoreResult<RunIndex> {
        let mut found = Vec::new();
        for hour in &claim.hours {
            found.extend(self.tables.segment_facts(execution, *hour).await?);
        }
        RunIndex::of(opened_ms, claim, found)
    }
}
