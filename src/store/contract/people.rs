//! The members of organizations.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{OrgId, UserId};
use crate::domain::member::MemberChange;

/// The members of organizations. An organization that has an active administrator keeps one: the check and the change
/// are one step, also when several calls race. Who is suspended is no active administrator.
#[async_trait]
pub trait People: Send + Sync {
    /// The members of any status, newest first (ties by id, descending), at most 1000.
    async fn members(&self, org: OrgId) -> StoreResult<Vec<User>>;

    /// The member, or `None` if `org` has none such.
    async fn member(&self, org: OrgId, user: UserId) -> StoreResult<Option<User>>;

    /// Makes `change` at `now_ms` and stores `audit`; the account as it is now, or `None` if `org` has no such member,
    /// and then nothing is stored. A change of the password removes the account's API keys in `org` too, and sets
    /// `credentials_valid_from_ms` later than it was.
    ///
    /// # Errors
    /// `Conflict(LastAdmin)` if nobody would be left who is an active administrator; `Conflict(MemberChanged)` if role or
    /// password are not those that the change names.
    async fn change_member(
        &self,
        org: OrgId,
        user: UserId,
        change: MemberChange,
        now_ms: UnixMs,
        audit: Option<AuditEntry>,
    ) -> StoreResult<Option<User>>;

    /// Removes the account with its API keys in `org`, and stores `audit`; the account as it was, or `None` if `org` has
    /// no such member, and then nothing is stored. Its e-mail address is free again.
    ///
    /// # Errors
    /// `Conflict(LastAdmin)` if nobody would be left who is an active administrator.
    async fn remove_member(&self, org: OrgId, user: UserId, audit: AuditEntry) -> StoreResult<Option<User>>;
}
