//! The server tells about itself.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::health::Report;
use super::model::{Defaults, HealthView, MonitorData, MonitorStatus, Overall, VERSION};
use crate::api::App;
use crate::api::reply::{Reply, bare, ok};
use crate::domain::time::IsoMs;
use crate::http::envelope::Message;
use crate::http::full;

pub(super) async fn show_root() -> Reply<Message> {
    Ok(bare(StatusCode::OK, Message { message: "API is running" }))
}

pub(super) async fn show_health(State(app): State<App>) -> Reply<HealthView> {
    let report = app.health.report().await;
    let now_ms = app.now_ms();
    let view = HealthView::new(report, now_ms, now_ms.saturating_sub(app.opened_ms));
    Ok(bare(status_of(report), view))
}

pub(super) async fn show_defaults() -> Reply<Defaults> {
    let defaults = Defaults { image: "", base_url: "", folder: "all", env_mapping: BTreeMap::new() };
    Ok(bare(StatusCode::OK, defaults))
}

pub(super) async fn show_monitor_status(State(app): State<App>) -> Reply<MonitorStatus> {
    let report = app.health.report().await;
    let timestamp = IsoMs(app.now_ms());
    let data = MonitorData {
        status: Overall::of(report),
        version: VERSION,
        timestamp,
        queue_depth: report.queued,
        active_workers: app.engine.stats().executions,
        db_connected: report.store,
    };
    let status = if report.is_well() { "ok" } else { "degraded" };
    Ok(ok(MonitorStatus { status, timestamp, data }).status(status_of(report)))
}

pub(super) async fn show_metrics(State(app): State<App>) -> Response {
    let mut response = Response::new(full((app.metrics)()));
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

fn status_of(report: Report) -> StatusCode {
    if report.is_well() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
