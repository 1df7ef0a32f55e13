//! The server itself: is it there, is it well, what can it do. Source: API reference, identity 9.

mod handlers;
pub(super) mod health;
mod model;

use http::StatusCode;

use self::handlers::{
    show_defaults, show_docs, show_document, show_health, show_metrics, show_monitor_status, show_root,
};
use self::model::{Defaults, HealthView, MonitorStatus};
use super::route::{Route, get};
use crate::http::envelope::Message;
use crate::http::{Callers, Tier};

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    get("/", Callers::Public, Tier::Api, show_root).with(|row| row
        .about("Says that the API is there")
        .gives_bare::<Message>()),
    get("/health", Callers::Public, None, show_health).with(|row| row
        .about("Says whether the server can do its work; 503 with the same body if not")
        .gives_bare::<HealthView>()
        .also(StatusCode::SERVICE_UNAVAILABLE)),
    get("/config/defaults", Callers::Public, Tier::Api, show_defaults).with(|row| row
        .about("Constants that a dashboard starts from")
        .gives_bare::<Defaults>()),
    get("/api/system/monitor-status", Callers::Secret, Tier::Monitor, show_monitor_status).with(|row| row
        .about("For monitors: whether the server can do its work; 503 with the same body if not")
        .gives::<MonitorStatus>(StatusCode::OK)
        .also(StatusCode::SERVICE_UNAVAILABLE)
        .fails([(StatusCode::UNAUTHORIZED, "Unauthorized")])),
    get("/metrics", Callers::Public, None, show_metrics).with(|row| row
        .about("What is measured, as Prometheus text")
        .gives_media("text/plain; version=0.0.4")),
    get("/openapi.json", Callers::Public, Tier::Api, show_document).with(|row| row
        .about("This description of the API, as OpenAPI 3.1")
        .gives_media("application/json")),
    get("/docs", Callers::Public, Tier::Api, show_docs).with(|row| row
        .about("This description of the API, as a page to browse and to try things on")
        .gives_media("text/html")),
] }
