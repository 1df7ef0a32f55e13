//! Projects: what runs belong to, their settings and environment variables. Source: API reference, executions 14.

mod handlers;
mod model;
mod settings;
mod variables;

use http::StatusCode;

pub(super) use self::handlers::make_project;
use self::handlers::{create_project, list_projects, show_project};
pub(super) use self::model::{NewProject, ProjectView};
use self::model::{OneProject, Projects};
use self::settings::{
    DefaultSettings, SettingsChange, ShownSettings, save_project_settings, show_default_settings,
    show_project_settings,
};
use self::variables::{
    NewVariable, NoVariable, OneVariable, VariableChange, Variables, create_variable, delete_variable,
    list_variables, update_variable,
};
use super::App;
use super::reply::failed;
use super::route::{Route, delete, get, post, put};
use crate::domain::id::{OrgId, ProjectId};
use crate::domain::project::Project;
use crate::domain::role::Role;
use crate::http::{Callers, Failure, Tier};

const READER: Callers = Callers::TokenOrKey(Role::Viewer);
const WRITER: Callers = Callers::TokenOrKey(Role::Developer);
const NO_PROJECT: (StatusCode, &str) = (StatusCode::NOT_FOUND, "Project not found");
const NO_VARIABLE: (StatusCode, &str) = (StatusCode::NOT_FOUND, variables::NOT_FOUND);
const MALFORMED_PROJECT: (StatusCode, &str) = (StatusCode::BAD_REQUEST, variables::MALFORMED_PROJECT);
const MALFORMED_VARIABLE: (StatusCode, &str) = (StatusCode::BAD_REQUEST, variables::MALFORMED_VARIABLE);

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    get("/api/projects", READER, Tier::Api, list_projects).with(|row| row
        .about("Lists the organization's projects, newest first")
        .gives::<Projects>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch projects")])),
    post("/api/projects", WRITER, Tier::Api, create_project).with(|row| row
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
    get("/api/projects/{projectId}", READER, Tier::Api, show_project).with(|row| row
        .about("Tells about a project")
        .gives::<OneProject>(StatusCode::OK)
        .fails([
            (StatusCode::NOT_FOUND, "Project not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch project"),
        ])),
    get("/api/projects/{projectId}/settings", READER, Tier::Api, show_project_settings).with(|row| row
        .about("A project's settings")
        .gives::<ShownSettings>(StatusCode::OK)
        .fails([NO_PROJECT, (StatusCode::INTERNAL_SERVER_ERROR, settings::FETCH_FAILED)])),
    put("/api/projects/{projectId}/settings", WRITER, Tier::Api, save_project_settings).with(|row| row
        .about("Changes a project's settings; what is absent stays as it is")
        .may_take::<SettingsChange>()
        .gives::<ShownSettings>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, settings::INVALID),
            NO_PROJECT,
            (StatusCode::INTERNAL_SERVER_ERROR, settings::SAVE_FAILED),
        ])),
    get("/api/project-settings", READER, Tier::Api, show_default_settings).with(|row| row
        .about("The settings of the oldest project, for forms to begin with")
        .gives::<DefaultSettings>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, settings::FETCH_FAILED)])),
    get("/api/projects/{projectId}/env", READER, Tier::Api, list_variables).with(|row| row
        .about("A project's environment variables, oldest first; secret values are masked")
        .gives::<Variables>(StatusCode::OK)
        .fails([
            MALFORMED_PROJECT,
            NO_PROJECT,
            (StatusCode::INTERNAL_SERVER_ERROR, variables::LIST_FAILED),
        ])),
    post("/api/projects/{projectId}/env", WRITER, Tier::Api, create_variable).with(|row| row
        .about("Adds an environment variable; a secret value is sealed and never shown again")
        .takes::<NewVariable>()
        .gives::<OneVariable>(StatusCode::CREATED)
        .fails([
            (StatusCode::BAD_REQUEST, variables::INVALID_NEW_KEY),
            (StatusCode::BAD_REQUEST, variables::RESERVED),
            (StatusCode::BAD_REQUEST, variables::VALUE_REQUIRED),
            (StatusCode::BAD_REQUEST, variables::VALUE_TOO_LONG),
            (StatusCode::BAD_REQUEST, variables::TOO_MANY),
            MALFORMED_PROJECT,
            NO_PROJECT,
            (StatusCode::CONFLICT, variables::KEY_TAKEN),
            (StatusCode::INTERNAL_SERVER_ERROR, variables::CREATE_FAILED),
        ])),
    put("/api/projects/{projectId}/env/{varId}", WRITER, Tier::Api, update_variable).with(|row| row
        .about("Changes an environment variable; what is absent stays as it is")
        .may_take::<VariableChange>()
        .gives::<OneVariable>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, variables::INVALID_KEY),
            (StatusCode::BAD_REQUEST, variables::RESERVED),
            (StatusCode::BAD_REQUEST, variables::VALUE_REQUIRED),
            (StatusCode::BAD_REQUEST, variables::VALUE_TOO_LONG),
            (StatusCode::BAD_REQUEST, variables::STAYS_SECRET),
            MALFORMED_PROJECT,
            MALFORMED_VARIABLE,
            NO_PROJECT,
            NO_VARIABLE,
            (StatusCode::CONFLICT, variables::KEY_TAKEN),
            (StatusCode::INTERNAL_SERVER_ERROR, variables::UPDATE_FAILED),
        ])),
    delete("/api/projects/{projectId}/env/{varId}", WRITER, Tier::Api, delete_variable).with(|row| row
        .about("Removes an environment variable")
        .gives::<NoVariable>(StatusCode::OK)
        .fails([
            MALFORMED_PROJECT,
            MALFORMED_VARIABLE,
            NO_PROJECT,
            NO_VARIABLE,
            (StatusCode::INTERNAL_SERVER_ERROR, variables::DELETE_FAILED),
        ])),
] }

fn project_not_found() -> Failure {
    Failure::not_found("Project not found", "The organization has no project with this id")
}

/// The organization's project with this id. A malformed one is answered like an unknown one; what the store could not do
/// is told as `failure`.
async fn find_project(app: &App, org: OrgId, id: &str, failure: &'static str) -> Result<Project, Failure> {
    let Ok(id) = id.parse::<ProjectId>() else { return Err(project_not_found()) };
    let found = app.store.project(org, id).await.map_err(failed(failure))?;
    found.ok_or_else(project_not_found)
}
