//! Letters: what is to be told to somebody by e-mail, as the store keeps it until it is sent.
//!
//! A letter is stored in the same step as the change it tells of, and sent later: at least once, by one node at a time.
//! What it says may hold a link whose token opens an account, so the store only ever sees it sealed. Source: API
//! reference, identity 11.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{OrgId, stored_org};
use crate::clock::UnixMs;

/// What a letter is about. New kinds go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LetterKind {
    /// Somebody is asked to join an organization.
    Invitation,
    /// A new account is greeted.
    Welcome,
    /// Somebody has asked for a new password.
    PasswordReset,
    /// An organization has used much of what its plan allows.
    UsageAlert,
}

impl LetterKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Invitation, Self::Welcome, Self::PasswordReset, Self::UsageAlert];

    /// The word for it in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Welcome => "welcome",
            Self::PasswordReset => "password_reset",
            Self::UsageAlert => "usage_alert",
        }
    }
}

/// What a letter says, encrypted: only whoever has the key of this deployment reads it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedContent(pub Vec<u8>);

impl fmt::Debug for SealedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sealed, {} bytes", self.0.len())
    }
}

/// What the places of letters' contents begin with, among the sealed values of an organization.
pub const LETTER_PLACE: &str = "letter/";

/// Under which name the content of the letter `key` is sealed.
#[must_use]
pub fn letter_place(key: &str) -> String {
    format!("{LETTER_PLACE}{key}")
}

/// A letter to one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The organization that it is about.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Names what is told to whom, as `invitation/69a7e0112f4b8e1190ab3c08`; unique within `org`, at most
    /// [`crate::limits::LETTER_KEY_BYTES_MAX`] bytes. A letter is not sent a second time under the same key.
    pub key: String,
    /// What it is about.
    pub kind: LetterKind,
    /// The address it goes to, in the form that [`super::email::normalise`] gives.
    pub to: String,
    /// What it says.
    pub content: SealedContent,
    /// When it was written; Unix milliseconds.
    pub created_ms: UnixMs,
    /// From then on it is of no use and is not sent any more; Unix milliseconds.
    pub expires_ms: UnixMs,
}

/// A letter that is not sent yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingLetter {
    /// The letter.
    pub letter: Letter,
    /// How often it was taken for sending. Names the last taking: who took it before has no say any more.
    pub taken: u32,
    /// How often sending failed for the time being.
    pub failures: u32,
    /// When it may be taken next; Unix milliseconds.
    pub due_ms: UnixMs,
}

/// How a letter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LetterEnd {
    /// A mail server has taken it over.
    Sent,
    /// It is not tried any more.
    GivenUp,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterState {
    /// It waits, after so many failures.
    Waiting {
        /// How often sending failed for the time being.
        failures: u32,
    },
    /// It is over.
    Ended(LetterEnd),
}

/// How much waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxDepth {
    /// Letters.
    pub letters: u64,
    /// When the oldest of them was written; Unix milliseconds.
    pub oldest_ms: Option<UnixMs>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_letter_says_is_not_printed() {
        let letter = Letter {
            org: OrgId::generate(1),
            key: "invitation/1".into(),
            kind: LetterKind::Invitation,
            to: "ivo@pinewood.test".into(),
            content: SealedContent(b"token".to_vec()),
            created_ms: 1,
            expires_ms: 2,
        };
        let printed = format!("{letter:?}");
        assert!(printed.contains("sealed, 5 bytes"), "{printed}");
        assert!(!printed.contains("token") && !printed.contains("116"), "{printed}");
    }
}
