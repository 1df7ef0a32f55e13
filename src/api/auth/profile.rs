//! What people change of their own accounts. Source: API reference, identity 4.4, 4.9.

use axum::extract::State;
use serde_json::json;

use super::lockout;
use super::model::{NewPassword, PasswordChanged, Profile, ProfileChanged};
use crate::access::{Caller, invalid_token};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Client, Valid, Viewer};
use crate::api::reply::{Reply, failed, ok};
use crate::domain::account::User;
use crate::domain::member::MemberChange;
use crate::http::Failure;
use crate::store::contract::{Conflict, StoreError};

const PROFILE_FAILED: &str = "Failed to update profile";
/// The API reference gives this endpoint no failure of its own.
const PASSWORD_FAILED: &str = "Internal Server Error";

pub(super) async fn update_profile(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Valid(Profile { name }): Valid<Profile>,
) -> Reply<ProfileChanged> {
    let change = MemberChange::Name(name);
    let changed = app.store.change_member(caller.org, caller.user, change, app.now_ms(), None).await;
    let user = changed.map_err(failed(PROFILE_FAILED))?.ok_or_else(invalid_token)?;
    Ok(ok(ProfileChanged { message: "Profile updated", user: user.into() }))
}

pub(super) async fn change_password(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Client(ip): Client,
    Valid(form): Valid<NewPassword>,
) -> Reply<PasswordChanged> {
    let stored = app.store.member(caller.org, caller.user).await.map_err(failed(PASSWORD_FAILED))?;
    let user = stored.ok_or_else(invalid_token)?;
    let actor = Actor::of(&caller, ip, app.now_ms());
    let tried = lockout::begin(&app, &user.email, PASSWORD_FAILED).await?;
    let verified = app.passwords.verify(form.current_password, Some(user.password_hash.clone())).await;
    match verified {
        Ok(false) => {
            if tried.last {
                let details = json!({ "email": user.email });
                let entry = actor.did("auth.account_locked", ("user", user.id), &details);
                app.store.audit(entry).await.map_err(failed(PASSWORD_FAILED))?;
            }
            return Err(lockout::invalid_credentials());
        }
        // The right password, or one that could not be looked at: this was no guess.
        Ok(true) => lockout::take_back(&app, &tried, PASSWORD_FAILED).await?,
        Err(error) => {
            lockout::take_back(&app, &tried, PASSWORD_FAILED).await?;
            return Err(error.into_failure(PASSWORD_FAILED));
        }
    }
    let hashed = app.passwords.hash(form.new_password).await;
    let hash = hashed.map_err(|error| error.into_failure(PASSWORD_FAILED))?;
    let user = set_password(&app, &caller, &actor, user, hash).await?;
    let token = app.access.issue_token(&user)?.token;
    let message = "Password changed; everything that was signed in with the old one is signed out";
    Ok(ok(PasswordChanged { message, token }).secret())
}

async fn set_password(
    app: &App,
    caller: &Caller,
    actor: &Actor,
    user: User,
    hash: String,
) -> Result<User, Failure> {
    let audit = actor.did("auth.password_changed", ("user", user.id), &json!({ "email": user.email }));
    let change = MemberChange::Password { seen: user.password_hash, hash };
    let changing = app.store.change_member(caller.org, user.id, change, actor.now_ms, Some(audit));
    match app.access.voiding(user.id, changing).await {
        Ok(changed) => changed.ok_or_else(invalid_token),
        // Another change was faster: what was the current password is not any more.
        Err(StoreError::Conflict(Conflict::MemberChanged)) => Err(lockout::invalid_credentials()),
        Err(error) => Err(failed(PASSWORD_FAILED)(error)),
    }
}
