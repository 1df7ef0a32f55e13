//! What is asked about positions: where a feed stands, whether a viewer can go on from where it was, and what it missed.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::ledger::text_bytes;
use super::{Feed, FeedError, Feeds, Head, Unusable, Window, stored};
use crate::actors::Engine;
use crate::domain::id::{ExecutionId, OrgId};
use crate::limits;
use crate::store::contract::FeedRow;

#[async_trait]
impl Feeds for Engine {
    async fn head(&self, org: OrgId) -> Result<Head, FeedError> {
        let feed = self.deps.feed(org);
        let epoch = feed.wake().await?;
        Ok(Head { epoch, sealed: feed.sealed() })
    }

    async fn check(&self, org: OrgId, after: u64) -> Result<(), FeedError> {
        let feed = self.deps.feed(org);
        feed.wake().await?;
        feed.check(after).await
    }

    async fn window(
        &self,
        org: OrgId,
        after: u64,
        upto: Option<u64>,
    ) -> Result<Option<Arc<Window>>, FeedError> {
        let feed = self.deps.feed(org);
        feed.wake().await?;
        feed.window(after, upto).await
    }
}

impl Feed {
    /// See [`Feeds::check`].
    async fn check(&self, mut after: u64) -> Result<(), FeedError> {
        let sealed = self.sealed();
        self.check_position(after, sealed).await?;
        let (mut bytes, mut rows) = (0, 0);
        let mut stretches: HashMap<ExecutionId, (u64, u64)> = HashMap::new();
        while after < sealed {
            let page = self.rows(after, sealed, limits::FEED_PAGE_ROWS).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            bytes += page.iter().map(text_bytes).sum::<u64>();
            rows += page.len();
            if bytes > limits::LIVE_REPLAY_BYTES_MAX || rows > limits::LIVE_REPLAY_ROWS_MAX {
                return Err(Unusable::TooLong.into());
            }
            for row in page.iter().filter(|row| text_bytes(row) > 0) {
                stretches.entry(row.execution).or_insert((row.start.1, row.end.1)).1 = row.end.1;
            }
        }
        self.check_kept(stretches).await
    }

    /// Refuses stretches of text (from byte, to byte) that the log cap has taken a part of.
    async fn check_kept(&self, stretches: HashMap<ExecutionId, (u64, u64)>) -> Result<(), FeedError> {
        for (execution, (from, to)) in stretches {
            // Cuts lie between characters: up to three bytes outside the bounds.
            if to + 3 <= limits::LOG_HEAD_BYTES {
                continue;
            }
            let Some(end) = self.store().position(self.org(), execution).await? else { continue };
            let tail = end.bytes.saturating_sub(limits::LOG_TAIL_BYTES);
            if end.bytes > limits::LOG_KEPT_BYTES_MAX && from < tail + 3 {
                return Err(Unusable::TooOld.into());
            }
        }
        Ok(())
    }

    /// See [`Feeds::window`].
    async fn window(&self, after: u64, upto: Option<u64>) -> Result<Option<Arc<Window>>, FeedError> {
        let sealed = self.sealed();
        if after > sealed || upto.is_some_and(|upto| upto <= after || upto > sealed) {
            return Err(Unusable::Forged.into());
        }
        if after == sealed {
            return Ok(None);
        }
        self.check_position(after, sealed).await?;
        let (upto, rows) = match upto {
            Some(upto) => (upto, self.all_rows(after, upto).await?),
            None => self.some_rows(after, sealed).await?,
        };
        let window = stored::window(self.store(), self.org(), after, upto, &rows).await?;
        Ok(Some(Arc::new(window)))
    }

    /// Refuses a position that is not sealed or of which rows may be missing.
    async fn check_position(&self, after: u64, sealed: u64) -> Result<(), FeedError> {
        if after > sealed {
            return Err(Unusable::Forged.into());
        }
        if !self.remembers(after) && after < self.store().feed_floor(self.org()).await? {
            return Err(Unusable::TooOld.into());
        }
        Ok(())
    }

    /// All rows of a window.
    async fn all_rows(&self, after: u64, upto: u64) -> Result<Vec<FeedRow>, FeedError> {
        let mut rows: Vec<FeedRow> = Vec::new();
        let mut bytes = 0;
        loop {
            let last = rows.last().map_or(after, |row| row.seq);
            let page = self.rows(last, upto, limits::FEED_PAGE_ROWS).await?;
            if page.is_empty() {
                return Ok(rows);
            }
            bytes += page.iter().map(text_bytes).sum::<u64>();
            rows.extend(page);
            if bytes > limits::FEED_WINDOW_BYTES_MAX || rows.len() > limits::LIVE_REPLAY_ROWS_MAX {
                return Err(Unusable::TooLong.into());
            }
        }
    }

    /// The rows of a window of the usual size, and where it ends.
    async fn some_rows(&self, after: u64, sealed: u64) -> Result<(u64, Vec<FeedRow>), FeedError> {
        let mut rows = self.rows(after, sealed, limits::FEED_PAGE_ROWS).await?;
        if rows.is_empty() {
            // What was there was taken back or cannot be found any more.
            return Ok((sealed, rows));
        }
        let mut bytes = 0;
        let fits = rows.iter().take_while(|row| {
            bytes += text_bytes(row);
            bytes <= limits::FEED_WINDOW_BYTES
        });
        let count = fits.count().max(1);
        rows.truncate(count);
        let last = rows.last().map_or(sealed, |row| row.seq);
        let upto = self.boundary(after, last).unwrap_or(last);
        rows.retain(|row| row.seq <= upto);
        Ok((upto, rows))
    }

    /// The first rows above `after` and up to `upto`, which is sealed.
    async fn rows(&self, after: u64, upto: u64, limit: usize) -> Result<Vec<FeedRow>, FeedError> {
        if let Some(rows) = self.recent_rows(after, upto, limit) {
            return Ok(rows);
        }
        let mut rows = self.store().feed_rows(self.org(), after, limit).await?;
        rows.retain(|row| row.seq <= upto);
        Ok(rows)
    }
}
