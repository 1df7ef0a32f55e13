//! What is asked of the tables of the feed, one method a statement.

use futures_util::TryStreamExt;
use uuid::Uuid;

use super::tables::{Tables, ZONE, org_of, signed_long};
use crate::domain::id::OrgId;
use crate::store::contract::StoreResult;

/// Numbers of the feed in a partition: 2 to the power of this.
pub(super) const FEED_PART_BITS: u32 = 16;

/// How far a feed has come; all 0 if nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FeedState {
    pub(super) last_part: Option<i64>,
    pub(super) head: u64,
    pub(super) floor: u64,
}

impl Tables {
    pub(super) async fn insert_lane(&self, lane: u64, owner: Uuid) -> StoreResult<bool> {
        self.applied(&self.statements.insert_lane, (ZONE, lane.cast_signed(), owner)).await
    }

    pub(super) async fn take_lane(
        &self,
        lane: u64,
        from: Option<Uuid>,
        to: Option<Uuid>,
    ) -> StoreResult<bool> {
        self.applied(&self.statements.take_lane, (to, ZONE, lane.cast_signed(), from)).await
    }

    /// All numberings of the feeds, and who has them.
    pub(super) async fn lanes(&self) -> StoreResult<Vec<(u64, Option<Uuid>)>> {
        let rows = self.cql.rows::<(i64, Option<Uuid>)>(&self.statements.lanes, (ZONE,)).await?;
        rows.map_ok(|(lane, owner)| (lane.cast_unsigned(), owner)).try_collect().await
    }

    pub(super) async fn put_told(&self, org: OrgId, lane: u64, seq: u64, told: &[u8]) -> StoreResult<()> {
        let (id, part) = (org.as_bytes().as_slice(), signed_long(seq >> FEED_PART_BITS));
        self.write(&self.statements.put_told, (id, lane.cast_signed(), part, signed_long(seq), told)).await
    }

    /// Rows of a part above `after`, at most `limit`.
    pub(super) async fn told(
        &self,
        (org, lane, part): (OrgId, u64, i64),
        after: u64,
        limit: usize,
    ) -> StoreResult<Vec<(u64, Vec<u8>)>> {
        let values = (org.as_bytes().as_slice(), lane.cast_signed(), part, signed_long(after));
        let rows: Vec<(i64, Vec<u8>)> = self.cql.first_rows(&self.statements.told, values, limit).await?;
        Ok(rows.into_iter().map(|(seq, told)| (seq.cast_unsigned(), told)).collect())
    }

    /// The last number of a part that has a row.
    pub(super) async fn last_told(&self, org: OrgId, lane: u64, part: i64) -> StoreResult<Option<u64>> {
        let values = (org.as_bytes().as_slice(), lane.cast_signed(), part);
        let row: Option<(i64,)> = self.cql.first(&self.statements.last_told, values).await?;
        Ok(row.map(|row| row.0.cast_unsigned()))
    }

    pub(super) async fn forget_told(&self, org: OrgId, lane: u64, part: i64, upto: u64) -> StoreResult<()> {
        let values = (org.as_bytes().as_slice(), lane.cast_signed(), part, signed_long(upto));
        self.write(&self.statements.forget_told, values).await
    }

    /// Notes that a feed has rows in this part.
    pub(super) async fn put_last_part(&self, org: OrgId, lane: u64, part: i64) -> StoreResult<()> {
        let values = (lane.cast_signed(), org.as_bytes().as_slice(), part, part + 1);
        self.write(&self.statements.put_last_part, values).await
    }

    /// Notes that a feed has come this far.
    pub(super) async fn put_head(&self, org: OrgId, lane: u64, head: u64) -> StoreResult<()> {
        let values = (lane.cast_signed(), org.as_bytes().as_slice(), signed_long(head), signed_long(head));
        self.write(&self.statements.put_head, values).await
    }

    /// Notes that a feed is forgotten up to here.
    pub(super) async fn put_floor(&self, org: OrgId, lane: u64, floor: u64) -> StoreResult<()> {
        let values = (lane.cast_signed(), org.as_bytes().as_slice(), signed_long(floor), signed_long(floor));
        self.write(&self.statements.put_floor, values).await
    }

    pub(super) async fn feed_state(&self, org: OrgId, lane: u64) -> StoreResult<FeedState> {
        type Row = (Option<i64>, Option<i64>, Option<i64>);
        let values = (lane.cast_signed(), org.as_bytes().as_slice());
        let row: Option<Row> = self.cql.first(&self.statements.feed_state, values).await?;
        Ok(row.map_or_else(FeedState::default, state_of))
    }

    /// The feeds of a numbering.
    pub(super) async fn feeds(&self, lane: u64) -> StoreResult<Vec<(OrgId, FeedState)>> {
        type Row = (Vec<u8>, Option<i64>, Option<i64>, Option<i64>);
        let rows = self.cql.rows::<Row>(&self.statements.feed_orgs, (lane.cast_signed(),)).await?;
        let read =
            |(org, last_part, head, floor): Row| Ok((org_of(&org)?, state_of((last_part, head, floor))));
        rows.and_then(|row| std::future::ready(read(row))).try_collect().await
    }
}

fn state_of((last_part, head, floor): (Option<i64>, Option<i64>, Option<i64>)) -> FeedState {
    let number = |number: Option<i64>| number.unwrap_or(0).cast_unsigned();
    FeedState { last_part, head: number(head), floor: number(floor) }
}
