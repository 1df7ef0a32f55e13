//! Opening, appending, closing, taking back: first the journal, then the rows or the index. What blocks runs to its end
//! even if nobody waits for it any more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::core::Core;
use super::facts::{self, AbandonedRecord, OpenRow, OpenedRecord};
use super::index::{Admission, Located, Run};
use super::keys;
use super::rows::Table;
use super::segment::{Facts, SegmentKey};
use crate::domain::execution::Execution;
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Segment;
use crate::store::contract::{ClosedRun, Conflict, OpenedRun, StoreError, StoreResult};
use crate::store::lsm::journal::{Key, Kind, Record};

/// What became of an append.
pub(super) enum Appended {
    /// It is on its way.
    Underway(oneshot::Receiver<StoreResult<()>>),
    /// Another record of the run is, wait for it.
    Wait(tokio::sync::watch::Receiver<()>),
    /// A segment with its number is there: compare.
    Compare(Located),
}

impl Core {
    /// See the contract. Blocks.
    pub(super) fn open(&self, opened: OpenedRun) -> StoreResult<()> {
        let Execution { org, id, .. } = opened.execution;
        let task = keys::task(org, opened.execution.task_id.as_str());
        let run_key = keys::run(org, id);
        let _task = self.locks.hold(task.clone());
        let _run = self.locks.hold(run_key.clone());
        let exists = self.index.contains(id)
            || self.rows.get(Table::Tasks, &task)?.is_some()
            || self.rows.get(Table::Executions, &run_key)?.is_some();
        if exists {
            return Err(StoreError::Conflict(Conflict::RunExists));
        }
        let opened = OpenedRecord::from(opened);
        let key = Key { kind: Kind::Opened, org, execution: id, epoch: 0, seq: 0, revision: 0 };
        let place = self.journal.append_and_wait(key, opened.to_bytes()?)?;
        self.rows.commit(facts::opened(self.rows.as_ref(), &opened)?)?;
        let open = OpenRow::of_opened(&opened);
        self.index.add(id, Run::new(org, open.sessions, open.opened_ms));
        self.journal.release(place);
        Ok(())
    }

    /// See the contract. Blocks.
    pub(super) fn abandon(&self, org: OrgId, execution: ExecutionId, feed_seq: u64) -> StoreResult<bool> {
        let run_key = keys::run(org, execution);
        let _held = self.locks.hold(run_key.clone());
        let stored: Option<Execution> = facts::get(self.rows.as_ref(), Table::Executions, &run_key)?;
        let is_unsettled = self.index.look(org, execution, |_| ()).is_some();
        let Some(stored) = stored.filter(|_| is_unsettled) else { return Ok(false) };
        let abandoned = AbandonedRecord::of(&stored, feed_seq);
        let key = Key { kind: Kind::Abandoned, org, execution, epoch: 0, seq: 0, revision: 0 };
        let place = self.journal.append_and_wait(key, abandoned.to_bytes()?)?;
        self.rows.commit(facts::abandoned(org, execution, &abandoned)?)?;
        if let Some(run) = self.index.take(execution) {
            run.places().for_each(|place| self.journal.release(place));
        }
        self.collapsed.forget(execution);
        self.chores.clear(execution);
        self.journal.release(place);
        Ok(true)
    }

    /// See the contract. Blocks.
    pub(super) fn close(&self, closed: &ClosedRun) -> StoreResult<bool> {
        let ClosedRun { org, execution, revision, .. } = *closed;
        let _held = self.locks.hold(keys::run(org, execution));
        let stored = facts::closure(self.rows.as_ref(), org, execution)?;
        if stored.is_some_and(|stored| stored.revision >= revision) {
            return Ok(false);
        }
        if self.rows.get(Table::Executions, &keys::run(org, execution))?.is_none() {
            return Ok(false);
        }
        let (epoch, seq) = self.index.look(org, execution, Run::last).unwrap_or_default();
        let key = Key { kind: Kind::Closed, org, execution, epoch, seq, revision };
        let place = self.journal.append_and_wait(key, facts::closed_to_bytes(closed)?)?;
        if let Some(batch) = facts::closed(self.rows.as_ref(), closed)? {
            self.rows.commit(batch)?;
        }
        self.index.change(org, execution, |run| run.revision = revision);
        self.journal.release(place);
        Ok(true)
    }

    /// Sends a segment on its way. Never waits.
    pub(super) fn append(&self, segment: &Segment, facts: Facts, parts: Vec<Bytes>) -> StoreResult<Appended> {
        if let Some(reason) = self.failure.reason() {
            return Err(StoreError::Unavailable(reason));
        }
        let (arrived, revision) = match self.index.admit(segment)? {
            Admission::Write { arrived, revision } => (arrived, revision),
            Admission::Wait(pending) => return Ok(Appended::Wait(pending)),
            Admission::Compare(located) => return Ok(Appended::Compare(located)),
        };
        let Segment { org, execution, epoch, seq, .. } = *segment;
        let (sender, receiver) = oneshot::channel();
        let index = Arc::clone(&self.index);
        let done = Box::new(move |outcome: StoreResult<_>| {
            let place = outcome.as_ref().ok().copied();
            let key = SegmentKey { org, execution, epoch, seq };
            let is_needed = index.arrived(&key, place.map(|place| (place, &facts)));
            drop(arrived);
            // Whoever asked may have gone; the segment is stored all the same.
            let _gone = sender.send(outcome.map(|_| ()));
            is_needed
        });
        let key = Key { kind: Kind::Segment, org, execution, epoch, seq, revision };
        self.journal.append(Record { key, parts, done });
        Ok(Appended::Underway(receiver))
    }

    /// Whether the stored segment is this one. Blocks.
    pub(super) fn compare(&self, located: &Located, parts: &[Bytes]) -> StoreResult<Option<()>> {
        let Some(stored) = self.stored(located)? else { return Ok(None) };
        if stored == parts.concat() {
            return Ok(Some(()));
        }
        Err(StoreError::Conflict(Conflict::SegmentSequence))
    }
}
