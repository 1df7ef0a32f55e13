//! Projects: what runs belong to.

use serde::{Deserialize, Serialize};

use super::id::{OrgId, ProjectId, stored_org};
use crate::clock::UnixMs;

/// A project of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// The organization it belongs to.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Display name, 1 to 100 characters.
    pub name: String,
    /// URL name, unique within the organization.
    pub slug: String,
    /// Whether failures of quarantined tests do not fail a run (`autoQuarantineEnabled`).
    pub auto_quarantine: bool,
    /// Unix milliseconds.
    pub created_ms: UnixMs,
    /// Unix milliseconds.
    pub updated_ms: UnixMs,
}

/// What a project's runs are launched with by default. A project that nobody has configured has the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSettings {
    /// Image of the tests; empty if there is none.
    pub docker_image: String,
    /// Where the tested application is reached.
    pub target_urls: TargetUrls,
    /// Folder of the tests within the image; empty if there is none.
    pub default_test_folder: String,
    /// [`Project::auto_quarantine`], which is where it is stored: runs read it there.
    #[serde(skip)]
    pub auto_quarantine: bool,
}

/// Addresses of the tested application, each empty or an http(s) URL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetUrls {
    /// Of the development environment.
    pub dev: String,
    /// Of the staging environment.
    pub staging: String,
    /// Of the production environment.
    pub prod: String,
}

impl ProjectSettings {
    /// The names of the fields, as clients know them, that differ from `before`.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Vec<&'static str> {
        let fields = [
            ("dockerImage", self.docker_image != before.docker_image),
            ("targetUrls", self.target_urls != before.target_urls),
            ("defaultTestFolder", self.default_test_folder != before.default_test_folder),
            ("autoQuarantineEnabled", self.auto_quarantine != before.auto_quarantine),
        ];
        fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}
