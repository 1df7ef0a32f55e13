//! A project's environment variables: secret ones are sealed on their way to the store and never shown again.
//! Source: API reference, executions 14.7 to 14.11.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::find_project;
use crate::access::Caller;
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Client, Developer, FromMembers, Members, Segment, Segments, Valid, Viewer};
use crate::api::reply::{Reply, created, failed, ok, overtaken};
use crate::domain::account::AuditEntry;
use crate::domain::id::{ProjectId, VariableId};
use crate::domain::seal::{Sealed, SecretText};
use crate::domain::time::IsoMs;
use crate::domain::variable::{MASK, Variable, is_name, is_reserved};
use crate::http::{Failure, Finding, Kind};
use crate::limits::{OVERTAKEN_TRIES, VARIABLE_VALUE_CHARS_MAX, VARIABLES_PER_PROJECT_MAX};
use crate::store::contract::{Conflict, StoreError};

pub(super) const INVALID_NEW_KEY: &str =
    "key must be a valid environment variable name (letters, digits, underscores; cannot start with a digit)";
pub(super) const INVALID_KEY: &str = "key must be a valid environment variable name";
pub(super) const RESERVED: &str = "Reserved environment variable name";
pub(super) const VALUE_REQUIRED: &str = "value is required";
pub(super) const VALUE_TOO_LONG: &str = "value must not exceed 4096 characters";
pub(super) const TOO_MANY: &str = "Maximum of 50 environment variables per project reached";
pub(super) const STAYS_SECRET: &str = "A new value is required to make a secret variable public";
pub(super) const MALFORMED_PROJECT: &str = "Invalid projectId format";
pub(super) const MALFORMED_VARIABLE: &str = "Invalid varId format";
pub(super) const NOT_FOUND: &str = "Environment variable not found";
pub(super) const LIST_FAILED: &str = "Failed to fetch environment variables";
pub(super) const CREATE_FAILED: &str = "Failed to create environment variable";
pub(super) const UPDATE_FAILED: &str = "Failed to update environment variable";
pub(super) const DELETE_FAILED: &str = "Failed to delete environment variable";
/// How the document names the conflict; the answer names the variable.
pub(super) const KEY_TAKEN: &str = "A variable named \"<key>\" already exists for this project";

const _: () = assert!(VARIABLES_PER_PROJECT_MAX == 50 && VARIABLE_VALUE_CHARS_MAX == 4_096);

/// A variable to be.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct NewVariable {
    /// Letters, digits and `_`, no digit first; trimmed.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z_][A-Za-z0-9_]*$")]
    key: String,
    /// Anything but eight asterisks.
    #[schema(value_type = String, min_length = 1, max_length = 4096)]
    value: SecretText,
    /// Whether the value is sealed, and never shown again.
    #[schema(required = false, default = false)]
    is_secret: bool,
}

impl FromMembers for NewVariable {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let key = checked_key(members.get("key"), INVALID_NEW_KEY)?;
        let value = new_value(members.get("value"))?;
        let value = value.ok_or_else(|| refused(VALUE_REQUIRED, "value", "Give the variable a value"))?;
        Ok(Self { key, value, is_secret: members.get("isSecret") == Some(&Value::Bool(true)) })
    }

    fn absent() -> Failure {
        refused(INVALID_NEW_KEY, "key", "The variable must be a JSON object with a key and a value")
    }
}

/// What is to be changed of a variable; what is absent stays as it is.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct VariableChange {
    /// Letters, digits and `_`, no digit first; trimmed.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z_][A-Za-z0-9_]*$")]
    key: Option<String>,
    /// Empty text and eight asterisks mean the value that is stored.
    #[schema(value_type = Option<String>, max_length = 4096)]
    value: Option<SecretText>,
    /// A secret variable becomes public with a new value only.
    is_secret: Option<bool>,
}

impl FromMembers for VariableChange {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let key = members.get("key").map(|key| checked_key(Some(key), INVALID_KEY)).transpose()?;
        let value = match members.get("value") {
            None => None,
            given => new_value(given)?,
        };
        Ok(Self { key, value, is_secret: members.get("isSecret").and_then(Value::as_bool) })
    }

    fn absent() -> Failure {
        Failure::bad_request("Invalid request body", "The change must be a JSON object")
    }
}

fn refused(error: &'static str, field: &'static str, message: &'static str) -> Failure {
    Failure::bad_request(error, message).with_details(vec![Finding::new(field, error)])
}

