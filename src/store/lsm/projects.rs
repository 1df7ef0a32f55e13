//! Projects: the record by id, an index by age for the list and one by slug for uniqueness.

use std::collections::HashSet;

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::LsmStore;
use super::audit;
use super::db::Db;
use super::table::{Key, Table};
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, ProjectId};
use crate::domain::project::{Project, ProjectSettings};
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Conflict, Projects, StoreError, StoreResult};
use crate::store::copy::record::Record;

/// `org project`.
pub(super) const PROJECTS: Table<Project> = Table::named("projects");
/// `org created_ms project` → the project's id.
const PROJECTS_BY_AGE: Table<ProjectId> = Table::named("projects_by_age");
/// `org slug` → the project's id.
const PROJECTS_BY_SLUG: Table<ProjectId> = Table::named("projects_by_slug");
/// `org` → how many projects it has.
pub(super) const PROJECT_COUNTS: Table<u64> = Table::named("project_counts");
/// `org project` → its settings, but for what the project's record holds.
pub(super) const PROJECT_SETTINGS: Table<ProjectSettings> = Table::named("project_settings");
/// `org project group test` → the test. Filled by the quarantine endpoints when they come.
pub(super) const QUARANTINED: Table<String> = Table::named("quarantined_tests");

fn org_key(org: OrgId) -> Key {
    Key::new().id(org.as_bytes())
}

pub(super) fn project_key(org: OrgId, project: ProjectId) -> Key {
    org_key(org).id(project.as_bytes())
}

/// The organization and the project that a key is made of.
pub(super) fn read_key(key: &[u8]) -> StoreResult<(OrgId, ProjectId)> {
    let damaged = || StoreError::Damaged("the key of a project's settings".into());
    let (org, project) = key.split_first_chunk::<12>().ok_or_else(damaged)?;
    let project: [u8; 12] = project.try_into().map_err(|_| damaged())?;
    Ok((OrgId::from_bytes(*org), ProjectId::from_bytes(project)))
}

/// A project and its settings.
fn settings_of(
    db: &Db,
    view: &impl Readable,
    org: OrgId,
    project: ProjectId,
) -> StoreResult<Option<(Project, ProjectSettings)>> {
    let Some(project) = PROJECTS.get(db, view, &project_key(org, project))? else { return Ok(None) };
    let saved = PROJECT_SETTINGS.get(db, view, &project_key(org, project.id))?.unwrap_or_default();
    let settings = ProjectSettings { auto_quarantine: project.auto_quarantine, ..saved };
    Ok(Some((project, settings)))
}

#[async_trait]
impl Projects for LsmStore {
    async fn create_project(
        &self,
        project: Project,
        max_projects: u64,
        audit: AuditEntry,
    ) -> StoreResult<()> {
        self.db
            .commit(move |db, change| {
                let by_slug = org_key(project.org).text(&project.slug);
                if PROJECT_COUNTS.count(db, change, &org_key(project.org))? >= max_projects {
                    return Err(StoreError::Conflict(Conflict::ProjectLimit));
                }
                if PROJECTS_BY_SLUG.has(db, change, &by_slug)? {
                    return Err(StoreError::Conflict(Conflict::ProjectSlug));
                }
                let by_age = org_key(project.org).moment(project.created_ms).id(project.id.as_bytes());
                PROJECTS.put(db, change, project_key(project.org, project.id), &project)?;
                PROJECTS_BY_AGE.put(db, change, by_age, &project.id)?;
                PROJECTS_BY_SLUG.put(db, change, by_slug, &project.id)?;
                PROJECT_COUNTS.add(db, change, org_key(project.org), 1)?;
                audit::put(db, change, &audit)
            })
            .await
    }

    async fn project(&self, org: OrgId, project: ProjectId) -> StoreResult<Option<Project>> {
        let key = project_key(org, project);
        self.db.blocking(move |db| PROJECTS.get(db, &db.inner().read_tx(), &key)).await
    }

