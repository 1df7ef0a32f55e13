//! Counted login tries: one row per address, changed on the condition that it is still what was read, gone by TTL when it
//! no longer matters.

use uuid::Uuid;

use super::Cold;
use super::change::pause;
use crate::clock::UnixMs;
use crate::limits::{COPY_MARGIN, CQL_CHANGE_TRIES, CQL_TTL_MAX};
use crate::store::contract::{LoginGate, StoreError, StoreResult};
use crate::store::record;
use crate::store::scylla::statement::Prepared;
use crate::store::tries::{Bounds, Tries};

/// How long after they stop to matter tries are kept, in seconds: nodes' clocks may differ that much.
const KEPT_LONGER_S: i64 = 3_600;

/// A row as it was read.
struct Stored {
    tries: Option<Tries>,
    change: Option<Uuid>,
}

impl Cold {
    /// Counts a try before the password is looked at.
    pub(super) async fn count_try(
        &self,
        email: &str,
        now_ms: UnixMs,
        bounds: Bounds,
    ) -> StoreResult<LoginGate> {
        for round in 0..CQL_CHANGE_TRIES {
            if round > 0 {
                pause(round).await;
            }
            let stored = self.tries(&self.statements.tries, email).await?;
            match Tries::count(stored.tries, now_ms, bounds) {
                Err(locked_until_ms) => return Ok(LoginGate::LockedUntil(locked_until_ms)),
                Ok((tries, gate)) => {
                    let left_ms = tries.forget_ms().saturating_sub(now_ms);
                    if self.put_tries(email, tries, left_ms, &stored).await? {
                        return Ok(gate);
                    }
                }
            }
        }
        Err(contended())
    }

    /// Takes one counted try back.
    pub(super) async fn take_back_try(&self, email: &str) -> StoreResult<()> {
        for round in 0..CQL_CHANGE_TRIES {
            if round > 0 {
                pause(round).await;
            }
            let stored = self.tries(&self.statements.tries, email).await?;
            let Some(tries) = stored.tries else { return Ok(()) };
            let done = match tries.without_last() {
                None => self.remove_tries(email, &stored).await?,
                Some(fewer) => {
                    let left_ms = fewer.forget_ms().saturating_sub(self.cql.clock().now_ms());
                    self.put_tries(email, fewer, left_ms, &stored).await?
                }
            };
            if done {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Forgets the tries of an address.
    pub(super) async fn forget_tries(&self, email: &str) -> StoreResult<()> {
        for round in 0..CQL_CHANGE_TRIES {
            if round > 0 {
                pause(round).await;
            }
            let stored = self.tries(&self.statements.tries, email).await?;
            if stored.change.is_none() || self.remove_tries(email, &stored).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Takes in tries that are copied.
    pub(super) async fn take_in_tries(&self, email: &str, tries: Tries) -> StoreResult<()> {
        for _ in 0..CQL_CHANGE_TRIES {
            let stored = self.tries(&self.statements.tries, email).await?;
            let left_ms = tries.forget_ms().saturating_sub(self.cql.clock().now_ms()).max(0);
            let margin_ms = i64::try_from(COPY_MARGIN.as_millis()).unwrap_or(i64::MAX);
            if self.put_tries(email, tries, left_ms.saturating_add(margin_ms), &stored).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    async fn tries(&self, statement: &Prepared, email: &str) -> StoreResult<Stored> {
        let found: Option<(Option<Vec<u8>>, Option<Uuid>)> = self.cql.first(statement, (email,)).await?;
        let (bytes, change) = found.unwrap_or_default();
        Ok(Stored { tries: bytes.map(|bytes| record::decode(&bytes)).transpose()?, change })
    }

    /// Replaces the row; `false` if it is not what was read any more.
    async fn put_tries(&self, email: &str, tries: Tries, left_ms: i64, stored: &Stored) -> StoreResult<bool> {
        let most_s = i64::try_from(CQL_TTL_MAX.as_secs()).unwrap_or(i64::MAX);
        let ttl_s = (left_ms.max(0) / 1_000 + KEPT_LONGER_S).min(most_s);
        let change = Uuid::new_v4();
        let values =
            (i32::try_from(ttl_s).unwrap_or(i32::MAX), record::encode(&tries)?, change, email, stored.change);
        match self.cql.applied(&self.statements.put_tries, values).await {
            Err(error) => match self.tries(&self.statements.settled_tries, email).await {
                Ok(found) => Ok(found.change == Some(change)),
                Err(_) => Err(error),
            },
            outcome => outcome,
        }
    }

    /// Removes the row; `false` if it is not what was read any more.
    async fn remove_tries(&self, email: &str, stored: &Stored) -> StoreResult<bool> {
        match self.cql.applied(&self.statements.remove_tries, (email, stored.change)).await {
            Err(error) => match self.tries(&self.statements.settled_tries, email).await {
                Ok(found) => Ok(found.change.is_none()),
                Err(_) => Err(error),
            },
            outcome => outcome,
        }
    }
}

fn contended() -> StoreError {
    StoreError::Unavailable("others changed the address's tries every time".into())
}
