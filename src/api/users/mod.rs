//! The members of the caller's organization. Source: API reference, identity 6.

mod handlers;
mod model;
mod status;

use http::StatusCode;

use self::handlers::{change_user_role, list_users, remove_user, show_user};
pub(super) use self::handlers::{last_admin_or, no_such_user};
use self::model::{ChangedUser, NewRole, NewStatus, OneUser, RemovedUser, UserWithStatus, Users};
pub(super) use self::model::{Member, MemberInFull};
pub(super) use self::status::LAST_ADMIN;
use self::status::change_user_status;
use super::route::{Route, delete, get, patch};
use crate::domain::role::Role;
use crate::http::{Callers, Tier};

const PERSON: Callers = Callers::Token(Role::Viewer);
const ADMIN: Callers = Callers::Token(Role::Admin);

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    get("/api/users", PERSON, Tier::Api, list_users).with(|row| row
        .about("Lists the organization's members, newest first")
        .gives::<Users>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch users")])),
    get("/api/users/{id}", PERSON, Tier::Api, show_user).with(|row| row
        .about("Tells about a member")
        .gives::<OneUser>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Invalid user ID format"),
            (StatusCode::NOT_FOUND, "User not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch user"),
        ])),
    patch("/api/users/{id}/role", ADMIN, Tier::Strict, change_user_role).with(|row| row
        .about("Gives another member a role; it counts from that member's next request on")
        .takes::<NewRole>()
        .gives::<ChangedUser>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing required field"),
            (StatusCode::BAD_REQUEST, "Invalid role"),
            (StatusCode::BAD_REQUEST, "Invalid user ID format"),
            (StatusCode::FORBIDDEN, "Cannot change own role"),
            (StatusCode::FORBIDDEN, "Cannot remove last admin"),
            (StatusCode::NOT_FOUND, "User not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to update role"),
        ])),
    patch("/api/users/{id}/status", ADMIN, Tier::Strict, change_user_status).with(|row| row
        .about("Suspends another member, whose open connections end, or lets one in again")
        .takes::<NewStatus>()
        .gives::<UserWithStatus>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing required field"),
            (StatusCode::BAD_REQUEST, "Invalid status"),
            (StatusCode::BAD_REQUEST, "Invalid user ID format"),
            (StatusCode::FORBIDDEN, "Cannot change own status"),
            (StatusCode::FORBIDDEN, "Cannot suspend last admin"),
            (StatusCode::NOT_FOUND, "User not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to update status"),
        ])),
    delete("/api/users/{id}", ADMIN, Tier::Strict, remove_user).with(|row| row
        .about("Removes another member's account, with its tokens, API keys and open connections")
        .gives::<RemovedUser>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Invalid user ID format"),
            (StatusCode::FORBIDDEN, "Cannot delete yourself"),
            (StatusCode::FORBIDDEN, "Cannot delete last admin"),
            (StatusCode::NOT_FOUND, "User not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to remove user"),
        ])),
] }
