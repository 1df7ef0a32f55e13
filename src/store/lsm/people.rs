//! The members of organizations. The write transactions of the tree run one at a time, so that whoever is the last
//! administrator is found out in the step that makes the change.

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::accounts::{
    KEYS, KEYS_BY_HASH, KEYS_BY_OWNER, MEMBER_COUNTS, MEMBERS, USERS, USERS_BY_EMAIL, key_by_owner, key_key,
    member_key, org_key, user_key,
};
use super::db::Db;
use super::table::Key;
use super::{LsmStore, audit, resets};
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{OrgId, UserId};
use crate::domain::member::{MemberChange, is_active_admin};
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Conflict, People, StoreError, StoreResult};

/// The bytes of an organization's id, before that of the member.
const ORG_BYTES: usize = 12;

/// The account behind a key of [`MEMBERS`].
fn account_of(db: &Db, view: &impl Readable, row: &[u8]) -> StoreResult<Option<User>> {
    USERS.get(db, view, &Key::new().id(row.get(ORG_BYTES..).unwrap_or_default()))
}

pub(super) fn member_of(
    db: &Db,
    view: &impl Readable,
    org: OrgId,
    user: UserId,
) -> StoreResult<Option<User>> {
    Ok(USERS.get(db, view, &user_key(user))?.filter(|account| account.org == org))
}

/// Lets pass what leaves the organization of `member` an active administrator: `after` is what becomes of the member.
///
/// # Errors
/// `Conflict(LastAdmin)`.
pub(super) fn leave_an_admin(
    db: &Db,
    view: &impl Readable,
    member: &User,
    after: Option<&User>,
) -> StoreResult<()> {
    if !is_active_admin(member) || after.is_some_and(is_active_admin) {
        return Ok(());
    }
    for row in MEMBERS.keys(db, view, &org_key(member.org))? {
        let other = account_of(db, view, &row?)?;
        if other.is_some_and(|other| other.id != member.id && is_active_admin(&other)) {
            return Ok(());
        }
    }
    Err(StoreError::Conflict(Conflict::LastAdmin))
}

/// Removes the API keys that an account has in an organization.
pub(super) fn remove_keys(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    org: OrgId,
    owner: UserId,
) -> StoreResult<()> {
    let owned: Vec<_> =
        KEYS_BY_OWNER.records(db, change, &member_key(org, owner))?.collect::<StoreResult<_>>()?;
    for id in owned {
        let Some(key) = KEYS.get(db, change, &key_key(org, id))? else { continue };
        KEYS_BY_HASH.remove(db, change, Key::new().id(&key.hash))?;
        KEYS_BY_OWNER.remove(db, change, key_by_owner(&key))?;
        KEYS.remove(db, change, key_key(org, id))?;
    }
    Ok(())
}

#[async_trait]
impl People for LsmStore {
    async fn members(&self, org: OrgId) -> StoreResult<Vec<User>> {
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let rows = MEMBERS.keys(db, &view, &org_key(org))?.rev().take(ROWS_PER_CALL_MAX);
                let found =
                    rows.filter_map(|row| row.and_then(|row| account_of(db, &view, &row)).transpose());
                let mut members = found.collect::<StoreResult<Vec<User>>>()?;
                // An id tells the second only.
                members.sort_by_key(|user| std::cmp::Reverse((user.created_ms, user.id)));
                Ok(members)
            })
            .await
    }

    async fn member(&self, org: OrgId, user: UserId) -> StoreResult<Option<User>> {
        self.db.blocking(move |db| member_of(db, &db.inner().read_tx(), org, user)).await
    }

    async fn change_member(
        &self,
        org: OrgId,
        user: UserId,
        change: MemberChange,
        now_ms: UnixMs,
        audit: Option<AuditEntry>,
    ) -> StoreResult<Option<User>> {
        self.db
            .commit(move |db, tx| {
                let Some(stored) = member_of(db, tx, org, user)? else { return Ok(None) };
                let changed = change
                    .apply(&stored, now_ms)
                    .map_err(|_outdated| StoreError::Conflict(Conflict::MemberChanged))?;
                leave_an_admin(db, tx, &stored, Some(&changed))?;
                if change.voids_credentials() {
                    remove_keys(db, tx, org, user)?;
                }
                USERS.put(db, tx, user_key(user), &changed)?;
                if let Some(audit) = audit {
                    audit::put(db, tx, &audit)?;
                }
                Ok(Some(changed))
            })
            .await
    }

    async fn remove_member(&self, org: OrgId, user: UserId, audit: AuditEntry) -> StoreResult<Option<User>> {
        self.db
            .commit(move |db, tx| {
                let Some(stored) = member_of(db, tx, org, user)? else { return Ok(None) };
                leave_an_admin(db, tx, &stored, None)?;
                remove_keys(db, tx, org, user)?;
                resets::forget(db, tx, user)?;
                USERS.remove(db, tx, user_key(user))?;
                USERS_BY_EMAIL.remove(db, tx, Key::new().text(&stored.email))?;
                MEMBERS.remove(db, tx, member_key(org, user))?;
                MEMBER_COUNTS.add(db, tx, org_key(org), -1)?;
                audit::put(db, tx, &audit)?;
                Ok(Some(stored))
            })
            .await
    }
}
