//! The members of an organization: what is decided about them is read and written in one turn at its partition.
//!
//! A removed account leaves its e-mail address's claim behind, which counts for nothing without it; it is taken away after
//! the commit, and if that does not happen whoever wants the address replaces it.

use async_trait::async_trait;
use futures_util::TryStreamExt;

use super::Cold;
use super::change::Edit;
use super::claims::Space;
use super::rows::{KEY, KEY_PLACE, USER, upper_bound};
use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, AuditEntry, User};
use crate::domain::id::{OrgId, UserId};
use crate::domain::member::{MemberChange, is_active_admin};
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Conflict, People, StoreError, StoreResult};
use crate::store::record;

/// With which the keys of all rows of a kind begin.
const NO_PREFIX: &[u8] = &[];

#[async_trait]
impl People for Cold {
    async fn members(&self, org: OrgId) -> StoreResult<Vec<User>> {
        self.finish_arrivals(org).await?;
        let mut members: Vec<User> = self.newest(org, USER, &[], ROWS_PER_CALL_MAX).await?;
        // An id tells the second only.
        members.sort_by_key(|user| std::cmp::Reverse((user.created_ms, user.id)));
        Ok(members)
    }

    async fn member(&self, org: OrgId, user: UserId) -> StoreResult<Option<User>> {
        self.finish_arrival(org, user).await?;
        self.record(org, USER, user.as_bytes()).await
    }

    async fn change_member(
        &self,
        org: OrgId,
        user: UserId,
        change: MemberChange,
        now_ms: UnixMs,
        audit: Option<AuditEntry>,
    ) -> StoreResult<Option<User>> {
        self.finish_arrivals(org).await?;
        let mut turns = self.turns(org).await;
        let (changed, keys) = loop {
            turns.begin().await?;
            let Some(stored) = self.record::<User>(org, USER, user.as_bytes()).await? else {
                return Ok(None);
            };
            let changed = change
                .apply(&stored, now_ms)
                .map_err(|_outdated| StoreError::Conflict(Conflict::MemberChanged))?;
            self.leave_an_admin(&stored, Some(&changed)).await?;
            let keys = if change.voids_credentials() { self.all_keys(org, user).await? } else { Vec::new() };
            let mut edits = vec![Edit::Put(USER, user.as_bytes().to_vec(), record::encode(&changed)?)];
            edits.extend(removals(&keys));
            if turns.commit(edits, audit.as_ref()).await? {
                break (changed, keys);
            }
        };
        drop(turns);
        self.tidy_keys(org, &keys).await;
        Ok(Some(changed))
    }

    async fn remove_member(&self, org: OrgId, user: UserId, audit: AuditEntry) -> StoreResult<Option<User>> {
        self.finish_arrivals(org).await?;
        let mut turns = self.turns(org).await;
        let (removed, keys) = loop {
            turns.begin().await?;
            let Some(stored) = self.record::<User>(org, USER, user.as_bytes()).await? else {
                return Ok(None);
            };
            self.leave_an_admin(&stored, None).await?;
            let keys = self.all_keys(org, user).await?;
            let mut edits = vec![Edit::Remove(USER, user.as_bytes().to_vec())];
            edits.extend(removals(&keys));
            if turns.commit(edits, Some(&audit)).await? {
                break (stored, keys);
            }
        };
        drop(turns);
        self.tidy_keys(org, &keys).await;
        self.tidy_account(&removed).await;
        Ok(Some(removed))
    }
}

impl Cold {
    /// Lets pass what leaves the organization of `member` an active administrator: `after` is what becomes of the member.
    /// Asked within a turn at changing the organization.
    ///
    /// # Errors
    /// `Conflict(LastAdmin)`.
    pub(super) async fn leave_an_admin(&self, member: &User, after: Option<&User>) -> StoreResult<()> {
        if !is_active_admin(member) || after.is_some_and(is_active_admin) {
            return Ok(());
        }
        let values = (member.org.as_bytes().as_slice(), USER, NO_PREFIX, upper_bound(NO_PREFIX));
        let mut rows = self.cql.rows::<(Vec<u8>, Vec<u8>)>(&self.statements.slice, values).await?;
        while let Some((_, bytes)) = rows.try_next().await? {
            let other: User = record::decode(&bytes)?;
            if other.id != member.id && is_active_admin(&other) {
                return Ok(());
            }
        }
        Err(StoreError::Conflict(Conflict::LastAdmin))
    }

    /// The rows of an account's API keys in an organization.
    pub(super) async fn all_keys(&self, org: OrgId, owner: UserId) -> StoreResult<Vec<OwnedKey>> {
        let rows = self.all(org, KEY, owner.as_bytes()).await?;
        rows.into_iter().map(|(place, bytes)| Ok(OwnedKey { place, key: record::decode(&bytes)? })).collect()
    }

    /// Takes away what leads to keys that were removed; see [`Cold::remove_key`].
    pub(super) async fn tidy_keys(&self, org: OrgId, keys: &[OwnedKey]) {
        let tidied = keys.iter().map(|owned| self.forget_key(org, &owned.key));
        futures_util::future::join_all(tidied).await;
    }

    /// Takes away what led to an account that was removed. If that fails it stays, leads to nothing, and costs its bytes.
    async fn tidy_account(&self, removed: &User) {
        let id = removed.id.as_bytes().as_slice();
        let tidied = async {
            self.cql.run(&self.statements.remove_lookup, ("user", id)).await?;
            self.release_claim(Space::Email, &removed.email, id).await
        };
        if let Err(error) = tidied.await {
            tracing::debug!(%error, "the claim of a removed account stays");
        }
    }
}

/// An API key with the key of its row.
pub(super) struct OwnedKey {
    place: Vec<u8>,
    key: ApiKey,
}

/// What removes these keys from their organization's partition.
pub(super) fn removals(keys: &[OwnedKey]) -> impl Iterator<Item = Edit> {
    keys.iter().flat_map(|owned| {
        [Edit::Remove(KEY, owned.place.clone()), Edit::Remove(KEY_PLACE, owned.key.id.as_bytes().to_vec())]
    })
}
