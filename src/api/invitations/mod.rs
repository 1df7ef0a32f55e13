//! Invitations to an organization: made and withdrawn by administrators, looked at by whoever has the link, accepted by
//! people who have an account. Who has none signs up with the token. Source: API reference, identity 7.

mod handlers;
mod model;
mod redeem;

use http::StatusCode;

use self::handlers::{create_invitation, list_invitations, revoke_invitation};
pub(super) use self::handlers::{invited_already, member_already, no_such_invitation};
use self::model::{Acceptance, Accepted, InvitationCreated, InvitationList, ValidInvitation};
pub(super) use self::model::{ActionType, InvitationView, NewInvitation, NewInvitationView};
use self::redeem::{accept_invitation, validate_invitation};
use super::route::{Route, delete, get, post};
use crate::domain::role::Role;
use crate::http::envelope::Message;
use crate::http::{Callers, Tier};

const ADMINS: Callers = Callers::Token(Role::Admin);

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    post("/api/invitations", ADMINS, Tier::Strict, create_invitation).with(|row| row
        .about("Invites somebody to the organization")
        .takes::<NewInvitation>()
        .gives::<InvitationCreated>(StatusCode::CREATED)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing required fields"),
            (StatusCode::BAD_REQUEST, "Invalid email format"),
            (StatusCode::BAD_REQUEST, "Invalid role"),
            (StatusCode::FORBIDDEN, "User limit reached"),
            (StatusCode::NOT_FOUND, "Organization not found"),
            (StatusCode::CONFLICT, "User already in organization"),
            (StatusCode::CONFLICT, "Invitation already sent"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to send invitation"),
        ])),
    get("/api/invitations", ADMINS, Tier::Api, list_invitations).with(|row| row
        .about("Lists the invitations that can be accepted, newest first")
        .gives::<InvitationList>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch invitations")])),
    delete("/api/invitations/{id}", ADMINS, Tier::Api, revoke_invitation).with(|row| row
        .about("Withdraws an invitation that was not accepted")
        .gives::<Message>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Invalid invitation ID"),
            (StatusCode::NOT_FOUND, "Invitation not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to revoke invitation"),
        ])),
    get("/api/invitations/validate/{token}", Callers::Public, Tier::Api, validate_invitation).with(|row| row
        .about("Tells what an invitation is to")
        .gives::<ValidInvitation>(StatusCode::OK)
        .says_in_failures("valid", false)
        .fails([
            (StatusCode::BAD_REQUEST, "Invalid token format"),
            (StatusCode::NOT_FOUND, "Invitation not found or already used"),
            (StatusCode::NOT_FOUND, "Invitation has expired"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to validate invitation"),
        ])),
    post("/api/invitations/accept", Callers::Token(Role::Viewer), Tier::Api, accept_invitation).with(|row| row
        .about("Moves the caller's account into the organization that invites it")
        .takes::<Acceptance>()
        .gives::<Accepted>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing token"),
            (StatusCode::BAD_REQUEST, "Invalid token format"),
            (StatusCode::FORBIDDEN, "Email mismatch"),
            (StatusCode::FORBIDDEN, "User limit reached"),
            (StatusCode::NOT_FOUND, "Invalid or expired invitation"),
            (StatusCode::NOT_FOUND, "Invitation has expired"),
            (StatusCode::CONFLICT, "User already in organization"),
            (StatusCode::CONFLICT, "Cannot leave as last admin"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to accept invitation"),
        ])),
] }
