//! Bodies in and out of the category `users`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::extract::{FromMembers, Members};
use crate::api::person::Person;
use crate::domain::account::User;
use crate::domain::role::{AccountStatus, Role};
use crate::domain::time::IsoMs;
use crate::http::Failure;

/// The role that a member is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub(super) struct NewRole {
    pub(super) role: Role,
}

impl FromMembers for NewRole {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let role = members
            .get("role")
            .ok_or_else(|| Failure::bad_request("Missing required field", "The field role is needed"))?;
        let role = role.as_str().and_then(|role| role.parse().ok()).ok_or_else(|| {
            Failure::bad_request("Invalid role", "The role must be admin, developer or viewer")
        })?;
        Ok(Self { role })
    }

    fn absent() -> Failure {
        Failure::bad_request("Missing required field", "The field role is needed")
    }
}

/// What an administrator decides about a member's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WantedStatus {
    Active,
    Suspended,
}

impl From<WantedStatus> for AccountStatus {
    fn from(status: WantedStatus) -> Self {
        match status {
            WantedStatus::Active => Self::Active,
            WantedStatus::Suspended => Self::Suspended,
        }
    }
}

/// Whether a member is to be suspended or let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub(super) struct NewStatus {
    pub(super) status: WantedStatus,
}

impl FromMembers for NewStatus {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let status = members.get("status").ok_or_else(Self::absent)?;
        let status = match status.as_str() {
            Some("active") => WantedStatus::Active,
            Some("suspended") => WantedStatus::Suspended,
            _ => {
                return Err(Failure::bad_request("Invalid status", "The status must be active or suspended"));
            }
        };
        Ok(Self { status })
    }

    fn absent() -> Failure {
        Failure::bad_request("Missing required field", "The field status is needed")
    }
}

/// The organization's members.
#[derive(Serialize, ToSchema)]
pub(super) struct Users {
    pub(super) users: Vec<Member>,
}

/// One member.
#[derive(Serialize, ToSchema)]
pub(super) struct OneUser {
    pub(super) user: MemberInFull,
}

/// A member whose role was set.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedUser {
    pub(super) message: String,
    pub(super) user: Person,
}

/// A member who was suspended or let in.
#[derive(Serialize, ToSchema)]
pub(super) struct UserWithStatus {
    pub(super) message: &'static str,
    pub(super) user: MemberInFull,
}

/// What is told of a member who was removed.
#[derive(Serialize, ToSchema)]
pub(super) struct RemovedUser {
    pub(super) message: String,
}

/// A member as it is listed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Member {
    #[serde(flatten)]
    person: Person,
    status: AccountStatus,
    last_login_at: Option<IsoMs>,
    created_at: IsoMs,
}

/// A member with all that is shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct MemberInFull {
    #[serde(flatten)]
    member: Member,
    updated_at: IsoMs,
}

impl From<User> for Member {
    fn from(user: User) -> Self {
        Self {
            status: user.status,
            last_login_at: user.last_login_ms.map(IsoMs),
            created_at: IsoMs(user.created_ms),
            person: user.into(),
        }
    }
}

impl From<User> for MemberInFull {
    fn from(user: User) -> Self {
        Self { updated_at: IsoMs(user.updated_ms), member: user.into() }
    }
}
