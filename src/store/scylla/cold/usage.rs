//! What an organization uses of its plan, as far as it is counted in the organization's partition: places for runs, bytes.

use super::Cold;
use super::change::Edit;
use super::rows::{RUN_PLACES, STORED_BYTES, moment};
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::store::contract::StoreResult;
use crate::store::places::Places;
use crate::store::record;

impl Cold {
    pub(super) async fn take_place(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        (max, at_least): (u64, u64),
        now_ms: UnixMs,
    ) -> StoreResult<()> {
        let key = moment(period_ms);
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let places: Places = self.record(org, RUN_PLACES, &key).await?.unwrap_or_default();
            let places = places.take(max, at_least, now_ms)?;
            let edit = Edit::run_places(period_ms, places)?;
            if turns.commit(vec![edit], None).await? {
                return Ok(());
            }
        }
    }

    pub(super) async fn give_place_back(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        now_ms: UnixMs,
    ) -> StoreResult<()> {
        let key = moment(period_ms);
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let Some(places) = self.record::<Places>(org, RUN_PLACES, &key).await? else { return Ok(()) };
            let edit = Edit::run_places(period_ms, places.give_back(now_ms))?;
            if turns.commit(vec![edit], None).await? {
                return Ok(());
            }
        }
    }

    pub(super) async fn correct_places(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        started: u64,
        idle_since_ms: UnixMs,
    ) -> StoreResult<bool> {
        let key = moment(period_ms);
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let places: Option<Places> = self.record(org, RUN_PLACES, &key).await?;
            let Some(places) = places.and_then(|places| places.correct(started, idle_since_ms)) else {
                return Ok(false);
            };
            let edit = Edit::run_places(period_ms, places)?;
            if turns.commit(vec![edit], None).await? {
                return Ok(true);
            }
        }
    }

    /// Bytes that are kept; `None` if they were never counted.
    pub(in crate::store::scylla) async fn stored_bytes(&self, org: OrgId) -> StoreResult<Option<u64>> {
        self.record(org, STORED_BYTES, &[]).await
    }

    /// Adds the bytes of a run that was settled. While nothing was counted yet there is nothing to add to; the revision is
    /// counted all the same, so that whoever is counting counts again.
    pub(in crate::store::scylla) async fn add_stored_bytes(&self, org: OrgId, bytes: u64) -> StoreResult<()> {
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let counted: Option<u64> = self.record(org, STORED_BYTES, &[]).await?;
            let put = |sum: u64| Ok(Edit::Put(STORED_BYTES, Vec::new(), record::encode(&sum)?));
            let edit = counted.map(|counted| put(counted.saturating_add(bytes))).transpose()?;
            if turns.commit(edit.into_iter().collect(), None).await? {
                return Ok(());
            }
        }
    }

    /// Sets the bytes to what `count` finds. If a run is added meanwhile it is counted again; one that is settled and not
    /// yet added may count twice until the next time.
    pub(in crate::store::scylla) async fn recount_stored_bytes<F>(
        &self,
        org: OrgId,
        count: impl Fn() -> F,
    ) -> StoreResult<u64>
    where
        F: Future<Output = StoreResult<u64>>,
    {
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let bytes = count().await?;
            let edit = Edit::Put(STORED_BYTES, Vec::new(), record::encode(&bytes)?);
            if turns.commit(vec![edit], None).await? {
                return Ok(bytes);
            }
        }
    }
}
