//! Revoked tokens: a row in the organization of the audit entry, and a lookup written before it; both go by TTL once the
//! token has expired by itself.

use async_trait::async_trait;

use super::Cold;
use super::change::Edit;
use super::rows::REVOKED;
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::limits::CQL_TTL_MAX;
use crate::store::contract::{StoreResult, Tokens};
use crate::store::record;

/// How long after its expiry a revocation is kept, in seconds: nodes' clocks may differ that much.
const KEPT_LONGER_S: i64 = 3_600;

#[async_trait]
impl Tokens for Cold {
    async fn revoke_token(&self, token: &str, expires_ms: UnixMs, audit: AuditEntry) -> StoreResult<()> {
        if self.is_token_revoked(token).await? {
            return Ok(());
        }
        let left_s = expires_ms.saturating_sub(self.cql.clock().now_ms()).max(0) / 1_000;
        let most_s = i64::try_from(CQL_TTL_MAX.as_secs()).unwrap_or(i64::MAX);
        let ttl_s = i32::try_from((left_s + KEPT_LONGER_S).min(most_s)).unwrap_or(i32::MAX);
        let (org, name) = (audit.org, token.as_bytes());
        let lookup = ("token", name, org.as_bytes().as_slice(), name, ttl_s);
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            if self.value(org, REVOKED, name).await?.is_some() {
                return Ok(());
            }
            self.cql.run(&self.statements.put_lookup_for, &lookup).await?;
            let edit = Edit::PutFor(REVOKED, name.to_vec(), record::encode(&expires_ms)?, ttl_s);
            if turns.commit(vec![edit], Some(&audit)).await? {
                return Ok(());
            }
        }
    }

    async fn is_token_revoked(&self, token: &str) -> StoreResult<bool> {
        match self.place_of("token", token.as_bytes()).await? {
            Some((org, _)) => Ok(self.value(org, REVOKED, token.as_bytes()).await?.is_some()),
            None => Ok(false),
        }
    }

    /// They go by TTL.
    async fn purge_revocations(&self, _now_ms: UnixMs) -> StoreResult<u64> {
        Ok(0)
    }
}
