//! Invitations to an organization, and what redeeming one makes of an account. Source: API reference, identity 3 and 7.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::account::{AuditEntry, User};
use super::id::{InvitationId, OrgId, UserId, stored_org};
use super::role::Role;
use crate::clock::UnixMs;
use crate::limits::{INVITATION_LIFETIME, INVITATION_RETENTION};

/// What the store knows of a token.
pub type TokenHash = [u8; 32];

/// The token of an invitation: 32 random bytes, 64 hex digits outside. Who has it and the address may join.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationToken([u8; 32]);

impl InvitationToken {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(rand::random())
    }

    /// The token written as 64 lower-case hex digits, or `None` if `text` is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let pairs: &[[u8; 2]; 32] = pairs.try_into().ok().filter(|_| rest.is_empty())?;
        let mut bytes = [0; 32];
        for (slot, [high, low]) in bytes.iter_mut().zip(pairs) {
            *slot = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }

    /// What is stored in its place. It has enough randomness of its own to need no key.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        Sha256::digest(self.0).into()
    }

    /// The 64 digits, for the letter that brings it.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// It is a credential.
impl fmt::Debug for InvitationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An invitation as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The organization that may be joined.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Who may join: an address, trimmed and in lower case.
    pub email: String,
    /// The role that they will have.
    pub role: Role,
    /// The administrator who invited.
    pub invited_by: UserId,
    /// Hash of the token.
    pub token: TokenHash,
    /// Whether it was redeemed. What was revoked is not stored any more.
    pub accepted: bool,
    /// Unix milliseconds.
    pub created_ms: UnixMs,
    /// [`INVITATION_LIFETIME`] after it was created; Unix milliseconds.
    pub expires_ms: UnixMs,
}

/// What can be done with an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvitationStatus {
    /// It can be redeemed.
    Pending,
    /// It was redeemed.
    Accepted,
    /// It was not, and cannot be any more.
    Expired,
}

impl Invitation {
    /// An entry of the audit log whose details name this invitation's `email` and `role`, beside what they tell already.
    #[must_use]
    pub fn told_in(&self, audit: AuditEntry) -> AuditEntry {
        let mut details: Map<String, Value> = serde_json::from_str(&audit.details).unwrap_or_default();
        details.insert("email".into(), self.email.as_str().into());
        details.insert("role".into(), self.role.as_str().into());
        AuditEntry { details: Value::Object(details).to_string(), ..audit }
    }

    /// A new one, created at `now_ms`, for `email` in its stored form.
    #[must_use]
    pub fn new(
        (org, invited_by): (OrgId, UserId),
        email: String,
        role: Role,
        token: &InvitationToken,
        now_ms: UnixMs,
    ) -> Self {
        Self {
            id: InvitationId::generate(now_ms),
            org,
            email,
            role,
            invited_by,
            token: token.hash(),
            accepted: false,
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(millis(INVITATION_LIFETIME)),
        }
    }

    /// Names the letter that brings it.
    #[must_use]
    pub fn letter_key(&self) -> String {
        format!("invitation/{}", self.id)
    }

    /// What can be done with it at `now_ms`.
    #[must_use]
    pub const fn status(&self, now_ms: UnixMs) -> InvitationStatus {
        if self.accepted {
            InvitationStatus::Accepted
        } else if now_ms < self.expires_ms {
            InvitationStatus::Pending
        } else {
            InvitationStatus::Expired
        }
    }

    /// Whether it can be redeemed at `now_ms`.
    #[must_use]
    pub fn is_pending(&self, now_ms: UnixMs) -> bool {
        self.status(now_ms) == InvitationStatus::Pending
    }

    /// Whether the owner of `email` can redeem it at `now_ms`.
    #[must_use]
    pub fn admits(&self, email: &str, now_ms: UnixMs) -> bool {
        self.is_pending(now_ms) && self.email == email
    }

    /// When it may be forgotten; Unix milliseconds.
    #[must_use]
    pub fn kept_until_ms(&self) -> UnixMs {
        self.expires_ms.saturating_add(millis(INVITATION_RETENTION))
    }

