//! Folding: a closed run's segments become rows of text and results, and the segments may go.
//!
//! Order is what makes it safe to be cut off anywhere: rows of text and results, made durable; then the one row that
//! says so; only then is anything of the run let go, and what is removed from the rows waits for that row to be durable
//! too. Memory holds one segment, one piece of text and what is known of each test.

use std::collections::HashSet;

use super::core::{Core, Found};
use super::facts::{self, Cut, SettledRow};
use super::feed::put_fed;
use super::keys;
use super::results::bytes_of;
use super::rows::{Batch, Table};
use super::text::Pieces;
use super::wait;
use crate::clock::UnixMs;
use crate::domain::collapse::Outline;
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Segment;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::fold::feed::FeedRecord;
use crate::store::fold::pieces::TextFolder;
use crate::store::record;

/// Bytes of rows that are committed together.
const COMMIT_BYTES: usize = 1 << 20;
/// Bytes of a row of the feed, about.
const FED_BYTES: usize = 64;
/// Share of the disk's reserve that folding leaves alone: it is what sets room free, so it may use the rest.
const RESERVE_SHARE: f64 = 0.5;

impl Core {
    /// See the contract. Blocks.
    pub(super) fn settle(&self, org: OrgId, execution: ExecutionId) -> StoreResult<()> {
        let _held = self.locks.hold(keys::run(org, execution));
        let segments = loop {
            match self.index.begin_settle(org, execution)? {
                None => return Ok(()),
                Some(Ok(segments)) => break segments,
                Some(Err(pending)) => wait(pending),
            }
        };
        let outcome = self.fold(org, execution, segments);
        if outcome.is_err() {
            self.index.end_settle(org, execution);
            return outcome;
        }
        // Its row is there: from here on readers find the rows.
        if let Some(run) = self.index.take(execution) {
            run.places(0).for_each(|place| self.journal.release(place));
        }
        self.collapsed.forget(execution);
        self.chores.clear(execution);
        outcome
    }

    fn fold(&self, org: OrgId, execution: ExecutionId, segments: usize) -> StoreResult<()> {
        self.journal.check_space(RESERVE_SHARE)?;
        self.clear_rows(execution)?;
        let Found::Unsettled(end) = self.find(org, execution)? else { return Ok(()) };
        let moved = || StoreError::Unavailable("the run moved while it was folded".into());
        let gap = self.segments_of(org, execution, end).gap()?.ok_or_else(moved)?;
        let closure = facts::closure(self.rows.as_ref(), org, execution)?;
        let mut heard_ms = closure.as_ref().map_or(0, |closed| closed.end_ms);
        let quarantined: HashSet<String> =
            closure.map(|closed| closed.quarantined.into_iter().collect()).unwrap_or_default();

        let mut rows =
            Writer { core: self, execution, batch: Batch::default(), batch_bytes: 0, kept_bytes: 0 };
        let mut text = TextFolder::new(gap);
        let mut outline = Outline::default();
        self.each_segment(org, execution, segments, |segment| {
            outline.add(&segment);
            heard_ms = segment.heard_ms().unwrap_or(heard_ms);
            rows.put_fed(&segment, heard_ms)?;
            segment.batches.iter().try_for_each(|entry| {
                text.push(entry.batch.text(), &mut |start, piece| rows.put_text(start, piece))
            })
        })?
        .ok_or_else(moved)?;
        text.finish(&mut |start, piece| rows.put_text(start, piece))?;
        self.pick(org, execution, segments, &outline, &quarantined, &mut |result| {
            rows.put(Table::Results, result.seq, bytes_of(&result), record::encode(&result)?)
        })?
        .ok_or_else(moved)?;
        let kept_bytes = rows.finish()?;
        self.storage.count(self.rows.as_ref(), org, execution, kept_bytes)?;
        self.rows.persist()?;

        let mut batch = Batch::default();
        batch.put(Table::Settled, keys::run(org, execution), record::encode(&SettledRow { end, gap })?);
        self.rows.commit(batch)
    }

    /// Removes what an earlier try left: late segments may have changed where its pieces begin.
    fn clear_rows(&self, execution: ExecutionId) -> StoreResult<()> {
        for table in [Table::Texts, Table::Results] {
            let mut batch = Batch::default();
            let prefix = execution.as_bytes();
            self.rows.scan(table, prefix, &keys::behind(prefix), &mut |key, _| {
                batch.remove(table, key.to_vec());
                Ok(true)
            })?;
            if !batch.changes.is_empty() {
                self.rows.commit(batch)?;
            }
        }
        Ok(())
    }
}

/// Commits rows by the megabyte.
struct Writer<'a> {
    core: &'a Core,
    execution: ExecutionId,
    batch: Batch,
    batch_bytes: usize,
    kept_bytes: u64,
}

impl Writer<'_> {
    fn put(&mut self, table: Table, number: u64, kept_bytes: usize, value: Vec<u8>) -> StoreResult<()> {
        self.kept_bytes += kept_bytes as u64;
        self.batch_bytes += value.len();
        self.batch.put(table, keys::numbered(self.execution, number), value);
        if self.batch_bytes >= COMMIT_BYTES { self.commit() } else { Ok(()) }
    }

    /// Puts the segment's row of the feed.
    fn put_fed(&mut self, segment: &Segment, at_ms: UnixMs) -> StoreResult<()> {
        self.batch_bytes += FED_BYTES;
        put_fed(&mut self.batch, segment.org, segment.feed_seq, &FeedRecord::of(segment, at_ms))
    }

    /// Puts a piece of text.
    fn put_text(&mut self, start: Cut, piece: &str) -> StoreResult<()> {
        let value = record::encode(&(start.bytes, piece))?;
        self.put(Table::Texts, start.units, piece.len(), value)
    }

    fn commit(&mut self) -> StoreResult<()> {
        self.batch_bytes = 0;
        self.core.rows.catch_up()?;
        self.core.rows.commit(std::mem::take(&mut self.batch))
    }

    fn finish(mut self) -> StoreResult<u64> {
        self.commit()?;
        Ok(self.kept_bytes)
    }
}
