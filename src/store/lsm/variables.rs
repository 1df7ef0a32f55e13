//! Environment variables: the record by project and id, an index by name for uniqueness; secret values are
//! [`super::sealed`].

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::LsmStore;
use super::audit;
use super::db::Db;
use super::projects::{PROJECTS, project_key};
use super::sealed;
use super::table::{Key, Table};
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, ProjectId, VariableId};
use crate::domain::seal::Sealed;
use crate::domain::variable::Variable;
use crate::store::contract::{Conflict, StoreError, StoreResult, Variables};

/// `org project variable`.
pub(super) const VARIABLES: Table<Variable> = Table::named("variables");
/// `org project name` → the variable's id.
const VARIABLES_BY_KEY: Table<VariableId> = Table::named("variables_by_key");

fn place(variable: &Variable) -> Key {
    project_key(variable.org, variable.project).id(variable.id.as_bytes())
}

fn by_key(variable: &Variable) -> Key {
    project_key(variable.org, variable.project).text(&variable.key)
}

fn all(db: &Db, view: &impl Readable, org: OrgId, project: ProjectId) -> StoreResult<Vec<Variable>> {
    VARIABLES.records(db, view, &project_key(org, project))?.collect()
}

fn is_still(db: &Db, change: &SingleWriterWriteTx<'_>, before: &Variable) -> StoreResult<bool> {
    Ok(VARIABLES.get(db, change, &place(before))?.as_ref() == Some(before))
}

/// Takes in a variable that is copied; its secret is a record of its own.
pub(super) fn take_in(db: &Db, change: &mut SingleWriterWriteTx<'_>, variable: &Variable) -> StoreResult<()> {
    VARIABLES.put(db, change, place(variable), variable)?;
    VARIABLES_BY_KEY.put(db, change, by_key(variable), &variable.id)
}

#[async_trait]
impl Variables for LsmStore {
    async fn create_variable(
        &self,
        variable: Variable,
        sealed: Option<Sealed>,
        max_variables: u64,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        self.db
            .commit(move |db, change| {
                let (org, project) = (variable.org, variable.project);
                if !PROJECTS.has(db, change, &project_key(org, project))? {
                    return Ok(false);
                }
                if all(db, change, org, project)?.len() as u64 >= max_variables {
                    return Err(StoreError::Conflict(Conflict::VariableLimit));
                }
                if VARIABLES_BY_KEY.has(db, change, &by_key(&variable))? {
                    return Err(StoreError::Conflict(Conflict::VariableKey));
                }
                VARIABLES.put(db, change, place(&variable), &variable)?;
                VARIABLES_BY_KEY.put(db, change, by_key(&variable), &variable.id)?;
                if let Some(sealed) = &sealed {
                    sealed::put(db, change, org, &variable.secret_name(), sealed)?;
                }
                audit::put(db, change, &audit)?;
                Ok(true)
            })
            .await
    }

    async fn variables(&self, org: OrgId, project: ProjectId) -> StoreResult<Vec<Variable>> {
        self.db
            .blocking(move |db| {
                let mut found = all(db, &db.inner().read_tx(), org, project)?;
                found.sort_by_key(|variable| (variable.created_ms, variable.id));
                Ok(found)
            })
            .await
    }

    async fn variable(
        &self,
        org: OrgId,
        project: ProjectId,
        variable: VariableId,
    ) -> StoreResult<Option<Variable>> {
        let key = project_key(org, project).id(variable.as_bytes());
        self.db.blocking(move |db| VARIABLES.get(db, &db.inner().read_tx(), &key)).await
    }

    async fn update_variable(
        &self,
        before: &Variable,
        after: Variable,
        sealed: Option<Sealed>,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        let before = before.clone();
        self.db
            .commit(move |db, change| {
                if !is_still(db, change, &before)? {
                    return Ok(false);
                }
                if after.key != before.key {
                    if VARIABLES_BY_KEY.has(db, change, &by_key(&after))? {
                        return Err(StoreError::Conflict(Conflict::VariableKey));
                    }
                    VARIABLES_BY_KEY.remove(db, change, by_key(&before))?;
                    VARIABLES_BY_KEY.put(db, change, by_key(&after), &after.id)?;
                }
                VARIABLES.put(db, change, place(&after), &after)?;
                if let Some(sealed) = &sealed {
                    sealed::put(db, change, after.org, &after.secret_name(), sealed)?;
                } else if !after.is_secret() {
                    sealed::remove(db, change, after.org, &after.secret_name())?;
                }
                audit::put(db, change, &audit)?;
                Ok(true)
            })
            .await
    }

    async fn delete_variable(&self, before: &Variable, audit: AuditEntry) -> StoreResult<bool> {
        let before = before.clone();
        self.db
            .commit(move |db, change| {
                if !is_still(db, change, &before)? {
                    return Ok(false);
                }
                VARIABLES.remove(db, change, place(&before))?;
                VARIABLES_BY_KEY.remove(db, change, by_key(&before))?;
                sealed::remove(db, change, before.org, &before.secret_name())?;
                audit::put(db, change, &audit)?;
                Ok(true)
            })
            .await
    }
}
