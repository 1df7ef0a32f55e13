//! A project's settings. Source: API reference, executions 14.4 to 14.6.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::find_project;
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Client, Developer, FromMembers, Members, Segment, Valid, Viewer};
use crate::api::reply::{Reply, failed, ok, overtaken};
use crate::domain::project::{ProjectSettings, TargetUrls};
use crate::http::{Failure, Finding};
use crate::limits::{OVERTAKEN_TRIES, PROJECT_TEXT_CHARS_MAX, TARGET_URL_CHARS_MAX};

pub(super) const INVALID: &str = "Invalid settings";
pub(super) const FETCH_FAILED: &str = "Failed to fetch project settings";
pub(super) const SAVE_FAILED: &str = "Failed to save project settings";

/// What is to be changed of a project's settings; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct SettingsChange {
    /// Image of the tests, trimmed; empty for none.
    #[schema(max_length = 256)]
    docker_image: Option<String>,
    /// Replaced whole.
    #[schema(value_type = Option<TargetUrlsChange>)]
    target_urls: Option<TargetUrls>,
    /// Folder of the tests, trimmed; empty for none.
    #[schema(max_length = 256)]
    default_test_folder: Option<String>,
    /// Whether failures of quarantined tests do not fail a run.
    auto_quarantine_enabled: Option<bool>,
}

/// Addresses of the tested application, each empty or an http(s) URL.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the API document only; the domain's own type is what is read")]
pub(super) struct TargetUrlsChange {
    /// Empty if absent.
    #[schema(max_length = 2048)]
    dev: Option<String>,
    /// Empty if absent.
    #[schema(max_length = 2048)]
    staging: Option<String>,
    /// Empty if absent.
    #[schema(max_length = 2048)]
    prod: Option<String>,
}

impl SettingsChange {
    fn of(self, before: &ProjectSettings) -> ProjectSettings {
        let before = before.clone();
        ProjectSettings {
            docker_image: self.docker_image.unwrap_or(before.docker_image),
            target_urls: self.target_urls.unwrap_or(before.target_urls),
            default_test_folder: self.default_test_folder.unwrap_or(before.default_test_folder),
            auto_quarantine: self.auto_quarantine_enabled.unwrap_or(before.auto_quarantine),
        }
    }
}

impl FromMembers for SettingsChange {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let mut findings = Vec::new();
        let change = Self {
            docker_image: short_text(&members, "dockerImage", &mut findings),
            target_urls: target_urls(&members, &mut findings),
            default_test_folder: short_text(&members, "defaultTestFolder", &mut findings),
            auto_quarantine_enabled: members.get("autoQuarantineEnabled").and_then(|value| {
                let flag = value.as_bool();
                if flag.is_none() {
                    findings.push(Finding::new("autoQuarantineEnabled", "must be true or false"));
                }
                flag
            }),
        };
        if findings.is_empty() {
            return Ok(change);
        }
        let message = "Some of the settings are not allowed; see details";
        Err(Failure::bad_request(INVALID, message).with_details(findings))
    }

    fn absent() -> Failure {
        Failure::bad_request(INVALID, "The settings must be a JSON object")
    }
}

fn short_text(members: &Members, name: &'static str, findings: &mut Vec<Finding>) -> Option<String> {
    let text = members.get(name)?.as_str().map(str::trim);
    let text = text.filter(|text| text.chars().count() <= PROJECT_TEXT_CHARS_MAX);
    if text.is_none() {
        let wanted = format!("must be a text of at most {PROJECT_TEXT_CHARS_MAX} characters");
        findings.push(Finding::new(name, wanted));
    }
    text.map(str::to_owned)
}

fn target_urls(members: &Members, findings: &mut Vec<Finding>) -> Option<TargetUrls> {
    let Value::Object(urls) = members.get("targetUrls")? else {
        findings.push(Finding::new("targetUrls", "must be an object with dev, staging and prod"));
        return None;
    };
    let mut url = |name: &str| {
        let Some(given) = urls.get(name) else { return String::new() };
        match given.as_str().map(str::trim).filter(|text| is_target(text)) {
            Some(text) => text.to_owned(),
            None => {
                let wanted =
                    format!("must be empty or an http(s) URL of at most {TARGET_URL_CHARS_MAX} characters");
                findings.push(Finding::new(format!("targetUrls.{name}"), wanted));
                String::new()
            }
        }
    };
    Some(TargetUrls { dev: url("dev"), staging: url("staging"), prod: url("prod") })
}

