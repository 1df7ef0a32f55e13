//! What can happen to a member's account, and what the organization needs of it. Source: API reference, identity 2.4, 3,
//! 4.4, 4.9, 6.3.

use std::fmt;

use super::account::User;
use super::role::{AccountStatus, Role};
use crate::clock::UnixMs;

/// What happens to a member's account.
#[derive(Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// Another role.
    Role {
        /// The role that the caller has seen, so that the audit entry tells the truth.
        from: Role,
        /// The new one.
        to: Role,
    },
    /// Locked out by an operator, or let in again.
    Status(AccountStatus),
    /// Another display name.
    Name(String),
    /// Another password: all credentials of the account are void.
    Password {
        /// The hash that the old password was checked against.
        seen: String,
        /// Hash of the new one; a PHC string.
        hash: String,
    },
}

/// Without the hashes.
impl fmt::Debug for MemberChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { from, to } => write!(f, "Role({from} to {to})"),
            Self::Status(status) => write!(f, "Status({status:?})"),
            Self::Name(name) => write!(f, "Name({name:?})"),
            Self::Password { .. } => f.write_str("Password"),
        }
    }
}

/// The account is not what the change was decided on any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the account has changed meanwhile")]
pub struct Outdated;

impl MemberChange {
    /// Whether tokens, API keys and a pending password reset end with it.
    #[must_use]
    pub const fn voids_credentials(&self) -> bool {
        matches!(self, Self::Password { .. })
    }

    /// The account after the change at `now_ms`.
    ///
    /// # Errors
    /// [`Outdated`] if role or password are not those that the caller has seen.
    pub fn apply(&self, stored: &User, now_ms: UnixMs) -> Result<User, Outdated> {
        let mut changed = User { updated_ms: now_ms, ..stored.clone() };
        match self {
            Self::Role { from, .. } if *from != stored.role => return Err(Outdated),
            Self::Role { to, .. } => changed.role = *to,
            Self::Status(status) => changed.status = *status,
            Self::Name(name) => changed.name.clone_from(name),
            Self::Password { seen, .. } if *seen != stored.password_hash => return Err(Outdated),
            Self::Password { hash, .. } => changed = with_password(stored, hash, now_ms),
        }
        Ok(changed)
    }
}

/// The account with another password; nothing that was issued before is valid with it, whatever the clocks say.
#[must_use]
pub fn with_password(stored: &User, hash: &str, now_ms: UnixMs) -> User {
    User {
        password_hash: hash.to_owned(),
        credentials_valid_from_ms: now_ms.max(stored.credentials_valid_from_ms.saturating_add(1)),
        updated_ms: now_ms,
        ..stored.clone()
    }
}

/// Whether this account is one of those without which an organization has nobody to run it.
#[must_use]
pub fn is_active_admin(user: &User) -> bool {
    user.role == Role::Admin && user.status == AccountStatus::Active
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{OrgId, UserId};

    fn user() -> User {
        User {
            id: UserId::generate(1),
            org: OrgId::generate(1),
            email: "rosa@pinewood.test".into(),
            name: "Rosa".into(),
            password_hash: "old".into(),
            role: Role::Admin,
            status: AccountStatus::Active,
            credentials_valid_from_ms: 500,
            last_login_ms: None,
            created_ms: 1,
            updated_ms: 1,
        }
    }

    #[test]
    fn a_change_changes_what_it_says_and_when() {
        let user = user();
        let role = MemberChange::Role { from: Role::Admin, to: Role::Viewer }.apply(&user, 9);
        assert_eq!(role, Ok(User { role: Role::Viewer, updated_ms: 9, ..user.clone() }));
        let status = MemberChange::Status(AccountStatus::Suspended).apply(&user, 9).unwrap();
        assert_eq!(status, User { status: AccountStatus::Suspended, updated_ms: 9, ..user.clone() });
        let named = MemberChange::Name("R".into()).apply(&user, 9).unwrap();
        assert_eq!(named, User { name: "R".into(), updated_ms: 9, ..user.clone() });
        assert_eq!(MemberChange::Role { from: Role::Viewer, to: Role::Admin }.apply(&user, 9), Err(Outdated));
    }

    #[test]
    fn a_new_password_voids_all_that_was_issued_even_if_the_clock_stands_or_goes_back() {
        let (user, to) =
            (user(), |seen: &str| MemberChange::Password { seen: seen.into(), hash: "new".into() });
        for (now_ms, valid_from_ms) in [(900, 900), (500, 501), (7, 501)] {
            let changed = to("old").apply(&user, now_ms).unwrap();
            assert_eq!((changed.password_hash.as_str(), changed.updated_ms), ("new", now_ms));
            assert_eq!(changed.credentials_valid_from_ms, valid_from_ms);
        }
        assert_eq!(to("older").apply(&user, 9), Err(Outdated));
        assert_eq!(format!("{:?}", to("old")), "Password");
        assert!(to("old").voids_credentials() && !MemberChange::Name("R".into()).voids_credentials());
    }

    #[test]
    fn an_administrator_who_is_suspended_runs_nothing() {
        let user = user();
        assert!(is_active_admin(&user));
        assert!(!is_active_admin(&User { status: AccountStatus::Suspended, ..user.clone() }));
        assert!(!is_active_admin(&User { status: AccountStatus::Invited, ..user.clone() }));
        assert!(!is_active_admin(&User { role: Role::Developer, ..user }));
    }
}
