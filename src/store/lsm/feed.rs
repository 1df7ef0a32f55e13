//! The feed is kept by [`super::runs::RunStore`]; the store passes it on.

use async_trait::async_trait;

use super::LsmStore;
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::store::contract::{FeedLog, FeedRow, StoreResult};

#[async_trait]
impl FeedLog for LsmStore {
    async fn feed_epoch(&self) -> StoreResult<u64> {
        self.runs.feed_epoch().await
    }

    async fn feed_head(&self, org: OrgId) -> StoreResult<u64> {
        self.runs.feed_head(org).await
    }

    async fn feed_floor(&self, org: OrgId) -> StoreResult<u64> {
        self.runs.feed_floor(org).await
    }

    async fn feed_rows(&self, org: OrgId, after: u64, limit: usize) -> StoreResult<Vec<FeedRow>> {
        self.runs.feed_rows(org, after, limit).await
    }

    async fn purge_feed(&self, before_ms: UnixMs) -> StoreResult<u64> {
        self.runs.purge_feed(before_ms).await
    }
}