    async fn projects(&self, org: OrgId) -> StoreResult<Vec<Project>> {
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let newest = PROJECTS_BY_AGE.records(db, &view, &org_key(org))?.rev().take(ROWS_PER_CALL_MAX);
                newest
                    .filter_map(|id| {
                        id.and_then(|id| PROJECTS.get(db, &view, &project_key(org, id))).transpose()
                    })
                    .collect()
            })
            .await
    }

    async fn oldest_project(&self, org: OrgId) -> StoreResult<Option<Project>> {
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let oldest = PROJECTS_BY_AGE.records(db, &view, &org_key(org))?.next().transpose()?;
                oldest.map_or(Ok(None), |id| PROJECTS.get(db, &view, &project_key(org, id)))
            })
            .await
    }

    async fn project_settings(&self, org: OrgId, project: ProjectId) -> StoreResult<Option<ProjectSettings>> {
        self.db
            .blocking(move |db| {
                let found = settings_of(db, &db.inner().read_tx(), org, project)?;
                Ok(found.map(|(_, settings)| settings))
            })
            .await
    }

    async fn save_project_settings(
        &self,
        org: OrgId,
        project: ProjectId,
        before: &ProjectSettings,
        after: ProjectSettings,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        let before = before.clone();
        self.db
            .commit(move |db, change| {
                let Some((stored, _)) =
                    settings_of(db, change, org, project)?.filter(|(_, settings)| *settings == before)
                else {
                    return Ok(false);
                };
                let stored = Project { auto_quarantine: after.auto_quarantine, ..stored };
                PROJECTS.put(db, change, project_key(org, project), &stored)?;
                PROJECT_SETTINGS.put(db, change, project_key(org, project), &after)?;
                audit::put(db, change, &audit)?;
                Ok(true)
            })
            .await
    }

    async fn quarantined_tests(
        &self,
        org: OrgId,
        project: ProjectId,
        group: &str,
    ) -> StoreResult<HashSet<String>> {
        let prefix = project_key(org, project).inner_text(group);
        self.db.blocking(move |db| QUARANTINED.records(db, &db.inner().read_tx(), &prefix)?.collect()).await
    }
}

/// Takes in a project that is copied.
pub(super) fn take_in(db: &Db, change: &mut SingleWriterWriteTx<'_>, project: &Project) -> StoreResult<()> {
    let Project { id, org, .. } = *project;
    if !PROJECTS.has(db, change, &project_key(org, id))? {
        PROJECT_COUNTS.add(db, change, org_key(org), 1)?;
    }
    PROJECTS_BY_AGE.put(db, change, org_key(org).moment(project.created_ms).id(id.as_bytes()), &id)?;
    PROJECTS_BY_SLUG.put(db, change, org_key(org).text(&project.slug), &id)?;
    PROJECTS.put(db, change, project_key(org, id), project)
}

/// Takes in a quarantined test that is copied.
pub(super) fn take_in_quarantined(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    (org, project, group): (OrgId, ProjectId, &str),
    test: String,
) -> StoreResult<()> {
    QUARANTINED.put(db, change, project_key(org, project).inner_text(group).text(&test), &test)
}

/// The quarantined test of a row.
pub(super) fn read_quarantined(key: &[u8], test: String) -> StoreResult<Record> {
    let read = || {
        let (org, rest) = key.split_first_chunk::<12>()?;
        let (project, rest) = rest.split_first_chunk::<12>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let group = rest.get(..usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        let group = String::from_utf8(group.to_vec()).ok()?;
        Some((OrgId::from_bytes(*org), ProjectId::from_bytes(*project), group))
    };
    let found = read().ok_or_else(|| StoreError::Damaged("the key of a quarantined test".into()))?;
    let (org, project, group) = found;
    Ok(Record::Quarantined { org, project, group, test })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fs::OsFs;
    use crate::store::lsm::LsmSettings;

    #[tokio::test]
    async fn quarantined_tests_are_those_of_the_project_and_the_group() {
        let data = tempfile::tempdir().unwrap();
        let store = LsmStore::open(LsmSettings::at(data.path()), Arc::new(OsFs)).await.unwrap();
        let (org, project) = (OrgId::generate(1), ProjectId::generate(1));
        store
            .db
            .commit(move |db, change| {
                for (group, test) in [("nightly", "a"), ("nightly", "b"), ("nightly-2", "c")] {
                    let key = project_key(org, project).inner_text(group).text(test);
                    QUARANTINED.put(db, change, key, &test.to_owned())?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let found = store.quarantined_tests(org, project, "nightly").await.unwrap();
        assert_eq!(found, HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(store.quarantined_tests(org, project, "night").await, Ok(HashSet::new()));
        assert_eq!(store.quarantined_tests(OrgId::generate(2), project, "nightly").await, Ok(HashSet::new()));
    }
}
