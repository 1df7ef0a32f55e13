//! Who calls and how often: tokens and API keys become a [`Caller`], requests are counted against their tiers.

use crate::clock::UnixMs;
use crate::domain::id::{ApiKeyId, OrgId, UserId};
use crate::domain::role::Role;

/// A verified identity. There is no other way to an organization than through one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The organization.
    pub org: OrgId,
    /// The person, or the owner of the key.
    pub user: UserId,
    /// The stored role, not what a token claims.
    pub role: Role,
    /// What was presented.
    pub credential: Credential,
}

/// What a caller presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token.
    Token {
        /// Its `jti`.
        id: String,
        /// When it expires; Unix milliseconds.
        expires_ms: UnixMs,
    },
    /// An API key.
    Key(ApiKeyId),
}