fn checked_key(given: Option<&Value>, error: &'static str) -> Result<String, Failure> {
    let key = given.and_then(Value::as_str).map(str::trim).filter(|key| is_name(key));
    let key = key.ok_or_else(|| {
        refused(error, "key", "Name it with 1 to 128 letters, digits and underscores, without a digit first")
    })?;
    if is_reserved(key) {
        return Err(refused(RESERVED, "key", "The server sets this variable itself; choose another name"));
    }
    Ok(key.to_owned())
}

/// The value that is given; `None` for none: an empty one, or the mask that stands for the stored one.
fn new_value(given: Option<&Value>) -> Result<Option<SecretText>, Failure> {
    let text = given.and_then(Value::as_str);
    let text = text.ok_or_else(|| refused(VALUE_REQUIRED, "value", "The value must be a text"))?;
    if text.chars().count() > VARIABLE_VALUE_CHARS_MAX {
        return Err(refused(VALUE_TOO_LONG, "value", "Choose a shorter value"));
    }
    Ok((!text.is_empty() && text != MASK).then(|| text.into()))
}

/// A variable as it is shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VariableView {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    key: String,
    /// Eight asterisks if it is secret.
    value: String,
    is_secret: bool,
    created_at: IsoMs,
    updated_at: IsoMs,
}

impl From<Variable> for VariableView {
    fn from(variable: Variable) -> Self {
        Self {
            id: variable.id.to_string(),
            is_secret: variable.is_secret(),
            key: variable.key,
            value: variable.value.unwrap_or_else(|| MASK.to_owned()),
            created_at: IsoMs(variable.created_ms),
            updated_at: IsoMs(variable.updated_ms),
        }
    }
}

/// A project's variables.
#[derive(Serialize, ToSchema)]
pub(super) struct Variables {
    data: Vec<VariableView>,
}

/// One variable.
#[derive(Serialize, ToSchema)]
pub(super) struct OneVariable {
    data: VariableView,
}

/// Nothing.
#[derive(Serialize, ToSchema)]
pub(super) struct NoVariable {
    /// Always `null`.
    #[schema(required = true)]
    data: Option<bool>,
}

fn one(variable: Variable) -> OneVariable {
    OneVariable { data: variable.into() }
}

pub(super) async fn list_variables(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(project): Segment,
) -> Reply<Variables> {
    let project = project_of(&app, &caller, &project, LIST_FAILED).await?;
    let found = app.store.variables(caller.org, project).await.map_err(failed(LIST_FAILED))?;
    Ok(ok(Variables { data: found.into_iter().map(Into::into).collect() }))
}

pub(super) async fn create_variable(
    State(app): State<App>,
    Developer(caller): Developer,
    Client(ip): Client,
    Segment(project): Segment,
    Valid(new): Valid<NewVariable>,
) -> Reply<OneVariable> {
    let project = project_of(&app, &caller, &project, CREATE_FAILED).await?;
    let now_ms = app.now_ms();
    let NewVariable { key, value, is_secret } = new;
    let variable = Variable {
        id: VariableId::generate(now_ms),
        org: caller.org,
        project,
        key,
        value: (!is_secret).then(|| value.expose().to_owned()),
        created_ms: now_ms,
        updated_ms: now_ms,
    };
    let sealed = is_secret.then(|| app.sealer.seal(caller.org, &variable.secret_name(), &value));
    let audit = entry(&Actor::of(&caller, ip, now_ms), "envvar.created", &variable);
    let stored = app.store.create_variable(variable.clone(), sealed, VARIABLES_PER_PROJECT_MAX, audit).await;
    match stored {
        Ok(true) => Ok(created(one(variable))),
        Ok(false) => Err(super::project_not_found()),
        Err(error) => Err(refused_by_store(error, &variable.key, CREATE_FAILED)),
    }
}

pub(super) async fn update_variable(
    State(app): State<App>,
    Developer(caller): Developer,
    Client(ip): Client,
    Segments(project, variable): Segments,
    Valid(change): Valid<VariableChange>,
) -> Reply<OneVariable> {
    let place = place_of(&app, &caller, &project, &variable, UPDATE_FAILED).await?;
    for _ in 0..OVERTAKEN_TRIES {
        let before = find(&app, &caller, place, UPDATE_FAILED).await?;
        let (after, sealed) = changed(&app, &before, &change)?;
        if sealed.is_none() && after == before {
            return Ok(ok(one(before)));
        }
        let now_ms = app.now_ms();
        let after = Variable { updated_ms: now_ms, ..after };
        let audit = entry(&Actor::of(&caller, ip, now_ms), "envvar.updated", &after);
        match app.store.update_variable(&before, after.clone(), sealed, audit).await {
            Ok(true) => return Ok(ok(one(after))),
            Ok(false) => {}
            Err(error) => return Err(refused_by_store(error, &after.key, UPDATE_FAILED)),
        }
    }
    Err(overtaken())
}

