//! Organizations, people, API keys and the audit log.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, AuditEntry, KeyHash, Organization, User};
use crate::domain::id::{ApiKeyId, OrgId, UserId};
use crate::domain::mail::Letter;

/// Whether a login may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginGate {
    /// It may; the failure, if it becomes one, has been counted already and is taken back by success.
    Open,
    /// This try is the one that reaches the threshold: it may be answered, then the address is locked.
    Last,
    /// Locked until this moment; Unix milliseconds.
    LockedUntil(UnixMs),
}

/// Organizations, people, API keys and the audit log.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Stores a new organization with its first member, `audit`, and `letter`, for which there need not be room. If `org.slug` is taken it is stored with
    /// `fallback_slug` instead, and if that is taken too, with the organization's id appended to it; the organization
    /// as stored is returned.
    ///
    /// # Errors
    /// `Conflict(Email)` if an account has the address, also when two calls race: exactly one wins.
    async fn sign_up(
        &self,
        org: Organization,
        fallback_slug: String,
        user: User,
        audit: AuditEntry,
        letter: Option<Letter>,
    ) -> StoreResult<Organization>;

    /// The account with this address (trimmed, lower case), or `None`.
    async fn user_by_email(&self, email: &str) -> StoreResult<Option<User>>;

    /// The account, whatever organization it belongs to now, or `None`.
    async fn user(&self, user: UserId) -> StoreResult<Option<User>>;

    /// Replaces the account's record (role, status, name, password, `credentials_valid_from_ms`, organization) and
    /// stores `audit`. `false` if there is no such account; then nothing is stored. The e-mail address cannot be
    /// changed, and the later of the stored and the given `last_login_ms` is kept.
    async fn update_user(&self, user: User, audit: Option<AuditEntry>) -> StoreResult<bool>;

    /// The organization, or `None`.
    async fn organization(&self, org: OrgId) -> StoreResult<Option<Organization>>;

    /// Number of members of any status.
    async fn member_count(&self, org: OrgId) -> StoreResult<u64>;

    /// Counts a login try for `email` before its password is looked at: check and count are one step, so that
    /// parallel tries cannot exceed `threshold` failures within `window_ms`, a window that the first failure opens.
    /// Reaching the threshold locks the address for `lock_ms`; tries while locked do not extend the lock. Survives a
    /// restart. Works alike for addresses without an account.
    async fn begin_login(
        &self,
        email: &str,
        now_ms: UnixMs,
        threshold: u32,
        window_ms: i64,
        lock_ms: i64,
    ) -> StoreResult<LoginGate>;

    /// Takes back one counted try that was no wrong guess: the password was right but the account is suspended, or
    /// the check could not be made. A lock that this try completed is lifted with it.
    async fn undo_login(&self, email: &str) -> StoreResult<()>;

    /// Records a login that succeeded: `last_login_ms` is set if the account still exists, `audit` is stored, and the
    /// tries counted for the address are forgotten. Its own try is one of them, so that the failures among them were
    /// below the threshold: a lock they completed together is lifted too.
    async fn login_succeeded(
        &self,
        user: UserId,
        email: &str,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<()>;

    /// Forgets the counted tries of addresses whose window and lock have ended before `now_ms`; returns how many
    /// addresses. At most 1000 a call. A store that forgets them by itself does nothing and returns 0.
    async fn purge_logins(&self, now_ms: UnixMs) -> StoreResult<u64>;

    /// Stores a new key and `audit`.
    ///
    /// # Errors
    /// `Conflict(KeyLimit)` if its owner has `max_keys` already; check and creation are one step.
    async fn create_key(&self, key: ApiKey, max_keys: u64, audit: AuditEntry) -> StoreResult<()>;

    /// The key with this hash, or `None`.
    async fn key_by_hash(&self, hash: &KeyHash) -> StoreResult<Option<ApiKey>>;

    /// The key, or `None` if `org` has none such.
    async fn key(&self, org: OrgId, key: ApiKeyId) -> StoreResult<Option<ApiKey>>;

    /// The owner's keys, newest first, at most 1000.
    async fn keys_of(&self, org: OrgId, owner: UserId) -> StoreResult<Vec<ApiKey>>;

    /// Removes a key and stores `audit`; `false` if `org` has none such, and then nothing is stored.
    async fn revoke_key(&self, org: OrgId, key: ApiKeyId, audit: AuditEntry) -> StoreResult<bool>;

    /// Sets `last_used_ms` if the key still exists and was not used later. May be lost in a crash.
    async fn mark_key_used(&self, org: OrgId, key: ApiKeyId, used_ms: UnixMs) -> StoreResult<()>;

    /// Stores an audit entry that stands alone (a failed login).
    async fn audit(&self, entry: AuditEntry) -> StoreResult<()>;

    /// The newest `limit` audit entries of the organization after skipping `offset`, newest first (ties by id,
    /// descending), and how many there are. At most 1000 a page.
    async fn audit_entries(
        &self,
        org: OrgId,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)>;

    /// Forgets audit entries older than `before_ms`, of all organizations; returns how many. At most 1000 a call. A store
    /// that forgets them by itself after [`crate::limits::AUDIT_RETENTION`] does nothing and returns 0.
    async fn purge_audit(&self, before_ms: UnixMs) -> StoreResult<u64>;
}
