//! Changing an organization: what is asked for, what becomes of it, and what the audit log is told. Pure, so that a store
//! decides it on what is stored at the moment of the change: changes of different fields that race both stand.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{AiFeature, Channel, NotifiedStatus, OrgState, place};
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::{AuditId, UserId};
use crate::domain::seal::Sealed;

/// What a request says of a value that may be unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Nothing.
    #[default]
    Keep,
    /// Unset it.
    Clear,
    /// Set it.
    Set(T),
}

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrgChange {
    /// Name, notifications, secrets.
    Settings(Box<SettingsPatch>),
    /// Modules and AI features.
    Features(FeaturesPatch),
}

impl From<SettingsPatch> for OrgChange {
    fn from(patch: SettingsPatch) -> Self {
        Self::Settings(Box::new(patch))
    }
}

/// Name, notifications, secrets; what is not there is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsPatch {
    /// 2 to 100 characters.
    pub name: Option<String>,
    /// Whether failed runs are analysed.
    pub ai_analysis_enabled: Option<bool>,
    /// Slack's webhook.
    pub slack_url: Patch<Sealed>,
    /// What Slack is told.
    pub slack_events: Option<Vec<NotifiedStatus>>,
    /// Teams' webhook.
    pub ms_teams_url: Patch<Sealed>,
    /// What Teams is told.
    pub ms_teams_events: Option<Vec<NotifiedStatus>>,
    /// The organization's own webhook; without it its secret goes too.
    pub outbound_url: Patch<Sealed>,
    /// What signs that one.
    pub outbound_secret: Patch<Sealed>,
    /// What signs PR-routing webhooks.
    pub webhook_secret: Patch<Sealed>,
}

/// Modules and AI features; what is not there is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeaturesPatch {
    /// Whether dashboards show test cases.
    pub test_cases_enabled: Option<bool>,
    /// Whether dashboards show test cycles.
    pub test_cycles_enabled: Option<bool>,
    /// AI features by their new position.
    pub ai_features: Vec<(AiFeature, bool)>,
}

/// Who changes something, from where and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub user: UserId,
    /// From where.
    pub ip: IpAddr,
    /// When; Unix milliseconds.
    pub now_ms: UnixMs,
}

impl OrgState {
    /// Makes a change, and tells what the audit log gets: at least one entry. `changes` in it holds what differs from
    /// before, and of secrets only that they were sent. Source: API reference, identity 5.2, 5.3 and 10.
    #[must_use]
    pub fn apply(&mut self, change: &OrgChange, author: &Author) -> Vec<AuditEntry> {
        let mut changes = Map::new();
        let (action, toggled) = match change {
            OrgChange::Settings(patch) => {
                self.apply_settings(patch, &mut changes);
                ("org.settings_updated", patch.ai_analysis_enabled)
            }
            OrgChange::Features(patch) => {
                self.apply_features(patch, &mut changes);
                ("org.features_updated", None)
            }
        };
        self.organization.updated_ms = author.now_ms;
        let mut entries = vec![self.entry(author, action, &json!({ "changes": changes }))];
        if let Some(enabled) = toggled {
            let details = json!({ "aiAnalysisEnabled": enabled });
            entries.push(self.entry(author, "org.ai_analysis_toggled", &details));
        }
        entries
    }

    fn apply_settings(&mut self, patch: &SettingsPatch, changes: &mut Map<String, Value>) {
        set(&mut self.organization.name, patch.name.as_ref(), "name", changes);
        let enabled = self.switch(AiFeature::RootCauseAnalysis);
        set(enabled, patch.ai_analysis_enabled.as_ref(), "aiAnalysisEnabled", changes);
        let settings = &mut self.settings;
        set_secret(&mut settings.slack.url, &patch.slack_url, place::SLACK_URL, changes);
        set_events(&mut settings.slack, patch.slack_events.as_ref(), "slackNotificationEvents", changes);
        set_secret(&mut settings.ms_teams.url, &patch.ms_teams_url, place::MS_TEAMS_URL, changes);
        let teams_events = patch.ms_teams_events.as_ref();
        set_events(&mut settings.ms_teams, teams_events, "msTeamsNotificationEvents", changes);
        set_secret(&mut settings.outbound_url, &patch.outbound_url, place::OUTBOUND_URL, changes);
        set_secret(&mut settings.outbound_secret, &patch.outbound_secret, place::OUTBOUND_SECRET, changes);
        if patch.outbound_url == Patch::Clear {
            set_secret(&mut settings.outbound_secret, &Patch::Clear, place::OUTBOUND_SECRET, changes);
        }
        set_secret(&mut settings.webhook_secret, &patch.webhook_secret, place::WEBHOOK_SECRET, changes);
    }