/// Whether a target may be this: nothing, or an http(s) URL with a host.
fn is_target(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_http = matches!(scheme.as_deref(), Some("http" | "https"));
    let is_url = is_http && url::Url::parse(text).is_ok_and(|url| url.has_host());
    text.is_empty() || (is_url && text.chars().count() <= TARGET_URL_CHARS_MAX)
}

/// A project's settings.
#[derive(Serialize, ToSchema)]
pub(super) struct ShownSettings {
    settings: SettingsView,
}

/// The settings that forms begin with: those of the oldest project.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefaultSettings {
    settings: SettingsView,
    /// Whose they are; `null` without any project.
    #[schema(required = true, pattern = "^[0-9a-f]{24}$")]
    project_id: Option<String>,
}

/// A project's settings as they are shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SettingsView {
    docker_image: String,
    target_urls: TargetUrlsView,
    default_test_folder: String,
    auto_quarantine_enabled: bool,
}

/// Target addresses as they are shown; empty for none.
#[derive(Serialize, ToSchema)]
struct TargetUrlsView {
    dev: String,
    staging: String,
    prod: String,
}

impl From<ProjectSettings> for SettingsView {
    fn from(settings: ProjectSettings) -> Self {
        let TargetUrls { dev, staging, prod } = settings.target_urls;
        Self {
            docker_image: settings.docker_image,
            target_urls: TargetUrlsView { dev, staging, prod },
            default_test_folder: settings.default_test_folder,
            auto_quarantine_enabled: settings.auto_quarantine,
        }
    }
}

pub(super) async fn show_project_settings(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(id): Segment,
) -> Reply<ShownSettings> {
    let project = find_project(&app, caller.org, &id, FETCH_FAILED).await?;
    let settings = app.store.project_settings(caller.org, project.id).await.map_err(failed(FETCH_FAILED))?;
    Ok(ok(ShownSettings { settings: settings.unwrap_or_default().into() }))
}

pub(super) async fn save_project_settings(
    State(app): State<App>,
    Developer(caller): Developer,
    Client(ip): Client,
    Segment(id): Segment,
    Valid(change): Valid<SettingsChange>,
) -> Reply<ShownSettings> {
    let project = find_project(&app, caller.org, &id, SAVE_FAILED).await?.id;
    for _ in 0..OVERTAKEN_TRIES {
        let found = app.store.project_settings(caller.org, project).await.map_err(failed(SAVE_FAILED))?;
        let before = found.ok_or_else(super::project_not_found)?;
        let after = change.clone().of(&before);
        let changed = after.changed_since(&before);
        if changed.is_empty() {
            return Ok(ok(ShownSettings { settings: after.into() }));
        }
        let details = json!({ "changed": changed });
        let actor = Actor::of(&caller, ip, app.now_ms());
        let audit = actor.did("project.settings_updated", ("project", project), &details);
        let saved = app.store.save_project_settings(caller.org, project, &before, after.clone(), audit).await;
        if saved.map_err(failed(SAVE_FAILED))? {
            return Ok(ok(ShownSettings { settings: after.into() }));
        }
    }
    Err(overtaken())
}

pub(super) async fn show_default_settings(
    State(app): State<App>,
    Viewer(caller): Viewer,
) -> Reply<DefaultSettings> {
    let oldest = app.store.oldest_project(caller.org).await.map_err(failed(FETCH_FAILED))?;
    let project = oldest.map(|project| project.id);
    let settings = match project {
        Some(project) => {
            app.store.project_settings(caller.org, project).await.map_err(failed(FETCH_FAILED))?
        }
        None => None,
    };
    let project_id = project.map(|project| project.to_string());
    Ok(ok(DefaultSettings { settings: settings.unwrap_or_default().into(), project_id }))
}
