//! Rules about text: how long it is, how it is cut, how an event reads in the log.
//! Source: API reference, ingest 3 (validation policy, line formats, newline rule).

use super::batch::TestStatus;

/// What follows a text that was cut, where the contract asks for a mark.
pub const TRUNCATED: &str = "…[truncated]";

/// The length of `text` in UTF-16 code units, as JavaScript counts.
#[must_use]
pub fn utf16_len(text: &str) -> u64 {
    if text.is_ascii() {
        return text.len() as u64;
    }
    // Every character begins with one byte that is no continuation; those of four bytes take a surrogate pair. Sums of a
    // byte are what a processor adds sixteen or more of at once.
    let units = |byte: &u8| u8::from(byte & 0xC0 != 0x80) + u8::from(*byte >= 0xF0);
    let (chunks, rest) = text.as_bytes().as_chunks::<112>();
    let sums = chunks.iter().map(|chunk| u64::from(chunk.iter().map(units).sum::<u8>()));
    sums.sum::<u64>() + rest.iter().map(|byte| u64::from(units(byte))).sum::<u64>()
}

/// The first `chars` characters (Unicode scalar values) of `text` if it has more than that.
#[must_use]
pub fn cut(text: &str, chars: usize) -> Option<&str> {
    if text.len() <= chars {
        return None;
    }
    let (end, _) = text.char_indices().nth(chars)?;
    text.get(..end)
}

/// `text`, or its first `chars` characters if it has more than that.
#[must_use]
pub fn at_most(text: &str, chars: usize) -> &str {
    cut(text, chars).unwrap_or(text)
}

/// As much of `text` as fits into `bytes` without splitting a character, if it does not fit whole.
#[must_use]
pub fn cut_bytes(text: &str, bytes: usize) -> Option<&str> {
    if text.len() <= bytes { None } else { text.get(..text.floor_char_boundary(bytes)) }
}

/// Ends the line: adds a newline unless the text appended since `start` (bytes) ends with one. Text of an event ends
/// with exactly the newline it was sent with, or with one that was added; an empty chunk is an empty line.
pub fn end_line(log: &mut String, start: usize) {
    if log.len() == start || !log.ends_with('\n') {
        log.push('\n');
    }
}

/// Appends a `log` event.
pub fn push_chunk(log: &mut String, chunk: &str, was_cut: bool) {
    let start = log.len();
    log.push_str(chunk);
    if was_cut {
        log.push_str(TRUNCATED);
    }
    end_line(log, start);
}

/// Appends the line of a `test-begin` event.
pub fn push_begin(log: &mut String, title: &str) {
    let start = log.len();
    log.push_str("▶ RUNNING  ");
    log.push_str(title);
    end_line(log, start);
}

/// Appends the line or lines of a `test-end` event; `duration_ms` in milliseconds.
pub fn push_end(log: &mut String, status: TestStatus, test_id: &str, duration_ms: u64, error: &str) {
    log.push_str(match status {
        TestStatus::Passed => "✔ PASSED   ",
        TestStatus::Failed => "✘ FAILED   ",
        TestStatus::Skipped => "– SKIPPED  ",
        TestStatus::TimedOut => "✘ TIMEDOUT ",
    });
    log.push_str(test_id);
    log.push_str(" (");
    push_decimal(log, duration_ms);
    log.push_str("ms)\n");
    if !error.is_empty() {
        let start = log.len();
        log.push_str("  Error: ");
        log.push_str(error);
        end_line(log, start);
    }
}

/// Appends a decimal number without going through the formatting machinery: this runs once per finished test.
fn push_decimal(log: &mut String, mut number: u64) {
    let mut digits = ['0'; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = char::from(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    log.extend(digits.iter().skip(digits.len() - used));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(push: impl FnOnce(&mut String)) -> String {
        let mut log = String::from("before");
        push(&mut log);
        log.strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn a_chunk_gets_a_newline_only_if_it_has_none() {
        let check =
            |chunk, expected: &str| assert_eq!(rendered(|log| push_chunk(log, chunk, false)), expected);
        check("cart total is 3", "cart total is 3\n");
        check("cart total is 3\n", "cart total is 3\n");
        check("two\n\n", "two\n\n");
        check("", "\n");
        check("\n", "\n");
        check("carriage\r", "carriage\r\n");
        assert_eq!(rendered(|log| push_chunk(log, "lon", true)), "lon…[truncated]\n");
        assert_eq!(rendered(|log| push_chunk(log, "lon\n", true)), "lon\n…[truncated]\n");
    }

    #[test]
    fn an_empty_chunk_after_a_finished_line_is_an_empty_line() {
        let mut log = String::from("line\n");
        push_chunk(&mut log, "", false);
        assert_eq!(log, "line\n\n");
    }

    #[test]
    fn begin_and_end_read_as_the_contract_shows() {
        assert_eq!(
            rendered(|log| push_begin(log, " › chromium › cart.spec.ts › adds an item")),
            "▶ RUNNING   › chromium › cart.spec.ts › adds an item\n"
        );
        let check = |status, duration, error, expected: &str| {
            assert_eq!(rendered(|log| push_end(log, status, "8c-5e", duration, error)), expected);
        };
        check(TestStatus::Passed, 1987, "", "✔ PASSED   8c-5e (1987ms)\n");
        check(TestStatus::Failed, 4211, "no", "✘ FAILED   8c-5e (4211ms)\n  Error: no\n");
        check(TestStatus::Failed, 0, "no\n", "✘ FAILED   8c-5e (0ms)\n  Error: no\n");
        check(TestStatus::Skipped, 0, "", "– SKIPPED  8c-5e (0ms)\n");
        check(TestStatus::TimedOut, u64::MAX, "", "✘ TIMEDOUT 8c-5e (18446744073709551615ms)\n");
    }

    #[test]
    fn cuts_count_characters_and_never_split_one() {
        assert_eq!(cut("abc", 3), None);
        assert_eq!(cut("äöü", 3), None);
        assert_eq!(cut("äöüß", 3), Some("äöü"));
        assert_eq!(at_most("a😀b", 2), "a😀");
        assert_eq!(cut_bytes("a😀b", 6), None);
        assert_eq!(cut_bytes("a😀b", 4), Some("a"));
        assert_eq!(cut_bytes("a😀b", 5), Some("a😀"));
        assert_eq!(cut_bytes("😀", 3), Some(""));
    }

    proptest! {
        #[test]
        fn lengths_are_those_of_utf16(text in "(.{0,3}😀?){0,120}") {
            prop_assert_eq!(utf16_len(&text), text.encode_utf16().count() as u64);
        }

        #[test]
        fn a_cut_is_the_text_by_characters(text in ".{0,40}", chars in 0usize..50) {
            let naive: String = text.chars().take(chars).collect();
            prop_assert_eq!(at_most(&text, chars), naive.as_str());
            prop_assert_eq!(cut(&text, chars).is_some(), text.chars().count() > chars);
        }

        #[test]
        fn decimals_read_as_usual(number: u64) {
            prop_assert_eq!(rendered(|log| push_decimal(log, number)), number.to_string());
        }
    }
}
