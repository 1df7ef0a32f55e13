//! The row of a run: everything that decides about it, changed by one conditional write at a time.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Position;
use crate::store::contract::{ClosedRun, RunState, StoreError, StoreResult};
use crate::store::fold::documents::{close_cycle, close_execution, close_session};
use crate::store::fold::records::{AbandonedRecord, OpenedRecord, SettledRow, closed_to_bytes, read_closed};
use crate::store::record;

/// The columns of a row, in the order of its statements.
pub(super) type Columns = (
    Option<Vec<u8>>,
    Option<i32>,
    Option<Uuid>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

/// Who owns a run, and which segments count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// The node that may append; nobody if the last one let go.
    pub(super) owner: Option<Uuid>,
    /// The epoch of its segments.
    pub(super) epoch: u32,
    /// The numbering of the feed that its segments are in.
    pub(super) lane: u64,
    /// The epoch whose end its owner is finding out; nothing is appended and nobody reads until that is known.
    pub(super) sealing: Option<(u32, u64)>,
    /// Epochs that are over, ascending. What is not below their ends does not exist.
    pub(super) sealed: Vec<Sealed>,
    /// Hours that may have segments.
    pub(super) hours: Vec<i32>,
    /// How often its id was taken again after it had been taken back.
    pub(super) generation: u8,
    /// The numbering that the opening's number belongs to.
    pub(super) opened_lane: u64,
    /// The numbering that the closure's number belongs to, or that of the taking back.
    pub(super) closed_lane: u64,
}

/// An epoch that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) epoch: u32,
    pub(super) last_seq: u64,
    /// The numbering of the feed that its segments are in.
    pub(super) lane: u64,
    /// Where the run stood at its end.
    pub(super) end: Position,
}

/// What a settled run was folded to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settled {
    pub(super) row: SettledRow,
    /// Which rows are the fold.
    pub(super) fold: i64,
    /// Bytes kept.
    pub(super) bytes: u64,
}

/// The row of a run.
#[derive(Debug, Clone)]
pub(super) struct RunRow {
    pub(super) execution: ExecutionId,
    pub(super) org: OrgId,
    /// Counts its changes.
    pub(super) version: i32,
    /// Names its last change, so that whoever made it recognises it.
    pub(super) change: Uuid,
    /// The setup; `None` if the row only says that there is no such run and nobody may write one unawares.
    pub(super) opened: Option<OpenedRecord>,
    pub(super) closure: Option<ClosedRun>,
    pub(super) claim: Claim,
    pub(super) settled: Option<Settled>,
    /// That it was taken back.
    pub(super) abandoned: Option<AbandonedRecord>,
}

impl RunRow {
    /// A row that keeps whoever is about to write this run's from doing so.
    pub(super) fn void(org: OrgId, execution: ExecutionId) -> Self {
        Self {
            execution,
            org,
            version: 1,
            change: Uuid::nil(),
            opened: None,
            closure: None,
            claim: Claim::default(),
            settled: None,
            abandoned: None,
        }
    }

    pub(super) fn read(execution: ExecutionId, columns: Columns) -> StoreResult<Self> {
        let damaged = || StoreError::Damaged(format!("the row of run {execution}"));
        let (org, version, change, opened, closure, claim, settled, abandoned) = columns;
        let org: [u8; 12] = org.as_deref().and_then(|org| org.try_into().ok()).ok_or_else(damaged)?;
        Ok(Self {
            execution,
            org: OrgId::from_bytes(org),
            version: version.ok_or_else(damaged)?,
            change: change.ok_or_else(damaged)?,
            opened: opened.map(|bytes| OpenedRecord::read(&bytes)).transpose()?,
            closure: closure.map(|bytes| read_closed(&bytes)).transpose()?,
            claim: record::decode(&claim.ok_or_else(damaged)?)?,
            settled: settled.map(|bytes| record::decode(&bytes)).transpose()?,
            abandoned: abandoned.map(|bytes| AbandonedRecord::read(&bytes)).transpose()?,
        })
    }

    pub(super) fn columns(&self) -> StoreResult<Columns> {
        Ok((
            Some(self.org.as_bytes().to_vec()),
            Some(self.version),
            Some(self.change),
            self.opened.as_ref().map(OpenedRecord::to_bytes).transpose()?,
            self.closure.as_ref().map(closed_to_bytes).transpose()?,
            Some(record::encode(&self.claim)?),
            self.settled.as_ref().map(record::encode).transpose()?,
            self.abandoned.as_ref().map(AbandonedRecord::to_bytes).transpose()?,
        ))
    }

