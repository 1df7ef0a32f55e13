//! How much is kept of each organization's settled runs. Rows say it per run, so that settling twice counts once; the
//! sum is kept in memory from the first time it is asked for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::keys;
use super::rows::{Batch, Rows, Table};
use crate::domain::id::{ExecutionId, OrgId};
use crate::store::contract::StoreResult;
use crate::store::record;

/// Sums that have been asked for.
#[derive(Default)]
pub(super) struct StorageUsed {
    sums: Mutex<HashMap<OrgId, u64>>,
}

impl StorageUsed {
    /// Bytes kept for the organization.
    pub(super) fn of(&self, rows: &dyn Rows, org: OrgId) -> StoreResult<u64> {
        if let Some(sum) = self.sums.lock().unwrap_or_else(PoisonError::into_inner).get(&org) {
            return Ok(*sum);
        }
        self.recount(rows, org)
    }

    /// Sums up anew what the rows say.
    pub(super) fn recount(&self, rows: &dyn Rows, org: OrgId) -> StoreResult<u64> {
        // Held while the rows are read: a run that is counted meanwhile is counted after them or among them.
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0_u64;
        let prefix = org.as_bytes();
        rows.scan(Table::Storage, prefix, &keys::behind(prefix), &mut |_, value| {
            sum = sum.saturating_add(record::decode(value)?);
            Ok(true)
        })?;
        sums.insert(org, sum);
        Ok(sum)
    }

    /// Counts a run that is being settled, once.
    pub(super) fn count(
        &self,
        rows: &dyn Rows,
        org: OrgId,
        execution: ExecutionId,
        bytes: u64,
    ) -> StoreResult<()> {
        let key = keys::run(org, execution);
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let counted: u64 = rows.get(Table::Storage, &key)?.map_or(Ok(0), |value| record::decode(&value))?;
        let mut batch = Batch::default();
        batch.put(Table::Storage, key, record::encode(&bytes)?);
        rows.commit(batch)?;
        if let Some(sum) = sums.get_mut(&org) {
            *sum = sum.saturating_sub(counted).saturating_add(bytes);
        }
        Ok(())
    }
}
