//! Organizations, people and API keys, each with the indexes that make e-mail addresses, slugs and key hashes unique.
//! The write transactions of the tree run one at a time, so a check and the write that follows it are one step.

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::table::{Key, Table};
use super::{LsmStore, audit, logins, outbox, resets};
use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, AuditEntry, KeyHash, Organization, User};
use crate::domain::id::{ApiKeyId, OrgId, UserId};
use crate::domain::mail::Letter;
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Accounts, Conflict, LoginGate, StoreError, StoreResult};
use crate::store::lsm::db::Db;
use crate::store::tries::Bounds;

/// `org`.
pub(super) const ORGANIZATIONS: Table<Organization> = Table::named("organizations");
/// `slug`.
const ORGANIZATIONS_BY_SLUG: Table<()> = Table::named("organizations_by_slug");
/// `user`.
pub(super) const USERS: Table<User> = Table::named("users");
/// `email` → the user's id.
pub(super) const USERS_BY_EMAIL: Table<UserId> = Table::named("users_by_email");
/// `org user`.
pub(super) const MEMBERS: Table<()> = Table::named("members");
/// `org` → how many members it has.
pub(super) const MEMBER_COUNTS: Table<u64> = Table::named("member_counts");
/// `org key`.
pub(super) const KEYS: Table<ApiKey> = Table::named("api_keys");
/// `hash` → `org key`.
pub(super) const KEYS_BY_HASH: Table<Vec<u8>> = Table::named("api_keys_by_hash");
/// `org owner created_ms key` → the key's id.
pub(super) const KEYS_BY_OWNER: Table<ApiKeyId> = Table::named("api_keys_by_owner");

pub(super) fn org_key(org: OrgId) -> Key {
    Key::new().id(org.as_bytes())
}

pub(super) fn user_key(user: UserId) -> Key {
    Key::new().id(user.as_bytes())
}

pub(super) fn member_key(org: OrgId, user: UserId) -> Key {
    org_key(org).id(user.as_bytes())
}

pub(super) fn key_key(org: OrgId, key: ApiKeyId) -> Key {
    org_key(org).id(key.as_bytes())
}

pub(super) fn key_by_owner(key: &ApiKey) -> Key {
    member_key(key.org, key.owner).moment(key.created_ms).id(key.id.as_bytes())
}

/// The first of the wanted slugs that is free.
fn free_slug(db: &Db, view: &impl Readable, org: &Organization, fallback: String) -> StoreResult<String> {
    for slug in [org.slug.clone(), fallback.clone()] {
        if !ORGANIZATIONS_BY_SLUG.has(db, view, &Key::new().text(&slug))? {
            return Ok(slug);
        }
    }
    Ok(format!("{fallback}-{}", org.id))
}

#[async_trait]
impl Accounts for LsmStore {
    async fn sign_up(
        &self,
        mut org: Organization,
        fallback_slug: String,
        user: User,
        audit: AuditEntry,
        letter: Option<Letter>,
    ) -> StoreResult<Organization> {
        self.db
            .commit(move |db, change| {
                let by_email = Key::new().text(&user.email);
                if USERS_BY_EMAIL.has(db, change, &by_email)? {
                    return Err(StoreError::Conflict(Conflict::Email));
                }
                org.slug = free_slug(db, change, &org, fallback_slug)?;
                ORGANIZATIONS.put(db, change, org_key(org.id), &org)?;
                ORGANIZATIONS_BY_SLUG.put(db, change, Key::new().text(&org.slug), &())?;
                USERS.put(db, change, user_key(user.id), &user)?;
                USERS_BY_EMAIL.put(db, change, by_email, &user.id)?;
                MEMBERS.put(db, change, member_key(org.id, user.id), &())?;
                MEMBER_COUNTS.add(db, change, org_key(org.id), 1)?;
                audit::put(db, change, &audit)?;
                if let Some(letter) = letter {
                    outbox::put(db, change, letter)?;
                }
                Ok(org)
            })
            .await
    }

