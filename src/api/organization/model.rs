//! Bodies out of the category `organization`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::organization::{AiConfig, AiFeature, NotifiedStatus, OrgState, place};
use crate::domain::plan::{Plan, PlanLimits};
use crate::domain::role::Role;
use crate::domain::seal::{OpenError, Sealed, Sealer};
use crate::domain::time::IsoMs;

/// What is shown of an address or a secret that is set.
const CONFIGURED: &str = "configured";

/// The organization.
#[derive(Serialize, ToSchema)]
pub(super) struct OneOrganization {
    pub(super) organization: OrganizationView,
}

/// The organization as its members see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrganizationView {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    name: String,
    slug: String,
    plan: Plan,
    limits: LimitsView,
    /// Members of any status.
    user_count: u64,
    user_limit: u64,
    ai_analysis_enabled: bool,
    ai_features: AiFeaturesView,
    ai_config: AiConfigView,
    #[serde(flatten)]
    notifications: Notifications,
    /// Whether webhooks that come in are checked.
    webhook_secret_configured: bool,
    features: FeaturesView,
    integrations: IntegrationsView,
    created_at: IsoMs,
    updated_at: IsoMs,
}

/// What the plan allows, and the bytes that are kept.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LimitsView {
    #[serde(flatten)]
    limits: PlanLimits,
    current_storage_used_bytes: u64,
}

/// Where the organization is told how runs end.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Notifications {
    /// `configured` or `null`.
    slack_webhook_url: Option<&'static str>,
    slack_notification_events: Vec<NotifiedStatus>,
    /// `configured` or `null`.
    ms_teams_webhook_url: Option<&'static str>,
    ms_teams_notification_events: Vec<NotifiedStatus>,
    outbound_webhook: Option<OutboundView>,
}

/// The organization's own webhook.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OutboundView {
    /// For administrators; `configured` for all others.
    url: String,
    secret_configured: bool,
}

/// Which AI features are on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AiFeaturesView {
    root_cause_analysis: bool,
    auto_bug_generation: bool,
    flakiness_detective: bool,
    test_optimizer: bool,
    pr_routing: bool,
    quality_chatbot: bool,
    spec_to_test: bool,
    automation_planner: bool,
}

/// Which AI is used; never a key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AiConfigView {
    default_model: String,
    byok_configured: OwnKeys,
}

/// Of which providers the organization has stored a key of its own.
#[derive(Serialize, ToSchema)]
struct OwnKeys {
    gemini: bool,
    openai: bool,
    anthropic: bool,
}

/// Which modules dashboards show.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FeaturesView {
    test_cases_enabled: bool,
    test_cycles_enabled: bool,
}

/// Which integrations are on.
#[derive(Serialize, ToSchema)]
struct IntegrationsView {
    jira: IntegrationView,
    github: IntegrationView,
    gitlab: IntegrationView,
    azure: IntegrationView,
    bitbucket: IntegrationView,
    linear: IntegrationView,
    monday: IntegrationView,
}

/// Whether an integration is on.
#[derive(Serialize, ToSchema)]
struct IntegrationView {
    enabled: bool,
}

/// The organization after its settings were changed.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganizationUpdated {
    message: &'static str,
    organization: ChangedOrganization,
}

/// What the settings are now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChangedOrganization {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    name: String,
    ai_analysis_enabled: bool,
    #[serde(flatten)]
    notifications: Notifications,
}

/// The features after some were switched.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeaturesUpdated {
    features: FeaturesView,
    ai_features: AiFeaturesView,
}

/// What an organization's view needs beside its state.
pub(super) struct Around {
    pub(super) plan: Plan,
    pub(super) members: u64,
    pub(super) stored_bytes: u64,
}

