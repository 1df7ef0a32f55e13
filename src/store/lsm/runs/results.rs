//! Results of runs. A settled run's are rows. A run that is not settled has attempts in segments, which are collapsed
//! when they are asked for; what that gave is kept for a while, so that paging through it does not begin anew each time.

use std::collections::HashSet;
use std::sync::Arc;

use super::core::{Core, Found, read_at_rest};
use super::facts;
use super::keys;
use super::read::Read;
use super::rows::Table;
use crate::domain::collapse::Outline;
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::result::TestResult;
use crate::domain::segment::Segment;
use crate::store::contract::StoreResult;
use crate::store::fold::results::Version;
pub(super) use crate::store::fold::results::{Collapsed, bytes_of};
use crate::store::record;

impl Core {
    pub(super) fn results(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>> {
        read_at_rest(|| match self.find(org, execution)? {
            Found::Nowhere => Ok(Some(Vec::new())),
            Found::Settled(_) => self.settled_results(execution, after_seq, limit).map(Some),
            Found::Unsettled(_) => {
                let Some(results) = self.collapsed(org, execution)? else { return Ok(None) };
                let first = results.partition_point(|result| result.seq <= after_seq);
                Ok(Some(results.iter().skip(first).take(limit).cloned().collect()))
            }
        })
    }

    pub(super) fn all_results(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Vec<TestResult>> {
        let mut results = self.results(org, execution, 0, usize::MAX)?;
        results.sort_unstable_by_key(|result| result.first_seq);
        Ok(results)
    }

    fn settled_results(
        &self,
        execution: ExecutionId,
        after_seq: u64,
        limit: usize,
    ) -> StoreResult<Vec<TestResult>> {
        let mut results = Vec::new();
        let first = keys::numbered(execution, after_seq.saturating_add(1));
        let behind = keys::behind(execution.as_bytes());
        if limit == 0 || after_seq == u64::MAX {
            return Ok(results);
        }
        self.rows.scan(Table::Results, &first, &behind, &mut |_, value| {
            results.push(record::decode(value)?);
            Ok(results.len() < limit)
        })?;
        Ok(results)
    }

    /// All results of a run that is not settled; `None` if it has moved.
    fn collapsed(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Arc<[TestResult]>>> {
        let version = self.index.read(org, execution, |run| Version {
            execution,
            segments: run.segment_count(),
            revision: run.revision,
        })?;
        let Some(version) = version else { return Ok(None) };
        if let Some(kept) = self.collapsed.get(version) {
            return Ok(Some(kept));
        }
        let closure = facts::closure(self.rows.as_ref(), org, execution)?;
        let quarantined = closure.map(|closed| closed.quarantined.into_iter().collect()).unwrap_or_default();
        let mut results = Vec::new();
        let read = self.collapse(org, execution, version.segments, &quarantined, |result| {
            results.push(result);
            Ok(())
        })?;
        if read.is_none() {
            return Ok(None);
        }
        let results: Arc<[TestResult]> = results.into();
        self.collapsed.keep(version, &results);
        Ok(Some(results))
    }

    /// Hands the run's results to `each`, by `seq`, reading its first `segments` segments twice; `None` if they moved.
    fn collapse(
        &self,
        org: OrgId,
        execution: ExecutionId,
        segments: usize,
        quarantined: &HashSet<String>,
        mut each: impl FnMut(TestResult) -> StoreResult<()>,
    ) -> StoreResult<Option<()>> {
        let mut outline = Outline::default();
        let first_pass = self.each_segment(org, execution, segments, |segment| {
            outline.add(&segment);
            Ok(())
        })?;
        if first_pass.is_none() {
            return Ok(None);
        }
        self.pick(org, execution, segments, &outline, quarantined, &mut each)
    }

    /// The second pass of collapsing.
    pub(super) fn pick(
        &self,
        org: OrgId,
        execution: ExecutionId,
        segments: usize,
        outline: &Outline,
        quarantined: &HashSet<String>,
        each: &mut dyn FnMut(TestResult) -> StoreResult<()>,
    ) -> StoreResult<Option<()>> {
        let mut reader = outline.reader(quarantined);
        self.each_segment(org, execution, segments, |segment| {
            let mut outcome = Ok(());
            reader.results(&segment, |result| {
                if outcome.is_ok() {
                    outcome = each(result);
                }
            });
            outcome
        })
    }

    /// Hands the run's first `segments` segments to `each`, one at a time; `None` if they moved.
    pub(super) fn each_segment(
        &self,
        org: OrgId,
        execution: ExecutionId,
        segments: usize,
        mut each: impl FnMut(Segment) -> StoreResult<()>,
    ) -> StoreResult<Option<()>> {
        for index in 0..segments {
            match self.segment_at(org, execution, index)? {
                Read::Segment(segment, _) => each(segment)?,
                Read::End | Read::Moved => return Ok(None),
            }
        }
        Ok(Some(()))
    }
}