/// The variable after the change, and the value to seal if there is one.
fn changed(
    app: &App,
    before: &Variable,
    change: &VariableChange,
) -> Result<(Variable, Option<Sealed>), Failure> {
    let is_secret = change.is_secret.unwrap_or(before.is_secret());
    let mut after = before.clone();
    if let Some(key) = &change.key {
        after.key.clone_from(key);
    }
    if !is_secret {
        after.value = match &change.value {
            Some(value) => Some(value.expose().to_owned()),
            None if before.is_secret() => {
                return Err(refused(STAYS_SECRET, "value", "Its stored value is never shown again"));
            }
            None => after.value,
        };
        return Ok((after, None));
    }
    let stored = after.value.take().map(SecretText::from);
    let value = change.value.as_ref().or(stored.as_ref());
    let sealed = value.map(|value| app.sealer.seal(after.org, &after.secret_name(), value));
    Ok((after, sealed))
}

pub(super) async fn delete_variable(
    State(app): State<App>,
    Developer(caller): Developer,
    Client(ip): Client,
    Segments(project, variable): Segments,
) -> Reply<NoVariable> {
    let place = place_of(&app, &caller, &project, &variable, DELETE_FAILED).await?;
    for _ in 0..OVERTAKEN_TRIES {
        let found = find(&app, &caller, place, DELETE_FAILED).await?;
        let audit = entry(&Actor::of(&caller, ip, app.now_ms()), "envvar.deleted", &found);
        if app.store.delete_variable(&found, audit).await.map_err(failed(DELETE_FAILED))? {
            return Ok(ok(NoVariable { data: None }));
        }
    }
    Err(overtaken())
}

/// Never with the value.
fn entry(actor: &Actor, action: &str, variable: &Variable) -> AuditEntry {
    let details = json!({ "key": variable.key, "isSecret": variable.is_secret() });
    actor.did(action, ("envvar", variable.id), &details)
}

fn refused_by_store(error: StoreError, key: &str, failure: &'static str) -> Failure {
    match error {
        StoreError::Conflict(Conflict::VariableLimit) => {
            Failure::bad_request(TOO_MANY, "Delete a variable before you add another one")
        }
        StoreError::Conflict(Conflict::VariableKey) => Failure::new(
            Kind::Conflict,
            KEY_TAKEN.replace("<key>", key),
            "Names are unique within a project; choose another one",
        ),
        other => failed(failure)(other),
    }
}

/// A project of the caller's organization, by the id in the path.
async fn project_of(
    app: &App,
    caller: &Caller,
    id: &str,
    failure: &'static str,
) -> Result<ProjectId, Failure> {
    if id.parse::<ProjectId>().is_err() {
        return Err(Failure::bad_request(MALFORMED_PROJECT, "A project's id has 24 digits from 0 to f"));
    }
    Ok(find_project(app, caller.org, id, failure).await?.id)
}

/// Project and variable, by the ids in the path; only the project is known to exist.
async fn place_of(
    app: &App,
    caller: &Caller,
    project: &str,
    variable: &str,
    failure: &'static str,
) -> Result<(ProjectId, VariableId), Failure> {
    let malformed = || Failure::bad_request(MALFORMED_VARIABLE, "A variable's id has 24 digits from 0 to f");
    if project.parse::<ProjectId>().is_ok() && variable.parse::<VariableId>().is_err() {
        return Err(malformed());
    }
    let project = project_of(app, caller, project, failure).await?;
    Ok((project, variable.parse().map_err(|_| malformed())?))
}

async fn find(
    app: &App,
    caller: &Caller,
    (project, variable): (ProjectId, VariableId),
    failure: &'static str,
) -> Result<Variable, Failure> {
    let found = app.store.variable(caller.org, project, variable).await.map_err(failed(failure))?;
    found.ok_or_else(|| Failure::not_found(NOT_FOUND, "The project has no variable with this id"))
}
