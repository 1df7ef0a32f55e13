//! What JavaScript accepts and strict readers do not: halves of surrogate pairs in `\u` escapes, and numbers beyond
//! every range. A reporter that cuts a text between two halves of an emoji must not lose the whole batch for it.
//! Runs only after a strict reader has refused a body.

/// What stands for half a surrogate pair: U+FFFD, as long as what it replaces.
const REPLACEMENT: &[u8; 4] = b"fffd";
/// What stands for a number that is infinite: `JSON.stringify(Infinity)` is `null` too.
const NOT_FINITE: &[u8; 4] = b"null";

/// Replaces halves of surrogate pairs by U+FFFD and infinite numbers by `null`, in place. Returns whether there were
/// any. Takes anything; what is no JSON stays none.
pub(super) fn mend(body: &mut [u8]) -> bool {
    let mut mended = false;
    let mut at = 0;
    let mut in_string = false;
    while let Some(&byte) = body.get(at) {
        at += match byte {
            b'"' => {
                in_string = !in_string;
                1
            }
            b'\\' if in_string => {
                let (length, lone) = escape(body, at);
                if lone && let Some(digits) = body.get_mut(at + 2..at + 6) {
                    digits.copy_from_slice(REPLACEMENT);
                    mended = true;
                }
                length
            }
            b'-' | b'0'..=b'9' if !in_string => {
                let number = body.get_mut(at..).unwrap_or_default();
                let length = number.iter().take_while(|byte| is_of_number(**byte)).count();
                mended |= number.get_mut(..length).is_some_and(mend_number);
                length
            }
            _ => 1,
        };
    }
    mended
}

/// Length of the escape sequence at `at`, and whether it is half a surrogate pair.
fn escape(body: &[u8], at: usize) -> (usize, bool) {
    match code_unit(body, at) {
        Some(0xD800..=0xDBFF) => match code_unit(body, at + 6) {
            Some(0xDC00..=0xDFFF) => (12, false),
            _ => (6, true),
        },
        Some(0xDC00..=0xDFFF) => (6, true),
        Some(_) => (6, false),
        None => (2, false),
    }
}

/// The code unit of a `\uXXXX` escape at `at`, if there is one.
fn code_unit(body: &[u8], at: usize) -> Option<u16> {
    let digits = body.get(at..at + 6)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Overwrites a number that is infinite; the shortest such number has five characters.
fn mend_number(number: &mut [u8]) -> bool {
    let value = std::str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok());
    if !value.is_some_and(f64::is_infinite) || number.len() < NOT_FINITE.len() {
        return false;
    }
    number.fill(b' ');
    for (slot, byte) in number.iter_mut().zip(NOT_FINITE) {
        *slot = *byte;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mended(body: &str) -> String {
        let mut bytes = body.as_bytes().to_vec();
        let changed = mend(&mut bytes);
        let after = String::from_utf8(bytes).unwrap();
        assert_eq!(changed, after != body, "{body}");
        after
    }

    #[test]
    fn halves_of_pairs_are_replaced_and_pairs_kept() {
        for (body, after) in [
            (r#"["\ud83d\ude00"]"#, r#"["\ud83d\ude00"]"#),
            (r#"["\uD83D\uDE00"]"#, r#"["\uD83D\uDE00"]"#),
            (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
            (r#"["\ude00"]"#, r#"["\ufffd"]"#),
            (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["\ude00\ud83d"]"#, r#"["\ufffd\ufffd"]"#),
            (r#"["\ud83dx\ude00"]"#, r#"["\ufffdx\ufffd"]"#),
            (r#"["\ud83d\n"]"#, r#"["\ufffd\n"]"#),
            (r#"["\ud83d\u0041"]"#, r#"["\ufffd\u0041"]"#),
            // An escaped backslash followed by letters is no escape.
            (r#"["\\ud83d"]"#, r#"["\\ud83d"]"#),
            (r#"["\\\ud83d"]"#, r#"["\\\ufffd"]"#),
            (r#"["\"\ud83d"]"#, r#"["\"\ufffd"]"#),
            (r#"{"\ud83d":1}"#, r#"{"\ufffd":1}"#),
        ] {
            assert_eq!(mended(body), after);
        }
    }

    #[test]
    fn numbers_beyond_every_range_become_null() {
        for (body, after) in [
            ("[1e309]", "[null ]"),
            ("[-1e309,1]", "[null  ,1]"),
            ("[1E+400]", "[null  ]"),
            ("[1e308]", "[1e308]"),
            ("[1e-999]", "[1e-999]"),
            ("[123456789012345678901234567890]", "[123456789012345678901234567890]"),
            (r#"["1e309"]"#, r#"["1e309"]"#),
            ("[1e309x]", "[null x]"),
        ] {
            assert_eq!(mended(body), after);
        }
        let digits = "9".repeat(400);
        assert_eq!(mended(&digits), format!("{:400}", "null"));
    }

    #[test]
    fn cut_off_bodies_end_quietly() {
        for body in ["\"\\", "\"\\u", "\"\\ud8", "\"\\ud83d\\", "\"\\ud83d\\u", "-", "1e", "\"", ""] {
            let _ = mended(body);
        }
    }

    proptest! {
        /// Whatever the strict reader takes is left alone, and mending twice is mending once.
        #[test]
        fn sound_bodies_stay(text in ".{0,20}", number: f64) {
            let body = serde_json::json!([text, number]).to_string();
            prop_assert_eq!(mended(&body), body);
        }

        #[test]
        fn escapes_read_as_javascript_reads_them(units in prop::collection::vec(
            prop_oneof![0xD800u16..0xE000, 0x20u16..0x7F], 0..12,
        )) {
            let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let mut body = format!("\"{escapes}\"").into_bytes();
            mend(&mut body);
            let read: String = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }
    }
}
