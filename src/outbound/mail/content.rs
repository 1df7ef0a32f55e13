//! What letters say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::links::InvitationAction;
use crate::clock::UnixMs;
use crate::domain::mail::LetterKind;
use crate::domain::role::Role;

/// What a letter says. Names are as people gave them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Somebody is asked to join an organization.
    Invitation {
        /// The organization's name.
        organization: String,
        /// Who asks.
        inviter: String,
        /// What they are to be there.
        role: Role,
        /// What the link is for.
        action: InvitationAction,
        /// The secret of the link.
        token: String,
        /// When the link ends; Unix milliseconds.
        expires_ms: UnixMs,
    },
    /// A new account is greeted.
    Welcome {
        /// The person's name.
        name: String,
        /// The organization's name.
        organization: String,
    },
    /// Somebody has asked for a new password.
    PasswordReset {
        /// The person's name.
        name: String,
        /// The secret of the link.
        token: String,
        /// When the link ends; Unix milliseconds.
        expires_ms: UnixMs,
    },
    /// An organization has used much of what its plan allows.
    UsageAlert {
        /// The organization's name.
        organization: String,
        /// What is used, in words, as `test runs`.
        resource: String,
        /// How much of it, in words, as `41 of 50`.
        used: String,
        /// The threshold that was crossed, in percent.
        threshold: u8,
        /// Whether nothing more can be created.
        is_exhausted: bool,
    },
}

impl Content {
    /// What the letter is about.
    #[must_use]
    pub const fn kind(&self) -> LetterKind {
        match self {
            Self::Invitation { .. } => LetterKind::Invitation,
            Self::Welcome { .. } => LetterKind::Welcome,
            Self::PasswordReset { .. } => LetterKind::PasswordReset,
            Self::UsageAlert { .. } => LetterKind::UsageAlert,
        }
    }
}

/// Tokens are for the recipient alone.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())
    }
}
