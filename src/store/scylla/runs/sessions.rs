//! Sessions: part of their run's row, found by id until the archive forgets them.

use super::Core;
use super::tables::day;
use crate::clock::UnixMs;
use crate::domain::execution::Session;
use crate::domain::id::{ExecutionId, SessionId};
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::StoreResult;

/// The id that no run has.
const NO_RUN: ExecutionId = ExecutionId::from_bytes([0; 12]);

impl Core {
    /// See the contract. A session that there is not costs what one does that there is: whoever asks for another
    /// organization's does not learn it from the time that it takes.
    pub(super) async fn session(&self, session: SessionId) -> StoreResult<Option<Session>> {
        let execution = self.tables.session(session).await?.unwrap_or(NO_RUN);
        let Some(row) = self.tables.run(execution).await? else { return Ok(None) };
        Ok(row.session().filter(|found| found.id == session))
    }

    /// See the contract.
    pub(super) async fn purge_sessions(&self, now_ms: UnixMs) -> StoreResult<u64> {
        let mut forgotten = 0;
        let mut seen = 0;
        for of_day in self.tables.expiry_days().await? {
            if of_day > day(now_ms) || seen >= ROWS_PER_CALL_MAX {
                continue;
            }
            for (expires_ms, session, execution) in
                self.tables.expiries(of_day, now_ms, ROWS_PER_CALL_MAX - seen).await?
            {
                seen += 1;
                // A later closure may have moved the expiry.
                let row = self.tables.run(execution).await?;
                let current = row.and_then(|row| row.session()).filter(|found| found.id == session);
                let is_due = current.is_none_or(|found| found.expires_ms == expires_ms);
                if is_due && self.tables.session(session).await?.is_some() {
                    self.tables.remove_session(session).await?;
                    forgotten += 1;
                }
                self.tables.remove_expiry(expires_ms, session).await?;
            }
            if of_day < day(now_ms) {
                self.tables.close_day(of_day).await?;
            }
        }
        Ok(forgotten)
    }
}
