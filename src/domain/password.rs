//! Which passwords are strong enough. Source: API reference, identity 2.5.

use std::ops::RangeInclusive;

/// Length of a password in characters, not trimmed.
pub const PASSWORD_CHARS: RangeInclusive<usize> = 8..=128;
/// The characters that count as special; others are allowed but do not count.
pub const SPECIAL_CHARS: &str = "!@#$%^&*(),.?\":{}|<>";

/// Every rule that `password` breaks, as a sentence part for a person; empty for a good one.
#[must_use]
pub fn broken_rules(password: &str) -> Vec<&'static str> {
    let has = |is_wanted: fn(char) -> bool| password.chars().any(is_wanted);
    let rules = [
        (PASSWORD_CHARS.contains(&password.chars().count()), "must have 8 to 128 characters"),
        (has(|c| c.is_ascii_lowercase()), "must have a lower-case letter (a-z)"),
        (has(|c| c.is_ascii_uppercase()), "must have an upper-case letter (A-Z)"),
        (has(|c| c.is_ascii_digit()), "must have a digit (0-9)"),
        (has(|c| SPECIAL_CHARS.contains(c)), "must have a special character (!@#$%^&*(),.?\":{}|<>)"),
    ];
    rules.into_iter().filter(|(is_kept, _)| !is_kept).map(|(_, rule)| rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_rule_is_named() {
        let check = |password: &str, broken: &[&str]| {
            let found = broken_rules(password);
            assert_eq!(found.len(), broken.len(), "{password:?}: {found:?}");
            for (rule, word) in found.iter().zip(broken) {
                assert!(rule.contains(word), "{password:?}: {rule}");
            }
        };
        check("Abcdef1!", &[]);
        check("Abcde1!", &["8 to 128"]);
        check(&format!("Aa1!{}", "x".repeat(124)), &[]);
        check(&format!("Aa1!{}", "x".repeat(125)), &["8 to 128"]);
        check("ABCDEF1!", &["lower-case"]);
        check("abcdef1!", &["upper-case"]);
        check("Abcdefg!", &["digit"]);
        check("Abcdefg1", &["special"]);
        check("Abcdef1-", &["special"]);
        check("Ä\u{e9}\u{661}😀Ä\u{e9}\u{661}😀", &["lower-case", "upper-case", "digit", "special"]);
        check("", &["8 to 128", "lower-case", "upper-case", "digit", "special"]);
        // Characters, not bytes; blanks at the ends belong to the password.
        check("Aa1!éééé", &[]);
        check(" Aa1!xx ", &[]);
        for special in SPECIAL_CHARS.chars() {
            check(&format!("Abcdefg1{special}"), &[]);
        }
        assert_eq!(SPECIAL_CHARS.chars().count(), 20);
    }
}
