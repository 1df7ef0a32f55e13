//! Projects and what is known of their tests.

use std::collections::HashSet;

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, ProjectId};
use crate::domain::project::{Project, ProjectSettings};

/// Projects.
#[async_trait]
pub trait Projects: Send + Sync {
    /// Stores a new project and `audit`.
    ///
    /// # Errors
    /// `Conflict(ProjectLimit)` if the organization has `max_projects` already, else `Conflict(ProjectSlug)` if it has a
    /// project with this slug; checks and creation are one step, races included.
    async fn create_project(&self, project: Project, max_projects: u64, audit: AuditEntry)
    -> StoreResult<()>;

    /// The project, or `None` if `org` has none such.
    async fn project(&self, org: OrgId, project: ProjectId) -> StoreResult<Option<Project>>;

    /// The organization's projects, newest first (ties by id, descending), at most 1000.
    async fn projects(&self, org: OrgId) -> StoreResult<Vec<Project>>;

    /// The organization's oldest project (ties by id, ascending), or `None`.
    async fn oldest_project(&self, org: OrgId) -> StoreResult<Option<Project>>;

    /// The project's settings, the default if none were saved; `None` if `org` has no such project. `auto_quarantine` is
    /// what the project's record says.
    async fn project_settings(&self, org: OrgId, project: ProjectId) -> StoreResult<Option<ProjectSettings>>;

    /// Replaces the settings of a project and the `auto_quarantine` of its record by `after`, and stores `audit`, if the
    /// settings are still `before`. `false` if they are not or `org` has no such project; then nothing is stored.
    async fn save_project_settings(
        &self,
        org: OrgId,
        project: ProjectId,
        before: &ProjectSettings,
        after: ProjectSettings,
        audit: AuditEntry,
    ) -> StoreResult<bool>;

    /// Which tests of the project are quarantined in `group` (a run's group name, or `external-ci` without one).
    /// Empty if the organization has no such project.
    async fn quarantined_tests(
        &self,
        org: OrgId,
        project: ProjectId,
        group: &str,
    ) -> StoreResult<HashSet<String>>;
}
