//! Plans, and the organization's own. Payment is no part of this server: the plan is a setting of the deployment. Source:
//! API reference, identity 8.

mod handlers;
mod model;

use http::StatusCode;

use self::handlers::{list_plans, show_subscription};
use self::model::{OneSubscription, Plans};
use super::organization::NOT_FOUND;
use super::route::{Route, get};
use crate::domain::role::Role;
use crate::http::{Callers, Tier};

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    get("/api/billing/plans", Callers::Public, Tier::Api, list_plans).with(|row| row
        .about("Lists the plans and what they allow")
        .gives::<Plans>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch plans")])),
    get("/api/billing/subscription", Callers::Token(Role::Admin), Tier::Api, show_subscription).with(|row| row
        .about("Tells which plan the organization has")
        .gives::<OneSubscription>(StatusCode::OK)
        .fails([
            (StatusCode::NOT_FOUND, NOT_FOUND),
            (StatusCode::INTERNAL_SERVER_ERROR, handlers::SUBSCRIPTION_FAILED),
        ])),
] }
