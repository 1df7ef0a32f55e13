//! Suspending a member and letting one in again. The API reference knows the status and leaves its change to operators
//! (identity 3).

use axum::extract::State;
use serde_json::json;

use super::handlers::{forbidden, last_admin_or, member, no_such_user, user_id};
use super::model::{NewStatus, UserWithStatus};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Admin, Client, Segment, Valid};
use crate::api::reply::{Answer, Reply, ok};
use crate::domain::account::User;
use crate::domain::member::MemberChange;
use crate::domain::role::AccountStatus;

const FAILED: &str = "Failed to update status";
/// The refusal to suspend the only active administrator.
pub(in crate::api) const LAST_ADMIN: &str = "Cannot suspend last admin";

pub(super) async fn change_user_status(
    State(app): State<App>,
    Admin(caller): Admin,
    Client(ip): Client,
    Segment(id): Segment,
    Valid(NewStatus { status }): Valid<NewStatus>,
) -> Reply<UserWithStatus> {
    let id = user_id(&id)?;
    let user = member(&app, caller.org, id, FAILED).await?;
    if id == caller.user {
        return Err(forbidden("Cannot change own status", "Ask another administrator to suspend you"));
    }
    let status = AccountStatus::from(status);
    if user.status == status {
        return Ok(changed(user));
    }
    let details = json!({ "oldStatus": user.status, "newStatus": status, "targetEmail": user.email });
    let now_ms = app.now_ms();
    let audit = Actor::of(&caller, ip, now_ms).did("user.status_changed", ("user", id), &details);
    let change = MemberChange::Status(status);
    let changing = app.store.change_member(caller.org, id, change, now_ms, Some(audit));
    match app.access.voiding(id, changing).await {
        Ok(user) => Ok(changed(user.ok_or_else(no_such_user)?)),
        Err(error) => Err(last_admin_or(error, LAST_ADMIN, FAILED)),
    }
}

fn changed(user: User) -> Answer<UserWithStatus> {
    let message = match user.status {
        AccountStatus::Suspended => "The account is suspended",
        AccountStatus::Active | AccountStatus::Invited => "The account may be used",
    };
    ok(UserWithStatus { message, user: user.into() })
}
