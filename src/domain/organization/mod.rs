//! What an organization has set beside its name: features, where it is notified, what its integrations and AI use. What is
//! secret is [`Sealed`] for its place. Source: API reference, identity 5.1 to 5.3.

mod change;

use serde::{Deserialize, Serialize};

pub use change::{Author, FeaturesPatch, OrgChange, Patch, SettingsPatch};

use super::account::Organization;
use super::seal::Sealed;

/// An organization with its settings, as they were together at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgState {
    /// The record.
    pub organization: Organization,
    /// Its settings; the defaults if none were ever set.
    pub settings: OrgSettings,
}

/// What an organization has set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgSettings {
    /// The AI features but root cause analysis, which [`Organization::ai_analysis_enabled`] is.
    ai_features: AiFeatures,
    /// Whether dashboards show test cases.
    pub test_cases_enabled: bool,
    /// Whether dashboards show test cycles.
    pub test_cycles_enabled: bool,
    /// Slack.
    pub slack: Channel,
    /// Microsoft Teams.
    pub ms_teams: Channel,
    /// Where every finished run is told.
    pub outbound_url: Option<Sealed>,
    /// Signs what is told there.
    pub outbound_secret: Option<Sealed>,
    /// Signs what the PR-routing webhook takes.
    pub webhook_secret: Option<Sealed>,
    /// Which integrations are on.
    pub integrations: Integrations,
    /// Which AI is used, and with which key.
    pub ai: AiConfig,
}

impl OrgSettings {
    /// The sealed settings that are set, by the place each is bound to, in the order of their places' names.
    #[must_use]
    pub fn sealed(&self) -> Vec<(&'static str, &Sealed)> {
        let all = [
            (place::MS_TEAMS_URL, &self.ms_teams.url),
            (place::OUTBOUND_SECRET, &self.outbound_secret),
            (place::OUTBOUND_URL, &self.outbound_url),
            (place::SLACK_URL, &self.slack.url),
            (place::WEBHOOK_SECRET, &self.webhook_secret),
        ];
        all.into_iter().filter_map(|(place, value)| Some((place, value.as_ref()?))).collect()
    }

    /// The sealed setting of this place; `None` if there is no such place, or nothing is set.
    pub fn sealed_mut(&mut self, place: &str) -> Option<&mut Sealed> {
        match place {
            place::MS_TEAMS_URL => self.ms_teams.url.as_mut(),
            place::OUTBOUND_SECRET => self.outbound_secret.as_mut(),
            place::OUTBOUND_URL => self.outbound_url.as_mut(),
            place::SLACK_URL => self.slack.url.as_mut(),
            place::WEBHOOK_SECRET => self.webhook_secret.as_mut(),
            _ => None,
        }
    }
}

impl Default for OrgSettings {
    fn default() -> Self {
        Self {
            ai_features: AiFeatures::default(),
            test_cases_enabled: true,
            test_cycles_enabled: true,
            slack: Channel::default(),
            ms_teams: Channel::default(),
            outbound_url: None,
            outbound_secret: None,
            webhook_secret: None,
            integrations: Integrations::default(),
            ai: AiConfig::default(),
        }
    }
}

/// The places that sealed settings are bound to, which are also the names of the fields that set them.
pub mod place {
    /// The address of the Slack webhook.
    pub const SLACK_URL: &str = "slackWebhookUrl";
    /// The address of the Teams webhook.
    pub const MS_TEAMS_URL: &str = "msTeamsWebhookUrl";
    /// The address of the organization's own webhook.
    pub const OUTBOUND_URL: &str = "outboundWebhookUrl";
    /// What signs that one.
    pub const OUTBOUND_SECRET: &str = "outboundWebhookSecret";
    /// What signs PR-routing webhooks.
    pub const WEBHOOK_SECRET: &str = "webhookSecret";
}

/// A chat that is told how runs end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Where; nowhere without one.
    pub url: Option<Sealed>,
    /// What of; `None` if never set.
    events: Option<Vec<NotifiedStatus>>,
}

impl Channel {
    /// What is told.
    #[must_use]
    pub fn events(&self) -> &[NotifiedStatus] {
        const DEFAULT: [NotifiedStatus; 3] =
            [NotifiedStatus::Failed, NotifiedStatus::Error, NotifiedStatus::Unstable];
        self.events.as_deref().unwrap_or(&DEFAULT)
    }
}

