//! Signing up, in and out.

use std::net::IpAddr;

use axum::extract::State;
use serde_json::json;

use super::invited::sign_up_invited;
use super::lockout::{self, Try};
use super::model::{LogIn, Me, SignUp, SignedIn};
use crate::access::{Credential, IssuedToken, Passwords, Turn, invalid_token};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Client, Valid, Viewer};
use crate::api::reply::{Reply, created, failed, ok};
use crate::clock::UnixMs;
use crate::domain::account::{Organization, User};
use crate::domain::id::{OrgId, UserId};
use crate::domain::role::{AccountStatus, Role};
use crate::domain::slug::{organization_slug, organization_slug_with_suffix};
use crate::http::envelope::{Data, Message};
use crate::http::{Failure, Kind};
use crate::store::contract::{Conflict, StoreError};

pub(super) const SIGNUP_FAILED: &str = "Signup failed";
const LOGIN_FAILED: &str = "Login failed";
const ME_FAILED: &str = "Failed to fetch user info";

pub(super) async fn sign_up(
    State(app): State<App>,
    Client(ip): Client,
    Valid(form): Valid<SignUp>,
) -> Reply<SignedIn> {
    let known = app.store.user_by_email(&form.email).await.map_err(failed(SIGNUP_FAILED))?;
    if known.is_some() {
        return Err(email_taken());
    }
    if form.invite_token.is_some() {
        return sign_up_invited(&app, ip, form).await;
    }
    let Founded { organization, fallback_slug, user } =
        Founded::of(form, &app.passwords, app.now_ms()).await?;
    let actor = Actor { org: user.org, user: user.id, ip, now_ms: user.created_ms };
    let audit = actor.did("auth.signup", ("user", user.id), &json!({ "email": user.email }));
    let token = issue(&app, &user, SIGNUP_FAILED)?;
    let letter = app.mail.welcome(&user, &organization.name);
    let stored = app.store.sign_up(organization, fallback_slug, user.clone(), audit, letter).await;
    let organization = stored.map_err(|error| match error {
        StoreError::Conflict(Conflict::Email) => email_taken(),
        other => failed(SIGNUP_FAILED)(other),
    })?;
    app.mail.wake();
    Ok(created(SignedIn::new(token.token, user, Some(organization.name))).secret())
}

/// A new organization and its first member, not stored yet.
pub(in crate::api) struct Founded {
    pub(in crate::api) organization: Organization,
    pub(in crate::api) fallback_slug: String,
    pub(in crate::api) user: User,
}