impl OrganizationView {
    /// As somebody with `role` sees it.
    ///
    /// # Errors
    /// If what is sealed cannot be opened.
    pub(super) fn new(
        state: OrgState,
        around: &Around,
        role: Role,
        sealer: &Sealer,
    ) -> Result<Self, OpenError> {
        let limits = around.plan.limits();
        let switched = |enabled| IntegrationView { enabled };
        let on = state.settings.integrations;
        Ok(Self {
            id: state.organization.id.to_string(),
            plan: around.plan,
            limits: LimitsView { limits, current_storage_used_bytes: around.stored_bytes },
            user_count: around.members,
            user_limit: limits.max_users,
            ai_analysis_enabled: state.organization.ai_analysis_enabled,
            ai_features: AiFeaturesView::of(&state),
            ai_config: AiConfigView::of(&state.settings.ai),
            notifications: Notifications::of(&state, role, sealer)?,
            webhook_secret_configured: state.settings.webhook_secret.is_some(),
            features: FeaturesView::of(&state),
            integrations: IntegrationsView {
                jira: switched(on.jira),
                github: switched(on.github),
                gitlab: switched(on.gitlab),
                azure: switched(on.azure),
                bitbucket: switched(on.bitbucket),
                linear: switched(on.linear),
                monday: switched(on.monday),
            },
            created_at: IsoMs(state.organization.created_ms),
            updated_at: IsoMs(state.organization.updated_ms),
            name: state.organization.name,
            slug: state.organization.slug,
        })
    }
}

impl OrganizationUpdated {
    /// As an administrator sees it.
    ///
    /// # Errors
    /// If what is sealed cannot be opened.
    pub(super) fn new(state: OrgState, sealer: &Sealer) -> Result<Self, OpenError> {
        let notifications = Notifications::of(&state, Role::Admin, sealer)?;
        let organization = ChangedOrganization {
            id: state.organization.id.to_string(),
            name: state.organization.name,
            ai_analysis_enabled: state.organization.ai_analysis_enabled,
            notifications,
        };
        Ok(Self { message: "Settings saved", organization })
    }
}

impl FeaturesUpdated {
    pub(super) fn new(state: &OrgState) -> Self {
        Self { features: FeaturesView::of(state), ai_features: AiFeaturesView::of(state) }
    }
}

impl Notifications {
    fn of(state: &OrgState, role: Role, sealer: &Sealer) -> Result<Self, OpenError> {
        let settings = &state.settings;
        let shown = |sealed: &Option<Sealed>| sealed.as_ref().map(|_| CONFIGURED);
        let outbound = |sealed: &Sealed| {
            let url = if role == Role::Admin {
                sealer.open(state.organization.id, place::OUTBOUND_URL, sealed)?.expose().to_owned()
            } else {
                CONFIGURED.to_owned()
            };
            Ok(OutboundView { url, secret_configured: settings.outbound_secret.is_some() })
        };
        Ok(Self {
            slack_webhook_url: shown(&settings.slack.url),
            slack_notification_events: settings.slack.events().to_vec(),
            ms_teams_webhook_url: shown(&settings.ms_teams.url),
            ms_teams_notification_events: settings.ms_teams.events().to_vec(),
            outbound_webhook: settings.outbound_url.as_ref().map(outbound).transpose()?,
        })
    }
}

impl AiFeaturesView {
    fn of(state: &OrgState) -> Self {
        Self {
            root_cause_analysis: state.has(AiFeature::RootCauseAnalysis),
            auto_bug_generation: state.has(AiFeature::AutoBugGeneration),
            flakiness_detective: state.has(AiFeature::FlakinessDetective),
            test_optimizer: state.has(AiFeature::TestOptimizer),
            pr_routing: state.has(AiFeature::PrRouting),
            quality_chatbot: state.has(AiFeature::QualityChatbot),
            spec_to_test: state.has(AiFeature::SpecToTest),
            automation_planner: state.has(AiFeature::AutomationPlanner),
        }
    }
}

impl AiConfigView {
    fn of(ai: &AiConfig) -> Self {
        let byok_configured = OwnKeys {
            gemini: ai.gemini_key.is_some(),
            openai: ai.openai_key.is_some(),
            anthropic: ai.anthropic_key.is_some(),
        };
        Self { default_model: ai.default_model().to_owned(), byok_configured }
    }
}

impl FeaturesView {
    const fn of(state: &OrgState) -> Self {
        let settings = &state.settings;
        Self {
            test_cases_enabled: settings.test_cases_enabled,
            test_cycles_enabled: settings.test_cycles_enabled,
        }
    }
}
