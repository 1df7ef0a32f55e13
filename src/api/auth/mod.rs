//! People sign up, log in and out, and make API keys. Source: API reference, identity 4.

mod handlers;
mod invited;
mod key_model;
mod keys;
mod lockout;
mod model;
mod profile;
mod reset;

use http::StatusCode;

pub(super) use self::handlers::{Founded, email_taken};
use self::handlers::{log_in, log_out, show_me, sign_up};
pub(super) use self::invited::joining;
use self::key_model::{ApiKeys, KeyCreated};
pub(super) use self::key_model::{KeyName, KeyView, NewKeyView};
use self::keys::{create_api_key, list_api_keys, revoke_api_key};
pub(super) use self::keys::{key_details, key_limit, no_such_key};
use self::model::{
    ForgottenPassword, LogIn, Me, NewPassword, PasswordChanged, PasswordOfReset, Profile, ProfileChanged,
    SignedIn,
};
pub(super) use self::model::{SignUp, SignedInUser, strong_password};
use self::profile::{change_password, update_profile};
use self::reset::{confirm_password_reset, request_password_reset};
use super::route::{Route, delete, get, patch, post};
use crate::domain::role::Role;
use crate::http::envelope::{Data, Message};
use crate::http::{Callers, Tier};

const PERSON: Callers = Callers::Token(Role::Viewer);

/// The rows of this category.
#[rustfmt::skip]
pub(super) fn endpoints() -> Vec<Route> { vec![
    post("/api/auth/signup", Callers::Public, Tier::Auth, sign_up).with(|row| row
        .about("Creates an account, with an organization or by an invitation to one, and signs that person in")
        .takes::<SignUp>()
        .gives::<SignedIn>(StatusCode::CREATED)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing required fields"),
            (StatusCode::BAD_REQUEST, "Invalid email format"),
            (StatusCode::BAD_REQUEST, "Weak password"),
            (StatusCode::BAD_REQUEST, "Invalid name"),
            (StatusCode::BAD_REQUEST, "Invalid organization name"),
            (StatusCode::BAD_REQUEST, "Invalid invitation token"),
            (StatusCode::FORBIDDEN, "User limit reached"),
            (StatusCode::CONFLICT, "Email already registered"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Signup failed"),
        ])),
    post("/api/auth/login", Callers::Public, Tier::Auth, log_in).with(|row| row
        .about("Signs a person in")
        .takes::<LogIn>()
        .gives::<SignedIn>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing credentials"),
            (StatusCode::UNAUTHORIZED, "Invalid credentials"),
            (StatusCode::FORBIDDEN, "Account suspended"),
            (StatusCode::TOO_MANY_REQUESTS, "Account temporarily locked"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Login failed"),
        ])),
    get("/api/auth/me", PERSON, Tier::Api, show_me).with(|row| row
        .about("Tells who is signed in, and about the organization")
        .gives::<Data<Me>>(StatusCode::OK)
        .fails([
            (StatusCode::NOT_FOUND, "User or organization not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch user info"),
        ])),
    patch("/api/auth/profile", PERSON, Tier::Api, update_profile).with(|row| row
        .about("Changes the caller's name")
        .takes::<Profile>()
        .gives::<ProfileChanged>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing required field"),
            (StatusCode::BAD_REQUEST, "Invalid name"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to update profile"),
        ])),
    post("/api/auth/change-password", PERSON, Tier::Auth, change_password).with(|row| row
        .about("Changes the caller's password; every credential of the account ends, and a new token is given")
        .takes::<NewPassword>()
        .gives::<PasswordChanged>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Missing required fields"),
            (StatusCode::BAD_REQUEST, "Weak password"),
            (StatusCode::UNAUTHORIZED, "Invalid credentials"),
            (StatusCode::TOO_MANY_REQUESTS, "Account temporarily locked"),
        ])),
    post("/api/auth/password-reset/request", Callers::Public, Tier::Auth, request_password_reset).with(|row| row
        .about("Sends a letter with a link that sets a new password, if the address has an account")
        .takes::<ForgottenPassword>()
        .gives::<Message>(StatusCode::OK)
        .fails([(StatusCode::BAD_REQUEST, "Invalid email format")])),
    post("/api/auth/password-reset/confirm", Callers::Public, Tier::Auth, confirm_password_reset).with(|row| row
        .about("Sets a new password with the token of a letter; every credential of the account ends, and a lock is lifted")
        .takes::<PasswordOfReset>()
        .gives::<Message>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Invalid reset token"),
            (StatusCode::BAD_REQUEST, "Weak password"),
        ])),
    post("/api/auth/logout", PERSON, Tier::Api, log_out).with(|row| row
        .about("Revokes the presented token, and no other")
        .gives::<Message>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, "Logout failed")])),
    post("/api/auth/api-keys", PERSON, Tier::Api, create_api_key).with(|row| row
        .about("Makes an API key that acts as its owner; its text is shown this once")
        .may_take::<KeyName>()
        .gives::<KeyCreated>(StatusCode::CREATED)
        .fails([
            (StatusCode::BAD_REQUEST, "Invalid name"),
            (StatusCode::CONFLICT, "API key limit reached"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to create API key"),
        ])),
    get("/api/auth/api-keys", PERSON, Tier::Api, list_api_keys).with(|row| row
        .about("Lists the caller's API keys, newest first")
        .gives::<ApiKeys>(StatusCode::OK)
        .fails([(StatusCode::INTERNAL_SERVER_ERROR, "Failed to list API keys")])),
    delete("/api/auth/api-keys/{id}", PERSON, Tier::Api, revoke_api_key).with(|row| row
        .about("Revokes an own API key; an administrator may revoke any of the organization")
        .gives::<Message>(StatusCode::OK)
        .fails([
            (StatusCode::BAD_REQUEST, "Invalid key ID"),
            (StatusCode::NOT_FOUND, "API key not found"),
            (StatusCode::INTERNAL_SERVER_ERROR, "Failed to revoke API key"),
        ])),
] }
