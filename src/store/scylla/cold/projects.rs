//! Projects: the record under its age, newest last, its place by id and its slug beside it.

use std::collections::HashSet;

use async_trait::async_trait;

use super::Cold;
use super::change::Edit;
use super::rows::{PROJECT, PROJECT_PLACE, PROJECT_SETTINGS, PROJECT_SLUG, QUARANTINED, moment};
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, ProjectId};
use crate::domain::project::{Project, ProjectSettings};
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Conflict, Projects, StoreError, StoreResult};
use crate::store::record;

fn place(project: &Project) -> Vec<u8> {
    [moment(project.created_ms).as_slice(), project.id.as_bytes()].concat()
}

impl Cold {
    /// A project and its settings.
    async fn settings_of(
        &self,
        org: OrgId,
        project: ProjectId,
    ) -> StoreResult<Option<(Project, ProjectSettings)>> {
        let Some(project) = self.project(org, project).await? else { return Ok(None) };
        let saved: Option<ProjectSettings> =
            self.record(org, PROJECT_SETTINGS, project.id.as_bytes()).await?;
        let auto_quarantine = project.auto_quarantine;
        Ok(Some((project, ProjectSettings { auto_quarantine, ..saved.unwrap_or_default() })))
    }
}

#[async_trait]
impl Projects for Cold {
    async fn create_project(
        &self,
        project: Project,
        max_projects: u64,
        audit: AuditEntry,
    ) -> StoreResult<()> {
        let (org, id) = (project.org, project.id.as_bytes().to_vec());
        let slug = project.slug.as_bytes().to_vec();
        let place = place(&project);
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            if self.reaches(org, PROJECT, &[], max_projects).await? {
                return Err(StoreError::Conflict(Conflict::ProjectLimit));
            }
            if self.value(org, PROJECT_SLUG, &slug).await?.is_some() {
                return Err(StoreError::Conflict(Conflict::ProjectSlug));
            }
            let edits = vec![
                Edit::Put(PROJECT, place.clone(), record::encode(&project)?),
                Edit::Put(PROJECT_PLACE, id.clone(), place.clone()),
                Edit::Put(PROJECT_SLUG, slug.clone(), id.clone()),
            ];
            if turns.commit(edits, Some(&audit)).await? {
                return Ok(());
            }
        }
    }

    async fn project(&self, org: OrgId, project: ProjectId) -> StoreResult<Option<Project>> {
        self.record_at_place(org, (PROJECT_PLACE, PROJECT), project.as_bytes()).await
    }

    async fn projects(&self, org: OrgId) -> StoreResult<Vec<Project>> {
        self.newest(org, PROJECT, &[], ROWS_PER_CALL_MAX).await
    }

    async fn oldest_project(&self, org: OrgId) -> StoreResult<Option<Project>> {
        let first = self.from(org, PROJECT, &[], 1).await?.into_iter().next();
        first.map(|(_, value)| record::decode(&value)).transpose()
    }

    async fn project_settings(&self, org: OrgId, project: ProjectId) -> StoreResult<Option<ProjectSettings>> {
        Ok(self.settings_of(org, project).await?.map(|(_, settings)| settings))
    }

    async fn save_project_settings(
        &self,
        org: OrgId,
        project: ProjectId,
        before: &ProjectSettings,
        after: ProjectSettings,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let found = self.settings_of(org, project).await?;
            let Some((stored, _)) = found.filter(|(_, settings)| settings == before) else {
                return Ok(false);
            };
            let stored = Project { auto_quarantine: after.auto_quarantine, ..stored };
            let edits = vec![
                Edit::Put(PROJECT, place(&stored), record::encode(&stored)?),
                Edit::Put(PROJECT_SETTINGS, project.as_bytes().to_vec(), record::encode(&after)?),
            ];
            if turns.commit(edits, Some(&audit)).await? {
                return Ok(true);
            }
        }
    }

    async fn quarantined_tests(
        &self,
        org: OrgId,
        project: ProjectId,
        group: &str,
    ) -> StoreResult<HashSet<String>> {
        let length = (group.len() as u64).to_be_bytes();
        let prefix = [project.as_bytes().as_slice(), &length, group.as_bytes()].concat();
        let rows = self.all(org, QUARANTINED, &prefix).await?;
        rows.into_iter().map(|(_, value)| record::decode(&value)).collect()
    }
}