impl Founded {
    /// What a sign-up without an invitation makes at `now_ms`.
    ///
    /// # Errors
    /// If the password cannot be hashed.
    pub(in crate::api) async fn of(
        form: SignUp,
        passwords: &Passwords,
        now_ms: UnixMs,
    ) -> Result<Self, Failure> {
        let name = form.organization_name.unwrap_or_default();
        let hashed = passwords.hash(form.password).await;
        let fallback_slug = organization_slug_with_suffix(&name, rand::random());
        let organization = Organization {
            id: OrgId::generate(now_ms),
            slug: organization_slug(&name).unwrap_or_else(|| fallback_slug.clone()),
            name,
            ai_analysis_enabled: true,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let user = User {
            id: UserId::generate(now_ms),
            org: organization.id,
            email: form.email,
            name: form.name,
            password_hash: hashed.map_err(|error| error.into_failure(SIGNUP_FAILED))?,
            role: Role::Admin,
            status: AccountStatus::Active,
            credentials_valid_from_ms: now_ms,
            last_login_ms: None,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        Ok(Self { organization, fallback_slug, user })
    }
}

pub(super) async fn log_in(
    State(app): State<App>,
    Client(ip): Client,
    Valid(form): Valid<LogIn>,
) -> Reply<SignedIn> {
    // Before anything else: what a login costs the store is paced like what it costs the processor.
    let turn = app.passwords.turn().await.map_err(|error| error.into_failure(LOGIN_FAILED))?;
    let tried = lockout::begin(&app, &form.email, LOGIN_FAILED).await?;
    let (user, correct) = match check_password(&app, &turn, &tried.subject, form.password).await {
        Ok(checked) => checked,
        Err(failure) => return Err(after_taking_back(&app, &tried, failure).await),
    };
    let user = match user {
        Some(user) if correct => user,
        refused => {
            lockout::audit(&app, ip, refused.as_ref(), &tried, LOGIN_FAILED).await?;
            return Err(lockout::invalid_credentials());
        }
    };
    match let_in(&app, user, ip, &tried.subject).await {
        Ok(signed_in) => Ok(ok(signed_in).secret()),
        // The password was right: whatever else is wrong, this was no guess.
        Err(failure) => Err(after_taking_back(&app, &tried, failure).await),
    }
}

pub(super) async fn show_me(State(app): State<App>, Viewer(caller): Viewer) -> Reply<Data<Me>> {
    let user = app.store.member(caller.org, caller.user).await.map_err(failed(ME_FAILED))?;
    // Removed since it was last looked at.
    let user = user.ok_or_else(invalid_token)?;
    let organization = app.store.organization(caller.org).await.map_err(failed(ME_FAILED))?;
    let organization = organization.ok_or_else(|| {
        Failure::not_found("User or organization not found", "The organization is no longer there")
    })?;
    let members = app.store.member_count(caller.org).await.map_err(failed(ME_FAILED))?;
    Ok(ok(Data { data: Me::new(user, organization, app.settings.plan, members) }))
}

pub(super) async fn log_out(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Client(ip): Client,
) -> Reply<Message> {
    let Credential::Token { id, expires_ms, .. } = &caller.credential else {
        return Err(Failure::internal("Logout failed", "no token to revoke"));
    };
    let user = app.store.user(caller.user).await.map_err(failed("Logout failed"))?;
    let details = json!({ "email": user.map(|user| user.email) });
    let audit = Actor::of(&caller, ip, app.now_ms()).did("auth.logout", ("user", caller.user), &details);
    app.access.revoke_token(id, *expires_ms, audit).await.map_err(failed("Logout failed"))?;
    Ok(ok(Message { message: "Signed out" }))
}

/// The account, and whether the password is its own. An unknown address costs the same work.
async fn check_password(
    app: &App,
    turn: &Turn,
    subject: &str,
    password: String,
) -> Result<(Option<User>, bool), Failure> {
    let user = app.store.user_by_email(subject).await.map_err(failed(LOGIN_FAILED))?;
    let stored = user.as_ref().map(|user| user.password_hash.clone());
    let verified = turn.verify(password, stored).await;
    Ok((user, verified.map_err(|error| error.into_failure(LOGIN_FAILED))?))
}

/// What follows the right password.
async fn let_in(app: &App, user: User, ip: IpAddr, subject: &str) -> Result<SignedIn, Failure> {
    if user.status == AccountStatus::Suspended {
        let message = "This account is suspended; ask an administrator";
        return Err(Failure::new(Kind::Forbidden, "Account suspended", message));
    }
    let token = issue(app, &user, LOGIN_FAILED)?;
    let organization = app.store.organization(user.org).await.map_err(failed(LOGIN_FAILED))?;
    let now_ms = app.now_ms();
    let actor = Actor { org: user.org, user: user.id, ip, now_ms };
    let audit = actor.did("auth.login", ("user", user.id), &json!({ "email": user.email }));
    let recorded = app.store.login_succeeded(user.id, subject, now_ms, audit).await;
    recorded.map_err(failed(LOGIN_FAILED))?;
    let organization = organization.map(|organization| organization.name);
    Ok(SignedIn::new(token.token, user, organization))
}

/// Takes back the count of a try that was no wrong guess; returns what to answer.
async fn after_taking_back(app: &App, tried: &Try, failure: Failure) -> Failure {
    match lockout::take_back(app, tried, LOGIN_FAILED).await {
        Ok(()) => failure,
        Err(error) => error,
    }
}

pub(super) fn issue(app: &App, user: &User, error: &'static str) -> Result<IssuedToken, Failure> {
    app.access.issue_token(user).map_err(|failure| Failure { error: error.into(), ..failure })
}

pub(in crate::api) fn email_taken() -> Failure {
    let message = "There is an account with this e-mail address; sign in instead";
    Failure::new(Kind::Conflict, "Email already registered", message)
}
