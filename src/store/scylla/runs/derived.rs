//! What follows from the row of a run: its rows in the lists, in the feed, among the expiries. Written after the row was
//! changed, and again by whoever claims or settles the run: each write is the same whenever it is made.

use super::Core;
use super::index::RunIndex;
use super::row::RunRow;
use crate::clock::UnixMs;
use crate::domain::id::{ExecutionId, OrgId};
use crate::store::contract::StoreResult;
use crate::store::fold::documents::ListRow;
use crate::store::fold::feed::FeedRecord;
use crate::store::record;

impl RunRow {
    /// Where the lists have it.
    pub(super) fn listed_at(&self) -> (OrgId, UnixMs, ExecutionId) {
        let start_ms = self.opened.as_ref().map_or(0, |opened| opened.execution.start_ms);
        (self.org, start_ms, self.execution)
    }
}

impl Core {
    /// Writes everything that follows from the row of a run.
    pub(super) async fn derive(&self, row: &RunRow, index: &RunIndex) -> StoreResult<()> {
        let Some(opened) = &row.opened else { return Ok(()) };
        self.put_list(row, index).await?;
        self.tables.confirm_listed(row.listed_at(), row.derived_at(0)).await?;
        let told = FeedRecord::of_opened(&opened.execution);
        self.put_told(row.org, row.claim.opened_lane, opened.feed_seq, &told).await?;
        if let Some(closed) = &row.closure {
            self.tell_closing(row).await?;
            for ended in &closed.sessions {
                self.tables.put_expiry(ended.expires_ms, ended.session, row.execution).await?;
            }
        }
        Ok(())
    }

    /// Writes the row of the feed that tells of the closure that is stored.
    pub(super) async fn tell_closing(&self, row: &RunRow) -> StoreResult<()> {
        let Some(closed) = &row.closure else { return Ok(()) };
        self.put_told(row.org, row.claim.closed_lane, closed.feed_seq, &FeedRecord::of_closed(closed)).await
    }

    /// Writes what lists filter by.
    pub(super) async fn put_list(&self, row: &RunRow, index: &RunIndex) -> StoreResult<()> {
        let Some(mut execution) = row.document() else { return Ok(()) };
        if row.closure.is_none() {
            execution.status = index.announced.unwrap_or(execution.status);
        }
        let listed = record::encode(&ListRow::of(&execution))?;
        self.tables.put_listed(row.listed_at(), &listed, row.derived_at(index.len())).await
    }
}
