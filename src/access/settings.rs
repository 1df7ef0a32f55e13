//! What an operator may change about access.

use std::time::Duration;

use super::address::Network;
use super::password::PasswordSettings;
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
    /// How passwords are hashed.
    pub passwords: PasswordSettings,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            token_lifetime: limits::TOKEN_LIFETIME,
            cache_lifetime: limits::CREDENTIAL_CACHE,
            cache_entries_max: limits::CREDENTIAL_CACHE_ENTRIES_MAX,
            tiers: Tiers::default(),
            passwords: PasswordSettings::default(),
            trusted_proxies: Vec::new(),
        }
    }
}
