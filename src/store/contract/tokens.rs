//! Revoked tokens.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;

/// Revoked tokens. A token is named by its `jti`.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Revokes a token until it expires by itself at `expires_ms`, and stores `audit`. Doing it again changes nothing.
    async fn revoke_token(&self, token: &str, expires_ms: UnixMs, audit: AuditEntry) -> StoreResult<()>;

    /// Whether the token is revoked.
    async fn is_token_revoked(&self, token: &str) -> StoreResult<bool>;

    /// Forgets revocations of tokens that have expired before `now_ms`; returns how many. At most 1000 a call. A store that
    /// forgets them by itself does nothing and returns 0.
    async fn purge_revocations(&self, now_ms: UnixMs) -> StoreResult<u64>;
}
