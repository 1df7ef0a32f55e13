//! Password resets: who has the token of one may set a new password, once. Source: API reference, identity 4.9.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::account::User;
use crate::clock::UnixMs;

/// Bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What the store knows of a token: SHA-256. The token is random and as long as its hash, so it needs no salt.
pub type ResetHash = [u8; 32];

/// A token that was just made: 64 lower-case hex characters.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetToken(String);

/// Without the token itself: it opens an account.
impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken")
    }
}

impl ResetToken {
    /// The token made of these random bytes.
    #[must_use]
    pub fn of(random: [u8; TOKEN_BYTES]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The token that a text is, or `None` if it is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 2 * TOKEN_BYTES && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    /// The text, for the letter.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> ResetHash {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// A reset that was asked for, as it is stored: at most one for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordReset {
    /// Of its token.
    pub hash: ResetHash,
    /// From then on it is of no use; Unix milliseconds.
    pub expires_ms: UnixMs,
    /// The account's `credentials_valid_from_ms` when it was asked for. Whatever voids the account's credentials voids
    /// this too.
    pub credentials_from_ms: UnixMs,
}

impl PasswordReset {
    /// Whether the token with this hash sets the password of `user` at `now_ms`.
    #[must_use]
    pub fn is_good(&self, hash: &ResetHash, user: &User, now_ms: UnixMs) -> bool {
        self.hash == *hash
            && now_ms < self.expires_ms
            && self.credentials_from_ms == user.credentials_valid_from_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_64_lower_case_hex_characters() {
        let token = ResetToken::of(std::array::from_fn(|at| u8::try_from(at * 8).unwrap()));
        assert!(token.expose().starts_with("0008101820") && token.expose().len() == 64);
        assert_eq!(ResetToken::read(token.expose()), Some(token.clone()));
        assert_eq!(ResetToken::read(token.expose()).unwrap().hash(), token.hash());
        for bad in ["", &"a".repeat(63), &"a".repeat(65), &"A".repeat(64), &"g".repeat(64), &"é".repeat(32)]
        {
            assert_eq!(ResetToken::read(bad), None, "{bad}");
        }
        assert_eq!(format!("{token:?}"), "ResetToken");
    }
}