    fn apply_features(&mut self, patch: &FeaturesPatch, changes: &mut Map<String, Value>) {
        let cases = patch.test_cases_enabled.as_ref();
        set(&mut self.settings.test_cases_enabled, cases, "testCasesEnabled", changes);
        let cycles = patch.test_cycles_enabled.as_ref();
        set(&mut self.settings.test_cycles_enabled, cycles, "testCyclesEnabled", changes);
        for (feature, enabled) in &patch.ai_features {
            let name = format!("aiFeatures.{}", feature.as_str());
            set(self.switch(*feature), Some(enabled), &name, changes);
        }
    }

    fn entry(&self, author: &Author, action: &str, details: &Value) -> AuditEntry {
        AuditEntry {
            id: AuditId::generate(author.now_ms),
            org: self.organization.id,
            user: author.user,
            action: action.to_owned(),
            target_type: "organization".to_owned(),
            target_id: self.organization.id.to_string(),
            details: details.to_string(),
            ip: author.ip.to_string(),
            timestamp_ms: author.now_ms,
        }
    }
}

fn set<T: Clone + PartialEq + serde::Serialize>(
    value: &mut T,
    new: Option<&T>,
    name: &str,
    changes: &mut Map<String, Value>,
) {
    let Some(new) = new.filter(|new| **new != *value) else { return };
    changes.insert(name.to_owned(), json!({ "old": &*value, "new": new }));
    new.clone_into(value);
}

fn set_events(
    channel: &mut Channel,
    new: Option<&Vec<NotifiedStatus>>,
    name: &str,
    changes: &mut Map<String, Value>,
) {
    let mut events = channel.events().to_vec();
    set(&mut events, new, name, changes);
    if new.is_some() {
        channel.events = Some(events);
    }
}

