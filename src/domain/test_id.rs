//! Test ids are opaque texts of any length; one that is too long is replaced by its head and a hash of the whole, so
//! that the same test keeps the same identity from run to run. Source: API reference, ingest 3 (validation policy).

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::text;
use crate::limits::TEST_ID_CHARS_MAX;

/// Characters of the original that a replacement keeps.
const HEAD_CHARS: usize = 400;

/// Appends what stands for `id` if it is too long to be stored as it is; returns whether it did.
pub fn push_shortened(id: &str, out: &mut String) -> bool {
    if text::cut(id, TEST_ID_CHARS_MAX).is_none() {
        return false;
    }
    out.push_str(text::at_most(id, HEAD_CHARS));
    out.push('~');
    for byte in Sha256::digest(id.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(id: &str) -> Option<String> {
        let mut out = String::new();
        push_shortened(id, &mut out).then_some(out)
    }

    #[test]
    fn only_ids_beyond_the_bound_are_replaced() {
        assert_eq!(shortened(&"ä".repeat(500)), None);
        assert_eq!(
            shortened(&"a".repeat(501)).unwrap(),
            format!("{}~1b2c4bb5b20ed5bd7cf63b1a4ab74f0b3895dcb20a9f83573e3a53bd05f00de2", "a".repeat(400))
        );
    }

    #[test]
    fn the_whole_id_counts_and_characters_stay_whole() {
        let long = "ä".repeat(600);
        let replacement = shortened(&long).unwrap();
        assert_eq!(replacement.chars().count(), 400 + 1 + 64);
        assert!(replacement.starts_with(&"ä".repeat(400)));
        assert_eq!(shortened(&long), Some(replacement.clone()));
        assert_ne!(shortened(&format!("{long}x")), Some(replacement));
    }
}
