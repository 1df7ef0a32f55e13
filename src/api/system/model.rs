//! Bodies of the category `system`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::health::Report;
use crate::domain::time::IsoMs;

/// The version that clients are told.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether the server can do its work.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Overall {
    /// It can.
    Healthy,
    /// Something is missing.
    Degraded,
}

/// Whether one part of the server answers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Check {
    /// It does.
    Healthy,
    /// It does not, or not in time.
    Unhealthy,
}

impl From<bool> for Check {
    fn from(well: bool) -> Self {
        if well { Self::Healthy } else { Self::Unhealthy }
    }
}

impl Overall {
    pub(super) const fn of(report: Report) -> Self {
        if report.is_well() { Self::Healthy } else { Self::Degraded }
    }
}

/// The parts, under names that existing monitors know.
#[derive(Serialize, ToSchema)]
struct Checks {
    /// The store.
    database: Check,
    /// The shared counters; in memory here.
    redis: Check,
    /// What work is handed to: the actors.
    rabbitmq: Check,
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthView {
    status: Overall,
    timestamp: IsoMs,
    service: &'static str,
    version: &'static str,
    /// Seconds.
    uptime: f64,
    checks: Checks,
}

impl HealthView {
    /// `now_ms` in Unix milliseconds, `uptime_ms` in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "an uptime stays far below 2^53 milliseconds")]
    pub(super) fn new(report: Report, now_ms: i64, uptime_ms: i64) -> Self {
        let checks = Checks {
            database: report.store.into(),
            redis: report.counters.into(),
            rabbitmq: report.actors.into(),
        };
        Self {
            status: Overall::of(report),
            timestamp: IsoMs(now_ms),
            service: "api",
            version: VERSION,
            uptime: uptime_ms as f64 / 1000.0,
            checks,
        }
    }
}

/// Constants that a dashboard starts from; never an organization's data.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Defaults {
    pub(super) image: &'static str,
    pub(super) base_url: &'static str,
    pub(super) folder: &'static str,
    pub(super) env_mapping: BTreeMap<String, String>,
}

/// What a monitor is told. The first two mirror `data` for older monitors.
#[derive(Serialize, ToSchema)]
pub(super) struct MonitorStatus {
    /// `ok` or `degraded`.
    pub(super) status: &'static str,
    pub(super) timestamp: IsoMs,
    pub(super) data: MonitorData,
}

/// What a monitor is told.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MonitorData {
    pub(super) status: Overall,
    pub(super) version: &'static str,
    pub(super) timestamp: IsoMs,
    /// Finished runs that wait to be folded into their final documents.
    pub(super) queue_depth: usize,
    /// Runs in memory.
    pub(super) active_workers: usize,
    pub(super) db_connected: bool,
}
