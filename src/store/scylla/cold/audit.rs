//! The audit log: entries by organization and period of 30 days, gone by TTL after 365 days. The newest entry of a change
//! is still in the organization's partition, where the change put it; readers look at both.

use futures_util::TryStreamExt;

use super::Cold;
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::OrgId;
use crate::limits::{AUDIT_RETENTION, ROWS_PER_CALL_MAX};
use crate::store::contract::{AuditFilter, StoreResult};
use crate::store::record;

/// Length of a period.
const PERIOD_MS: i64 = 30 * 24 * 3_600 * 1_000;

fn period(at_ms: UnixMs) -> i32 {
    let period = at_ms.div_euclid(PERIOD_MS);
    i32::try_from(period).unwrap_or(if period < 0 { i32::MIN } else { i32::MAX })
}

/// What sorts entries, newest first.
fn place(entry: &AuditEntry) -> std::cmp::Reverse<(UnixMs, [u8; 12])> {
    std::cmp::Reverse((entry.timestamp_ms, *entry.id.as_bytes()))
}

/// A page while it is filled.
struct Page {
    skip: usize,
    limit: usize,
    entries: Vec<AuditEntry>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    /// Leaves out `count` entries at once, if the page begins after them.
    fn skips(&mut self, count: u64) -> bool {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let skips = self.skip >= count;
        if skips {
            self.skip -= count;
        }
        skips
    }

    fn take(&mut self, entry: AuditEntry) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if !self.is_full() {
            self.entries.push(entry);
        }
    }
}

impl Cold {
    /// Puts an entry into the log. Doing it again changes nothing.
    pub(super) async fn keep_entry(&self, entry: &AuditEntry) -> StoreResult<()> {
        let retention_ms = i64::try_from(AUDIT_RETENTION.as_millis()).unwrap_or(i64::MAX);
        let age_ms = self.cql.clock().now_ms().saturating_sub(entry.timestamp_ms);
        let left_ms = retention_ms.saturating_sub(age_ms).clamp(0, retention_ms);
        if left_ms == 0 {
            return Ok(());
        }
        let ttl_s = |ms: i64| i32::try_from(ms / 1_000 + 1).unwrap_or(i32::MAX);
        let (org, period) = (entry.org.as_bytes().as_slice(), period(entry.timestamp_ms));
        let id = entry.id.as_bytes().as_slice();
        let bytes = record::encode(entry)?;
        let row = (org, period, entry.timestamp_ms, id, bytes, ttl_s(left_ms));
        let listed = (org, period, ttl_s(retention_ms.saturating_add(PERIOD_MS)));
        let (statements, cql) = (&self.statements, &self.cql);
        futures_util::try_join!(
            cql.run(&statements.put_period, listed),
            cql.run(&statements.put_entry, row)
        )?;
        Ok(())
    }

    /// The newest `limit` entries after `offset`, and how many there are.
    pub(super) async fn audit_page(
        &self,
        org: OrgId,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)> {
        self.finish_arrivals(org).await?;
        // Looked at before the log: whatever overwrites it now was put there first.
        let mut last = self.last_entry(org).await?;
        let key = org.as_bytes().as_slice();
        let periods: Vec<(i32,)> = self.cql.first_rows(&self.statements.periods, (key,), usize::MAX).await?;
        let mut page = Page { skip: offset, limit: limit.min(ROWS_PER_CALL_MAX), entries: Vec::new() };
        let mut total = u64::from(last.is_some());
        for (period_of_rows,) in periods {
            let found: Option<(i64,)> =
                self.cql.first(&self.statements.entry_count, (key, period_of_rows)).await?;
            let count = found.map_or(0, |(count,)| u64::try_from(count).unwrap_or(0));
            total += count;
            let has_last = last.as_ref().is_some_and(|entry| period(entry.timestamp_ms) >= period_of_rows);
            if page.is_full() || (!has_last && page.skips(count)) {
                continue;
            }
            let mut rows =
                self.cql.rows::<(Vec<u8>,)>(&self.statements.entries, (key, period_of_rows)).await?;
            while !page.is_full()
                && let Some((bytes,)) = rows.try_next().await?
            {
                let entry: AuditEntry = record::decode(&bytes)?;
                if last.take_if(|last| last.id == entry.id).is_some() {
                    total -= 1;
                }
                if let Some(between) = last.take_if(|last| place(last) < place(&entry)) {
                    page.take(between);
                }
                page.take(entry);
            }
        }
        if let Some(oldest) = last {
            page.take(oldest);
        }
        Ok((page.entries, total))
    }

    /// As [`Cold::audit_page`], of the entries that `filter` lets through. Rows of its time are read page by page; periods
    /// outside of it are not looked at.
    pub(super) async fn audit_filtered(
        &self,
        org: OrgId,
        filter: &AuditFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)> {
        if filter.is_open() {
            return self.audit_page(org, limit, offset).await;
        }
        let (from_ms, to_ms) = (filter.from_ms.unwrap_or(UnixMs::MIN), filter.to_ms.unwrap_or(UnixMs::MAX));
        if from_ms > to_ms {
            return Ok((Vec::new(), 0));
        }
        self.finish_arrivals(org).await?;
        if let Some(last) = self.last_entry(org).await? {
            self.keep_entry(&last).await?;
        }
        let key = org.as_bytes().as_slice();
        let periods: Vec<(i32,)> = self.cql.first_rows(&self.statements.periods, (key,), usize::MAX).await?;
        let mut page = Page { skip: offset, limit: limit.min(ROWS_PER_CALL_MAX), entries: Vec::new() };
        let mut total = 0;
        for (one,) in periods.into_iter().filter(|(one,)| (period(from_ms)..=period(to_ms)).contains(one)) {
            let values = (key, one, from_ms, to_ms);
            let mut rows = self.cql.rows::<(Vec<u8>,)>(&self.statements.entries_between, values).await?;
            while let Some((bytes,)) = rows.try_next().await? {
                let entry: AuditEntry = record::decode(&bytes)?;
                if filter.matches(&entry) {
                    total += 1;
                    page.take(entry);
                }
            }
        }
        Ok((page.entries, total))
    }

    /// The entry of the last audited change, if the log does not have it yet. If that change has several, they are put into
    /// the log and there is none.
    async fn last_entry(&self, org: OrgId) -> StoreResult<Option<AuditEntry>> {
        let mut entries = self.head(org).await?.entries()?;
        if entries.len() > 1 {
            for entry in &entries {
                self.keep_entry(entry).await?;
            }
            return Ok(None);
        }
        let Some(entry) = entries.pop() else { return Ok(None) };
        let retention_ms = i64::try_from(AUDIT_RETENTION.as_millis()).unwrap_or(i64::MAX);
        if self.cql.clock().now_ms().saturating_sub(entry.timestamp_ms) >= retention_ms {
            return Ok(None);
        }
        let id = entry.id.as_bytes().as_slice();
        let key = (org.as_bytes().as_slice(), period(entry.timestamp_ms), entry.timestamp_ms, id);
        let logged: Option<(Vec<u8>,)> = self.cql.first(&self.statements.entry, key).await?;
        Ok(if logged.is_some() { None } else { Some(entry) })
    }
}
