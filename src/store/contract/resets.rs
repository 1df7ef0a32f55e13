//! Password resets.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{OrgId, UserId};
use crate::domain::mail::Letter;
use crate::domain::reset::{PasswordReset, ResetHash};

/// Password resets. A reset is good until it expires, is used, gives way to a later one of its account, or the account's
/// credentials are void in another way, leaves its organization or is removed.
#[async_trait]
pub trait PasswordResets: Send + Sync {
    /// Stores `reset` of a member in place of an earlier one, and `letter` with it; `false` if `org` has no such member,
    /// and then nothing is stored. That there is no room for the letter does not keep the reset from being stored.
    async fn begin_reset(
        &self,
        org: OrgId,
        user: UserId,
        reset: PasswordReset,
        letter: Option<Letter>,
    ) -> StoreResult<bool>;

    /// The account whose password the token with this hash sets at `now_ms`, or `None`.
    async fn reset_of(&self, hash: &ResetHash, now_ms: UnixMs) -> StoreResult<Option<User>>;

    /// Uses a reset: the account gets a password with this hash (a PHC string), its API keys are removed,
    /// `credentials_valid_from_ms` is set later than it was, the tries counted for its address are forgotten and a lock is
    /// lifted, and `audit` is stored. The account as it is now, or `None` as [`PasswordResets::reset_of`], and then nothing
    /// has changed. Of several calls that race exactly one gets the account.
    async fn finish_reset(
        &self,
        hash: &ResetHash,
        password_hash: String,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<Option<User>>;
}
