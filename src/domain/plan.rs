//! The plans and their limits. Limits always derive from the plan, never from a stored copy.
//! Source: API reference, identity 8.1.

use serde::{Deserialize, Serialize};

/// The number that means "no limit" on the wire.
pub const UNLIMITED: u64 = 999_999;

/// A commercial plan; a self-hosted deployment names one in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// 50 runs a period.
    Free,
    /// 250 runs a period.
    Starter,
    /// 1 000 runs a period.
    Team,
    /// 2 500 runs a period.
    Business,
    /// No limits but storage.
    Enterprise,
}

/// What a plan allows. Counts; storage in bytes; [`UNLIMITED`] where there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanLimits {
    /// Projects of the organization.
    pub max_projects: u64,
    /// Runs started per billing period.
    pub max_test_runs: u64,
    /// Members.
    pub max_users: u64,
    /// Hosted runs at the same time.
    pub max_concurrent_runs: u64,
    /// Bytes kept.
    pub max_storage_bytes: u64,
}

/// What comes with a plan beside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanFeatures {
    /// Whom people may ask.
    pub support: &'static str,
    /// Whether members sign in through the organization's own directory.
    pub sso: bool,
    /// Whether administrators may read the audit log.
    pub audit_logs: bool,
}

impl Plan {
    /// All of them, the smallest first.
    pub const ALL: [Self; 5] = [Self::Free, Self::Starter, Self::Team, Self::Business, Self::Enterprise];

    /// US dollars a month; `None` if it is agreed upon.
    #[must_use]
    pub const fn price(self) -> Option<u32> {
        match self {
            Self::Free => Some(0),
            Self::Starter => Some(29),
            Self::Team => Some(99),
            Self::Business => Some(299),
            Self::Enterprise => None,
        }
    }

    /// What comes with it beside its limits.
    #[must_use]
    pub const fn features(self) -> PlanFeatures {
        let (support, sso, audit_logs) = match self {
            Self::Free => ("Community", false, false),
            Self::Starter | Self::Team => ("Email", false, false),
            Self::Business => ("Priority", false, true),
            Self::Enterprise => ("Dedicated 24/7", true, true),
        };
        PlanFeatures { support, sso, audit_logs }
    }

    /// The name for people.
    #[must_use]
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Starter => "Starter",
            Self::Team => "Team",
            Self::Business => "Business",
            Self::Enterprise => "Enterprise",
        }
    }

    /// The limits of this plan.
    #[must_use]
    pub const fn limits(self) -> PlanLimits {
        let (max_projects, max_test_runs, max_users, max_concurrent_runs, max_storage_bytes) = match self {
            Self::Free => (1, 50, 3, 1, 524_288_000),
            Self::Starter => (3, 250, 5, 2, 2_147_483_648),
            Self::Team => (UNLIMITED, 1_000, 20, 5, 10_737_418_240),
            Self::Business => (UNLIMITED, 2_500, 100, 15, 53_687_091_200),
            Self::Enterprise => (UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED, 536_870_912_000),
        };
        PlanLimits { max_projects, max_test_runs, max_users, max_concurrent_runs, max_storage_bytes }
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Starter => "starter",
            Self::Team => "team",
            Self::Business => "business",
            Self::Enterprise => "enterprise",
        }
    }
}
