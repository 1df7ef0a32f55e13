//! Invitations: listed, made, withdrawn. Their links are told here, whether or not mail is configured.

use serde_json::{Value, json};

use super::{FAILED, Operator, Who, read, under};
use crate::api::audit::Actor;
use crate::api::invitations::{
    ActionType, InvitationView, NewInvitation, NewInvitationView, invited_already, member_already,
    no_such_invitation,
};
use crate::api::quota::members_of;
use crate::api::reply::failed;
use crate::domain::account::OPERATOR;
use crate::domain::email;
use crate::domain::id::OrgId;
use crate::domain::invitation::{Invitation, InvitationToken};
use crate::domain::time::IsoMs;
use crate::http::Failure;
use crate::store::contract::{Conflict, StoreError};

/// The name of an inviter who is no member.
const UNKNOWN: &str = "Unknown";

impl Operator {
    /// The invitations that are pending, newest first: `{invitations: […]}`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn invitations(&self, org: OrgId) -> Result<Value, Failure> {
        let now_ms = self.parts.clock.now_ms();
        let pending = self.store().invitations(org, now_ms).await.map_err(failed(FAILED))?;
        let mut views = Vec::with_capacity(pending.len());
        for invitation in pending {
            let by = self.store().member(org, invitation.invited_by).await.map_err(failed(FAILED))?;
            let name = match by {
                Some(user) => user.name,
                None if invitation.invited_by == OPERATOR => "Operator".to_owned(),
                None => UNKNOWN.to_owned(),
            };
            views.push(InvitationView::new(invitation, name, now_ms));
        }
        under("invitations", &views)
    }

    /// Invites somebody; `body` has `email` and `role`. `{invitation: {…, inviteUrl}}`.
    ///
    /// # Errors
    /// Those of the endpoint.
    pub async fn create_invitation(&self, org: OrgId, body: Value) -> Result<Value, Failure> {
        let NewInvitation { email, role } = read(body)?;
        let (actor, token) = (self.actor(org), InvitationToken::generate());
        let known = self.store().user_by_email(&email).await.map_err(failed(FAILED))?.is_some();
        let invitation = Invitation::new((org, OPERATOR), email, role, &token, actor.now_ms);
        self.store_invitation(&actor, invitation.clone()).await?;
        let action_type = ActionType::of(known);
        let view = NewInvitationView {
            id: invitation.id.to_string(),
            email: invitation.email,
            role,
            expires_at: IsoMs(invitation.expires_ms),
            user_exists: known,
            action_type,
            email_sent: false,
            invite_url: Some(self.parts.links.invitation(action_type.into(), &token.expose())),
        };
        under("invitation", &view)
    }

    /// Stores an invitation with its audit entry.
    pub(super) async fn store_invitation(
        &self,
        actor: &Actor,
        invitation: Invitation,
    ) -> Result<(), Failure> {
        let details = json!({ "email": invitation.email, "role": invitation.role });
        let audit = actor.did("invitation.created", ("invitation", invitation.id), &details);
        match self.store().invite(invitation, members_of(self.parts.plan), None, audit).await {
            Ok(()) => Ok(()),
            Err(StoreError::Conflict(Conflict::MemberLimit)) => Err(self.user_limit(actor.org).await),
            Err(StoreError::Conflict(Conflict::Member)) => Err(member_already()),
            Err(StoreError::Conflict(Conflict::Invited)) => Err(invited_already()),
            Err(error) => Err(failed(FAILED)(error)),
        }
    }

    /// Withdraws the pending invitation with this id or address: `{invitation: {…}}`, as it was.
    ///
    /// # Errors
    /// 404 if there is none such.
    pub async fn revoke_invitation(&self, org: OrgId, which: Who<'_>) -> Result<Value, Failure> {
        let actor = self.actor(org);
        let pending = self.store().invitations(org, actor.now_ms).await.map_err(failed(FAILED))?;
        let address = email::normalise(which);
        let found = pending.into_iter().find(|invitation| {
            invitation.id.to_string() == which || address.as_ref() == Some(&invitation.email)
        });
        let found = found.ok_or_else(no_such_invitation)?;
        let audit = actor.did("invitation.revoked", ("invitation", found.id), &json!({}));
        let revoked = self.store().revoke_invitation(org, found.id, actor.now_ms, audit).await;
        if !revoked.map_err(failed(FAILED))? {
            return Err(no_such_invitation());
        }
        under("invitation", &InvitationView::new(found, UNKNOWN.to_owned(), actor.now_ms))
    }
}
