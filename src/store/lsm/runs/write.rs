//! Opening, appending, closing, taking back: first the journal, then the rows or the index. What blocks runs to its end
//! even if nobody waits for it any more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::core::Core;
use super::facts::{self, AbandonedRecord, OpenRow, OpenedRecord};
use super::index::{Admission, Located, Run};
use super::keys;
use super::rows::Table;
use super::segment::{self, Facts, Parts, SegmentKey};
use crate::domain::execution::Execution;
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Segment;
use crate::store::contract::{ClosedRun, Conflict, OpenedRun, StoreError, StoreResult, Submitted};
use crate::store::lsm::journal::{Key, Kind, Record};

/// Why a segment is not on its way.
enum Held {
    /// It cannot be.
    Refused(StoreError),
    /// Another record of the run is on its way: wait for it.
    Wait(watch::Receiver<()>),
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
            run.places(0).for_each(|place| self.journal.release(place));
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

    /// See the contract.
    pub(super) async fn append_and_wait(self: &Arc<Self>, segment: &Segment) -> StoreResult<()> {
        let (facts, parts) = segment::encode(segment)?;
        loop {
            let (sender, outcome) = oneshot::channel();
            // Whoever asked may have gone; the segment is stored all the same.
            let done = Box::new(move |answer| drop(sender.send(answer)));
            match self.send(segment, facts, parts.clone(), done) {
                Ok(()) => {
                    let lost = |_| Err(StoreError::Unavailable("the journal has ended".into()));
                    return outcome.await.unwrap_or_else(lost);
                }
                Err((_, Held::Refused(refusal))) => return Err(refusal),
                Err((_, Held::Wait(mut pending))) => {
                    // An error is what is waited for: the sender goes when the record has arrived.
                    let _arrived = pending.changed().await;
                }
                Err((_, Held::Compare(located))) => {
                    let (core, parts) = (Arc::clone(self), parts.clone());
                    let compared = tokio::task::spawn_blocking(move || core.compare(&located, &parts)).await;
                    let compared = compared.map_err(|error| {
                        StoreError::Unavailable(format!("a store call ended early: {error}"))
                    })?;
                    // If it moved meanwhile, it is found elsewhere.
                    if compared?.is_some() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// See the contract. Only what has to wait for something else than its own sync takes a task.
    pub(super) fn submit(self: &Arc<Self>, segment: Arc<Segment>, done: Submitted) {
        let (facts, parts) = match segment::encode(&segment) {
            Ok(encoded) => encoded,
            Err(error) => return done(Err(error)),
        };
        match self.send(&segment, facts, parts, done) {
            Ok(()) => {}
            Err((done, Held::Refused(refusal))) => done(Err(refusal)),
            Err((done, Held::Wait(_) | Held::Compare(_))) => {
                let core = Arc::clone(self);
                tokio::spawn(async move { done(core.append_and_wait(&segment).await) });
            }
        }
    }

    /// Sends a segment on its way, or gives `done` back. Never waits.
    fn send(
        &self,
        segment: &Segment,
        facts: Facts,
        parts: Parts,
        done: Submitted,
    ) -> Result<(), (Submitted, Held)> {
        if let Some(reason) = self.failure.reason() {
            return Err((done, Held::Refused(StoreError::Unavailable(reason))));
        }
        let revision = match self.index.admit(segment) {
            Ok(Admission::Write { revision }) => revision,
            Ok(Admission::Wait(pending)) => return Err((done, Held::Wait(pending))),
            Ok(Admission::Compare(located)) => return Err((done, Held::Compare(located))),
            Err(refusal) => return Err((done, Held::Refused(refusal))),
        };
        let Segment { org, execution, epoch, seq, .. } = *segment;
        let index = Arc::clone(&self.index);
        let done = Box::new(move |outcome: StoreResult<_>| {
            let place = outcome.as_ref().ok().copied();
            let key = SegmentKey { org, execution, epoch, seq };
            let is_needed = index.arrived(&key, place.map(|place| (place, &facts)));
            done(outcome.map(|_| ()));
            is_needed
        });
        let key = Key { kind: Kind::Segment, org, execution, epoch, seq, revision };
        self.journal.append(Record { key, parts, done });
        Ok(())
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
