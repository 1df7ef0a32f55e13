//! Inviting, listing, withdrawing.

use std::collections::HashMap;

use axum::extract::State;
use serde_json::json;

use super::model::{
    ActionType, InvitationCreated, InvitationList, InvitationView, NewInvitation, NewInvitationView,
};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Admin, Client, Segment, Valid};
use crate::api::quota::{members_max, user_limit};
use crate::api::reply::{Reply, created, failed, ok};
use crate::domain::id::{InvitationId, OrgId, UserId};
use crate::domain::invitation::{Invitation, InvitationToken};
use crate::domain::time::IsoMs;
use crate::http::envelope::Message;
use crate::http::{Failure, Kind};
use crate::outbound::mail::Content;
use crate::store::contract::{Conflict, StoreError, StoreResult};

const CREATE_FAILED: &str = "Failed to send invitation";
const LIST_FAILED: &str = "Failed to fetch invitations";
const REVOKE_FAILED: &str = "Failed to revoke invitation";
/// The name of an inviter who is not in the organization any more.
const UNKNOWN: &str = "Unknown";

pub(super) async fn create_invitation(
    State(app): State<App>,
    Admin(caller): Admin,
    Client(ip): Client,
    Valid(NewInvitation { email, role }): Valid<NewInvitation>,
) -> Reply<InvitationCreated> {
    let organization = app.store.organization(caller.org).await.map_err(failed(CREATE_FAILED))?;
    let Some(organization) = organization else {
        return Err(Failure::not_found("Organization not found", "The organization is no longer there"));
    };
    let (now_ms, token) = (app.now_ms(), InvitationToken::generate());
    let invitation = Invitation::new((caller.org, caller.user), email, role, &token, now_ms);
    let details = json!({ "email": invitation.email, "role": role });
    let audit =
        Actor::of(&caller, ip, now_ms).did("invitation.created", ("invitation", invitation.id), &details);
    // Asked before it is stored: the letter, which is stored with it, leads to the page for the one or the other.
    let known = app.store.user_by_email(&invitation.email).await.map_err(failed(CREATE_FAILED))?;
    let action_type = ActionType::of(known.is_some());
    let inviter = name_of(&app, caller.org, caller.user).await.map_err(failed(CREATE_FAILED))?;
    let letter_key = invitation.letter_key();
    let content = Content::Invitation {
        organization: organization.name,
        inviter,
        role,
        action: action_type.into(),
        token: token.expose(),
        expires_ms: invitation.expires_ms,
    };
    let letter =
        app.mail.write(caller.org, letter_key.clone(), &invitation.email, &content, invitation.expires_ms);
    let is_written = letter.is_some();
    match app.store.invite(invitation.clone(), members_max(&app), letter, audit).await {
        Ok(()) => {}
        Err(StoreError::Conflict(Conflict::MemberLimit)) => {
            return Err(user_limit(&app, caller.org, CREATE_FAILED).await);
        }
        Err(StoreError::Conflict(Conflict::Member)) => return Err(member_already()),
        Err(StoreError::Conflict(Conflict::Invited)) => return Err(invited_already()),
        Err(error) => return Err(failed(CREATE_FAILED)(error)),
    }
    let email_sent = is_written && app.mail.was_sent(caller.org, &letter_key).await;
    let link = || app.mail.links().invitation(action_type.into(), &token.expose());
    let view = NewInvitationView {
        id: invitation.id.to_string(),
        email: invitation.email,
        role,
        expires_at: IsoMs(invitation.expires_ms),
        user_exists: known.is_some(),
        action_type,
        email_sent,
        invite_url: (!app.mail.is_configured()).then(link),
    };
    Ok(created(InvitationCreated { message: "Invitation created", invitation: view }).secret())
}

pub(super) async fn list_invitations(State(app): State<App>, Admin(caller): Admin) -> Reply<InvitationList> {
    let now_ms = app.now_ms();
    let pending = app.store.invitations(caller.org, now_ms).await.map_err(failed(LIST_FAILED))?;
    let mut names: HashMap<UserId, String> = HashMap::new();
    let mut invitations = Vec::with_capacity(pending.len());
    for invitation in pending {
        let by = invitation.invited_by;
        let name = match names.get(&by) {
            Some(name) => name.clone(),
            None => name_of(&app, caller.org, by).await.map_err(failed(LIST_FAILED))?,
        };
        names.insert(by, name.clone());
        invitations.push(InvitationView::new(invitation, name, now_ms));
    }
    Ok(ok(InvitationList { invitations }))
}

pub(super) async fn revoke_invitation(
    State(app): State<App>,
    Admin(caller): Admin,
    Client(ip): Client,
    Segment(id): Segment,
) -> Reply<Message> {
    let malformed = |_| {
        Failure::bad_request("Invalid invitation ID", "An invitation's id is 24 lower-case hex characters")
    };
    let id: InvitationId = id.parse().map_err(malformed)?;
    let now_ms = app.now_ms();
    let audit = Actor::of(&caller, ip, now_ms).did("invitation.revoked", ("invitation", id), &json!({}));
    let revoked = app.store.revoke_invitation(caller.org, id, now_ms, audit).await;
    if !revoked.map_err(failed(REVOKE_FAILED))? {
        return Err(no_such_invitation());
    }
    Ok(ok(Message { message: "Invitation withdrawn" }))
}

/// How an inviter is called, as far as the organization knows them.
pub(super) async fn name_of(app: &App, org: OrgId, user: UserId) -> StoreResult<String> {
    let found = app.store.user(user).await?.filter(|user| user.org == org);
    Ok(found.map_or_else(|| UNKNOWN.to_owned(), |user| user.name))
}

pub(in crate::api) fn no_such_invitation() -> Failure {
    Failure::not_found("Invitation not found", "There is no such invitation that could be withdrawn")
}

pub(in crate::api) fn invited_already() -> Failure {
    let message = "An invitation to this address is waiting; withdraw it to send another one";
    Failure::new(Kind::Conflict, "Invitation already sent", message)
}

pub(in crate::api) fn member_already() -> Failure {
    let message = "There is a member of this organization with this e-mail address";
    Failure::new(Kind::Conflict, "User already in organization", message)
}
