//! Listing, showing, giving a role, removing.

use axum::extract::State;
use serde_json::json;

use super::model::{ChangedUser, NewRole, OneUser, RemovedUser, Users};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Admin, Client, Segment, Valid, Viewer};
use crate::api::reply::{Reply, failed, ok};
use crate::domain::account::User;
use crate::domain::id::{OrgId, UserId};
use crate::domain::member::MemberChange;
use crate::http::{Failure, Kind};
use crate::limits::MEMBER_CHANGE_TRIES;
use crate::store::contract::{Conflict, StoreError};

const SHOW_FAILED: &str = "Failed to fetch user";
const ROLE_FAILED: &str = "Failed to update role";
const REMOVE_FAILED: &str = "Failed to remove user";

pub(super) async fn list_users(State(app): State<App>, Viewer(caller): Viewer) -> Reply<Users> {
    let members = app.store.members(caller.org).await.map_err(failed("Failed to fetch users"))?;
    Ok(ok(Users { users: members.into_iter().map(Into::into).collect() }))
}

pub(super) async fn show_user(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(id): Segment,
) -> Reply<OneUser> {
    let user = member(&app, caller.org, user_id(&id)?, SHOW_FAILED).await?;
    Ok(ok(OneUser { user: user.into() }))
}

pub(super) async fn change_user_role(
    State(app): State<App>,
    Admin(caller): Admin,
    Client(ip): Client,
    Segment(id): Segment,
    Valid(NewRole { role }): Valid<NewRole>,
) -> Reply<ChangedUser> {
    let id = user_id(&id)?;
    // The entry names the role that was, so it is decided anew if somebody else has just changed that.
    for _ in 0..MEMBER_CHANGE_TRIES {
        let user = member(&app, caller.org, id, ROLE_FAILED).await?;
        if id == caller.user {
            return Err(forbidden("Cannot change own role", "Ask another administrator to change your role"));
        }
        if user.role == role {
            return Ok(ok(changed(user)));
        }
        let details = json!({ "oldRole": user.role, "newRole": role, "targetEmail": user.email });
        let now_ms = app.now_ms();
        let audit = Actor::of(&caller, ip, now_ms).did("user.role_changed", ("user", id), &details);
        let change = MemberChange::Role { from: user.role, to: role };
        let changing = app.store.change_member(caller.org, id, change, now_ms, Some(audit));
        match app.access.voiding(id, changing).await {
            Ok(Some(user)) => return Ok(ok(changed(user))),
            Ok(None) => return Err(no_such_user()),
            Err(StoreError::Conflict(Conflict::MemberChanged)) => {}
            Err(error) => return Err(last_admin_or(error, "Cannot remove last admin", ROLE_FAILED)),
        }
    }
    Err(Failure::unavailable("Others change this member's role at the same time", RETRY_AFTER_S))
}

pub(super) async fn remove_user(
    State(app): State<App>,
    Admin(caller): Admin,
    Client(ip): Client,
    Segment(id): Segment,
) -> Reply<RemovedUser> {
    let id = user_id(&id)?;
    let user = member(&app, caller.org, id, REMOVE_FAILED).await?;
    if id == caller.user {
        return Err(forbidden("Cannot delete yourself", "Ask another administrator to remove you"));
    }
    let details = json!({ "targetEmail": user.email, "targetRole": user.role, "targetName": user.name });
    let audit = Actor::of(&caller, ip, app.now_ms()).did("user.removed", ("user", id), &details);
    let removed = app.access.voiding(id, app.store.remove_member(caller.org, id, audit)).await;
    let removed = removed.map_err(|error| last_admin_or(error, "Cannot delete last admin", REMOVE_FAILED))?;
    let user = removed.ok_or_else(no_such_user)?;
    Ok(ok(RemovedUser { message: format!("{} was removed", user.email) }))
}

/// Seconds after which to come back when others change the same.
const RETRY_AFTER_S: u64 = 1;

fn changed(user: User) -> ChangedUser {
    ChangedUser { message: format!("Role is now {}", user.role), user: user.into() }
}

pub(super) fn user_id(text: &str) -> Result<UserId, Failure> {
    text.parse().map_err(|_malformed| {
        Failure::bad_request("Invalid user ID format", "A user's id is 24 lower-case hex characters")
    })
}

pub(super) async fn member(app: &App, org: OrgId, id: UserId, error: &'static str) -> Result<User, Failure> {
    app.store.member(org, id).await.map_err(failed(error))?.ok_or_else(no_such_user)
}

pub(in crate::api) fn no_such_user() -> Failure {
    Failure::not_found("User not found", "The organization has no member with this id")
}

pub(super) fn forbidden(error: &'static str, message: &'static str) -> Failure {
    Failure::new(Kind::Forbidden, error, message)
}

pub(in crate::api) fn last_admin_or(
    cause: StoreError,
    last_admin: &'static str,
    error: &'static str,
) -> Failure {
    match cause {
        StoreError::Conflict(Conflict::LastAdmin) => {
            forbidden(last_admin, "An organization keeps at least one active administrator")
        }
        other => failed(error)(other),
    }
}
