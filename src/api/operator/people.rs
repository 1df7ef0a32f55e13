//! Members: listed, made, given a role, locked out and let in, given a new password, removed.

use serde_json::{Value, json};

use super::{FAILED, Operator, Who, read, under};
use crate::api::auth::{SignUp, email_taken, joining, strong_password};
use crate::api::invitations::{NewInvitation, member_already};
use crate::api::quota::{members_of, plan_limit};
use crate::api::reply::{failed, overtaken};
use crate::api::users::{LAST_ADMIN, Member, MemberInFull, last_admin_or, no_such_user};
use crate::domain::account::{OPERATOR, Organization, User};
use crate::domain::id::OrgId;
use crate::domain::invitation::{Invitation, InvitationToken};
use crate::domain::member::MemberChange;
use crate::domain::reset::{PasswordReset, ResetToken};
use crate::domain::role::{AccountStatus, Role};
use crate::http::{Failure, Kind};
use crate::limits::PASSWORD_RESET_LIFETIME;
use crate::store::contract::{Conflict, StoreError};

impl Operator {
    /// The members, newest first: `{users: […]}`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn users(&self, org: OrgId) -> Result<Value, Failure> {
        let members = self.store().members(org).await.map_err(failed(FAILED))?;
        under("users", &members.into_iter().map(Member::from).collect::<Vec<_>>())
    }

    /// A member: `{user: {…}}`.
    ///
    /// # Errors
    /// 404 if the organization has none such.
    pub async fn user(&self, org: OrgId, who: Who<'_>) -> Result<Value, Failure> {
        shown(self.find(org, who).await?)
    }

    /// Makes a member with a password: an invitation and the sign-up that redeems it, each with its audit entries. `body`
    /// has `email`, `role`, `name` and `password`. `{user: {…}}`.
    ///
    /// # Errors
    /// Those of the two endpoints.
    pub async fn create_user(&self, organization: &Organization, body: Value) -> Result<Value, Failure> {
        let (actor, token) = (self.actor(organization.id), InvitationToken::generate());
        let mut sign_up = body.clone();
        if let Some(members) = sign_up.as_object_mut() {
            members.insert("inviteToken".to_owned(), token.expose().into());
        }
        let NewInvitation { email, role } = read(body)?;
        let form = read::<SignUp>(sign_up)?;
        let known = self.store().user_by_email(&email).await.map_err(failed(FAILED))?;
        match known {
            Some(user) if user.org == organization.id => return Err(member_already()),
            Some(_) => return Err(email_taken()),
            None => {}
        }
        let invitation = Invitation::new((organization.id, OPERATOR), email, role, &token, actor.now_ms);
        let user = joining(form, &invitation, &self.parts.passwords, actor.now_ms).await?;
        self.store_invitation(&actor, invitation.clone()).await?;
        let accepted = json!({ "email": user.email, "role": user.role });
        let audit = vec![
            actor.did("auth.signup", ("user", user.id), &json!({ "email": user.email })),
            actor.did("invitation.accepted", ("invitation", invitation.id), &accepted),
        ];
        let max = members_of(self.parts.plan);
        let joined =
            self.store().sign_up_invited(&token.hash(), user.clone(), actor.now_ms, max, audit, None).await;
        joined.map_err(|error| match error {
            StoreError::Conflict(Conflict::Email) => email_taken(),
            other => failed(FAILED)(other),
        })?;
        shown(user)
    }

    /// Gives a member a role: `{user: {…}}`.
    ///
    /// # Errors
    /// 403 for the last active administrator, 404 if the organization has no such member.
    pub async fn set_role(&self, org: OrgId, who: Who<'_>, role: Role) -> Result<Value, Failure> {
        let user = self.find(org, who).await?;
        if user.role == role {
            return shown(user);
        }
        let details = json!({ "oldRole": user.role, "newRole": role, "targetEmail": user.email });
        let change = MemberChange::Role { from: user.role, to: role };
        self.change(&user, change, ("user.role_changed", &details), "Cannot remove last admin").await
    }

    /// Suspends a member or lets one in again: `{user: {…}}`.
    ///
    /// # Errors
    /// 403 for the last active administrator, 404 if the organization has no such member.
    pub async fn set_status(
        &self,
        org: OrgId,
        who: Who<'_>,
        status: AccountStatus,
    ) -> Result<Value, Failure> {
        let user = self.find(org, who).await?;
        if user.status == status {
            return shown(user);
        }
        let details = json!({ "oldStatus": user.status, "newStatus": status, "targetEmail": user.email });
        let change = MemberChange::Status(status);
        self.change(&user, change, ("user.status_changed", &details), LAST_ADMIN).await
    }

    async fn change(
        &self,
        user: &User,
        change: MemberChange,
        (action, details): (&str, &Value),
        last_admin: &'static str,
    ) -> Result<Value, Failure> {
        let actor = self.actor(user.org);
        let audit = actor.did(action, ("user", user.id), details);
        let changed = self.store().change_member(user.org, user.id, change, actor.now_ms, Some(audit)).await;
        let changed = changed.map_err(|error| match error {
            StoreError::Conflict(Conflict::MemberChanged) => overtaken(),
            other => last_admin_or(other, last_admin, FAILED),
        })?;
        shown(changed.ok_or_else(no_such_user)?)
    }

    /// Gives a member another password: tokens and API keys of the account are void, and a lock is lifted.
    /// `{user: {…}}`.
    ///
    /// # Errors
    /// 400 `Weak password`, 404 if the organization has no such member.
    pub async fn reset_password(&self, org: OrgId, who: Who<'_>, password: String) -> Result<Value, Failure> {
        let password = strong_password(&password.into())?;
        let user = self.find(org, who).await?;
        let hashed = self.parts.passwords.hash(password).await;
        let password_hash = hashed.map_err(|error| error.into_failure(FAILED))?;
        let (actor, token) = (self.actor(org), ResetToken::of(rand::random()));
        let lifetime_ms = i64::try_from(PASSWORD_RESET_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let reset = PasswordReset {
            hash: token.hash(),
            expires_ms: actor.now_ms.saturating_add(lifetime_ms),
            credentials_from_ms: user.credentials_valid_from_ms,
        };
        let hash = reset.hash;
        if !self.store().begin_reset(org, user.id, reset, None).await.map_err(failed(FAILED))? {
            return Err(no_such_user());
        }
        let details = json!({ "email": user.email });
        let audit = actor.did("auth.password_changed", ("user", user.id), &details);
        let finished = self.store().finish_reset(&hash, password_hash, actor.now_ms, audit).await;
        shown(finished.map_err(failed(FAILED))?.ok_or_else(overtaken)?)
    }

    /// Removes a member's account: `{user: {…}}`, as it was.
    ///
    /// # Errors
    /// 403 for the last active administrator, 404 if the organization has no such member.
    pub async fn remove_user(&self, org: OrgId, who: Who<'_>) -> Result<Value, Failure> {
        let user = self.find(org, who).await?;
        let details = json!({ "targetEmail": user.email, "targetRole": user.role, "targetName": user.name });
        let audit = self.actor(org).did("user.removed", ("user", user.id), &details);
        let removed = self.store().remove_member(org, user.id, audit).await;
        let removed = removed.map_err(|error| last_admin_or(error, "Cannot delete last admin", FAILED))?;
        shown(removed.ok_or_else(no_such_user)?)
    }

    /// 403 `User limit reached`, or what kept the members from being counted.
    pub(super) async fn user_limit(&self, org: OrgId) -> Failure {
        match self.store().member_count(org).await {
            Ok(used) => {
                let limit = self.parts.plan.limits().max_users;
                let failure = plan_limit("User limit reached", "members", used, limit);
                Failure { kind: Kind::Forbidden, ..failure }
            }
            Err(error) => failed(FAILED)(error),
        }
    }
}

fn shown(user: User) -> Result<Value, Failure> {
    under("user", &MemberInFull::from(user))
}
