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
