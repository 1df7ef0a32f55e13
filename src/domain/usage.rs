//! How much of its plan an organization uses, and what it is told about that. Source: API reference, identity 5.4, 5.5 and
//! 8.2.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::plan::{PlanLimits, UNLIMITED};
use crate::clock::UnixMs;

/// The time in which runs are counted: a calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first millisecond; Unix milliseconds.
    pub start_ms: UnixMs,
    /// The first millisecond of the next one.
    pub next_ms: UnixMs,
}

impl Period {
    /// The period that `now_ms` is in.
    #[must_use]
    pub fn at(now_ms: UnixMs) -> Self {
        let now = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned_datetime(TimeZone::UTC);
        let bounds = || {
            let start = now.first_of_month().ok()?.start_of_day().ok()?;
            let next = start.checked_add(1.month()).ok()?;
            Some((start.timestamp().as_millisecond(), next.timestamp().as_millisecond()))
        };
        // Only the last month of the year 9999 has no next one.
        let (start_ms, next_ms) = bounds().unwrap_or((now_ms, UnixMs::MAX));
        Self { start_ms, next_ms }
    }

    /// Its last millisecond.
    #[must_use]
    pub const fn end_ms(self) -> UnixMs {
        self.next_ms.saturating_sub(1)
    }
}

/// What a plan limits and people are told about, in the order in which they are told.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    /// Runs started in the period.
    TestRuns,
    /// Members.
    Users,
    /// Projects.
    Projects,
    /// Bytes kept.
    Storage,
}

impl Resource {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::TestRuns, Self::Users, Self::Projects, Self::Storage];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TestRuns => "testRuns",
            Self::Users => "users",
            Self::Projects => "projects",
            Self::Storage => "storage",
        }
    }
}

/// How much of something is used, and how much there is. Counts, or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How much is used.
    pub used: u64,
    /// How much may be; [`UNLIMITED`] where there is no bound.
    pub limit: u64,
}

impl Share {
    /// Percent, rounded half up; 0 if the limit is 0, above 100 if more is used than may be.
    #[must_use]
    pub fn percent(self) -> u64 {
        let (used, limit) = (u128::from(self.used), u128::from(self.limit));
        let percent = (used * 200 + limit).checked_div(limit * 2).unwrap_or(0);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }

    /// Percent that are reached, rounded down; 0 if the limit is 0, or there is none.
    #[must_use]
    pub fn percent_reached(self) -> u64 {
        if self.limit == UNLIMITED {
            return 0;
        }
        let (used, limit) = (u128::from(self.used), u128::from(self.limit));
        u64::try_from((used * 100).checked_div(limit).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// Whether nothing more may be created.
    #[must_use]
    pub const fn is_exhausted(self) -> bool {
        self.used >= self.limit && self.limit != UNLIMITED
    }
}

/// How much of its plan an organization uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Runs started in the period, deleted ones included.
    pub test_runs: Share,
    /// Members of any status.
    pub users: Share,
    /// Projects.
    pub projects: Share,
    /// Bytes kept.
    pub storage: Share,
}

impl Usage {
    /// What is used, counted, of what `limits` allow.
    #[must_use]
    pub const fn of(limits: &PlanLimits, test_runs: u64, users: u64, projects: u64, storage: u64) -> Self {
        Self {
            test_runs: Share { used: test_runs, limit: limits.max_test_runs },
            users: Share { used: users, limit: limits.max_users },
            projects: Share { used: projects, limit: limits.max_projects },
            storage: Share { used: storage, limit: limits.max_storage_bytes },
        }
    }

    /// The share of one resource.
    #[must_use]
    pub const fn share(&self, resource: Resource) -> Share {
        match resource {
            Resource::TestRuns => self.test_runs,
            Resource::Users => self.users,
            Resource::Projects => self.projects,
            Resource::Storage => self.storage,
        }
    }

    /// How far a resource has come, if that is far enough to be told.
    #[must_use]
    pub fn level(&self, resource: Resource) -> Option<Level> {
        match self.share(resource) {
            // What has no bound is never nearly used up.
            Share { limit: UNLIMITED, .. } => None,
            share => match share.percent() {
                100.. => Some(Level::Exceeded),
                90.. => Some(Level::Critical),
                80.. => Some(Level::Warning),
                50.. if resource == Resource::TestRuns => Some(Level::Info),
                _ => None,
            },
        }
    }

    /// What people are told: the worst first, then in the order of the resources.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let alert = |resource| {
            let (level, share) = (self.level(resource)?, self.share(resource));
            let (severity, percent_used) = (level.severity(), share.percent());
            Some(Alert { severity, resource, message: message(resource, share), percent_used })
        };
        let mut alerts: Vec<Alert> = Resource::ALL.into_iter().filter_map(alert).collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
        alerts
    }
}

/// How pressing an alert is; the more pressing is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// From 50 percent on; runs only.
    Info,
    /// From 80 percent on.
    Warning,
    /// From 90 percent on; from 100 on nothing more can be created.
    Critical,
}

/// How far a resource has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// From 50 percent on; runs only.
    Info,
    /// From 80 percent on.
    Warning,
    /// From 90 percent on.
    Critical,
    /// From 100 percent on.
    Exceeded,
}

impl Level {
    const fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Critical | Self::Exceeded => Severity::Critical,
        }
    }
}

/// That a limit comes near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// How pressing it is.
    #[serde(rename = "type")]
    pub severity: Severity,
    /// What it is about.
    pub resource: Resource,
    /// For a person.
    pub message: String,
    /// Percent of the limit; may exceed 100.
    pub percent_used: u64,
}

