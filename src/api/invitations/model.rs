//! Bodies in and out of the category `invitations`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::auth::SignedInUser;
use crate::api::extract::{FromMembers, Members};
use crate::domain::account::Organization;
use crate::domain::email;
use crate::domain::invitation::{Invitation, InvitationStatus, InvitationToken};
use crate::domain::role::Role;
use crate::domain::time::IsoMs;
use crate::http::Failure;
use crate::outbound::mail::InvitationAction;

/// Who is to be invited as what; the address is in its stored form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub(in crate::api) struct NewInvitation {
    /// Without regard to case.
    #[schema(format = "email", max_length = 254)]
    pub(in crate::api) email: String,
    /// The role in the organization.
    pub(in crate::api) role: Role,
}

impl FromMembers for NewInvitation {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let given = |name: &str| members.get(name).filter(|value| !value.is_null());
        let (Some(address), Some(role)) = (given("email"), given("role")) else { return Err(Self::absent()) };
        let email = address.as_str().and_then(email::normalise).ok_or_else(|| {
            Failure::bad_request("Invalid email format", "The e-mail address is not a valid one")
        })?;
        let role = role
            .as_str()
            .and_then(|role| role.parse().ok())
            .ok_or_else(|| Failure::bad_request("Invalid role", "Role must be admin, developer or viewer"))?;
        Ok(Self { email, role })
    }

    fn absent() -> Failure {
        Failure::bad_request("Missing required fields", "email and role are needed")
    }
}

/// Which invitation the caller accepts.
#[derive(Deserialize, ToSchema)]
pub(super) struct Acceptance {
    /// The token of the link.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    #[serde(skip)]
    pub(super) token: Option<InvitationToken>,
}

impl FromMembers for Acceptance {
    fn from_members(members: Members) -> Result<Self, Failure> {
        match members.get("token") {
            Some(Value::String(text)) => Ok(Self { token: Some(well_formed(text)?) }),
            _ => Err(Self::absent()),
        }
    }

    fn absent() -> Failure {
        Failure::bad_request("Missing token", "The token of the invitation is needed")
    }
}

/// The token written as `text`.
///
/// # Errors
/// 400 `Invalid token format`.
pub(super) fn well_formed(text: &str) -> Result<InvitationToken, Failure> {
    InvitationToken::parse(text).ok_or_else(|| {
        Failure::bad_request("Invalid token format", "A token is 64 lower-case hexadecimal digits")
    })
}

/// What somebody who is invited has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum ActionType {
    /// Sign up: there is no account with the address.
    Signup,
    /// Sign in and join.
    Join,
}

impl ActionType {
    pub(in crate::api) const fn of(user_exists: bool) -> Self {
        if user_exists { Self::Join } else { Self::Signup }
    }
}

impl From<ActionType> for InvitationAction {
    fn from(action: ActionType) -> Self {
        match action {
            ActionType::Signup => Self::Signup,
            ActionType::Join => Self::Join,
        }
    }
}

/// An invitation that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct InvitationCreated {
    pub(super) message: &'static str,
    pub(super) invitation: NewInvitationView,
}

/// What is told of a new invitation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewInvitationView {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    pub(in crate::api) id: String,
    pub(in crate::api) email: String,
    pub(in crate::api) role: Role,
    pub(in crate::api) expires_at: IsoMs,
    /// Whether there is an account with this address anywhere.
    pub(in crate::api) user_exists: bool,
    pub(in crate::api) action_type: ActionType,
    /// Whether a mail server has taken the letter over.
    pub(in crate::api) email_sent: bool,
    /// Where the invitation can be accepted; only without a mail transport. It is the credential: pass it on with care.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub(in crate::api) invite_url: Option<String>,
}

/// The invitations that can be accepted.
#[derive(Serialize, ToSchema)]
pub(super) struct InvitationList {
    pub(super) invitations: Vec<InvitationView>,
}

/// An invitation as it is shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct InvitationView {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    email: String,
    role: Role,
    status: InvitationStatus,
    #[schema(pattern = "^[0-9a-f]{24}$")]
    invited_by: String,
    invited_by_name: String,
    expires_at: IsoMs,
    created_at: IsoMs,
}

impl InvitationView {
    pub(in crate::api) fn new(invitation: Invitation, invited_by_name: String, now_ms: i64) -> Self {
        Self {
            id: invitation.id.to_string(),
            status: invitation.status(now_ms),
            role: invitation.role,
            invited_by: invitation.invited_by.to_string(),
            invited_by_name,
            expires_at: IsoMs(invitation.expires_ms),
            created_at: IsoMs(invitation.created_ms),
            email: invitation.email,
        }
    }
}

/// What an invitation is to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ValidInvitation {
    pub(super) valid: bool,
    pub(super) organization_name: String,
    pub(super) role: Role,
    pub(super) inviter_name: String,
    /// Whether there is an account with the invited address: to join instead of signing up.
    pub(super) user_exists: bool,
    pub(super) email: String,
}

/// The caller as a member of another organization.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    pub(super) message: String,
    pub(super) organization: JoinedOrganization,
    /// For `Authorization: Bearer`; the one before is void.
    pub(super) token: String,
    pub(super) user: SignedInUser,
}

/// The organization that was joined.
#[derive(Serialize, ToSchema)]
pub(super) struct JoinedOrganization {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    name: String,
}

impl From<Organization> for JoinedOrganization {
    fn from(organization: Organization) -> Self {
        Self { id: organization.id.to_string(), name: organization.name }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: FromMembers>(body: Value) -> Result<T, String> {
        let Value::Object(members) = body else { panic!("{body} is no object") };
        T::from_members(members).map_err(|failure| failure.error.into_owned())
    }

    #[test]
    fn who_is_invited_has_an_address_and_a_role() {
        let good =
            read::<NewInvitation>(json!({ "email": " Ivo@Pinewood.Test ", "role": "viewer" })).unwrap();
        assert_eq!((good.email.as_str(), good.role), ("ivo@pinewood.test", Role::Viewer));
        let check = |body: Value, error: &str| {
            assert_eq!(read::<NewInvitation>(body.clone()).err().as_deref(), Some(error), "{body}");
        };
        check(json!({}), "Missing required fields");
        check(json!({ "email": "a@b.c" }), "Missing required fields");
        check(json!({ "role": "viewer", "email": null }), "Missing required fields");
        check(json!({ "email": 7, "role": "x" }), "Invalid email format");
        check(json!({ "email": "", "role": "viewer" }), "Invalid email format");
        for role in [json!("owner"), json!("Admin"), json!(7), json!(["admin"])] {
            check(json!({ "email": "a@b.c", "role": role }), "Invalid role");
        }
    }

    #[test]
    fn a_token_is_a_text_of_64_digits() {
        let token = "0a".repeat(32);
        assert_eq!(read::<Acceptance>(json!({ "token": token })).map(|one| one.token.is_some()), Ok(true));
        for absent in [json!({}), json!({ "token": null }), json!({ "token": 7 })] {
            assert_eq!(read::<Acceptance>(absent).err().as_deref(), Some("Missing token"));
        }
        for bad in ["", "0a", &"0A".repeat(32), &"0a".repeat(33)] {
            assert_eq!(
                read::<Acceptance>(json!({ "token": bad })).err().as_deref(),
                Some("Invalid token format")
            );
        }
    }
}
