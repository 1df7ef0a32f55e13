//! Bodies that change an organization, checked field by field in the order of the reference.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::extract::{FromMembers, Members};
use crate::domain::id::OrgId;
use crate::domain::organization::{AiFeature, FeaturesPatch, NotifiedStatus, Patch, SettingsPatch, place};
use crate::domain::seal::{Sealed, Sealer, SecretText};
use crate::domain::webhook::{OutboundHost, is_ms_teams, is_slack, outbound_host};
use crate::http::Failure;

pub(super) const MISSING: &str = "Missing fields";
pub(super) const INVALID_OUTBOUND_URL: &str = "Invalid outboundWebhookUrl";

/// Characters of a name, after trimming.
const NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=100;
/// Characters of the secret of the organization's webhook.
const OUTBOUND_SECRET_CHARS: std::ops::RangeInclusive<usize> = 1..=256;
/// Characters of the secret of PR-routing webhooks.
const WEBHOOK_SECRET_CHARS: std::ops::RangeInclusive<usize> = 16..=256;

/// What may be changed; at least one field. Of the addresses and secrets `null` clears.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read member by member; the fields are the schema's")]
pub(super) struct OrganizationUpdate {
    /// Trimmed.
    #[schema(min_length = 2, max_length = 100, nullable = false)]
    name: Option<String>,
    /// The same switch as `aiFeatures.rootCauseAnalysis`.
    #[schema(nullable = false)]
    ai_analysis_enabled: Option<bool>,
    /// Empty clears too.
    #[schema(format = "uri")]
    slack_webhook_url: Option<String>,
    /// Which ends of runs Slack is told.
    #[schema(nullable = false)]
    slack_notification_events: Option<Vec<NotifiedStatus>>,
    /// Empty clears too.
    #[schema(format = "uri", max_length = 2048)]
    ms_teams_webhook_url: Option<String>,
    /// Which ends of runs Teams is told.
    #[schema(nullable = false)]
    ms_teams_notification_events: Option<Vec<NotifiedStatus>>,
    /// `https`, no credentials, no internal host. Empty clears too, and its secret with it.
    #[schema(format = "uri", max_length = 2048)]
    outbound_webhook_url: Option<String>,
    /// Signs what is sent there.
    #[schema(format = "password", min_length = 1, max_length = 256)]
    outbound_webhook_secret: Option<String>,
    /// Signs webhooks that come in; printable ASCII.
    #[schema(format = "password", min_length = 16, max_length = 256)]
    webhook_secret: Option<String>,
}

/// [`OrganizationUpdate`], checked as far as texts tell.
#[derive(Debug)]
pub(super) struct CheckedUpdate {
    open: SettingsPatch,
    slack_url: Patch<SecretText>,
    ms_teams_url: Patch<SecretText>,
    outbound_url: Patch<SecretText>,
    outbound_secret: Patch<SecretText>,
    webhook_secret: Patch<SecretText>,
    /// The name that the organization's webhook leads to, to be looked up.
    pub(super) outbound_host: Option<String>,
}

