//! Bodies out of the category `billing`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::plan::{Plan, PlanFeatures, UNLIMITED};
use crate::domain::time::IsoMs;

/// All plans, the smallest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Plans {
    pub(super) plans: Vec<PlanView>,
}

/// A plan.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanView {
    id: Plan,
    name: &'static str,
    /// US dollars a month; `null` if it is agreed upon.
    price: Option<u32>,
    /// Always `month`.
    interval: &'static str,
    features: PlanFeaturesView,
}

/// What a plan allows.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlanFeaturesView {
    max_test_runs: Bound,
    max_projects: Bound,
    max_users: Bound,
    max_concurrent_runs: Bound,
    max_storage_bytes: Bound,
    ai_analysis: bool,
    support: &'static str,
    sso: bool,
    audit_logs: bool,
}

/// A number, or `Unlimited`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Bound {
    /// As many.
    Most(u64),
    /// As many as one likes.
    None(&'static str),
}

impl From<u64> for Bound {
    fn from(limit: u64) -> Self {
        if limit == UNLIMITED { Self::None("Unlimited") } else { Self::Most(limit) }
    }
}

impl From<Plan> for PlanView {
    fn from(plan: Plan) -> Self {
        let (limits, PlanFeatures { support, sso, audit_logs }) = (plan.limits(), plan.features());
        Self {
            id: plan,
            name: plan.display_name(),
            price: plan.price(),
            interval: "month",
            features: PlanFeaturesView {
                max_test_runs: limits.max_test_runs.into(),
                max_projects: limits.max_projects.into(),
                max_users: limits.max_users.into(),
                max_concurrent_runs: limits.max_concurrent_runs.into(),
                max_storage_bytes: limits.max_storage_bytes.into(),
                // In every plan.
                ai_analysis: true,
                support,
                sso,
                audit_logs,
            },
        }
    }
}

/// The organization's plan.
#[derive(Serialize, ToSchema)]
pub(super) struct OneSubscription {
    pub(super) subscription: SubscriptionView,
}

/// A plan that nobody pays for here: what a payment would set is `null`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionView {
    plan: Plan,
    plan_name: &'static str,
    price: Option<u32>,
    /// Always `active`.
    status: &'static str,
    current_period_start: Option<IsoMs>,
    current_period_end: Option<IsoMs>,
    cancel_at_period_end: Option<bool>,
    next_billing_date: Option<IsoMs>,
    stripe_customer_id: Option<String>,
    stripe_subscription_id: Option<String>,
    last_payment_date: Option<IsoMs>,
    last_payment_amount: Option<u64>,
}

impl SubscriptionView {
    pub(super) const fn of(plan: Plan) -> Self {
        Self {
            plan,
            plan_name: plan.display_name(),
            price: plan.price(),
            status: "active",
            current_period_start: None,
            current_period_end: None,
            cancel_at_period_end: None,
            next_billing_date: None,
            stripe_customer_id: None,
            stripe_subscription_id: None,
            last_payment_date: None,
            last_payment_amount: None,
        }
    }
}
