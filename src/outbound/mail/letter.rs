//! A letter's content between those who write it and those who send it: sealed, bound to its organization and key.

use super::content::Content;
use crate::domain::id::OrgId;
use crate::domain::mail::{Letter, SealedContent, letter_place};
use crate::domain::seal::{OpenError, Sealed, Sealer};
use crate::store::contract::StoreError;
use crate::store::record;

/// Why a letter cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableLetter {
    /// It was sealed with a key that is gone, or for another letter.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// What is stored is not a sealed value.
    #[error(transparent)]
    Stored(#[from] StoreError),
    /// What was sealed is no content that this build knows.
    #[error("a letter says what this build does not know")]
    Unknown,
}

/// `content` for the letter `key` of `org`, as it is stored.
///
/// # Errors
/// If it cannot be put into bytes, which every content can.
pub fn seal(
    sealer: &Sealer,
    org: OrgId,
    key: &str,
    content: &Content,
) -> Result<SealedContent, UnreadableLetter> {
    let text = serde_json::to_string(content).map_err(|_| UnreadableLetter::Unknown)?;
    let sealed = sealer.seal(org, &letter_place(key), &text.into());
    Ok(SealedContent(record::encode(&sealed)?))
}

/// What a letter says.
///
/// # Errors
/// See [`UnreadableLetter`]; it never will be readable, unless the key comes back.
pub fn open(sealer: &Sealer, letter: &Letter) -> Result<Content, UnreadableLetter> {
    let sealed: Sealed = record::decode(&letter.content.0)?;
    let text = sealer.open(letter.org, &letter_place(&letter.key), &sealed)?;
    serde_json::from_str(text.expose()).map_err(|_| UnreadableLetter::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mail::LetterKind;
    use crate::domain::seal::SealingKey;

    #[test]
    fn a_letter_opens_in_its_place_and_its_token_is_not_stored_readable() {
        let sealer = Sealer::new(SealingKey::from_secret(&[1; 32]), Vec::new());
        let token = "0f1e".repeat(16);
        let content = Content::PasswordReset { name: "Rosa".into(), token: token.clone(), expires_ms: 5 };
        let letter = |org: u8, key: &str, content: SealedContent| Letter {
            org: OrgId::from_bytes([org; 12]),
            key: key.into(),
            kind: LetterKind::PasswordReset,
            to: "rosa@pinewood.test".into(),
            content,
            created_ms: 1,
            expires_ms: 5,
        };
        let sealed = seal(&sealer, OrgId::from_bytes([1; 12]), "reset/1", &content).unwrap();
        let stored = record::encode(&letter(1, "reset/1", sealed.clone())).unwrap();
        for part in [token.as_bytes(), b"Rosa", b"PasswordReset\""] {
            assert!(!stored.windows(part.len()).any(|bytes| bytes == part), "sealed, not encoded");
        }
        assert_eq!(open(&sealer, &letter(1, "reset/1", sealed.clone())).unwrap(), content);
        for (org, key) in [(2, "reset/1"), (1, "reset/2")] {
            let opened = open(&sealer, &letter(org, key, sealed.clone()));
            assert!(matches!(opened, Err(UnreadableLetter::Sealed(_))), "{org} {key}: {opened:?}");
        }
        assert!(!format!("{content:?}").contains("0f1e"));
    }
}
