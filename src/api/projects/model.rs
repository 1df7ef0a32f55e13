//! Bodies in and out of the category `projects`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::handlers::{NAME_REQUIRED, NAME_TOO_LONG};
use crate::api::extract::{FromMembers, Members};
use crate::domain::project::Project;
use crate::domain::time::IsoMs;
use crate::http::Failure;

/// Characters of a project's name.
const NAME_CHARS_MAX: usize = 100;

/// A project to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub(in crate::api) struct NewProject {
    /// Trimmed.
    #[schema(min_length = 1, max_length = 100)]
    pub(in crate::api) name: String,
}

impl FromMembers for NewProject {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let name = members.get("name").and_then(|name| name.as_str()).map(str::trim);
        let name = name.filter(|name| !name.is_empty()).ok_or_else(Self::absent)?;
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(Failure::bad_request(NAME_TOO_LONG, "Choose a shorter name for the project"));
        }
        Ok(Self { name: name.to_owned() })
    }

    fn absent() -> Failure {
        Failure::bad_request(NAME_REQUIRED, "Give the project a name of 1 to 100 characters")
    }
}

/// The organization's projects.
#[derive(Serialize, ToSchema)]
pub(super) struct Projects {
    pub(super) projects: Vec<ProjectView>,
}

/// One project.
#[derive(Serialize, ToSchema)]
pub(super) struct OneProject {
    pub(super) project: ProjectView,
}

/// A project as it is shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ProjectView {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    name: String,
    slug: String,
    created_at: IsoMs,
    updated_at: IsoMs,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        Self {
            id: project.id.to_string(),
            name: project.name,
            slug: project.slug,
            created_at: IsoMs(project.created_ms),
            updated_at: IsoMs(project.updated_ms),
        }
    }
}
