//! The thread that looks after the journal: it lets go of what has been folded, moves the segments of old open runs
//! out of the way, and removes whole files once nothing in them is needed.
//!
//! One rule keeps it safe: nothing is removed before what replaces it is durable. So each round first takes stock of
//! what may go, then makes the rows durable, then removes.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::Core;
use super::keys;
use super::rows::{Batch, Table};
use super::segment::Facts;
use crate::domain::id::ExecutionId;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::record;
use crate::telemetry::name::{JOURNAL_MOVED_SEGMENTS, RUNS_UNSETTLED};

/// How long nothing has to happen before the keeper looks by itself.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of segments that are moved together.
const MOVE_BYTES: usize = 4 << 20;
/// Share of the disk's reserve that moving leaves alone.
const RESERVE_SHARE: f64 = 0.5;

/// What waits to be done.
#[derive(Default)]
pub(super) struct Chores {
    state: Mutex<State>,
    changed: Condvar,
    /// One round at a time.
    round: Mutex<()>,
    /// Files whose bytes are kept for an expert when they go: they hold damage, or records of damaged runs.
    evidence: HashSet<u32>,
    /// Complete files that are kept without moving anything out of them.
    files_max: usize,
}

#[derive(Default)]
struct State {
    settled: Vec<ExecutionId>,
    is_ended: bool,
    is_called: bool,
}

impl Chores {
    pub(super) fn new(files_max: usize, evidence: HashSet<u32>) -> Self {
        Self { files_max, evidence, ..Self::default() }
    }

    /// The run needs nothing but its final rows any more.
    pub(super) fn clear(&self, execution: ExecutionId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settled.push(execution);
        state.is_called = true;
        self.changed.notify_one();
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_ended = true;
        self.changed.notify_one();
    }

    /// Waits for work or for its time; `false` when there will be none any more.
    fn wait(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_called && !state.is_ended {
            let waited = self.changed.wait_timeout(state, LOOK_INTERVAL);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.is_called = false;
        !state.is_ended
    }

    fn take_settled(&self) -> Vec<ExecutionId> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).settled)
    }

    fn put_back(&self, settled: Vec<ExecutionId>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).settled.extend(settled);
    }
}

/// Ends the thread when it goes.
pub(super) struct Keeper {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(core: Arc<Core>) -> StoreResult<Self> {
        let kept = Arc::clone(&core);
        let thread = std::thread::Builder::new()
            .name("keeper".into())
            .spawn(move || {
                while kept.chores.wait() {
                    if let Err(error) = kept.tend() {
                        tracing::warn!(%error, "looking after the journal failed; it is tried again");
                    }
                }
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread for the keeper: {error}")))?;
        Ok(Self { core, thread: Some(thread) })
    }

    /// Ends the thread; a round that is under way is finished. Blocks.
    pub(super) fn end(&mut self) {
        self.core.chores.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keeper's thread ended in a panic");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

impl Core {
    /// One round. Blocks.
    pub(super) fn tend(&self) -> StoreResult<()> {
        let _round = self.chores.round.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = self.move_segments();
        // Moving needs room, removing makes it: the second is done even if the first failed.
        let settled = self.chores.take_settled();
        let files = self.journal.unneeded();
        if !settled.is_empty() || !files.is_empty() {
            let removed = self.remove(&settled, &files);
            if removed.is_err() {
                self.chores.put_back(settled);
                return removed;
            }
        }
        self.note_reach()?;
        metrics::gauge!(RUNS_UNSETTLED).set(u32::try_from(self.index.count()).unwrap_or(u32::MAX));
        moved
    }

    /// Has the rows remember how far the journal is durable, so that damage of its last file does not pass for a write
    /// that was cut off. Needs no sync: the next of the rows' syncs takes it along.
    pub(super) fn note_reach(&self) -> StoreResult<()> {
        let mut noted = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = self.journal.reach();
        if let Some(reach) = reach.filter(|reach| Some(*reach) > *noted) {
            let mut batch = Batch::default();
            batch.put(Table::Journal, keys::REACH.to_vec(), record::encode(&reach)?);
            self.rows.commit(batch)?;
            *noted = Some(reach);
        }
        Ok(())
    }

    fn remove(&self, settled: &[ExecutionId], files: &[u32]) -> StoreResult<()> {
        self.rows.persist()?;
        if let Some(last) = files.last() {
            // Only now: a start that finds this number removes the files below it, whatever else a crash has taken.
            let mut batch = Batch::default();
            batch.put(Table::Journal, keys::FIRST_FILE.to_vec(), record::encode(&(last + 1))?);
            self.rows.commit(batch)?;
            self.rows.persist()?;
        }
        let mut batch = Batch::default();
        for execution in settled {
            let prefix = execution.as_bytes();
            batch.remove(Table::Open, prefix.to_vec());
            for table in [Table::SegmentFacts, Table::Segments] {
                self.rows.scan(table, prefix, &keys::behind(prefix), &mut |key, _| {
                    batch.remove(table, key.to_vec());
                    Ok(true)
                })?;
            }
        }
        if !batch.changes.is_empty() {
            self.rows.commit(batch)?;
        }
        for file in files {
            self.journal.remove(*file, self.chores.evidence.contains(file))?;
        }
        Ok(())
    }

    /// Moves segments out of the oldest files as long as complete files hold much more than is needed of them: a few
    /// runs that stay open for a day must not keep every file of that day.
    fn move_segments(&self) -> StoreResult<()> {
        let mut moved_through = 0;
        while let Some(file) = self.journal.worth_moving(self.chores.files_max, moved_through) {
            self.journal.check_space(RESERVE_SHARE)?;
            moved_through = file;
            let mut batch = Batch::default();
            let mut batch_bytes = 0;
            let mut moving = Vec::new();
            for located in self.index.in_file(file) {
                let key = located.key;
                // A run that was settled meanwhile needs nothing moved.
                let Some(stored) = self.stored(&located)? else { continue };
                let row = keys::segment(key.execution, key.epoch, key.seq);
                let facts = Facts::read(&stored)?.to_bytes().to_vec();
                batch_bytes += stored.len();
                batch.put(Table::SegmentFacts, row.clone(), facts);
                batch.put(Table::Segments, row, stored);
                moving.push(key);
                if batch_bytes >= MOVE_BYTES {
                    self.finish_move(std::mem::take(&mut batch), &mut moving)?;
                    batch_bytes = 0;
                }
            }
            self.finish_move(batch, &mut moving)?;
        }
        Ok(())
    }

    fn finish_move(&self, batch: Batch, moving: &mut Vec<super::segment::SegmentKey>) -> StoreResult<()> {
        metrics::counter!(JOURNAL_MOVED_SEGMENTS).increment(moving.len() as u64);
        self.rows.commit(batch)?;
        for key in moving.drain(..) {
            match self.index.moved(&key) {
                Some(place) => self.journal.release(place),
                // Settled or taken back meanwhile: the rows just written are nobody's.
                None => self.chores.clear(key.execution),
            }
        }
        Ok(())
    }
}
