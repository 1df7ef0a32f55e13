//! Environment variables: the record under its project and id, its name beside it; secret values are [`super::sealed`].

use async_trait::async_trait;

use super::Cold;
use super::change::Edit;
use super::rows::{PROJECT_PLACE, SEALED, VARIABLE, VARIABLE_KEY};
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, ProjectId, VariableId};
use crate::domain::seal::Sealed;
use crate::domain::variable::Variable;
use crate::store::contract::{Conflict, StoreError, StoreResult, Variables};
use crate::store::record;

fn place(project: ProjectId, variable: VariableId) -> Vec<u8> {
    [project.as_bytes().as_slice(), variable.as_bytes()].concat()
}

fn by_key(variable: &Variable) -> Vec<u8> {
    [variable.project.as_bytes().as_slice(), variable.key.as_bytes()].concat()
}

pub(super) fn put(variable: &Variable) -> StoreResult<Edit> {
    Ok(Edit::Put(VARIABLE, place(variable.project, variable.id), record::encode(variable)?))
}

pub(super) fn put_key(variable: &Variable) -> Edit {
    Edit::Put(VARIABLE_KEY, by_key(variable), variable.id.as_bytes().to_vec())
}

fn put_sealed(variable: &Variable, sealed: &Sealed) -> StoreResult<Edit> {
    Ok(Edit::Put(SEALED, variable.secret_name().into_bytes(), record::encode(sealed)?))
}

fn remove_sealed(variable: &Variable) -> Edit {
    Edit::Remove(SEALED, variable.secret_name().into_bytes())
}

impl Cold {
    async fn is_still(&self, before: &Variable) -> StoreResult<bool> {
        let stored = self.variable(before.org, before.project, before.id).await?;
        Ok(stored.as_ref() == Some(before))
    }

    async fn key_is_taken(&self, variable: &Variable) -> StoreResult<bool> {
        Ok(self.value(variable.org, VARIABLE_KEY, &by_key(variable)).await?.is_some())
    }
}

#[async_trait]
impl Variables for Cold {
    async fn create_variable(
        &self,
        variable: Variable,
        sealed: Option<Sealed>,
        max_variables: u64,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        let (org, project) = (variable.org, variable.project.as_bytes());
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            if self.value(org, PROJECT_PLACE, project).await?.is_none() {
                return Ok(false);
            }
            if self.reaches(org, VARIABLE, project, max_variables).await? {
                return Err(StoreError::Conflict(Conflict::VariableLimit));
            }
            if self.key_is_taken(&variable).await? {
                return Err(StoreError::Conflict(Conflict::VariableKey));
            }
            let mut edits = vec![put(&variable)?, put_key(&variable)];
            if let Some(sealed) = &sealed {
                edits.push(put_sealed(&variable, sealed)?);
            }
            if turns.commit(edits, Some(&audit)).await? {
                return Ok(true);
            }
        }
    }

    async fn variables(&self, org: OrgId, project: ProjectId) -> StoreResult<Vec<Variable>> {
        let rows = self.all(org, VARIABLE, project.as_bytes()).await?;
        let found: StoreResult<Vec<Variable>> =
            rows.into_iter().map(|(_, value)| record::decode(&value)).collect();
        let mut found = found?;
        found.sort_by_key(|variable| (variable.created_ms, variable.id));
        Ok(found)
    }

    async fn variable(
        &self,
        org: OrgId,
        project: ProjectId,
        variable: VariableId,
    ) -> StoreResult<Option<Variable>> {
        self.record(org, VARIABLE, &place(project, variable)).await
    }

    async fn update_variable(
        &self,
        before: &Variable,
        after: Variable,
        sealed: Option<Sealed>,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        let mut turns = self.turns(before.org).await;
        loop {
            turns.begin().await?;
            if !self.is_still(before).await? {
                return Ok(false);
            }
            let mut edits = vec![put(&after)?];
            if after.key != before.key {
                if self.key_is_taken(&after).await? {
                    return Err(StoreError::Conflict(Conflict::VariableKey));
                }
                edits.extend([Edit::Remove(VARIABLE_KEY, by_key(before)), put_key(&after)]);
            }
            if let Some(sealed) = &sealed {
                edits.push(put_sealed(&after, sealed)?);
            } else if !after.is_secret() {
                edits.push(remove_sealed(&after));
            }
            if turns.commit(edits, Some(&audit)).await? {
                return Ok(true);
            }
        }
    }

    async fn delete_variable(&self, before: &Variable, audit: AuditEntry) -> StoreResult<bool> {
        let mut turns = self.turns(before.org).await;
        loop {
            turns.begin().await?;
            if !self.is_still(before).await? {
                return Ok(false);
            }
            let edits = vec![
                Edit::Remove(VARIABLE, place(before.project, before.id)),
                Edit::Remove(VARIABLE_KEY, by_key(before)),
                remove_sealed(before),
            ];
            if turns.commit(edits, Some(&audit)).await? {
                return Ok(true);
            }
        }
    }
}
