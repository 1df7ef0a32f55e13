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
use crate::http::{Body, full};

/// The page: markup, style and script in one, so that it works without another source.
const DOCS: &str = include_str!("docs.html");

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
    answer("text/plain; version=0.0.4; charset=utf-8", full((app.metrics)()))
}

pub(super) async fn show_document(State(app): State<App>) -> Response {
    answer("application/json; charset=utf-8", full(app.document.clone()))
}

pub(super) async fn show_docs() -> Response {
    answer("text/html; charset=utf-8", full(DOCS))
}

fn answer(media_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn status_of(report: Report) -> StatusCode {
    if report.is_well() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