    /// The setup, if the organization has this run.
    pub(super) fn opened_in(&self, org: OrgId) -> Option<&OpenedRecord> {
        self.opened.as_ref().filter(|_| self.org == org)
    }

    /// How often it was closed.
    pub(super) fn revision(&self) -> u32 {
        self.closure.as_ref().map_or(0, |closed| closed.revision)
    }

    /// How far it has come; `None` once it is settled, or if there is no run.
    pub(super) fn state(&self) -> Option<RunState> {
        let is_unsettled = self.opened.is_some() && self.settled.is_none();
        is_unsettled.then(|| if self.revision() == 0 { RunState::Open } else { RunState::Closed })
    }

    /// The execution, whose status is `announced` while it is not closed.
    pub(super) fn document(&self) -> Option<Execution> {
        let mut execution = self.opened.as_ref()?.execution.clone();
        if let Some(closed) = &self.closure {
            close_execution(&mut execution, closed);
        }
        Some(execution)
    }

    pub(super) fn cycle(&self) -> Option<Cycle> {
        let mut cycle = self.opened.as_ref()?.cycle.clone();
        if let Some(closed) = &self.closure {
            close_cycle(&mut cycle, closed);
        }
        Some(cycle)
    }

    pub(super) fn session(&self) -> Option<Session> {
        let mut session = self.opened.as_ref()?.session.clone();
        if let Some(closed) = &self.closure
            && let Some(ended) = closed.sessions.iter().find(|ended| ended.session == session.id)
        {
            close_session(&mut session, ended, closed.end_ms);
        }
        Some(session)
    }

    /// The timestamp of what is derived from it when it has this many segments: later states have higher ones.
    pub(super) fn derived_at(&self, segments: usize) -> i64 {
        let segments = i64::try_from(segments).unwrap_or(i64::MAX).min((1 << 40) - 3);
        i64::from(self.claim.generation) << 56 | i64::from(self.revision().min(0xfffe)) << 40 | (segments + 2)
    }

    /// The timestamp with which everything derived from it is removed.
    pub(super) fn removed_at(&self) -> i64 {
        i64::from(self.claim.generation) << 56 | 0xffff << 40
    }
}

impl Claim {
    /// What follows when `owner` takes over: the epoch before is being sealed, unless its owner has sealed it itself.
    pub(super) fn taken_over(&self, owner: Uuid, lane: u64) -> Self {
        let is_over = self.sealed.last().is_some_and(|sealed| sealed.epoch == self.epoch);
        let sealing = self.sealing.or_else(|| (!is_over).then_some((self.epoch, self.lane)));
        Self { owner: Some(owner), epoch: self.epoch + 1, lane, sealing, ..self.clone() }
    }

    /// What follows when the end of the epoch that is being sealed is known.
    pub(super) fn sealed_at(&self, last_seq: u64, end: Position) -> Self {
        let mut claim = self.clone();
        if let Some((epoch, lane)) = claim.sealing.take() {
            claim.sealed.push(Sealed { epoch, last_seq, lane, end });
        }
        claim
    }

    /// What follows when its owner goes on under a higher epoch, or, without one, lets go.
    pub(super) fn sealed_by_owner(&self, last_seq: u64, end: Position, next: Option<u32>) -> Self {
        let mut claim = self.clone();
        claim.sealed.push(Sealed { epoch: self.epoch, last_seq, lane: self.lane, end });
        match next {
            Some(next) => claim.epoch = next,
            None => claim.owner = None,
        }
        claim
    }

    /// The epoch that may still get segments, if its end is not known.
    pub(super) fn open_epoch(&self) -> Option<u32> {
        let is_over = self.sealed.last().is_some_and(|sealed| sealed.epoch == self.epoch);
        (!is_over).then_some(self.epoch)
    }

    /// The numbering that an epoch's segments are in.
    pub(super) fn lane_of(&self, epoch: u32) -> u64 {
        self.sealed.iter().find(|sealed| sealed.epoch == epoch).map_or(self.lane, |sealed| sealed.lane)
    }
}
