//! The one test binary: modules mirror `src/`, black-box over real sockets where there are any.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that panics is a test that failed; clippy knows tests by their attribute, not their helpers"
)]

mod api;
mod cli;
mod crash;
mod exactly_once;
mod fuzz;
mod ingest;
mod live;
mod mail;
mod measure;
mod memory;
mod ownership;
mod playwright;
mod power;
mod server;
mod sse;
mod store;
mod support;
mod tidy;
