//! The rows of the feed: those of segments of unsettled runs in memory, all others in the tables.

use futures_util::{StreamExt, TryStreamExt};

use super::Core;
use super::feed_tables::FEED_PART_BITS;
use super::lane::Lane;
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::limits;
use crate::store::contract::{FeedRow, StoreResult};
use crate::store::fold::feed::FeedRecord;
use crate::store::record;

/// Rows that are written at the same time.
const WRITES_PARALLEL: usize = 16;
/// Feeds whose numbers are skipped at the same time.
const JUMPS_PARALLEL: usize = 32;

impl Core {
    /// Writes a row; nothing without a number, nor below what was forgotten.
    pub(super) async fn put_told(
        &self,
        org: OrgId,
        lane: u64,
        seq: u64,
        told: &FeedRecord,
    ) -> StoreResult<()> {
        if seq == 0 {
            return Ok(());
        }
        let state = self.tables.feed_state(org, lane).await?;
        if seq <= state.floor {
            return Ok(());
        }
        let part = part(seq);
        if state.last_part.is_none_or(|last| last < part) {
            // First: readers look no further.
            self.tables.put_last_part(org, lane, part).await?;
        }
        self.tables.put_told(org, lane, seq, &record::encode(told)?).await
    }

    /// Writes the rows of segments.
    pub(super) async fn put_all_told(
        &self,
        org: OrgId,
        told: Vec<(u64, u64, FeedRecord)>,
    ) -> StoreResult<()> {
        let puts: Vec<_> =
            told.iter().map(|(lane, seq, told)| self.put_told(org, *lane, *seq, told)).collect();
        futures_util::stream::iter(puts).buffer_unordered(WRITES_PARALLEL).try_collect::<()>().await
    }

    pub(super) fn lane(&self) -> StoreResult<std::sync::Arc<Lane>> {
        self.lanes.of(&*self.begun()?)
    }

    pub(super) async fn feed_head(&self, org: OrgId) -> StoreResult<u64> {
        self.head_in(&*self.lane()?, org).await
    }

    async fn head_in(&self, lane: &Lane, org: OrgId) -> StoreResult<u64> {
        // What is in memory first: a run leaves it only after its rows are in the tables.
        let untold = lane.head(org);
        let state = self.tables.feed_state(org, lane.number).await?;
        let last = match state.last_part {
            Some(part) => self.tables.last_told(org, lane.number, part).await?,
            None => None,
        };
        Ok(untold.max(state.head).max(last.unwrap_or(0)))
    }

    /// Leaves out the numbers that a node before may have given to what is still on its way.
    pub(super) async fn jump_heads(&self, lane: &Lane) -> StoreResult<()> {
        let mut orgs: Vec<_> =
            self.tables.feeds(lane.number).await?.into_iter().map(|(org, _)| org).collect();
        orgs.extend(lane.orgs());
        orgs.sort_unstable();
        orgs.dedup();
        let jumps: Vec<_> = orgs.into_iter().map(|org| self.jump_head(lane, org)).collect();
        futures_util::stream::iter(jumps).buffer_unordered(JUMPS_PARALLEL).try_collect::<()>().await
    }

    async fn jump_head(&self, lane: &Lane, org: OrgId) -> StoreResult<()> {
        let head = self.head_in(lane, org).await?.saturating_add(limits::FEED_NUMBERS_SKIPPED);
        self.tables.put_head(org, lane.number, head).await
    }

    pub(super) async fn feed_floor(&self, org: OrgId) -> StoreResult<u64> {
        Ok(self.tables.feed_state(org, self.lane()?.number).await?.floor)
    }

    /// See the contract.
    pub(super) async fn feed_rows(&self, org: OrgId, after: u64, limit: usize) -> StoreResult<Vec<FeedRow>> {
        let lane = self.lane()?;
        let mut found = lane.rows(org, after, limit);
        let state = self.tables.feed_state(org, lane.number).await?;
        let after = after.max(state.floor);
        let mut stored = 0;
        let parts = part(after.saturating_add(1))..=state.last_part.unwrap_or(-1);
        for part in parts {
            if stored >= limit {
                break;
            }
            for (seq, told) in self.tables.told((org, lane.number, part), after, limit - stored).await? {
                found.push(record::decode::<FeedRecord>(&told)?.row(seq));
                stored += 1;
            }
        }
        found.sort_by_key(|row| row.seq);
        // A run that is being settled is found in both.
        found.dedup_by_key(|row| row.seq);
        found.truncate(limit);
        Ok(found)
    }

    /// See the contract.
    pub(super) async fn purge_feed(&self, before_ms: UnixMs) -> StoreResult<u64> {
        let lane = self.lane()?;
        let mut purged = 0;
        for (org, state) in self.tables.feeds(lane.number).await? {
            let mut floor = state.floor;
            for part in part(floor.saturating_add(1))..=state.last_part.unwrap_or(-1) {
                let room = limits::ROWS_PER_CALL_MAX.saturating_sub(purged);
                let rows = self.tables.told((org, lane.number, part), floor, room).await?;
                let mut old = 0;
                for (seq, told) in &rows {
                    if record::decode::<FeedRecord>(told)?.at_ms >= before_ms {
                        break;
                    }
                    floor = *seq;
                    old += 1;
                }
                if old > 0 {
                    // What is forgotten is said first: rows up to there are looked at no more.
                    self.tables.put_head(org, lane.number, floor).await?;
                    self.tables.put_floor(org, lane.number, floor).await?;
                    self.tables.forget_told(org, lane.number, part, floor).await?;
                    purged += old;
                }
                if old < rows.len() || rows.len() == room {
                    break;
                }
            }
        }
        Ok(purged as u64)
    }
}

/// The partition of a number.
fn part(seq: u64) -> i64 {
    i64::try_from(seq >> FEED_PART_BITS).unwrap_or(i64::MAX)
}
