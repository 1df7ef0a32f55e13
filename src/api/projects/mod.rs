//! Projects: what runs belong to. Source: API reference, executions 14.1 to 14.3.

mod handlers;
mod model;

use http::StatusCode;

use self::handlers::{create_project, list_projects, show_project};
use self::model::{NewProject, OneProject, Projects};
use super::route::{Route, get, post};
use crate::domain::role::Role;
use crate::http::{Callers, Tier};

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    get("/api/projects", Callers::TokenOrKey(Role::Viewer), Tier::Api, list_projects).with(|row| row
        .about("Lists the organization's projects, newest first")
        .gives::<Projects>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch projects")])),
    post("/api/projects", Callers::TokenOrKey(Role::Developer), Tier::Api, create_project).with(|row| row
        .about("Creates a project")
        .takes::<NewProject>()
        .gives::<OneProject>(StatusCode::CREATED)
        .fails([
            (StatusCode::BAD_REQUEST, handlers::NAME_REQUIRED),
            (StatusCode::BAD_REQUEST, handlers::NAME_TOO_LONG),
            (StatusCode::CONFLICT, handlers::NAME_TAKEN),
            (StatusCode::TOO_MANY_REQUESTS, "Project limit exceeded"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to create project"),
        ])),
    get("/api/projects/{projectId}", Callers::TokenOrKey(Role::Viewer), Tier::Api, show_project).with(|row| row
        .about("Tells about a project")
        .gives::<OneProject>(StatusCode::OK)
        .fails([
            (StatusCode::NOT_FOUND, "Project not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch project"),
        ])),
] }
