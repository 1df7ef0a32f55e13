//! Listing, creating, showing.

use axum::extract::State;
use serde_json::json;

use super::find_project;
use super::model::{NewProject, OneProject, Projects};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Client, Developer, Segment, Valid, Viewer};
use crate::api::quota::plan_limit;
use crate::api::reply::{Reply, created, failed, ok};
use crate::domain::id::ProjectId;
use crate::domain::plan::Plan;
use crate::domain::project::Project;
use crate::domain::slug::project_slug;
use crate::http::{Failure, Kind};
use crate::store::contract::{self, Conflict, Organizations, StoreError};

pub(super) const NAME_REQUIRED: &str = "Project name is required";
pub(super) const NAME_TOO_LONG: &str = "Project name must be 100 characters or less";
pub(super) const NAME_TAKEN: &str = "A project with a similar name already exists in this organization";
const CREATE_FAILED: &str = "Failed to create project";

pub(super) async fn list_projects(State(app): State<App>, Viewer(caller): Viewer) -> Reply<Projects> {
    let projects = app.store.projects(caller.org).await.map_err(failed("Failed to fetch projects"))?;
    Ok(ok(Projects { projects: projects.into_iter().map(Into::into).collect() }))
}

pub(super) async fn create_project(
    State(app): State<App>,
    Developer(caller): Developer,
    Client(ip): Client,
    Valid(NewProject { name }): Valid<NewProject>,
) -> Reply<OneProject> {
    let actor = Actor::of(&caller, ip, app.now_ms());
    let project = make_project(&*app.store, &actor, name, app.settings.plan).await?;
    app.usage.changed(caller.org);
    Ok(created(OneProject { project: project.into() }))
}

/// Stores a new project in the organization of `actor`.
///
/// # Errors
/// 409 if there is one of a similar name, 429 if there are as many as the plan allows.
pub(in crate::api) async fn make_project(
    store: &(impl contract::Projects + Organizations + ?Sized),
    actor: &Actor,
    name: String,
    plan: Plan,
) -> Result<Project, Failure> {
    let project = Project {
        id: ProjectId::generate(actor.now_ms),
        org: actor.org,
        slug: project_slug(&name, rand::random()),
        name,
        auto_quarantine: false,
        created_ms: actor.now_ms,
        updated_ms: actor.now_ms,
    };
    let details = json!({ "name": project.name, "slug": project.slug });
    let audit = actor.did("project.created", ("project", project.id), &details);
    let limit = plan.limits().max_projects;
    match store.create_project(project.clone(), limit, audit).await {
        Ok(()) => Ok(project),
        Err(StoreError::Conflict(Conflict::ProjectSlug)) => Err(Failure::new(
            Kind::Conflict,
            NAME_TAKEN,
            "Choose a name that differs in more than case or blanks",
        )),
        Err(StoreError::Conflict(Conflict::ProjectLimit)) => {
            let used = store.project_count(actor.org).await.map_err(failed(CREATE_FAILED))?;
            let failure = plan_limit("Project limit exceeded", "projects", used, limit);
            Err(failure.with("limit", limit).with("current", used))
        }
        Err(error) => Err(failed(CREATE_FAILED)(error)),
    }
}

pub(super) async fn show_project(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(id): Segment,
) -> Reply<OneProject> {
    let project = find_project(&app, caller.org, &id, "Failed to fetch project").await?;
    Ok(ok(OneProject { project: project.into() }))
}
