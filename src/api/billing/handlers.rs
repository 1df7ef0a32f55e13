//! Listing plans, showing the organization's.

use axum::extract::State;

use super::model::{OneSubscription, Plans, SubscriptionView};
use crate::api::App;
use crate::api::extract::Admin;
use crate::api::organization::not_found;
use crate::api::reply::{Reply, failed, ok};
use crate::domain::plan::Plan;

pub(super) const SUBSCRIPTION_FAILED: &str = "Failed to fetch subscription";

pub(super) async fn list_plans() -> Reply<Plans> {
    Ok(ok(Plans { plans: Plan::ALL.into_iter().map(Into::into).collect() }))
}

pub(super) async fn show_subscription(
    State(app): State<App>,
    Admin(caller): Admin,
) -> Reply<OneSubscription> {
    let known = app.store.organization(caller.org).await.map_err(failed(SUBSCRIPTION_FAILED))?;
    known.ok_or_else(not_found)?;
    Ok(ok(OneSubscription { subscription: SubscriptionView::of(app.settings.plan) }))
}
