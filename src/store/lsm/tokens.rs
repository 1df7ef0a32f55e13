//! Revoked tokens: one row a token, and an index by expiry for forgetting them.

use async_trait::async_trait;
use fjall::SingleWriterWriteTx;

use super::LsmStore;
use super::audit;
use super::db::Db;
use super::table::{Key, Table};
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{StoreResult, Tokens};

/// `token` → when it expires; Unix milliseconds.
pub(super) const REVOKED: Table<UnixMs> = Table::named("revoked_tokens");
/// `expires_ms token`.
const REVOKED_BY_EXPIRY: Table<()> = Table::named("revoked_tokens_by_expiry");
/// Bytes of an index key before the token.
const MOMENT_BYTES: usize = 8;

#[async_trait]
impl Tokens for LsmStore {
    async fn revoke_token(&self, token: &str, expires_ms: UnixMs, audit: AuditEntry) -> StoreResult<()> {
        let token = token.to_owned();
        self.db
            .commit(move |db, change| {
                let key = Key::new().text(&token);
                if REVOKED.has(db, change, &key)? {
                    return Ok(());
                }
                REVOKED.put(db, change, key, &expires_ms)?;
                REVOKED_BY_EXPIRY.put(db, change, Key::new().moment(expires_ms).text(&token), &())?;
                audit::put(db, change, &audit)
            })
            .await
    }

    async fn is_token_revoked(&self, token: &str) -> StoreResult<bool> {
        let key = Key::new().text(token);
        self.db.blocking(move |db| REVOKED.has(db, &db.inner().read_tx(), &key)).await
    }

    async fn purge_revocations(&self, now_ms: UnixMs) -> StoreResult<u64> {
        self.db
            .commit(move |db, change| {
                let expired = REVOKED_BY_EXPIRY.keys_before(db, change, now_ms, ROWS_PER_CALL_MAX)?;
                for key in &expired {
                    let token = key.get(MOMENT_BYTES..).unwrap_or_default();
                    REVOKED.remove(db, change, Key::new().id(token))?;
                    REVOKED_BY_EXPIRY.remove(db, change, Key::new().id(key))?;
                }
                Ok(expired.len() as u64)
            })
            .await
    }
}

/// Takes in a revocation that is copied.
pub(super) fn take_in(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    token: &str,
    expires_ms: UnixMs,
) -> StoreResult<()> {
    REVOKED.put(db, change, Key::new().text(token), &expires_ms)?;
    REVOKED_BY_EXPIRY.put(db, change, Key::new().moment(expires_ms).text(token), &())
}
