//! Signing up by an invitation. Source: API reference, identity 4.1.

use std::net::IpAddr;

use serde_json::json;

use super::handlers::{SIGNUP_FAILED, email_taken, issue};
use super::model::{SignUp, SignedIn};
use crate::access::Passwords;
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::quota::{members_max, user_limit};
use crate::api::reply::{Reply, created, failed};
use crate::clock::UnixMs;
use crate::domain::account::User;
use crate::domain::id::UserId;
use crate::domain::invitation::{Invitation, InvitationToken};
use crate::domain::role::AccountStatus;
use crate::http::Failure;
use crate::store::contract::{Conflict, StoreError};

/// Signs up somebody whose address is known to have no account. Everything is judged twice: here, so that no password is
/// hashed and no address is claimed in vain, and by the store in the step that makes the account.
pub(super) async fn sign_up_invited(app: &App, ip: IpAddr, form: SignUp) -> Reply<SignedIn> {
    let token = form.invite_token.as_deref().and_then(InvitationToken::parse).ok_or_else(not_valid)?.hash();
    let found = app.store.invitation(&token).await.map_err(failed(SIGNUP_FAILED))?;
    let now_ms = app.now_ms();
    let invitation = found.filter(|found| found.admits(&form.email, now_ms)).ok_or_else(not_valid)?;
    let max_members = members_max(app);
    let members = app.store.member_count(invitation.org).await.map_err(failed(SIGNUP_FAILED))?;
    if members >= max_members {
        return Err(user_limit(app, invitation.org, SIGNUP_FAILED).await);
    }
    let organization = app.store.organization(invitation.org).await.map_err(failed(SIGNUP_FAILED))?;
    let organization = organization.ok_or_else(not_valid)?;
    let user = joining(form, &invitation, &app.passwords, now_ms).await?;
    let actor = Actor { org: user.org, user: user.id, ip, now_ms };
    let accepted = json!({ "email": user.email, "role": user.role });
    let audit = vec![
        actor.did("auth.signup", ("user", user.id), &json!({ "email": user.email })),
        actor.did("invitation.accepted", ("invitation", invitation.id), &accepted),
    ];
    let issued = issue(app, &user, SIGNUP_FAILED)?;
    let letter = app.mail.welcome(&user, &organization.name);
    match app.store.sign_up_invited(&token, user.clone(), now_ms, max_members, audit, letter).await {
        Ok(()) => {
            app.mail.wake();
            app.usage.changed(user.org);
            Ok(created(SignedIn::new(issued.token, user, Some(organization.name))).secret())
        }
        Err(StoreError::Conflict(Conflict::Email)) => Err(email_taken()),
        Err(StoreError::Conflict(Conflict::Invitation)) => Err(not_valid()),
        Err(StoreError::Conflict(Conflict::MemberLimit)) => {
            Err(user_limit(app, invitation.org, SIGNUP_FAILED).await)
        }
        Err(error) => Err(failed(SIGNUP_FAILED)(error)),
    }
}

/// The account that a sign-up by `invitation` makes at `now_ms`, not stored yet.
///
/// # Errors
/// If the password cannot be hashed.
pub(in crate::api) async fn joining(
    form: SignUp,
    invitation: &Invitation,
    passwords: &Passwords,
    now_ms: UnixMs,
) -> Result<User, Failure> {
    let hashed = passwords.hash(form.password).await;
    Ok(User {
        id: UserId::generate(now_ms),
        org: invitation.org,
        email: form.email,
        name: form.name,
        password_hash: hashed.map_err(|error| error.into_failure(SIGNUP_FAILED))?,
        role: invitation.role,
        status: AccountStatus::Active,
        credentials_valid_from_ms: now_ms,
        last_login_ms: None,
        created_ms: now_ms,
        updated_ms: now_ms,
    })
}

/// The same for every cause: nobody learns by it which tokens there are.
fn not_valid() -> Failure {
    let message = "The invitation is not valid, was used, or has expired";
    Failure::bad_request("Invalid invitation token", message)
}
