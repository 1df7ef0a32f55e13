//! What is done with the link of an invitation. Signing up with it is [`crate::api::auth`]'s.

use axum::extract::State;
use serde_json::json;

use super::handlers::{member_already, name_of};
use super::model::{Acceptance, Accepted, ValidInvitation, well_formed};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::auth::SignedInUser;
use crate::api::extract::{Client, Segment, Valid, Viewer};
use crate::api::quota::{members_max, user_limit};
use crate::api::reply::{Reply, failed, ok};
use crate::domain::invitation::InvitationStatus;
use crate::http::{Failure, Kind};
use crate::store::contract::{self, Conflict, StoreError};

const VALIDATE_FAILED: &str = "Failed to validate invitation";
const ACCEPT_FAILED: &str = "Failed to accept invitation";

pub(super) async fn validate_invitation(
    State(app): State<App>,
    Segment(token): Segment,
) -> Reply<ValidInvitation> {
    validate(&app, &token).await.map(ok).map_err(|failure| failure.with("valid", false))
}

async fn validate(app: &App, token: &str) -> Result<ValidInvitation, Failure> {
    let token = well_formed(token)?;
    let found = app.store.invitation(&token.hash()).await.map_err(failed(VALIDATE_FAILED))?;
    let gone = || {
        let message = "There is no such invitation, or it was used or withdrawn";
        Failure::not_found("Invitation not found or already used", message)
    };
    let invitation = found.ok_or_else(gone)?;
    match invitation.status(app.now_ms()) {
        InvitationStatus::Pending => {}
        InvitationStatus::Accepted => return Err(gone()),
        InvitationStatus::Expired => return Err(expired()),
    }
    let organization = app.store.organization(invitation.org).await.map_err(failed(VALIDATE_FAILED))?;
    let inviter = name_of(app, invitation.org, invitation.invited_by).await;
    let known = app.store.user_by_email(&invitation.email).await.map_err(failed(VALIDATE_FAILED))?;
    Ok(ValidInvitation {
        valid: true,
        organization_name: organization.ok_or_else(gone)?.name,
        role: invitation.role,
        inviter_name: inviter.map_err(failed(VALIDATE_FAILED))?,
        user_exists: known.is_some(),
        email: invitation.email,
    })
}

pub(super) async fn accept_invitation(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Client(ip): Client,
    Valid(Acceptance { token }): Valid<Acceptance>,
) -> Reply<Accepted> {
    let token = token.ok_or_else(|| Failure::internal(ACCEPT_FAILED, "a body without a token"))?.hash();
    let found = app.store.invitation(&token).await.map_err(failed(ACCEPT_FAILED))?;
    let invitation = found.filter(|invitation| !invitation.accepted).ok_or_else(not_valid)?;
    let now_ms = app.now_ms();
    if !invitation.is_pending(now_ms) {
        return Err(expired());
    }
    let user = app.store.user(caller.user).await.map_err(failed(ACCEPT_FAILED))?;
    let user = user.ok_or_else(not_signed_in)?;
    if user.email != invitation.email {
        let message = "The invitation is for another e-mail address than that of your account";
        return Err(Failure::new(Kind::Forbidden, "Email mismatch", message));
    }
    let organization = app.store.organization(invitation.org).await.map_err(failed(ACCEPT_FAILED))?;
    let organization = organization.ok_or_else(not_valid)?;
    let actor = Actor::of(&caller, ip, now_ms);
    let there = Actor { org: invitation.org, ..actor };
    let joined = json!({ "email": user.email, "role": invitation.role });
    let left = json!({ "email": user.email, "role": user.role });
    let accepted = app.access.accept_invitation(contract::Acceptance {
        token,
        user: caller.user,
        now_ms,
        max_members: members_max(&app),
        joined: there.did("invitation.accepted", ("invitation", invitation.id), &joined),
        left: actor.did("user.left", ("user", user.id), &left),
    });
    let member = match accepted.await {
        Ok(member) => member.ok_or_else(not_signed_in)?,
        Err(StoreError::Conflict(Conflict::Invitation)) => return Err(not_valid()),
        Err(StoreError::Conflict(Conflict::MemberLimit)) => {
            return Err(user_limit(&app, invitation.org, ACCEPT_FAILED).await);
        }
        Err(StoreError::Conflict(Conflict::Member)) => return Err(member_already()),
        Err(StoreError::Conflict(Conflict::LastAdmin)) => {
            let message =
                "You are the only administrator of your organization; make another member one first";
            return Err(Failure::new(Kind::Conflict, "Cannot leave as last admin", message));
        }
        Err(error) => return Err(failed(ACCEPT_FAILED)(error)),
    };
    app.usage.changed(member.org);
    let issued = app.access.issue_token(&member);
    let token = issued.map_err(|failure| Failure { error: ACCEPT_FAILED.into(), ..failure })?.token;
    let message = format!("You are now a member of {}", organization.name);
    let user = SignedInUser::new(member, Some(organization.name.clone()));
    Ok(ok(Accepted { message, organization: organization.into(), token, user }).secret())
}

fn expired() -> Failure {
    Failure::not_found("Invitation has expired", "Ask for another invitation")
}

fn not_valid() -> Failure {
    let message = "There is no such invitation, or it was used or withdrawn";
    Failure::not_found("Invalid or expired invitation", message)
}

/// The account went away, or elsewhere, since the token was looked at.
fn not_signed_in() -> Failure {
    Failure::new(Kind::Unauthenticated, "Invalid token", "The token is over; sign in again")
}
