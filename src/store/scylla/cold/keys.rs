//! API keys: the record in its organization's partition under its owner, newest last; its place by id beside it, and by hash
//! in a lookup that is written before it.

use std::collections::HashMap;

use super::Cold;
use super::change::Edit;
use super::rows::{KEY, KEY_PLACE, moment};
use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, AuditEntry, KeyHash};
use crate::domain::id::{ApiKeyId, OrgId, UserId};
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Conflict, StoreError, StoreResult};
use crate::store::record;

/// Keys whose uses are asked for at once.
const USES_AT_ONCE: usize = 100;
/// Uses are counted in milliseconds, the cluster's timestamps in microseconds.
const MICROSECONDS: i64 = 1_000;

pub(super) fn place(key: &ApiKey) -> Vec<u8> {
    [key.owner.as_bytes().as_slice(), &moment(key.created_ms), key.id.as_bytes()].concat()
}

impl Cold {
    pub(super) async fn put_key(&self, key: &ApiKey, max_keys: u64, audit: &AuditEntry) -> StoreResult<()> {
        let (org, place) = (key.org.as_bytes().as_slice(), place(key));
        self.cql.run(&self.statements.put_lookup, ("key", key.hash.as_slice(), org, &place)).await?;
        let mut turns = self.turns(key.org).await;
        loop {
            turns.begin().await?;
            if self.reaches(key.org, KEY, key.owner.as_bytes(), max_keys).await? {
                return Err(StoreError::Conflict(Conflict::KeyLimit));
            }
            let edits = vec![
                Edit::Put(KEY, place.clone(), record::encode(key)?),
                Edit::Put(KEY_PLACE, key.id.as_bytes().to_vec(), place.clone()),
            ];
            if turns.commit(edits, Some(audit)).await? {
                return Ok(());
            }
        }
    }

    pub(super) async fn find_key(&self, hash: &KeyHash) -> StoreResult<Option<ApiKey>> {
        let Some((org, place)) = self.place_of("key", hash).await? else { return Ok(None) };
        let found: Option<ApiKey> = self.record(org, KEY, &place).await?;
        self.with_use(found.filter(|key| key.hash == *hash)).await
    }

    pub(super) async fn get_key(&self, org: OrgId, key: ApiKeyId) -> StoreResult<Option<ApiKey>> {
        let found = self.record_at_place(org, (KEY_PLACE, KEY), key.as_bytes()).await?;
        self.with_use(found).await
    }

    pub(super) async fn owned_keys(&self, org: OrgId, owner: UserId) -> StoreResult<Vec<ApiKey>> {
        let mut keys: Vec<ApiKey> = self.newest(org, KEY, owner.as_bytes(), ROWS_PER_CALL_MAX).await?;
        for some in keys.chunks_mut(USES_AT_ONCE) {
            self.add_uses(org, some).await?;
        }
        Ok(keys)
    }

    pub(super) async fn remove_key(
        &self,
        org: OrgId,
        key: ApiKeyId,
        audit: &AuditEntry,
    ) -> StoreResult<bool> {
        let mut turns = self.turns(org).await;
        let removed = loop {
            turns.begin().await?;
            let found: Option<ApiKey> = self.record_at_place(org, (KEY_PLACE, KEY), key.as_bytes()).await?;
            let Some(found) = found else { return Ok(false) };
            let edits =
                vec![Edit::Remove(KEY, place(&found)), Edit::Remove(KEY_PLACE, key.as_bytes().to_vec())];
            if turns.commit(edits, Some(audit)).await? {
                break found;
            }
        };
        drop(turns);
        self.forget_key(org, &removed).await;
        Ok(true)
    }

    /// Takes away what is left of a removed key, which leads to nothing. It is tried once; if that fails it stays, and
    /// costs its bytes.
    pub(super) async fn forget_key(&self, org: OrgId, key: &ApiKey) {
        let org = org.as_bytes().as_slice();
        let tidied = futures_util::try_join!(
            self.cql.run(&self.statements.remove_lookup, ("key", key.hash.as_slice())),
            self.cql.run(&self.statements.remove_use, (org, key.id.as_bytes().as_slice()))
        );
        if let Err(error) = tidied {
            tracing::debug!(%error, "the lookup of a revoked key stays");
        }
    }

    /// The later use wins by its timestamp, whichever is written last.
    pub(super) async fn mark_used(&self, org: OrgId, key: ApiKeyId, used_ms: UnixMs) -> StoreResult<()> {
        let timestamp = used_ms.saturating_mul(MICROSECONDS);
        let row = (timestamp, used_ms, org.as_bytes().as_slice(), key.as_bytes().as_slice());
        self.cql.run(&self.statements.mark_use, row).await
    }

    async fn with_use(&self, key: Option<ApiKey>) -> StoreResult<Option<ApiKey>> {
        let Some(mut key) = key else { return Ok(None) };
        self.add_uses(key.org, std::slice::from_mut(&mut key)).await?;
        Ok(Some(key))
    }

    /// Adds to keys when they were used last.
    pub(super) async fn add_uses_to(&self, org: OrgId, keys: &mut [ApiKey]) -> StoreResult<()> {
        for some in keys.chunks_mut(USES_AT_ONCE) {
            self.add_uses(org, some).await?;
        }
        Ok(())
    }

    async fn add_uses(&self, org: OrgId, keys: &mut [ApiKey]) -> StoreResult<()> {
        let ids: Vec<_> = keys.iter().map(|key| key.id.as_bytes().as_slice()).collect();
        let values = (org.as_bytes().as_slice(), ids);
        let found: Vec<(Vec<u8>, Option<i64>)> =
            self.cql.first_rows(&self.statements.uses, values, usize::MAX).await?;
        let uses: HashMap<_, _> = found.into_iter().collect();
        for key in keys {
            let marked = uses.get(key.id.as_bytes().as_slice()).copied().flatten();
            key.last_used_ms = key.last_used_ms.max(marked);
        }
        Ok(())
    }
}
