//! Documents and lists of runs. The status of a run that is not closed is the one announced last, which is known in
//! memory: it costs no row.

use super::core::Core;
use super::facts::{self, ListRow};
use super::keys;
use super::rows::{Batch, Table};
use crate::clock::UnixMs;
use crate::domain::execution::{Cycle, Execution, Session, Status};
use crate::domain::id::{ExecutionId, OrgId, SessionId, TaskId};
use crate::store::contract::{ExecutionFilter, ExecutionPage, StoreError, StoreResult};
use crate::store::record;

/// Sessions that one purge forgets.
const PURGE_MAX: usize = crate::limits::ROWS_PER_CALL_MAX;

impl Core {
    pub(super) fn execution(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Execution>> {
        let stored: Option<Execution> =
            facts::get(self.rows.as_ref(), Table::Executions, &keys::run(org, execution))?;
        Ok(stored.map(|mut stored| {
            stored.status = self.status(org, execution, stored.status);
            stored
        }))
    }

    /// The stored status, or the announced one that counts until the run is closed.
    fn status(&self, org: OrgId, execution: ExecutionId, stored: Status) -> Status {
        if stored.is_final() {
            return stored;
        }
        self.index.look(org, execution, |run| run.announced).flatten().unwrap_or(stored)
    }

    pub(super) fn execution_by_task(&self, org: OrgId, task: &TaskId) -> StoreResult<Option<Execution>> {
        let Some(id) = self.rows.get(Table::Tasks, &keys::task(org, task.as_str()))? else { return Ok(None) };
        let id = id.as_slice().try_into().map_err(|_| StoreError::Damaged("a task's execution".into()))?;
        let execution = self.execution(org, ExecutionId::from_bytes(id))?;
        Ok(execution.filter(|execution| execution.deleted_ms.is_none()))
    }

    pub(super) fn executions(
        &self,
        org: OrgId,
        filter: &ExecutionFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<ExecutionPage> {
        let from = match filter.start_before_ms {
            Some(before_ms) => keys::listed_from(org, before_ms),
            None => org.as_bytes().to_vec(),
        };
        let to = match filter.start_after_ms {
            Some(after_ms) if after_ms > UnixMs::MIN => keys::listed_from(org, after_ms - 1),
            _ => keys::behind(org.as_bytes()),
        };
        let mut total = 0_u64;
        let mut chosen = Vec::new();
        if from < to {
            self.rows.scan(Table::List, &from, &to, &mut |key, value| {
                let (_, execution) = keys::read_listed(key).ok_or_else(bad_list)?;
                let row: ListRow = record::decode(value)?;
                let status = self.status(org, execution, row.status);
                if row.matches(filter, status) {
                    if total >= offset as u64 && chosen.len() < limit {
                        chosen.push(execution);
                    }
                    total += 1;
                }
                Ok(true)
            })?;
        }
        // A run that was taken back since is simply left out.
        let executions =
            chosen.into_iter().filter_map(|execution| self.execution(org, execution).transpose());
        Ok(ExecutionPage { executions: executions.collect::<StoreResult<_>>()?, total })
    }

    pub(super) fn count_runs(&self, org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> StoreResult<u64> {
        if from_ms >= to_ms {
            return Ok(0);
        }
        let newest = keys::listed_from(org, to_ms - 1);
        let behind = match from_ms {
            UnixMs::MIN => keys::behind(org.as_bytes()),
            from_ms => keys::listed_from(org, from_ms - 1),
        };
        let mut count = 0;
        self.rows.scan(Table::List, &newest, &behind, &mut |_, _| {
            count += 1;
            Ok(true)
        })?;
        Ok(count)
    }

    pub(super) fn session(&self, session: SessionId) -> StoreResult<Option<Session>> {
        facts::get(self.rows.as_ref(), Table::Sessions, session.0.as_bytes())
    }

    pub(super) fn cycle_of(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Cycle>> {
        facts::get(self.rows.as_ref(), Table::Cycles, &keys::run(org, execution))
    }

    pub(super) fn purge_sessions(&self, now_ms: UnixMs) -> StoreResult<u64> {
        let mut batch = Batch::default();
        let mut due = Vec::new();
        self.rows.scan(Table::SessionExpiry, &[], &keys::expires(now_ms), &mut |key, _| {
            let session = keys::read_expiry(key).ok_or_else(bad_list)?;
            batch.remove(Table::SessionExpiry, key.to_vec());
            due.push(session);
            Ok(due.len() < PURGE_MAX)
        })?;
        if due.is_empty() {
            return Ok(0);
        }
        let mut forgotten = 0;
        for session in due {
            // A crash may have left the expiry of an earlier closure.
            let stored = self.session(session)?;
            if stored.is_some_and(|stored| stored.end_ms.is_some() && stored.expires_ms < now_ms) {
                batch.remove(Table::Sessions, session.0.as_bytes().to_vec());
                forgotten += 1;
            }
        }
        self.rows.commit(batch)?;
        self.rows.persist()?;
        Ok(forgotten)
    }
}

fn bad_list() -> StoreError {
    StoreError::Damaged("the key of a list".into())
}
