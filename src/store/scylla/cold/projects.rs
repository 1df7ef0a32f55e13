//! Projects: the record under its age, newest last, its place by id and its slug beside it.

use std::collections::HashSet;

use async_trait::async_trait;

use super::Cold;
use super::change::Edit;
use super::rows::{PROJECT, PROJECT_PLACE, PROJECT_SLUG, QUARANTINED, moment};
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, ProjectId};
use crate::domain::project::Project;
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Conflict, Projects, StoreError, StoreResult};
use crate::store::record;

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
        let place = [moment(project.created_ms).as_slice(), &id].concat();
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