    async fn user_by_email(&self, email: &str) -> StoreResult<Option<User>> {
        let key = Key::new().text(email);
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let Some(user) = USERS_BY_EMAIL.get(db, &view, &key)? else { return Ok(None) };
                USERS.get(db, &view, &user_key(user))
            })
            .await
    }

    async fn user(&self, user: UserId) -> StoreResult<Option<User>> {
        self.db.blocking(move |db| USERS.get(db, &db.inner().read_tx(), &user_key(user))).await
    }

    async fn update_user(&self, mut user: User, audit: Option<AuditEntry>) -> StoreResult<bool> {
        self.db
            .commit(move |db, change| {
                let Some(stored) = USERS.get(db, change, &user_key(user.id))? else { return Ok(false) };
                if stored.org != user.org {
                    resets::forget(db, change, user.id)?;
                    MEMBERS.remove(db, change, member_key(stored.org, user.id))?;
                    MEMBER_COUNTS.add(db, change, org_key(stored.org), -1)?;
                    MEMBERS.put(db, change, member_key(user.org, user.id), &())?;
                    MEMBER_COUNTS.add(db, change, org_key(user.org), 1)?;
                }
                user.email = stored.email;
                user.last_login_ms = user.last_login_ms.max(stored.last_login_ms);
                USERS.put(db, change, user_key(user.id), &user)?;
                if let Some(audit) = audit {
                    audit::put(db, change, &audit)?;
                }
                Ok(true)
            })
            .await
    }

    async fn organization(&self, org: OrgId) -> StoreResult<Option<Organization>> {
        self.db.blocking(move |db| ORGANIZATIONS.get(db, &db.inner().read_tx(), &org_key(org))).await
    }

    async fn member_count(&self, org: OrgId) -> StoreResult<u64> {
        self.db.blocking(move |db| MEMBER_COUNTS.count(db, &db.inner().read_tx(), &org_key(org))).await
    }

    async fn begin_login(
        &self,
        email: &str,
        now_ms: UnixMs,
        threshold: u32,
        window_ms: i64,
        lock_ms: i64,
    ) -> StoreResult<LoginGate> {
        let email = email.to_owned();
        let bounds = Bounds { threshold, window_ms, lock_ms };
        // Whatever is answered to this try is written after it, and synced with it.
        self.db.commit_unsynced(move |db, change| logins::begin(db, change, &email, now_ms, bounds)).await
    }

    async fn undo_login(&self, email: &str) -> StoreResult<()> {
        let email = email.to_owned();
        self.db.commit(move |db, change| logins::undo(db, change, &email)).await
    }

    async fn login_succeeded(
        &self,
        user: UserId,
        email: &str,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<()> {
        let email = email.to_owned();
        self.db
            .commit(move |db, change| {
                if let Some(mut account) = USERS.get(db, change, &user_key(user))? {
                    account.last_login_ms = Some(now_ms);
                    USERS.put(db, change, user_key(user), &account)?;
                }
                logins::forget(db, change, &email)?;
                audit::put(db, change, &audit)
            })
            .await
    }

    async fn purge_logins(&self, now_ms: UnixMs) -> StoreResult<u64> {
        self.db.commit(move |db, change| logins::purge(db, change, now_ms, ROWS_PER_CALL_MAX)).await
    }

    async fn create_key(&self, key: ApiKey, max_keys: u64, audit: AuditEntry) -> StoreResult<()> {
        self.db
            .commit(move |db, change| {
                let max_keys = usize::try_from(max_keys).unwrap_or(usize::MAX);
                let owned = KEYS_BY_OWNER.keys(db, change, &member_key(key.org, key.owner))?;
                if owned.take(max_keys).count() >= max_keys {
                    return Err(StoreError::Conflict(Conflict::KeyLimit));
                }
                let row = key_key(key.org, key.id);
                KEYS_BY_HASH.put(db, change, Key::new().id(&key.hash), &row.as_ref().to_vec())?;
                KEYS_BY_OWNER.put(db, change, key_by_owner(&key), &key.id)?;
                KEYS.put(db, change, row, &key)?;
                audit::put(db, change, &audit)
            })
            .await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> StoreResult<Option<ApiKey>> {
        let key = Key::new().id(hash);
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let Some(row) = KEYS_BY_HASH.get(db, &view, &key)? else { return Ok(None) };
                KEYS.get(db, &view, &Key::new().id(&row))
            })
            .await
    }

    async fn key(&self, org: OrgId, key: ApiKeyId) -> StoreResult<Option<ApiKey>> {
        self.db.blocking(move |db| KEYS.get(db, &db.inner().read_tx(), &key_key(org, key))).await
    }

    async fn keys_of(&self, org: OrgId, owner: UserId) -> StoreResult<Vec<ApiKey>> {
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let newest = KEYS_BY_OWNER.records(db, &view, &member_key(org, owner))?.rev();
                newest
                    .take(ROWS_PER_CALL_MAX)
                    .filter_map(|id| id.and_then(|id| KEYS.get(db, &view, &key_key(org, id))).transpose())
                    .collect()
            })
            .await
    }

    async fn revoke_key(&self, org: OrgId, key: ApiKeyId, audit: AuditEntry) -> StoreResult<bool> {
        self.db
            .commit(move |db, change| {
                let Some(stored) = KEYS.get(db, change, &key_key(org, key))? else { return Ok(false) };
                KEYS_BY_HASH.remove(db, change, Key::new().id(&stored.hash))?;
                KEYS_BY_OWNER.remove(db, change, key_by_owner(&stored))?;
                KEYS.remove(db, change, key_key(org, key))?;
                audit::put(db, change, &audit)?;
                Ok(true)
            })
            .await
    }

    async fn mark_key_used(&self, org: OrgId, key: ApiKeyId, used_ms: UnixMs) -> StoreResult<()> {
        self.db
            .commit_unsynced(move |db, change| {
                if let Some(mut stored) = KEYS.get(db, change, &key_key(org, key))?
                    && stored.last_used_ms < Some(used_ms)
                {
                    stored.last_used_ms = Some(used_ms);
                    KEYS.put(db, change, key_key(org, key), &stored)?;
                }
                Ok(())
            })
            .await
    }

    async fn audit(&self, entry: AuditEntry) -> StoreResult<()> {
        self.db.commit(move |db, change| audit::put(db, change, &entry)).await
    }

    async fn audit_entries(
        &self,
        org: OrgId,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)> {
        self.db.blocking(move |db| audit::page(db, org, limit, offset)).await
    }

    async fn purge_audit(&self, before_ms: UnixMs) -> StoreResult<u64> {
        self.db.commit(move |db, change| audit::purge(db, change, before_ms, ROWS_PER_CALL_MAX)).await
    }
}

