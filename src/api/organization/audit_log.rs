//! Reading the audit log. Source: API reference, identity 5.11 and 10.

use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::App;
use crate::api::extract::Admin;
use crate::api::reply::{Reply, failed, ok};
use crate::domain::account::AuditEntry;
use crate::domain::time::IsoMs;
use crate::http::envelope::Data;
use crate::http::{Failure, Kind, Paging, Query};
use crate::store::contract::AuditFilter;

pub(super) const INVALID_USER: &str = "Invalid user ID format";
pub(super) const INVALID_DATE: &str = "Invalid date";
pub(super) const NOT_AVAILABLE: &str = "Feature not available";

/// How long a page may be.
const PAGING: Paging = Paging { default: 50, max: 100 };

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditLog {
    logs: Vec<AuditView>,
    /// How many match in all.
    total: u64,
    limit: usize,
    offset: usize,
}

/// One administrative action.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditView {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    #[schema(pattern = "^[0-9a-f]{24}$")]
    organization_id: String,
    /// Who acted.
    #[schema(pattern = "^[0-9a-f]{24}$")]
    user_id: String,
    /// As `user.role_changed`.
    action: String,
    target_type: String,
    target_id: String,
    /// Facts, by action; never a secret.
    #[schema(value_type = Object)]
    details: Value,
    /// Where the request came from.
    ip: String,
    timestamp: IsoMs,
}

impl TryFrom<AuditEntry> for AuditView {
    type Error = serde_json::Error;

    fn try_from(entry: AuditEntry) -> Result<Self, Self::Error> {
        Ok(Self {
            id: entry.id.to_string(),
            organization_id: entry.org.to_string(),
            user_id: entry.user.to_string(),
            action: entry.action,
            target_type: entry.target_type,
            target_id: entry.target_id,
            details: serde_json::from_str(&entry.details)?,
            ip: entry.ip,
            timestamp: IsoMs(entry.timestamp_ms),
        })
    }
}

pub(super) async fn list_audit_logs(
    State(app): State<App>,
    Admin(caller): Admin,
    RawQuery(query): RawQuery,
) -> Reply<Data<AuditLog>> {
    const FAILED: &str = "Internal Server Error";
    let query = Query::parse(query.as_deref());
    let (page, filter) = (query.page(PAGING), filter(&query)?);
    if !app.settings.plan.features().audit_logs {
        let message = "The organization's plan does not include the audit log";
        return Err(Failure::new(Kind::Forbidden, NOT_AVAILABLE, message));
    }
    let found = app.store.audit_log(caller.org, &filter, page.limit, page.offset).await;
    let (entries, total) = found.map_err(failed(FAILED))?;
    let logs = entries.into_iter().map(AuditView::try_from).collect::<Result<_, _>>();
    let logs = logs.map_err(|error| Failure::internal(FAILED, error))?;
    Ok(ok(Data { data: AuditLog { logs, total, limit: page.limit, offset: page.offset } }))
}

fn filter(query: &Query<'_>) -> Result<AuditFilter, Failure> {
    let malformed = |_| Failure::bad_request(INVALID_USER, "A user's id is 24 lower-case hex characters");
    Ok(AuditFilter {
        action: query.get("action").map(str::to_owned),
        user: query.get("userId").map(|id| id.parse().map_err(malformed)).transpose()?,
        target_type: query.get("targetType").map(str::to_owned),
        from_ms: query.time("startDate", INVALID_DATE)?,
        to_ms: query.time("endDate", INVALID_DATE)?,
    })
}
