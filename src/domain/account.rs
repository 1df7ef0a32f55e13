//! People, organizations and their credentials as they are stored.

use serde::{Deserialize, Serialize};

use super::id::{ApiKeyId, AuditId, OrgId, UserId, stored_org};
use super::role::{AccountStatus, Role};
use crate::clock::UnixMs;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    #[serde(with = "stored_org")]
    pub id: OrgId,
    /// Display name, 2 to 100 characters.
    pub name: String,
    /// URL name, unique over the whole system; does not change on rename.
    pub slug: String,
    /// Whether failed runs are analysed.
    pub ai_analysis_enabled: bool,
    /// Unix milliseconds.
    pub created_ms: UnixMs,
    /// Unix milliseconds.
    pub updated_ms: UnixMs,
}

/// A person's account; belongs to exactly one organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The organization it belongs to.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Trimmed and in lower case; unique over the whole system.
    pub email: String,
    /// Display name, 1 to 100 characters.
    pub name: String,
    /// PHC string of the password's slow hash. Never leaves the server.
    pub password_hash: String,
    /// Role within `org`.
    pub role: Role,
    /// Whether it may be used.
    pub status: AccountStatus,
    /// Tokens issued before this moment are void (password change, move); Unix milliseconds.
    pub credentials_valid_from_ms: UnixMs,
    /// Set by login; Unix milliseconds.
    pub last_login_ms: Option<UnixMs>,
    /// Unix milliseconds.
    pub created_ms: UnixMs,
    /// Unix milliseconds.
    pub updated_ms: UnixMs,
}

/// Who is named in the audit log for what an operator does to a stopped server's store: no account has this id.
pub const OPERATOR: UserId = UserId::from_bytes([0; 12]);

/// The keyed hash (HMAC-SHA-256) of an API key's secret: what the store knows of it.
pub type KeyHash = [u8; 32];

/// An API key; its plain text is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The organization of its owner when it was made; it is valid there only.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// The user it acts as.
    pub owner: UserId,
    /// Display name, 1 to 100 characters.
    pub name: String,
    /// First characters of the secret and `...`.
    pub prefix: String,
    /// Keyed hash of the secret.
    pub hash: KeyHash,
    /// Unix milliseconds.
    pub created_ms: UnixMs,
    /// At most one minute stale; Unix milliseconds.
    pub last_used_ms: Option<UnixMs>,
}

/// One administrative action, kept 365 days, visible inside its organization only. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// Where it happened.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Who acted.
    pub user: UserId,
    /// Dotted name, as `apikey.created`.
    pub action: String,
    /// Kind of the target, as `apiKey`.
    pub target_type: String,
    /// Id of the target.
    pub target_id: String,
    /// Facts as a JSON object.
    pub details: String,
    /// Client address.
    pub ip: String,
    /// Unix milliseconds.
    pub timestamp_ms: UnixMs,
}
