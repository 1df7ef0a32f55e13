//! The caller's organization: its settings, what it uses of its plan, its audit log. No path names one. Source: API
//! reference, identity 5.

mod audit_log;
mod handlers;
mod model;
mod update;
mod usage;

use http::StatusCode;

pub(super) use self::audit_log::Wanted;
use self::audit_log::{AuditLog, list_audit_logs};
pub(super) use self::handlers::not_found;
use self::handlers::{show_organization, update_features, update_organization};
use self::model::{FeaturesUpdated, OneOrganization, OrganizationUpdated};
use self::update::{FeaturesUpdate, OrganizationUpdate};
use self::usage::{AlertsView, UsageReport, list_usage_alerts, show_usage};
use super::route::{Route, get, patch};
use crate::domain::role::Role;
use crate::http::envelope::Data;
use crate::http::{Callers, Tier};

const ANYBODY: Callers = Callers::Token(Role::Viewer);
const ADMIN: Callers = Callers::Token(Role::Admin);
pub(super) const NOT_FOUND: &str = "Organization not found";

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    get("/api/organization", ANYBODY, Tier::Api, show_organization).with(|row| row
        .about("Tells about the organization: plan, limits, settings; of secrets only whether they are set")
        .gives::<OneOrganization>(StatusCode::OK)
        .fails([
            (StatusCode::NOT_FOUND, NOT_FOUND),
            (StatusCode::INTERNAL_SERVER_ERROR, handlers::SHOW_FAILED),
        ])),
    patch("/api/organization", ADMIN, Tier::Api, update_organization).with(|row| row
        .about("Changes the organization's name, notifications and secrets: all that is sent, or nothing")
        .may_take::<OrganizationUpdate>()
        .gives::<OrganizationUpdated>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, update::MISSING),
            (StatusCode::BAD_REQUEST, "Invalid name"),
            (StatusCode::BAD_REQUEST, "Invalid aiAnalysisEnabled"),
            (StatusCode::BAD_REQUEST, "Invalid slackWebhookUrl"),
            (StatusCode::BAD_REQUEST, "Invalid slackNotificationEvents"),
            (StatusCode::BAD_REQUEST, "Invalid msTeamsWebhookUrl"),
            (StatusCode::BAD_REQUEST, "Invalid msTeamsNotificationEvents"),
            (StatusCode::BAD_REQUEST, update::INVALID_OUTBOUND_URL),
            (StatusCode::BAD_REQUEST, "Invalid outboundWebhookSecret"),
            (StatusCode::BAD_REQUEST, "Invalid webhookSecret"),
            (StatusCode::NOT_FOUND, NOT_FOUND),
            (StatusCode::INTERNAL_SERVER_ERROR, handlers::UPDATE_FAILED),
        ])),
    patch("/api/organization/features", ADMIN, Tier::Api, update_features).with(|row| row
        .about("Switches modules and AI features; what is not sent stays as it is")
        .may_take::<FeaturesUpdate>()
        .gives::<FeaturesUpdated>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, update::MISSING),
            (StatusCode::BAD_REQUEST, "Invalid testCasesEnabled"),
            (StatusCode::BAD_REQUEST, "Invalid testCyclesEnabled"),
            (StatusCode::BAD_REQUEST, "Invalid aiFeatures"),
            (StatusCode::BAD_REQUEST, "Invalid aiFeatures key"),
            (StatusCode::BAD_REQUEST, "Invalid aiFeatures.<flag>"),
            (StatusCode::NOT_FOUND, NOT_FOUND),
            (StatusCode::INTERNAL_SERVER_ERROR, handlers::FEATURES_FAILED),
        ])),
    get("/api/organization/usage", ANYBODY, Tier::Api, show_usage).with(|row| row
        .about("Tells how much of its plan the organization uses this month (UTC)")
        .gives::<UsageReport>(StatusCode::OK)
        .fails([
            (StatusCode::NOT_FOUND, NOT_FOUND),
            (StatusCode::INTERNAL_SERVER_ERROR, usage::SHOW_FAILED),
        ])),
    get("/api/organization/usage/alerts", ANYBODY, Tier::Api, list_usage_alerts).with(|row| row
        .about("Tells which limits of the plan come near, the most pressing first")
        .gives::<AlertsView>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, usage::ALERTS_FAILED)])),
    get("/api/organization/audit-logs", ADMIN, Tier::Api, list_audit_logs).with(|row| row
        .about("Lists administrative actions of the last 365 days, newest first")
        .asks("limit", "Entries per page, 1 to 100; 50 without")
        .asks("offset", "Entries to skip")
        .asks("action", "Only this action, as `user.role_changed`")
        .asks("userId", "Only what this user did")
        .asks("targetType", "Only what was done to this kind of thing, as `user`")
        .asks("startDate", "Not before this moment")
        .asks("endDate", "Not after this moment")
        .gives::<Data<AuditLog>>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, audit_log::INVALID_USER),
            (StatusCode::BAD_REQUEST, audit_log::INVALID_DATE),
            (StatusCode::FORBIDDEN, audit_log::NOT_AVAILABLE),
        ])),
] }
