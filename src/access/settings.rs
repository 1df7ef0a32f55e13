//! What an operator may change about access.

use std::time::Duration;

use super::tier::Tiers;
use crate::limits;

/// Settings of this room.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Lifetime of a token; whole seconds count.
    pub token_lifetime: Duration,
    /// How stale a cached credential or account may be.
    pub cache_lifetime: Duration,
    /// Entries of each credential cache.
    pub cache_entries_max: usize,
    /// How often each tier admits.
    pub tiers: Tiers,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            token_lifetime: limits::TOKEN_LIFETIME,
            cache_lifetime: limits::CREDENTIAL_CACHE,
            cache_entries_max: limits::CREDENTIAL_CACHE_ENTRIES_MAX,
            tiers: Tiers::default(),
        }
    }
}
