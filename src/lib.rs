//! Runstream takes test results and logs from test frameworks while the tests run, makes them durable before it
//! acknowledges them, and pushes them to dashboards at once.

pub mod access;
pub mod actors;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dial;
pub mod domain;
pub mod fs;
pub mod http;
pub mod ingest;
pub mod limits;
pub mod live;
pub mod server;
pub mod store;
pub mod telemetry;
