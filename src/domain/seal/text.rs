//! A secret in memory.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A text that nobody may see. It has no `Display`, `Serialize` or `PartialEq` on purpose, its `Debug` tells nothing, not
/// even its length, and its bytes are wiped when it is dropped. Whoever needs the text says so: [`SecretText::expose`].
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text itself. What is made of it is for the caller to keep from logs, answers and disks.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text. Takes the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of Unicode scalar values.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lacks::assert_lacks;

    #[test]
    fn a_secret_text_is_not_printed_serialised_or_compared_in_variable_time() {
        assert_lacks!(SecretText: fmt::Display, serde::Serialize, PartialEq, PartialOrd, std::hash::Hash);
        assert_lacks!(SecretText: AsRef<str>, std::ops::Deref);
        let secret = SecretText::from("tea leaves");
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "*** Some(\n    ***,\n)");
        assert!(secret.matches("tea leaves"));
        assert!(!secret.matches("tea leaveS") && !secret.matches("tea") && !secret.matches(""));
        assert_eq!((secret.chars(), SecretText::from("é").chars()), (10, 1));
        assert!(SecretText::from("").is_empty() && !secret.is_empty());
    }

    #[test]
    fn a_secret_text_is_wiped_when_it_is_dropped() {
        const fn wipes<T: zeroize::ZeroizeOnDrop>() {}
        wipes::<Zeroizing<String>>();
        let SecretText(inner) = SecretText::from("tea leaves");
        let _of_that_type: Zeroizing<String> = inner;
    }
}
