//! Reading the audit log. Source: API reference, identity 5.11 and 10.

use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::App;
use crate::api::extract::Admin;
use crate::api::reply::{Reply, failed, ok};
use crate::domain::account::AuditEntry;
use crate::domain::id::OrgId;
use crate::domain::time::IsoMs;
use crate::http::envelope::Data;
use crate::http::{Failure, Kind, Page, Paging, Query};
use crate::store::contract::{AuditFilter, Organizations};

pub(super) const INVALID_USER: &str = "Invalid user ID format";
pub(super) const INVALID_DATE: &str = "Invalid date";
pub(super) const NOT_AVAILABLE: &str = "Feature not available";

/// How long a page may be.
const PAGING: Paging = Paging { default: 50, max: 100 };

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct AuditLog {
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
    let query = Wanted::read(query.as_deref())?;
    if !app.settings.plan.features().audit_logs {
        let message = "The organization's plan does not include the audit log";
        return Err(Failure::new(Kind::Forbidden, NOT_AVAILABLE, message));
    }
    Ok(ok(Data { data: query.page_of(&*app.store, caller.org).await? }))
}

/// A page of the log that is wanted.
pub(in crate::api) struct Wanted {
    page: Page,
    filter: AuditFilter,
}

impl Wanted {
    /// What the query of a request asks for.
    ///
    /// # Errors
    /// 400 for an id that is none, and a time that is none.
    pub(in crate::api) fn read(query: Option<&str>) -> Result<Self, Failure> {
        let query = Query::parse(query);
        Ok(Self { page: query.page(PAGING), filter: filter(&query)? })
    }

    /// That page of the organization's log.
    ///
    /// # Errors
    /// If the store fails, or holds what is no entry.
    pub(in crate::api) async fn page_of(
        &self,
        store: &(impl Organizations + ?Sized),
        org: OrgId,
    ) -> Result<AuditLog, Failure> {
        const FAILED: &str = "Internal Server Error";
        let Page { limit, offset } = self.page;
        let found = store.audit_log(org, &self.filter, limit, offset).await;
        let (entries, total) = found.map_err(failed(FAILED))?;
        let logs = entries.into_iter().map(AuditView::try_from).collect::<Result<_, _>>();
        let logs = logs.map_err(|error| Failure::internal(FAILED, error))?;
        Ok(AuditLog { logs, total, limit, offset })
    }
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