    /// The account once it has joined at `now_ms`: everything that was issued to it before is void, whatever the clocks
    /// say.
    #[must_use]
    pub fn joined(&self, user: &User, now_ms: UnixMs) -> User {
        User {
            org: self.org,
            role: self.role,
            credentials_valid_from_ms: now_ms.max(user.credentials_valid_from_ms.saturating_add(1)),
            updated_ms: now_ms,
            ..user.clone()
        }
    }
}

/// The earliest moment at which an invitation that is pending at `now_ms` can have been created.
#[must_use]
pub fn oldest_pending_ms(now_ms: UnixMs) -> UnixMs {
    now_ms.saturating_sub(millis(INVITATION_LIFETIME))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::role::AccountStatus;

    const NOW_MS: UnixMs = 1_774_000_000_123;

    fn invitation() -> Invitation {
        let by = (OrgId::generate(1), UserId::generate(1));
        let token = InvitationToken::generate();
        Invitation::new(by, "ivo@pinewood.test".into(), Role::Developer, &token, NOW_MS)
    }

    #[test]
    fn a_token_is_64_digits_and_stored_as_its_hash() {
        let token = InvitationToken::generate();
        let text = token.expose();
        assert_eq!((text.len(), InvitationToken::parse(&text)), (64, Some(token.clone())));
        assert_ne!(token, InvitationToken::generate());
        assert_eq!(token.hash(), InvitationToken::parse(&text).unwrap().hash());
        assert_ne!(token.hash(), token.0);
        assert_eq!(format!("{token:?}"), "***");
        let long = format!("{text}0");
        for bad in ["", &text[1..], &long, &text.replace(|c: char| c.is_ascii_digit(), "A"), &"é".repeat(32)]
        {
            assert_eq!(InvitationToken::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn it_can_be_redeemed_for_seven_days_once_by_its_address() {
        let mut invitation = invitation();
        let week_ms = 7 * 24 * 3_600_000;
        assert_eq!(invitation.expires_ms, NOW_MS + week_ms);
        assert_eq!(invitation.status(NOW_MS + week_ms - 1), InvitationStatus::Pending);
        assert_eq!(invitation.status(NOW_MS + week_ms), InvitationStatus::Expired);
        assert!(oldest_pending_ms(NOW_MS + week_ms - 1) < invitation.created_ms);
        assert_eq!(oldest_pending_ms(NOW_MS + week_ms), invitation.created_ms);
        assert!(invitation.admits("ivo@pinewood.test", NOW_MS));
        assert!(!invitation.admits("rosa@pinewood.test", NOW_MS));
        assert!(!invitation.admits("ivo@pinewood.test", NOW_MS + week_ms));
        invitation.accepted = true;
        assert!(!invitation.admits("ivo@pinewood.test", NOW_MS));
        assert_eq!(invitation.status(NOW_MS + week_ms), InvitationStatus::Accepted);
    }

    #[test]
    fn who_joins_has_the_role_and_no_older_credentials() {
        let invitation = invitation();
        let user = User {
            id: UserId::generate(1),
            org: OrgId::generate(2),
            email: "ivo@pinewood.test".into(),
            name: "Ivo".into(),
            password_hash: "x".into(),
            role: Role::Admin,
            status: AccountStatus::Active,
            credentials_valid_from_ms: NOW_MS,
            last_login_ms: Some(7),
            created_ms: 1,
            updated_ms: 1,
        };
        for (now_ms, valid_from_ms) in [(NOW_MS + 9, NOW_MS + 9), (NOW_MS, NOW_MS + 1), (7, NOW_MS + 1)] {
            let joined = invitation.joined(&user, now_ms);
            let expected = User {
                org: invitation.org,
                role: Role::Developer,
                credentials_valid_from_ms: valid_from_ms,
                updated_ms: now_ms,
                ..user.clone()
            };
            assert_eq!(joined, expected);
        }
    }
}
