//! Lists of runs, window by window. A row whose run has not been seen to be there is looked after.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};

use super::Core;
use super::tables::{Listed, window};
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::store::contract::{ExecutionFilter, ExecutionPage, StoreResult};
use crate::store::fold::documents::ListRow;
use crate::store::record;

/// Runs of a page that are read at the same time.
const READS_PARALLEL: usize = 16;
/// How long a sum of bytes is believed: other nodes settle runs too.
const SUM_KEPT: Duration = Duration::from_secs(30);

/// Sums that were asked for lately.
#[derive(Default)]
pub(super) struct StorageUsed {
    sums: Mutex<HashMap<OrgId, (u64, Instant)>>,
}

impl StorageUsed {
    /// A run of the organization was settled.
    pub(super) fn forget(&self, org: OrgId) {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).remove(&org);
    }

    fn kept(&self, org: OrgId) -> Option<u64> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.get(&org).filter(|(_, at)| at.elapsed() < SUM_KEPT).map(|(sum, _)| *sum)
    }

    fn keep(&self, org: OrgId, sum: u64, at: Instant) {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).insert(org, (sum, at));
    }
}

impl Core {
    pub(super) async fn executions(
        &self,
        org: OrgId,
        filter: &ExecutionFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<ExecutionPage> {
        let between =
            (filter.start_after_ms.unwrap_or(UnixMs::MIN), filter.start_before_ms.unwrap_or(UnixMs::MAX));
        let mut total = 0_u64;
        let mut chosen = Vec::new();
        for window in self.windows_between(org, between).await? {
            for row in self.tables.listed(org, window, between).await? {
                let listed: ListRow = record::decode(&row.listed)?;
                if !listed.matches(filter, listed.status) || !self.is_there(org, &row).await? {
                    continue;
                }
                if total >= offset as u64 && chosen.len() < limit {
                    chosen.push(row.execution);
                }
                total += 1;
            }
        }
        // A run that was taken back since is simply left out.
        let reads: Vec<_> = chosen.into_iter().map(|execution| self.execution(org, execution)).collect();
        let found: Vec<_> = futures_util::stream::iter(reads).buffered(READS_PARALLEL).try_collect().await?;
        Ok(ExecutionPage { executions: found.into_iter().flatten().collect(), total })
    }

    pub(super) async fn count_runs(&self, org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> StoreResult<u64> {
        if from_ms >= to_ms {
            return Ok(0);
        }
        let between = (from_ms, to_ms - 1);
        let mut count = 0;
        for window in self.windows_between(org, between).await? {
            for row in self.tables.listed(org, window, between).await? {
                count += u64::from(self.is_there(org, &row).await?);
            }
        }
        Ok(count)
    }

    pub(super) async fn storage_used(&self, org: OrgId) -> StoreResult<u64> {
        if let Some(sum) = self.storage.kept(org) {
            return Ok(sum);
        }
        let at = Instant::now();
        let mut sum = 0_u64;
        for window in self.tables.windows(org).await? {
            sum = sum.saturating_add(self.tables.stored_bytes(org, window).await?);
        }
        self.storage.keep(org, sum, at);
        Ok(sum)
    }

    /// The windows with runs that started in `from ≤ start ≤ to`, newest first.
    async fn windows_between(&self, org: OrgId, (from, to): (UnixMs, UnixMs)) -> StoreResult<Vec<i64>> {
        if from > to {
            return Ok(Vec::new());
        }
        let mut windows = self.tables.windows(org).await?;
        windows.retain(|one| (window(from)..=window(to)).contains(one));
        Ok(windows)
    }

    /// Whether the run of a list's row is there.
    async fn is_there(&self, org: OrgId, row: &Listed) -> StoreResult<bool> {
        if row.is_confirmed {
            return Ok(true);
        }
        let found = self.tables.run(row.execution).await?;
        let opened = found.as_ref().and_then(|found| found.opened_in(org));
        // A setup that was refused may have left the row of a run that has this id and started at another time.
        Ok(opened.is_some_and(|opened| opened.execution.start_ms == row.start_ms))
    }
}