impl FromMembers for CheckedUpdate {
    fn from_members(members: Members) -> Result<Self, Failure> {
        const FIELDS: [&str; 9] = [
            "name",
            "aiAnalysisEnabled",
            place::SLACK_URL,
            "slackNotificationEvents",
            place::MS_TEAMS_URL,
            "msTeamsNotificationEvents",
            place::OUTBOUND_URL,
            place::OUTBOUND_SECRET,
            place::WEBHOOK_SECRET,
        ];
        if !FIELDS.iter().any(|field| members.contains_key(*field)) {
            return Err(missing(&FIELDS));
        }
        let name = checked(&members, "name", "Invalid name", "a text of 2 to 100 characters", |value| {
            let name = value.as_str()?.trim();
            NAME_CHARS.contains(&name.chars().count()).then(|| name.to_owned())
        })?;
        let ai_analysis_enabled = switch(&members, "aiAnalysisEnabled", "Invalid aiAnalysisEnabled")?;
        let slack_url = address(
            &members,
            place::SLACK_URL,
            "Invalid slackWebhookUrl",
            "a Slack webhook's URL",
            is_slack,
        )?;
        let slack_events = events(&members, "slackNotificationEvents", "Invalid slackNotificationEvents")?;
        let teams = "a URL like https://….webhook.office.com/webhookb2/…";
        let ms_teams_url =
            address(&members, place::MS_TEAMS_URL, "Invalid msTeamsWebhookUrl", teams, is_ms_teams)?;
        let ms_teams_events =
            events(&members, "msTeamsNotificationEvents", "Invalid msTeamsNotificationEvents")?;
        let mut host = None;
        let outbound_url = address(&members, place::OUTBOUND_URL, INVALID_OUTBOUND_URL, OUTWARD, |text| {
            host = outbound_host(text);
            host.is_some()
        })?;
        let outbound_host = host.and_then(|host| match host {
            OutboundHost::Name(name) => Some(name),
            OutboundHost::Address => None,
        });
        let outbound_secret = secret(
            &members,
            (place::OUTBOUND_SECRET, "Invalid outboundWebhookSecret"),
            "a text of 1 to 256 characters",
            |text| OUTBOUND_SECRET_CHARS.contains(&text.chars().count()),
        )?;
        let webhook_secret = secret(
            &members,
            (place::WEBHOOK_SECRET, "Invalid webhookSecret"),
            "16 to 256 printable ASCII characters",
            |text| {
                WEBHOOK_SECRET_CHARS.contains(&text.len())
                    && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            },
        )?;
        let open = SettingsPatch {
            name,
            ai_analysis_enabled,
            slack_events,
            ms_teams_events,
            ..SettingsPatch::default()
        };
        Ok(Self {
            open,
            slack_url,
            ms_teams_url,
            outbound_url,
            outbound_secret,
            webhook_secret,
            outbound_host,
        })
    }
}

impl CheckedUpdate {
    /// With every secret sealed for its place in `org`.
    pub(super) fn seal(self, org: OrgId, sealer: &Sealer) -> SettingsPatch {
        let seal = |place: &str, patch: Patch<SecretText>| -> Patch<Sealed> {
            match patch {
                Patch::Keep => Patch::Keep,
                Patch::Clear => Patch::Clear,
                Patch::Set(text) => Patch::Set(sealer.seal(org, place, &text)),
            }
        };
        SettingsPatch {
            slack_url: seal(place::SLACK_URL, self.slack_url),
            ms_teams_url: seal(place::MS_TEAMS_URL, self.ms_teams_url),
            outbound_url: seal(place::OUTBOUND_URL, self.outbound_url),
            outbound_secret: seal(place::OUTBOUND_SECRET, self.outbound_secret),
            webhook_secret: seal(place::WEBHOOK_SECRET, self.webhook_secret),
            ..self.open
        }
    }
}

const OUTWARD: &str = "an https URL without credentials whose host is not internal";

/// 400: the webhook's host leads inward.
pub(super) fn internal_host() -> Failure {
    Failure::bad_request(INVALID_OUTBOUND_URL, format!("outboundWebhookUrl must be {OUTWARD}, or null"))
}

/// What may be switched; at least one field.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read member by member; the fields are the schema's")]
pub(super) struct FeaturesUpdate {
    /// Whether dashboards show test cases.
    #[schema(nullable = false)]
    test_cases_enabled: Option<bool>,
    /// Whether dashboards show test cycles.
    #[schema(nullable = false)]
    test_cycles_enabled: Option<bool>,
    /// AI features by name; those that are not named stay as they are.
    #[schema(nullable = false)]
    ai_features: Option<std::collections::BTreeMap<String, bool>>,
}

/// [`FeaturesUpdate`], checked.
#[derive(Debug)]
pub(super) struct CheckedFeatures(pub(super) FeaturesPatch);