/// An end of a run that people can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum NotifiedStatus {
    /// All passed.
    Passed,
    /// Something failed.
    Failed,
    /// It could not run.
    Error,
    /// Passed after retries.
    Unstable,
}

impl NotifiedStatus {
    /// The status with this name on the wire.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "PASSED" => Some(Self::Passed),
            "FAILED" => Some(Self::Failed),
            "ERROR" => Some(Self::Error),
            "UNSTABLE" => Some(Self::Unstable),
            _ => None,
        }
    }
}

/// One of the AI features that an organization switches on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AiFeature {
    /// Failed runs are analysed.
    RootCauseAnalysis,
    /// Tickets are written.
    AutoBugGeneration,
    /// Flaky tests are looked for.
    FlakinessDetective,
    /// Tests are improved.
    TestOptimizer,
    /// Changes choose their tests.
    PrRouting,
    /// People ask about runs.
    QualityChatbot,
    /// Tests are made of specifications.
    SpecToTest,
    /// Automation is planned.
    AutomationPlanner,
}

impl AiFeature {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RootCauseAnalysis,
        Self::AutoBugGeneration,
        Self::FlakinessDetective,
        Self::TestOptimizer,
        Self::PrRouting,
        Self::QualityChatbot,
        Self::SpecToTest,
        Self::AutomationPlanner,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RootCauseAnalysis => "rootCauseAnalysis",
            Self::AutoBugGeneration => "autoBugGeneration",
            Self::FlakinessDetective => "flakinessDetective",
            Self::TestOptimizer => "testOptimizer",
            Self::PrRouting => "prRouting",
            Self::QualityChatbot => "qualityChatbot",
            Self::SpecToTest => "specToTest",
            Self::AutomationPlanner => "automationPlanner",
        }
    }
}

/// The switches that stand in the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct AiFeatures {
    auto_bug_generation: bool,
    flakiness_detective: bool,
    test_optimizer: bool,
    pr_routing: bool,
    quality_chatbot: bool,
    spec_to_test: bool,
    automation_planner: bool,
}

impl OrgState {
    /// Whether an AI feature is on.
    #[must_use]
    pub const fn has(&self, feature: AiFeature) -> bool {
        let features = &self.settings.ai_features;
        match feature {
            AiFeature::RootCauseAnalysis => self.organization.ai_analysis_enabled,
            AiFeature::AutoBugGeneration => features.auto_bug_generation,
            AiFeature::FlakinessDetective => features.flakiness_detective,
            AiFeature::TestOptimizer => features.test_optimizer,
            AiFeature::PrRouting => features.pr_routing,
            AiFeature::QualityChatbot => features.quality_chatbot,
            AiFeature::SpecToTest => features.spec_to_test,
            AiFeature::AutomationPlanner => features.automation_planner,
        }
    }

    const fn switch(&mut self, feature: AiFeature) -> &mut bool {
        let features = &mut self.settings.ai_features;
        match feature {
            AiFeature::RootCauseAnalysis => &mut self.organization.ai_analysis_enabled,
            AiFeature::AutoBugGeneration => &mut features.auto_bug_generation,
            AiFeature::FlakinessDetective => &mut features.flakiness_detective,
            AiFeature::TestOptimizer => &mut features.test_optimizer,
            AiFeature::PrRouting => &mut features.pr_routing,
            AiFeature::QualityChatbot => &mut features.quality_chatbot,
            AiFeature::SpecToTest => &mut features.spec_to_test,
            AiFeature::AutomationPlanner => &mut features.automation_planner,
        }
    }
}

/// Which integrations are on. Switched by their own endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integrations {
    /// Jira.
    pub jira: bool,
    /// GitHub.
    pub github: bool,
    /// GitLab.
    pub gitlab: bool,
    /// Azure DevOps.
    pub azure: bool,
    /// Bitbucket.
    pub bitbucket: bool,
    /// Linear.
    pub linear: bool,
    /// Monday.
    pub monday: bool,
}

/// Which AI is used, and with which key. Set by its own endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiConfig {
    default_model: Option<String>,
    /// The organization's own key of Gemini.
    pub gemini_key: Option<Sealed>,
    /// That of OpenAI.
    pub openai_key: Option<Sealed>,
    /// That of Anthropic.
    pub anthropic_key: Option<Sealed>,
}

impl AiConfig {
    /// The model that is used if a request names none.
    #[must_use]
    pub fn default_model(&self) -> &str {
        self.default_model.as_deref().unwrap_or("gemini-2.5-flash")
    }
}
