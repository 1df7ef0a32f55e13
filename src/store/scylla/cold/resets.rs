//! Password resets: a row in the organization's partition that goes by TTL, and a lookup by the token's hash that is
//! written before it.

use async_trait::async_trait;

use super::Cold;
use super::change::Edit;
use super::people::removals;
use super::rows::{RESET, USER, id_bytes};
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{OrgId, UserId};
use crate::domain::mail::Letter;
use crate::domain::member::with_password;
use crate::domain::reset::{PasswordReset, ResetHash};
use crate::limits::CQL_TTL_MAX;
use crate::store::contract::{PasswordResets, StoreResult};
use crate::store::record;

/// Under which resets are looked up.
const SPACE: &str = "reset";
/// How long after its expiry a reset is kept, in seconds: nodes' clocks may differ that much.
const KEPT_LONGER_S: i64 = 3_600;

#[async_trait]
impl PasswordResets for Cold {
    async fn begin_reset(
        &self,
        org: OrgId,
        user: UserId,
        reset: PasswordReset,
        letter: Option<Letter>,
    ) -> StoreResult<bool> {
        self.finish_arrival(org, user).await?;
        let left_s = reset.expires_ms.saturating_sub(self.cql.clock().now_ms()).max(0) / 1_000;
        let most_s = i64::try_from(CQL_TTL_MAX.as_secs()).unwrap_or(i64::MAX);
        let ttl_s = i32::try_from((left_s + KEPT_LONGER_S).min(most_s)).unwrap_or(i32::MAX);
        let (hash, id) = (reset.hash.as_slice(), user.as_bytes().as_slice());
        let lookup = (SPACE, hash, org.as_bytes().as_slice(), id, ttl_s);
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            if self.value(org, USER, id).await?.is_none() {
                return Ok(false);
            }
            self.cql.run(&self.statements.put_lookup_for, &lookup).await?;
            let mut edits = vec![Edit::PutFor(RESET, id.to_vec(), record::encode(&reset)?, ttl_s)];
            edits.extend(self.letter_edits(letter.as_slice()).await?);
            if turns.commit(edits, None).await? {
                return Ok(true);
            }
        }
    }

    async fn reset_of(&self, hash: &ResetHash, now_ms: UnixMs) -> StoreResult<Option<User>> {
        match self.reset_place(hash).await? {
            Some((org, user)) => self.good_reset(org, user, hash, now_ms).await,
            None => Ok(None),
        }
    }

    /// The tries are forgotten before the commit: whoever gets so far has the mailbox of the account.
    async fn finish_reset(
        &self,
        hash: &ResetHash,
        password_hash: String,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<Option<User>> {
        let Some((org, user)) = self.reset_place(hash).await? else { return Ok(None) };
        let mut turns = self.turns(org).await;
        let (changed, keys) = loop {
            turns.begin().await?;
            let Some(stored) = self.good_reset(org, user, hash, now_ms).await? else { return Ok(None) };
            self.forget_tries(&stored.email).await?;
            let changed = with_password(&stored, &password_hash, now_ms);
            let keys = self.all_keys(org, user).await?;
            let mut edits = vec![
                Edit::Put(USER, user.as_bytes().to_vec(), record::encode(&changed)?),
                Edit::Remove(RESET, user.as_bytes().to_vec()),
            ];
            edits.extend(removals(&keys));
            if turns.commit(edits, Some(&audit)).await? {
                break (changed, keys);
            }
        };
        drop(turns);
        self.tidy_keys(org, &keys).await;
        Ok(Some(changed))
    }
}

impl Cold {
    /// Takes in a reset that is copied, for so many seconds: its lookup now, its row by the edit.
    pub(super) async fn take_in_reset(
        &self,
        (org, user): (OrgId, UserId),
        reset: &PasswordReset,
        ttl_s: i32,
    ) -> StoreResult<Edit> {
        let id = user.as_bytes().as_slice();
        let lookup = (SPACE, reset.hash.as_slice(), org.as_bytes().as_slice(), id, ttl_s);
        self.cql.run(&self.statements.put_lookup_for, lookup).await?;
        Ok(Edit::PutFor(RESET, id.to_vec(), record::encode(reset)?, ttl_s))
    }

    /// Where a reset is, if there is one: its organization and account.
    async fn reset_place(&self, hash: &ResetHash) -> StoreResult<Option<(OrgId, UserId)>> {
        let found = self.place_of(SPACE, hash).await?;
        found.map(|(org, user)| Ok((org, UserId::from_bytes(id_bytes(&user)?)))).transpose()
    }

    /// The account, if it is in `org` and the token with this hash sets its password.
    pub(super) async fn good_reset(
        &self,
        org: OrgId,
        user: UserId,
        hash: &ResetHash,
        now_ms: UnixMs,
    ) -> StoreResult<Option<User>> {
        let stored: Option<User> = self.record(org, USER, user.as_bytes()).await?;
        let reset: Option<PasswordReset> = self.record(org, RESET, user.as_bytes()).await?;
        Ok(stored.filter(|stored| reset.is_some_and(|reset| reset.is_good(hash, stored, now_ms))))
    }
}