impl FromMembers for CheckedFeatures {
    fn from_members(members: Members) -> Result<Self, Failure> {
        const FIELDS: [&str; 3] = ["testCasesEnabled", "testCyclesEnabled", "aiFeatures"];
        if !FIELDS.iter().any(|field| members.contains_key(*field)) {
            return Err(missing(&FIELDS));
        }
        let test_cases_enabled = switch(&members, "testCasesEnabled", "Invalid testCasesEnabled")?;
        let test_cycles_enabled = switch(&members, "testCyclesEnabled", "Invalid testCyclesEnabled")?;
        let flags = checked(
            &members,
            "aiFeatures",
            "Invalid aiFeatures",
            "an object of AI features by name",
            |value| value.as_object().cloned(),
        )?;
        let mut ai_features = Vec::new();
        for (name, value) in flags.unwrap_or_default() {
            let feature = AiFeature::ALL.into_iter().find(|feature| feature.as_str() == name);
            let feature = feature.ok_or_else(|| {
                let known = AiFeature::ALL.map(AiFeature::as_str).join(", ");
                Failure::bad_request("Invalid aiFeatures key", format!("aiFeatures takes {known}"))
            })?;
            let enabled = value.as_bool().ok_or_else(|| {
                let error = format!("Invalid aiFeatures.{}", feature.as_str());
                let message = format!("aiFeatures.{} must be true or false", feature.as_str());
                Failure::new(crate::http::Kind::BadRequest, error, message)
            })?;
            ai_features.push((feature, enabled));
        }
        Ok(Self(FeaturesPatch { test_cases_enabled, test_cycles_enabled, ai_features }))
    }
}

fn missing(fields: &[&str]) -> Failure {
    Failure::bad_request(MISSING, format!("Send at least one of {}", fields.join(", ")))
}

/// The value of a field that is there, as `read` gives it.
fn checked<T>(
    members: &Members,
    field: &str,
    error: &'static str,
    wanted: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let Some(value) = members.get(field) else { return Ok(None) };
    let wrong = || Failure::bad_request(error, format!("{field} must be {wanted}"));
    read(value).map(Some).ok_or_else(wrong)
}

fn switch(members: &Members, field: &str, error: &'static str) -> Result<Option<bool>, Failure> {
    checked(members, field, error, "true or false", Value::as_bool)
}

/// An address that `null` and an empty text clear.
fn address(
    members: &Members,
    field: &str,
    error: &'static str,
    wanted: &str,
    fits: impl FnOnce(&str) -> bool,
) -> Result<Patch<SecretText>, Failure> {
    let read = |value: &Value| match value {
        Value::Null => Some(Patch::Clear),
        Value::String(text) if text.is_empty() => Some(Patch::Clear),
        Value::String(text) => fits(text).then(|| Patch::Set(SecretText::from(text.as_str()))),
        _ => None,
    };
    Ok(checked(members, field, error, &format!("{wanted}, or null"), read)?.unwrap_or_default())
}

/// A secret that `null` clears.
fn secret(
    members: &Members,
    (field, error): (&str, &'static str),
    wanted: &str,
    fits: impl FnOnce(&str) -> bool,
) -> Result<Patch<SecretText>, Failure> {
    let read = |value: &Value| match value {
        Value::Null => Some(Patch::Clear),
        Value::String(text) => fits(text).then(|| Patch::Set(SecretText::from(text.as_str()))),
        _ => None,
    };
    Ok(checked(members, field, error, &format!("{wanted}, or null"), read)?.unwrap_or_default())
}

/// Ends of runs, each once.
fn events(
    members: &Members,
    field: &str,
    error: &'static str,
) -> Result<Option<Vec<NotifiedStatus>>, Failure> {
    checked(members, field, error, "an array of PASSED, FAILED, ERROR and UNSTABLE", |value| {
        let mut events = Vec::new();
        for name in value.as_array()? {
            let event = NotifiedStatus::named(name.as_str()?)?;
            if !events.contains(&event) {
                events.push(event);
            }
        }
        Some(events)
    })
}
