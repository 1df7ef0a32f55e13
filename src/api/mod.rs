//! The door for everything that is neither ingest nor live: plain HTTP with JSON. One table drives it: each category's
//! `mod.rs` lists its rows, [`routes`] joins them, and from the rows come the router, the rate tiers, the API document
//! and the tests that walk them all. A request's way: [`router`] finds the row, `guard` lets it pass or answers,
//! `extract` hands the handler its arguments, the handler returns a `Reply`.
//!
//! To add an endpoint: a row in its category, a handler of the same name, a line in the expectation table of
//! `tests/api/`, a test. Nothing here knows a database; no handler sees a credential.

mod app;
mod audit;
mod auth;
mod billing;
pub mod document;
mod executions;
mod extract;
mod guard;
mod invitations;
pub mod operator;
mod organization;
mod person;
mod projects;
mod quota;
mod reply;
mod route;
mod system;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

pub use app::{ApiSettings, App, Inner, Parts};
pub use route::Route;

use crate::http::{Endpoint, Failure};
use guard::Guard;

/// Every endpoint of this door, by category.
#[must_use]
pub fn routes() -> Vec<Route> {
    let categories = [
        ("auth", auth::endpoints()),
        ("organization", organization::endpoints()),
        ("billing", billing::endpoints()),
        ("executions", executions::endpoints()),
        ("invitations", invitations::endpoints()),
        ("projects", projects::endpoints()),
        ("system", system::endpoints()),
        ("users", users::endpoints()),
    ];
    let tagged = categories.into_iter().flat_map(|(category, rows)| {
        rows.into_iter().map(move |row| row.with(|endpoint| Endpoint { category, ..endpoint }))
    });
    tagged.collect()
}

/// The descriptions of every endpoint of this door.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    routes().into_iter().map(|route| route.endpoint).collect()
}

/// The door. Requests must carry their [`crate::http::Peer`].
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for Route { endpoint, handler } in routes() {
        let path = endpoint.path;
        let guard = Guard { app: app.clone(), endpoint: Arc::new(endpoint) };
        router = router.route(path, handler.route_layer(from_fn_with_state(guard, guard::guard)));
    }
    router.fallback(unknown).method_not_allowed_fallback(unknown).with_state(app)
}

/// 404 for a path or a method that is in no row; it needs no credential.
async fn unknown() -> Failure {
    Failure::not_found("Not Found", "There is nothing at this path for this method")
}
