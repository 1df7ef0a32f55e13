//! What the organization uses of its plan.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::handlers::not_found;
use crate::access::Caller;
use crate::api::App;
use crate::api::extract::Viewer;
use crate::api::reply::{Reply, failed, ok};
use crate::domain::time::IsoMs;
use crate::domain::usage::{Alert, Level, Period, Resource, Share, Usage};
use crate::store::contract::StoreResult;
use crate::store::usage::usage;

pub(super) const SHOW_FAILED: &str = "Failed to fetch usage statistics";
pub(super) const ALERTS_FAILED: &str = "Failed to fetch usage alerts";

/// What is used, and which limits come near.
#[derive(Serialize, ToSchema)]
pub(super) struct UsageReport {
    usage: UsageView,
    alerts: Vec<Alert>,
    /// The same as `usage`.
    data: UsageView,
}

/// What is used.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageView {
    current_period: PeriodView,
    test_runs: RunsUsed,
    users: UsersUsed,
    projects: ProjectsUsed,
    storage: StorageUsed,
}

/// The time in which runs are counted.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PeriodView {
    start_date: IsoMs,
    end_date: IsoMs,
}

/// Runs started in the period.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunsUsed {
    /// Deleted ones included.
    used: u64,
    limit: u64,
    /// May exceed 100.
    percent_used: u64,
}

/// Members.
#[derive(Clone, Serialize, ToSchema)]
struct UsersUsed {
    active: u64,
    limit: u64,
}

/// Projects.
#[derive(Clone, Serialize, ToSchema)]
struct ProjectsUsed {
    used: u64,
    limit: u64,
}

/// Bytes kept.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StorageUsed {
    used_bytes: u64,
    limit_bytes: u64,
}

impl UsageView {
    const fn new(period: Period, usage: &Usage, percent_used: u64) -> Self {
        let Usage { test_runs, users, projects, storage } = *usage;
        let Share { used, limit } = test_runs;
        Self {
            current_period: PeriodView {
                start_date: IsoMs(period.start_ms),
                end_date: IsoMs(period.end_ms()),
            },
            test_runs: RunsUsed { used, limit, percent_used },
            users: UsersUsed { active: users.used, limit: users.limit },
            projects: ProjectsUsed { used: projects.used, limit: projects.limit },
            storage: StorageUsed { used_bytes: storage.used, limit_bytes: storage.limit },
        }
    }
}

/// Which limits come near.
#[derive(Serialize, ToSchema)]
pub(super) struct AlertsView {
    alerts: Vec<Alert>,
    data: Levels,
}

/// How far each resource has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Levels {
    test_runs: LevelView,
    users: LevelView,
    projects: LevelView,
    storage: LevelView,
}

/// How far a resource has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LevelView {
    level: Option<Level>,
    /// May exceed 100.
    percent_used: u64,
}

pub(super) async fn show_usage(State(app): State<App>, Viewer(caller): Viewer) -> Reply<UsageReport> {
    let known = app.store.organization(caller.org).await.map_err(failed(SHOW_FAILED))?;
    known.ok_or_else(not_found)?;
    let now_ms = app.now_ms();
    let usage = counted(&app, &caller, now_ms).await.map_err(failed(SHOW_FAILED))?;
    let view = UsageView::new(Period::at(now_ms), &usage, usage.test_runs.percent());
    Ok(ok(UsageReport { usage: view.clone(), alerts: usage.alerts(), data: view }))
}

pub(super) async fn list_usage_alerts(State(app): State<App>, Viewer(caller): Viewer) -> Reply<AlertsView> {
    let usage = counted(&app, &caller, app.now_ms()).await.map_err(failed(ALERTS_FAILED))?;
    let level =
        |resource| LevelView { level: usage.level(resource), percent_used: usage.share(resource).percent() };
    let data = Levels {
        test_runs: level(Resource::TestRuns),
        users: level(Resource::Users),
        projects: level(Resource::Projects),
        storage: level(Resource::Storage),
    };
    Ok(ok(AlertsView { alerts: usage.alerts(), data }))
}

async fn counted(app: &App, caller: &Caller, now_ms: i64) -> StoreResult<Usage> {
    usage(&*app.store, caller.org, &app.settings.plan.limits(), now_ms).await
}
