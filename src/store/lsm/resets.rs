//! Password resets: one row an account, and an index by the token's hash.

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::accounts::{USERS, user_key};
use super::db::Db;
use super::people::{member_of, remove_keys};
use super::table::{Key, Table};
use super::{LsmStore, audit, logins, outbox};
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{OrgId, UserId};
use crate::domain::mail::Letter;
use crate::domain::member::with_password;
use crate::domain::reset::{PasswordReset, ResetHash};
use crate::store::contract::{PasswordResets, StoreResult};

/// `user` → the reset that was asked for last.
pub(super) const RESETS: Table<PasswordReset> = Table::named("password_resets");
/// `hash` → the user's id.
const RESETS_BY_HASH: Table<UserId> = Table::named("password_resets_by_hash");

/// The account whose password the token with this hash sets.
fn account_of(db: &Db, view: &impl Readable, hash: &ResetHash, now_ms: UnixMs) -> StoreResult<Option<User>> {
    let Some(id) = RESETS_BY_HASH.get(db, view, &Key::new().id(hash))? else { return Ok(None) };
    let (user, reset) = (USERS.get(db, view, &user_key(id))?, RESETS.get(db, view, &user_key(id))?);
    Ok(user.filter(|user| reset.is_some_and(|reset| reset.is_good(hash, user, now_ms))))
}

/// Forgets the reset of an account.
pub(super) fn forget(db: &Db, change: &mut SingleWriterWriteTx<'_>, user: UserId) -> StoreResult<()> {
    if let Some(before) = RESETS.get(db, change, &user_key(user))? {
        RESETS_BY_HASH.remove(db, change, Key::new().id(&before.hash))?;
        RESETS.remove(db, change, user_key(user))?;
    }
    Ok(())
}

/// Stores the reset of an account in place of an earlier one.
pub(super) fn put(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    user: UserId,
    reset: &PasswordReset,
) -> StoreResult<()> {
    forget(db, change, user)?;
    RESETS_BY_HASH.put(db, change, Key::new().id(&reset.hash), &user)?;
    RESETS.put(db, change, user_key(user), reset)
}

#[async_trait]
impl PasswordResets for LsmStore {
    async fn begin_reset(
        &self,
        org: OrgId,
        user: UserId,
        reset: PasswordReset,
        letter: Option<Letter>,
    ) -> StoreResult<bool> {
        self.db
            .commit(move |db, change| {
                if member_of(db, change, org, user)?.is_none() {
                    return Ok(false);
                }
                put(db, change, user, &reset)?;
                if let Some(letter) = letter {
                    outbox::put(db, change, letter)?;
                }
                Ok(true)
            })
            .await
    }

    async fn reset_of(&self, hash: &ResetHash, now_ms: UnixMs) -> StoreResult<Option<User>> {
        let hash = *hash;
        self.db.blocking(move |db| account_of(db, &db.inner().read_tx(), &hash, now_ms)).await
    }

    async fn finish_reset(
        &self,
        hash: &ResetHash,
        password_hash: String,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<Option<User>> {
        let hash = *hash;
        self.db
            .commit(move |db, change| {
                let Some(stored) = account_of(db, change, &hash, now_ms)? else { return Ok(None) };
                let changed = with_password(&stored, &password_hash, now_ms);
                forget(db, change, stored.id)?;
                remove_keys(db, change, stored.org, stored.id)?;
                logins::forget(db, change, &stored.email)?;
                USERS.put(db, change, user_key(stored.id), &changed)?;
                audit::put(db, change, &audit)?;
                Ok(Some(changed))
            })
            .await
    }
}
