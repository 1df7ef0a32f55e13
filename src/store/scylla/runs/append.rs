//! The path of what is acknowledged: one idempotent write a segment, made again until it is known to have happened, and
//! acknowledged only if this node's lease still holds after that.

use std::sync::Arc;
use std::time::Duration;

use super::Core;
use super::index::Read;
use super::owned::{OwnedRun, Turn};
use super::tables::hour;
use crate::domain::segment::Segment;
use crate::store::contract::{Conflict, StoreError, StoreResult};
use crate::store::fold::segment::{self, Facts};

/// Between two tries of a write.
const TRY_AGAIN: Duration = Duration::from_millis(50);
const CONFLICT: StoreError = StoreError::Conflict(Conflict::SegmentSequence);

/// A segment as it is stored.
pub(super) struct Encoded {
    pub(super) segment: Segment,
    pub(super) facts: Facts,
    pub(super) data: Vec<u8>,
}

impl Encoded {
    pub(super) fn of(segment: &Segment) -> StoreResult<Self> {
        let (facts, parts) = segment::encode(segment)?;
        Ok(Self { segment: segment.clone(), facts, data: parts.concat() })
    }
}

impl Core {
    /// See the contract. Has to run to its end: what is under way must not be overtaken by another segment.
    pub(super) async fn append(&self, encoded: Encoded) -> StoreResult<()> {
        let segment = &encoded.segment;
        let owned = self.owned.get(&segment.execution).map(|owned| Arc::clone(&owned));
        let owned = owned.filter(|owned| owned.org == segment.org).ok_or(CONFLICT)?;
        let mut turn = owned.turn.lock().await;
        owned.term.fresh()?;
        if turn.is_over {
            return Err(CONFLICT);
        }
        let index = owned.index();
        if let Some(at) = index.index_of(segment.epoch, segment.seq).and_then(|at| index.at(at)) {
            let stored = self.stored(segment.execution, at).await?;
            self.list_again(&owned, &mut turn).await?;
            return if stored == encoded.data { Ok(()) } else { Err(CONFLICT) };
        }
        let epoch = turn.row.claim.epoch;
        let follows = match segment.epoch.cmp(&epoch) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => segment.seq == index.last_seq(epoch) + 1,
            std::cmp::Ordering::Greater => segment.seq == 1,
        };
        if !follows || segment.start != index.end {
            return Err(CONFLICT);
        }
        // Of a segment without batches nothing says when it came: it lies beside the one before.
        let heard = segment.heard_ms().map(hour).or(index.last_hour());
        let hour = heard.unwrap_or_else(|| hour(index.heard_ms));
        let outcome = self.store(&owned, &mut turn, &encoded, hour).await;
        if outcome.is_err() {
            // Whether it is stored will be seen by whoever seals the epoch.
            turn.is_over = true;
            self.drop_run(&owned);
        }
        outcome?;
        let Segment { epoch, seq, .. } = encoded.segment;
        owned.push(&Read { epoch, seq, hour, facts: encoded.facts });
        self.lanes.tell_segment(&encoded.segment, turn.row.claim.lane_of(epoch));
        if encoded.facts.status.is_some() {
            turn.is_list_behind = true;
            self.list_again(&owned, &mut turn).await?;
        }
        Ok(())
    }

    async fn store(
        &self,
        owned: &Arc<OwnedRun>,
        turn: &mut Turn,
        encoded: &Encoded,
        hour: i32,
    ) -> StoreResult<()> {
        let Segment { execution, epoch, seq, .. } = encoded.segment;
        let claim = &turn.row.claim;
        if epoch > claim.epoch || !claim.hours.contains(&hour) {
            let mut row = turn.row.clone();
            if epoch > claim.epoch {
                let index = owned.index();
                row.claim = claim.sealed_by_owner(index.last_seq(claim.epoch), index.end, Some(epoch));
            }
            if !row.claim.hours.contains(&hour) {
                row.claim.hours.push(hour);
            }
            self.change(owned, turn, row).await?;
        }
        let facts = encoded.facts.to_bytes();
        loop {
            let written = self.tables.put_segment(execution, (hour, epoch, seq), &facts, &encoded.data).await;
            // Looked at after the write: if another node had declared this one dead before, it was not to be relied on.
            owned.term.fresh()?;
            match written {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(execution.id = %execution, %error, "a segment is written again")
                }
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Changes the row of an owned run.
    pub(super) async fn change(
        &self,
        owned: &Arc<OwnedRun>,
        turn: &mut Turn,
        mut row: super::row::RunRow,
    ) -> StoreResult<()> {
        match self.tables.change_run(&mut row).await {
            Ok(true) => {
                owned.changed(&row);
                turn.row = row;
                Ok(())
            }
            outcome => {
                turn.is_over = true;
                self.drop_run(owned);
                outcome.and(Err(StoreError::Unavailable("another node has taken the run over".into())))
            }
        }
    }

    /// Brings the lists up to the status announced last.
    async fn list_again(&self, owned: &Arc<OwnedRun>, turn: &mut Turn) -> StoreResult<()> {
        if turn.is_list_behind {
            self.put_list(&turn.row, &owned.index()).await?;
            turn.is_list_behind = false;
        }
        Ok(())
    }
}
