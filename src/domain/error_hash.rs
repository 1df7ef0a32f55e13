//! The fingerprint that groups equal failures: colours, numbers and layout do not count.
//! Source: API reference, executions 9.1.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

/// Characters of the normalised message that count.
const CHARS_MAX: usize = 200;

/// MD5 (32 lower-case hex characters) of the first 200 characters of `message` without ANSI escapes, each run of
/// digits replaced by `N`, each run of white space by one blank. `None` for an empty message.
#[must_use]
pub fn error_hash(message: &str) -> Option<String> {
    let normalised = normalise(message);
    if normalised.is_empty() {
        return None;
    }
    let mut hex = String::with_capacity(32);
    for byte in Md5::digest(normalised.as_bytes()) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Some(hex)
}

fn normalise(message: &str) -> String {
    #[derive(PartialEq)]
    enum Run {
        Digits,
        Blanks,
        Other,
    }
    let mut normalised = String::new();
    let mut run = Run::Other;
    let mut chars = 0;
    for character in WithoutAnsi(message.chars()) {
        let (kind, shown) = match character {
            '0'..='9' => (Run::Digits, 'N'),
            blank if blank.is_whitespace() => (Run::Blanks, ' '),
            other => (Run::Other, other),
        };
        if kind != Run::Other && kind == run {
            continue;
        }
        if chars == CHARS_MAX {
            break;
        }
        run = kind;
        chars += 1;
        normalised.push(shown);
    }
    normalised
}

/// The characters of a text without terminal escape sequences.
struct WithoutAnsi<'a>(std::str::Chars<'a>);

impl Iterator for WithoutAnsi<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            match self.0.next()? {
                '\u{1b}' => self.skip_escape(),
                '\u{9b}' => self.skip_control_sequence(),
                character => return Some(character),
            }
        }
    }
}

impl WithoutAnsi<'_> {
    /// Skips what belongs to an escape character that was just read.
    fn skip_escape(&mut self) {
        let mut ahead = self.0.clone();
        match ahead.next() {
            Some('[') => {
                self.0 = ahead;
                self.skip_control_sequence();
            }
            // A command string (a title, a link) ends with BEL or with escape and backslash.
            Some(']' | 'P' | 'X' | '^' | '_') => {
                self.0 = ahead;
                while let Some(character) = self.0.next() {
                    match character {
                        '\u{7}' | '\u{9c}' => return,
                        '\u{1b}' => {
                            self.0.next();
                            return;
                        }
                        _ => {}
                    }
                }
            }
            // A character set: one intermediate and one final character.
            Some(' '..='/') => {
                ahead.next();
                self.0 = ahead;
            }
            Some('0'..='~') => self.0 = ahead,
            _ => {}
        }
    }

    /// Skips the parameters and the final character of a control sequence; stops before what cannot belong to one.
    fn skip_control_sequence(&mut self) {
        loop {
            let mut ahead = self.0.clone();
            match ahead.next() {
                Some(' '..='?') => self.0 = ahead,
                Some('@'..='~') => {
                    self.0 = ahead;
                    return;
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_normalised_before_they_are_hashed() {
        for (message, normalised) in [
            ("Expected 12, got 3", "Expected N, got N"),
            ("a\t\r\n  b", "a b"),
            (" padded ", " padded "),
            ("\u{1b}[31mred\u{1b}[39m 1\u{1b}[2m2", "red N"),
            ("\u{1b}[38;5;196mx\u{1b}[0K", "x"),
            ("\u{9b}1mx", "x"),
            ("\u{1b}]8;;https://a.test\u{7}link\u{1b}]8;;\u{1b}\\!", "link!"),
            ("\u{1b}(Bx\u{1b}7y", "xy"),
            ("open \u{1b}[31", "open "),
            ("\u{1b}", ""),
            ("v1.2", "vN.N"),
            ("٣", "٣"),
        ] {
            assert_eq!(normalise(message), normalised, "{message:?}");
        }
    }

    #[test]
    fn two_hundred_normalised_characters_count() {
        let long = |tail: &str| format!("{}{tail}", "x".repeat(199));
        assert_eq!(normalise(&long("yz")), long("y"));
        assert_eq!(error_hash(&long("yz")), error_hash(&long("y!")));
        assert_ne!(error_hash(&long("y")), error_hash(&long("z")));
        // A long number is one character, so what follows it still counts.
        assert_ne!(
            error_hash(&format!("{}a", "7".repeat(300))),
            error_hash(&format!("{}b", "7".repeat(300)))
        );
    }

    #[test]
    fn the_hash_is_md5_in_lower_case_hex() {
        assert_eq!(error_hash("Expected 1, got 20").as_deref(), Some("ec4ef52896e5f009aec4bb4cb4f70e23"));
        assert_eq!(error_hash(""), None);
        assert_eq!(error_hash("\u{1b}[0m"), None);
    }

    proptest! {
        #[test]
        fn colours_never_change_the_hash(words in prop::collection::vec("[a-z]{1,6}", 1..6)) {
            let coloured = words.iter().map(|word| format!("\u{1b}[1;31m{word}\u{1b}[0m")).collect::<Vec<_>>();
            prop_assert_eq!(error_hash(&words.join(" ")), error_hash(&coloured.join("\n  ")));
        }

        #[test]
        fn any_text_is_taken(message in "[\u{1b}\\[\\]0-9a-c \u{7}\u{9b};\\\\m]{0,40}") {
            prop_assert!(normalise(&message).chars().count() <= CHARS_MAX);
        }
    }
}
