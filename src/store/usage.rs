//! How much of its plan an organization uses, counted in a store.

use super::contract::{Store, StoreResult};
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::domain::plan::PlanLimits;
use crate::domain::usage::{Period, Usage};

/// Counts what the organization uses in the period that `now_ms` (Unix milliseconds) is in, of what `limits` allow.
///
/// # Errors
/// Those of the store.
pub async fn usage(store: &dyn Store, org: OrgId, limits: &PlanLimits, now_ms: UnixMs) -> StoreResult<Usage> {
    let period = Period::at(now_ms);
    let (runs, members, projects, bytes) = futures_util::try_join!(
        store.count_runs(org, period.start_ms, period.next_ms),
        store.member_count(org),
        store.project_count(org),
        store.storage_used(org),
    )?;
    Ok(Usage::of(limits, runs, members, projects, bytes))
}