/// Takes in an organization that is copied.
pub(super) fn take_in_organization(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    org: &Organization,
) -> StoreResult<()> {
    ORGANIZATIONS_BY_SLUG.put(db, change, Key::new().text(&org.slug), &())?;
    ORGANIZATIONS.put(db, change, org_key(org.id), org)
}

/// Takes in an account that is copied.
pub(super) fn take_in_user(db: &Db, change: &mut SingleWriterWriteTx<'_>, user: &User) -> StoreResult<()> {
    if !USERS.has(db, change, &user_key(user.id))? {
        MEMBER_COUNTS.add(db, change, org_key(user.org), 1)?;
    }
    USERS_BY_EMAIL.put(db, change, Key::new().text(&user.email), &user.id)?;
    MEMBERS.put(db, change, member_key(user.org, user.id), &())?;
    USERS.put(db, change, user_key(user.id), user)
}

/// Takes in an API key that is copied.
pub(super) fn take_in_key(db: &Db, change: &mut SingleWriterWriteTx<'_>, key: &ApiKey) -> StoreResult<()> {
    let row = key_key(key.org, key.id);
    KEYS_BY_HASH.put(db, change, Key::new().id(&key.hash), &row.as_ref().to_vec())?;
    KEYS_BY_OWNER.put(db, change, key_by_owner(key), &key.id)?;
    KEYS.put(db, change, row, key)
}
