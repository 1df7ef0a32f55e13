//! Results of runs: a settled run's are rows; those of a run that is not settled are collapsed when they are asked for.

use std::collections::HashSet;
use std::sync::Arc;

use super::Core;
use super::index::RunIndex;
use super::read::{View, decode};
use super::row::{RunRow, Settled};
use super::tables::RESULT_PART_BITS;
use crate::domain::collapse::Outline;
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::result::TestResult;
use crate::store::contract::StoreResult;
use crate::store::fold::results::Version;
use crate::store::record;

impl Core {
    pub(super) async fn results(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>> {
        match self.view(org, execution).await? {
            None => Ok(Vec::new()),
            Some(View::Settled(settled)) => self.settled_results(execution, &settled, after_seq, limit).await,
            Some(View::Unsettled(row, index)) => {
                let results = self.collapsed(&row, &index).await?;
                let first = results.partition_point(|result| result.seq <= after_seq);
                Ok(results.iter().skip(first).take(limit).cloned().collect())
            }
        }
    }

    pub(super) async fn all_results(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> StoreResult<Vec<TestResult>> {
        let mut results = self.results(org, execution, 0, usize::MAX).await?;
        results.sort_unstable_by_key(|result| result.first_seq);
        Ok(results)
    }

    async fn settled_results(
        &self,
        execution: ExecutionId,
        settled: &Settled,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>> {
        let mut results = Vec::new();
        let last = settled.row.end.results >> RESULT_PART_BITS;
        for part in after_seq >> RESULT_PART_BITS..=last {
            let room = limit - results.len();
            if room == 0 {
                break;
            }
            let rows = self.tables.results((execution, settled.fold), (part, after_seq), room).await?;
            for row in rows {
                results.push(record::decode(&row)?);
            }
        }
        Ok(results)
    }

    async fn collapsed(&self, row: &RunRow, index: &Arc<RunIndex>) -> StoreResult<Arc<[TestResult]>> {
        let execution = row.execution;
        let version = Version { execution, segments: index.len(), revision: row.revision() };
        if let Some(kept) = self.collapsed.get(version) {
            return Ok(kept);
        }
        let wanted = index.from(0);
        let mut outline = Outline::default();
        self.each_stored(execution, &wanted, |at, data| {
            outline.add(&decode(row.org, execution, at, data)?);
            Ok(())
        })
        .await?;
        let quarantined = quarantined(row);
        let mut results = Vec::new();
        let mut reader = outline.reader(&quarantined);
        self.each_stored(execution, &wanted, |at, data| {
            reader.results(&decode(row.org, execution, at, data)?, |result| results.push(result));
            Ok(())
        })
        .await?;
        let results: Arc<[TestResult]> = results.into();
        self.collapsed.keep(version, &results);
        Ok(results)
    }
}

/// The tests that were quarantined when the run was closed.
pub(super) fn quarantined(row: &RunRow) -> HashSet<String> {
    row.closure.as_ref().map(|closed| closed.quarantined.iter().cloned().collect()).unwrap_or_default()
}
