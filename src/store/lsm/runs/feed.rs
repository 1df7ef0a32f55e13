//! The rows of the feed. Openings, closings and takings back have theirs from the moment they are stored: the journal
//! makes them again, like the fact's other rows. Segments of unsettled runs are found in the index and cost no row;
//! settling writes theirs.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::keys;
use super::rows::{Batch, Rows, Table};
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::limits;
use crate::store::contract::{FeedRow, StoreError, StoreResult};
use crate::store::fold::feed::FeedRecord;
use crate::store::record;

/// The name under which the epoch is kept.
const EPOCH: &[u8] = b"epoch";

/// Puts a row in its place; nothing without a number.
pub(super) fn put_fed(batch: &mut Batch, org: OrgId, seq: u64, told: &FeedRecord) -> StoreResult<()> {
    if seq > 0 {
        batch.put(Table::Feed, keys::fed(org, seq), record::encode(told)?);
    }
    Ok(())
}

/// How far a feed was forgotten. Kept among its rows, so that both change together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Forgotten {
    /// The highest number that is known although its row is gone.
    head: u64,
    /// The highest number that was forgotten.
    floor: u64,
}

fn forgotten(rows: &dyn Rows, org: OrgId) -> StoreResult<Forgotten> {
    let stored = rows.get(Table::Feed, &keys::fed(org, 0))?;
    stored.map_or(Ok(Forgotten::default()), |bytes| record::decode(&bytes))
}

/// Remembers that the organization's feed has come to `head`, although what had that number cannot be read any more.
pub(super) fn remember_head(rows: &dyn Rows, batch: &mut Batch, org: OrgId, head: u64) -> StoreResult<()> {
    let known = forgotten(rows, org)?;
    if known.head < head {
        batch.put(Table::Feed, keys::fed(org, 0), record::encode(&Forgotten { head, ..known })?);
    }
    Ok(())
}

/// The epoch of the feeds. A new one is made and made durable if there is none, or if one of the `damaged` journal files
/// was whole when it was made: numbers may have been lost with it.
pub(super) fn epoch(rows: &dyn Rows, damaged: &HashSet<u32>) -> StoreResult<u64> {
    let stored: Option<(u64, HashSet<u32>)> =
        rows.get(Table::FeedEpoch, EPOCH)?.map(|bytes| record::decode(&bytes)).transpose()?;
    if let Some((epoch, known)) = stored
        && damaged.is_subset(&known)
    {
        return Ok(epoch);
    }
    let epoch: u64 = rand::random();
    let mut batch = Batch::default();
    batch.put(Table::FeedEpoch, EPOCH.to_vec(), record::encode(&(epoch, damaged))?);
    rows.commit(batch)?;
    rows.persist()?;
    Ok(epoch)
}

/// Gives the epoch of a store that is copied to this one; on disk when it returns.
pub(super) fn set_epoch(rows: &dyn Rows, epoch: u64) -> StoreResult<()> {
    let mut batch = Batch::default();
    batch.put(Table::FeedEpoch, EPOCH.to_vec(), record::encode(&(epoch, HashSet::<u32>::new()))?);
    rows.commit(batch)?;
    rows.persist()
}

/// Puts how far a feed that is copied has come and was forgotten.
pub(super) fn put_state(batch: &mut Batch, org: OrgId, head: u64, floor: u64) -> StoreResult<()> {
    batch.put(Table::Feed, keys::fed(org, 0), record::encode(&Forgotten { head, floor })?);
    Ok(())
}

impl Core {
    /// See the contract. Blocks.
    pub(super) fn feed_head(&self, org: OrgId) -> StoreResult<u64> {
        // The index first: a run leaves it only after its rows are there.
        let unsettled = self.index.feed_head(org);
        let prefix = org.as_bytes();
        let last = self.rows.last(Table::Feed, prefix, &keys::behind(prefix))?;
        let stored = last.map_or(Ok(0), |(key, _)| Ok(keys::read_fed(&key).ok_or_else(bad_key)?.1))?;
        Ok(forgotten(self.rows.as_ref(), org)?.head.max(stored).max(unsettled))
    }

    /// See the contract. Blocks.
    pub(super) fn feed_floor(&self, org: OrgId) -> StoreResult<u64> {
        Ok(forgotten(self.rows.as_ref(), org)?.floor)
    }

    /// See the contract. Blocks.
    pub(super) fn feed_rows(&self, org: OrgId, after: u64, limit: usize) -> StoreResult<Vec<FeedRow>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        // The index first, as above.
        let mut found = self.index.feed_rows(org, after, limit);
        let mut stored = 0;
        let (from, to) = (keys::fed(org, after.saturating_add(1)), keys::behind(org.as_bytes()));
        self.rows.scan(Table::Feed, &from, &to, &mut |key, value| {
            let (_, seq) = keys::read_fed(key).ok_or_else(bad_key)?;
            found.push(record::decode::<FeedRecord>(value)?.row(seq));
            stored += 1;
            Ok(stored < limit)
        })?;
        found.sort_by_key(|row| row.seq);
        // A run that is being settled is found in both.
        found.dedup_by_key(|row| row.seq);
        found.truncate(limit);
        Ok(found)
    }

    /// See the contract. Blocks.
    pub(super) fn purge_feed(&self, before_ms: UnixMs) -> StoreResult<u64> {
        let _held = self.locks.hold(b"feed".to_vec());
        let mut purged = 0;
        let mut from = Vec::new();
        while purged < limits::ROWS_PER_CALL_MAX {
            let mut next = None;
            self.rows.scan(Table::Feed, &from, &[0xff; 64], &mut |key, _| {
                next = Some(keys::read_fed(key).ok_or_else(bad_key)?.0);
                Ok(false)
            })?;
            let Some(org) = next else { break };
            purged += self.purge_feed_of(org, before_ms, limits::ROWS_PER_CALL_MAX - purged)?;
            from = keys::behind(org.as_bytes());
        }
        Ok(purged as u64)
    }

    fn purge_feed_of(&self, org: OrgId, before_ms: UnixMs, limit: usize) -> StoreResult<usize> {
        let (from, to) = (keys::fed(org, 1), keys::behind(org.as_bytes()));
        let mut batch = Batch::default();
        let mut known = forgotten(self.rows.as_ref(), org)?;
        self.rows.scan(Table::Feed, &from, &to, &mut |key, value| {
            let (_, seq) = keys::read_fed(key).ok_or_else(bad_key)?;
            if record::decode::<FeedRecord>(value)?.at_ms >= before_ms {
                return Ok(false);
            }
            batch.remove(Table::Feed, key.to_vec());
            known.head = known.head.max(seq);
            known.floor = known.floor.max(seq);
            Ok(batch.changes.len() < limit)
        })?;
        let purged = batch.changes.len();
        if purged > 0 {
            batch.put(Table::Feed, keys::fed(org, 0), record::encode(&known)?);
            self.rows.commit(batch)?;
        }
        Ok(purged)
    }
}

fn bad_key() -> StoreError {
    StoreError::Damaged("the key of a row of the feed".into())
}
