//! The lock under which the schema is changed: a row that names its holder and lapses by its TTL, so that a holder that
//! died is waited for and then replaced. The cluster's clock decides alone.
//!
//! What is done under the lock may be done twice: a holder that was paused for longer than the lapse does no harm.

use std::time::Duration;

use uuid::Uuid;

use super::SchemaError;
use crate::limits::CQL_LOCK_LOOK_AGAIN;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::scylla::connect::Cql;
use crate::store::scylla::statement::{Prepared, Purpose, Spec};

/// The lock's name.
const NAME: &str = "schema";

/// The held lock.
pub(super) struct Lock<'a> {
    cql: &'a Cql,
    holder: Uuid,
    lapse_s: i32,
    keep: Prepared,
    release: Prepared,
}

impl<'a> Lock<'a> {
    /// Takes the lock, waiting up to `wait` for another holder to let go or lapse.
    pub(super) async fn take(cql: &'a Cql, lapse: Duration, wait: Duration) -> Result<Self, SchemaError> {
        let conditional = async |text| cql.prepare(Spec { text, purpose: Purpose::Conditional }).await;
        let take =
            conditional("INSERT INTO schema_lock (name, holder) VALUES (?, ?) IF NOT EXISTS USING TTL ?")
                .await?;
        let lock = Self {
            cql,
            holder: Uuid::new_v4(),
            lapse_s: i32::try_from(lapse.as_secs()).unwrap_or(i32::MAX),
            keep: conditional("UPDATE schema_lock USING TTL ? SET holder = ? WHERE name = ? IF holder = ?")
                .await?,
            release: conditional("DELETE FROM schema_lock WHERE name = ? IF holder = ?").await?,
        };
        let mut waited = Duration::ZERO;
        loop {
            match cql.applied(&take, (NAME, lock.holder, lock.lapse_s)).await {
                Ok(true) => return Ok(lock),
                // If it was taken after all, keeping it succeeds.
                Err(error) if lock.keep().await.is_err() => return Err(error.into()),
                Err(_) => return Ok(lock),
                Ok(false) if waited >= wait => return Err(SchemaError::Locked(waited)),
                Ok(false) => {
                    if waited.is_zero() {
                        tracing::info!("waiting for another process that changes the schema");
                    }
                    tokio::time::sleep(CQL_LOCK_LOOK_AGAIN).await;
                }
            }
            waited += CQL_LOCK_LOOK_AGAIN;
        }
    }

    /// Holds it for another lapse.
    pub(super) async fn keep(&self) -> StoreResult<()> {
        let values = (self.lapse_s, self.holder, NAME, self.holder);
        if self.cql.applied(&self.keep, values).await? {
            return Ok(());
        }
        Err(StoreError::Unavailable("the schema's lock lapsed and was taken by another process".into()))
    }

    /// Lets go. A lock that cannot be released lapses.
    pub(super) async fn release(self) {
        if let Err(error) = self.cql.applied(&self.release, (NAME, self.holder)).await {
            tracing::warn!(%error, "the schema's lock was not released and will lapse");
        }
    }
}