fn message(resource: Resource, share: Share) -> String {
    let Share { used, limit } = share;
    if share.is_exhausted() {
        return match resource {
            Resource::TestRuns => format!("Test run limit reached ({used}/{limit})"),
            Resource::Users => format!("User limit reached ({used}/{limit})"),
            Resource::Projects => format!("Project limit reached ({used}/{limit})"),
            Resource::Storage => format!("Storage limit reached ({used}/{limit} bytes)"),
        };
    }
    let percent = share.percent();
    match resource {
        Resource::TestRuns => format!("{percent}% of this period's test runs are used"),
        Resource::Users => format!("{percent}% of the users are used ({used}/{limit})"),
        Resource::Projects => format!("{percent}% of the projects are used ({used}/{limit})"),
        Resource::Storage => format!("{percent}% of the storage is used"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::Plan;

    const NOTHING: Share = Share { used: 0, limit: 100 };

    fn only(resource: Resource, used: u64, limit: u64) -> Usage {
        let share = |own| if own == resource { Share { used, limit } } else { NOTHING };
        Usage {
            test_runs: share(Resource::TestRuns),
            users: share(Resource::Users),
            projects: share(Resource::Projects),
            storage: share(Resource::Storage),
        }
    }

    #[test]
    fn a_period_runs_from_its_first_millisecond_to_the_next_ones() {
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let march = Period { start_ms: ms("2026-03-01T00:00:00Z"), next_ms: ms("2026-04-01T00:00:00Z") };
        assert_eq!(Period::at(ms("2026-03-01T00:00:00Z")), march);
        assert_eq!(Period::at(ms("2026-03-31T23:59:59.999Z")), march);
        assert_eq!(march.end_ms(), ms("2026-03-31T23:59:59.999Z"));
        assert_eq!(Period::at(ms("2026-12-15T12:00:00Z")).next_ms, ms("2027-01-01T00:00:00Z"));
        assert_eq!(Period::at(ms("2028-02-29T12:00:00Z")).next_ms, ms("2028-03-01T00:00:00Z"));
    }

    #[test]
    fn percentages_are_rounded() {
        for (used, limit, expected) in [
            (41, 50, 82),
            (1, 3, 33),
            (2, 3, 67),
            (1, 200, 1),
            (4, 3, 133),
            (7, 0, 0),
            (0, 50, 0),
            (18_350_080, 524_288_000, 4),
            (u64::MAX, 1, u64::MAX),
        ] {
            assert_eq!(Share { used, limit }.percent(), expected, "{used} of {limit}");
        }
    }

    #[test]
    fn levels_begin_at_their_percentage() {
        use Level::{Critical, Exceeded, Info, Warning};
        for (percent, runs, others) in [
            (0, None, None),
            (49, None, None),
            (50, Some(Info), None),
            (79, Some(Info), None),
            (80, Some(Warning), Some(Warning)),
            (89, Some(Warning), Some(Warning)),
            (90, Some(Critical), Some(Critical)),
            (99, Some(Critical), Some(Critical)),
            (100, Some(Exceeded), Some(Exceeded)),
            (133, Some(Exceeded), Some(Exceeded)),
        ] {
            for resource in Resource::ALL {
                let expected = if resource == Resource::TestRuns { runs } else { others };
                let usage = only(resource, percent, 100);
                assert_eq!(usage.level(resource), expected, "{resource:?} at {percent}%");
                let severity = usage.alerts().first().map(|alert| alert.severity);
                assert_eq!(severity, expected.map(Level::severity), "{resource:?} at {percent}%");
            }
        }
    }

    #[test]
    fn the_example_of_the_reference_is_what_is_told() {
        let usage = Usage::of(&Plan::Free.limits(), 41, 2, 1, 18_350_080);
        let told = serde_json::to_value(usage.alerts()).unwrap();
        assert_eq!(
            told,
            serde_json::json!([
                { "type": "critical", "resource": "projects", "percentUsed": 100,
                  "message": "Project limit reached (1/1)" },
                { "type": "warning", "resource": "testRuns", "percentUsed": 82,
                  "message": "82% of this period's test runs are used" },
            ])
        );
    }

    #[test]
    fn alerts_are_told_by_severity_and_then_by_resource() {
        let share = |used| Share { used, limit: 100 };
        let usage =
            Usage { test_runs: share(60), users: share(95), projects: share(85), storage: share(120) };
        let order: Vec<_> =
            usage.alerts().into_iter().map(|alert| (alert.severity, alert.resource)).collect();
        assert_eq!(
            order,
            [
                (Severity::Critical, Resource::Users),
                (Severity::Critical, Resource::Storage),
                (Severity::Warning, Resource::Projects),
                (Severity::Info, Resource::TestRuns),
            ]
        );
    }

    #[test]
    fn what_has_no_bound_is_never_told_about_and_what_is_nearly_used_is_not_called_used() {
        let usage = only(Resource::TestRuns, 2 * UNLIMITED, UNLIMITED);
        assert_eq!(usage.alerts(), vec![]);
        assert!(!usage.test_runs.is_exhausted());
        assert_eq!(
            (only(Resource::Users, 5, 0).alerts(), Share { used: 0, limit: 0 }.percent()),
            (vec![], 0)
        );
        let nearly = only(Resource::TestRuns, 996, 1_000).alerts();
        let told = nearly.first().map(|alert| (alert.percent_used, alert.message.as_str()));
        assert_eq!(told, Some((100, "100% of this period's test runs are used")));
    }
}
