//! Showing and changing the organization.

use axum::extract::State;

use super::NOT_FOUND;
use super::model::{Around, FeaturesUpdated, OneOrganization, OrganizationUpdated, OrganizationView};
use super::update::{CheckedFeatures, CheckedUpdate, internal_host};
use crate::access::Caller;
use crate::api::App;
use crate::api::extract::{Admin, Client, Valid, Viewer};
use crate::api::reply::{Reply, failed, ok};
use crate::domain::organization::{Author, OrgChange, OrgState};
use crate::domain::webhook::is_public;
use crate::http::Failure;

pub(super) const SHOW_FAILED: &str = "Failed to fetch organization";
pub(super) const UPDATE_FAILED: &str = "Failed to update organization";
pub(super) const FEATURES_FAILED: &str = "Failed to update organization features";

pub(super) async fn show_organization(
    State(app): State<App>,
    Viewer(caller): Viewer,
) -> Reply<OneOrganization> {
    let found = futures_util::try_join!(
        app.store.organization_state(caller.org),
        app.store.member_count(caller.org),
        app.store.storage_used(caller.org),
    );
    let (state, members, stored_bytes) = found.map_err(failed(SHOW_FAILED))?;
    let state = state.ok_or_else(not_found)?;
    let around = Around { plan: app.settings.plan, members, stored_bytes };
    let organization = OrganizationView::new(state, &around, caller.role, &app.sealer);
    let organization = organization.map_err(|error| Failure::internal(SHOW_FAILED, error))?;
    Ok(ok(OneOrganization { organization }))
}

pub(super) async fn update_organization(
    State(app): State<App>,
    Admin(caller): Admin,
    Client(ip): Client,
    Valid(update): Valid<CheckedUpdate>,
) -> Reply<OrganizationUpdated> {
    if let Some(host) = &update.outbound_host {
        // A name that leads nowhere today is looked up again at each delivery, and refused if it leads inward then.
        let found = app.resolver.resolve(host).await.unwrap_or_default();
        if !found.into_iter().all(is_public) {
            return Err(internal_host());
        }
    }
    let change = OrgChange::from(update.seal(caller.org, &app.sealer));
    let state = change_organization(&app, &caller, ip, change, UPDATE_FAILED).await?;
    let updated = OrganizationUpdated::new(state, &app.sealer);
    Ok(ok(updated.map_err(|error| Failure::internal(UPDATE_FAILED, error))?))
}

pub(super) async fn update_features(
    State(app): State<App>,
    Admin(caller): Admin,
    Client(ip): Client,
    Valid(CheckedFeatures(patch)): Valid<CheckedFeatures>,
) -> Reply<FeaturesUpdated> {
    let change = OrgChange::Features(patch);
    let state = change_organization(&app, &caller, ip, change, FEATURES_FAILED).await?;
    Ok(ok(FeaturesUpdated::new(&state)))
}

async fn change_organization(
    app: &App,
    caller: &Caller,
    ip: std::net::IpAddr,
    change: OrgChange,
    error: &'static str,
) -> Result<OrgState, Failure> {
    let author = Author { user: caller.user, ip, now_ms: app.now_ms() };
    let changed = app.store.change_organization(caller.org, change, author).await;
    changed.map_err(failed(error))?.ok_or_else(not_found)
}

/// The organization's record is missing.
pub(in crate::api) fn not_found() -> Failure {
    Failure::not_found(NOT_FOUND, "The organization is no longer there")
}