/// Whether a secret is the one before cannot be told: it counts as another one.
fn set_secret(
    value: &mut Option<Sealed>,
    patch: &Patch<Sealed>,
    name: &str,
    changes: &mut Map<String, Value>,
) {
    let new = match patch {
        Patch::Keep => return,
        Patch::Clear => None,
        Patch::Set(new) => Some(new.clone()),
    };
    if new.is_some() || value.is_some() {
        changes.insert(name.to_owned(), "***".into());
    }
    *value = new;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::domain::account::Organization;
    use crate::domain::id::OrgId;
    use crate::domain::organization::OrgSettings;
    use crate::domain::seal::{Sealer, SealingKey};

    const AUTHOR: Author = Author {
        user: UserId::from_bytes(*b"user..user.."),
        ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        now_ms: 7_000,
    };

    fn state() -> OrgState {
        let organization = Organization {
            id: OrgId::from_bytes(*b"organization"),
            name: "Pinewood Labs".into(),
            slug: "pinewood-labs".into(),
            ai_analysis_enabled: true,
            created_ms: 1,
            updated_ms: 1,
        };
        OrgState { organization, settings: OrgSettings::default() }
    }

    fn sealed(text: &str) -> Sealed {
        let sealer = Sealer::new(SealingKey::from_secret(&[1; 32]), Vec::new());
        sealer.seal(OrgId::from_bytes(*b"organization"), "x", &text.into())
    }

    /// Applies a change; actions and details of its entries.
    fn apply(state: &mut OrgState, change: OrgChange) -> Vec<(String, Value)> {
        let entries = state.apply(&change, &AUTHOR);
        let told = entries.into_iter().map(|entry| {
            assert_eq!((entry.org, entry.user), (state.organization.id, AUTHOR.user));
            assert_eq!(
                (entry.target_type.as_str(), entry.target_id),
                ("organization", entry.org.to_string())
            );
            assert_eq!((entry.ip.as_str(), entry.timestamp_ms), ("203.0.113.9", 7_000));
            (entry.action, serde_json::from_str(&entry.details).unwrap())
        });
        told.collect()
    }

    #[test]
    fn settings_tell_old_and_new_and_nothing_of_secrets() {
        let mut state = state();
        let told = apply(
            &mut state,
            OrgChange::from(SettingsPatch {
                name: Some("Pinewood QA".into()),
                ai_analysis_enabled: Some(false),
                slack_url: Patch::Set(sealed("tea")),
                slack_events: Some(vec![NotifiedStatus::Passed]),
                ..SettingsPatch::default()
            }),
        );
        let changes = json!({
            "name": { "old": "Pinewood Labs", "new": "Pinewood QA" },
            "aiAnalysisEnabled": { "old": true, "new": false },
            "slackWebhookUrl": "***",
            "slackNotificationEvents": { "old": ["FAILED", "ERROR", "UNSTABLE"], "new": ["PASSED"] },
        });
        assert_eq!(
            told,
            [
                ("org.settings_updated".to_owned(), json!({ "changes": changes })),
                ("org.ai_analysis_toggled".to_owned(), json!({ "aiAnalysisEnabled": false })),
            ]
        );
        assert!(!state.has(AiFeature::RootCauseAnalysis) && state.settings.slack.url.is_some());
        assert_eq!(state.settings.slack.events(), [NotifiedStatus::Passed]);
        assert_eq!(
            (state.organization.updated_ms, state.organization.slug.as_str()),
            (7_000, "pinewood-labs")
        );
    }

    #[test]
    fn what_is_kept_is_kept_and_what_stays_the_same_is_no_change() {
        let mut state = state();
        let patch = SettingsPatch {
            name: Some("Pinewood Labs".into()),
            slack_events: Some(vec![]),
            webhook_secret: Patch::Clear,
            ..SettingsPatch::default()
        };
        let told = apply(&mut state, OrgChange::from(patch));
        let events = json!({ "old": ["FAILED", "ERROR", "UNSTABLE"], "new": [] });
        assert_eq!(
            told,
            [(
                "org.settings_updated".to_owned(),
                json!({ "changes": { "slackNotificationEvents": events } })
            )]
        );
        let before = state.clone();
        let told = apply(&mut state, OrgChange::from(SettingsPatch::default()));
        assert_eq!(told, [("org.settings_updated".to_owned(), json!({ "changes": {} }))]);
        assert_eq!(state, before);
        assert_eq!(state.settings.slack.events(), []);
    }

    #[test]
    fn without_its_address_the_webhooks_secret_goes_too() {
        let mut state = state();
        let set = SettingsPatch {
            outbound_url: Patch::Set(sealed("a")),
            outbound_secret: Patch::Set(sealed("b")),
            ..SettingsPatch::default()
        };
        apply(&mut state, OrgChange::from(set.clone()));
        assert!(state.settings.outbound_url.is_some() && state.settings.outbound_secret.is_some());
        let cleared = SettingsPatch { outbound_url: Patch::Clear, ..set };
        let told = apply(&mut state, OrgChange::from(cleared));
        assert_eq!((&state.settings.outbound_url, &state.settings.outbound_secret), (&None, &None));
        let changes = json!({ "outboundWebhookUrl": "***", "outboundWebhookSecret": "***" });
        assert_eq!(told, [("org.settings_updated".to_owned(), json!({ "changes": changes }))]);
    }

    #[test]
    fn features_are_merged() {
        let mut state = state();
        let patch = FeaturesPatch {
            test_cycles_enabled: Some(false),
            ai_features: vec![(AiFeature::PrRouting, true), (AiFeature::SpecToTest, false)],
            ..FeaturesPatch::default()
        };
        let told = apply(&mut state, OrgChange::Features(patch));
        let changes = json!({
            "testCyclesEnabled": { "old": true, "new": false },
            "aiFeatures.prRouting": { "old": false, "new": true },
        });
        assert_eq!(told, [("org.features_updated".to_owned(), json!({ "changes": changes }))]);
        let on: Vec<_> = AiFeature::ALL.into_iter().filter(|feature| state.has(*feature)).collect();
        assert_eq!(on, [AiFeature::RootCauseAnalysis, AiFeature::PrRouting]);
        assert!(state.settings.test_cases_enabled && !state.settings.test_cycles_enabled);
        for feature in AiFeature::ALL {
            for enabled in [true, false] {
                let patch =
                    FeaturesPatch { ai_features: vec![(feature, enabled)], ..FeaturesPatch::default() };
                let _told = apply(&mut state, OrgChange::Features(patch));
                assert_eq!(state.has(feature), enabled, "{feature:?}");
            }
        }
        assert!(!state.organization.ai_analysis_enabled, "the same switch under another name");
    }
}
