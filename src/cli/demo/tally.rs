//! What one side of the demo knows of the run: what was sent, what is stored, what was seen live. Three tallies that
//! agree are the point of the whole program.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::batch::TestStatus;
use crate::domain::text::{push_begin, push_chunk, push_end, utf16_len};

/// Log text as a bag of lines: several writers take turns in one log, so the order of their lines is nobody's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TextTally {
    /// UTF-16 units.
    pub(super) units: u64,
    /// Lines.
    pub(super) lines: u64,
    /// Sum of the lines' hashes.
    digest: u64,
}

impl TextTally {
    /// Adds whole lines.
    pub(super) fn add(&mut self, text: &str) {
        self.units += utf16_len(text);
        for line in text.split_inclusive('\n') {
            self.lines += 1;
            self.digest = self.digest.wrapping_add(xxh3_64(line.as_bytes()));
        }
    }
}

/// How a test came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Of the last attempt.
    pub(super) status: TestStatus,
    /// Number of attempts.
    pub(super) attempts: u64,
}

/// What one side knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Events, where this side can count them.
    pub(super) events: Option<u64>,
    /// Tests by id, where this side is told.
    pub(super) tests: Option<BTreeMap<String, Outcome>>,
    /// Log text.
    pub(super) text: TextTally,
}

impl Tally {
    /// Adds an event that was sent, by the contract's rules for log lines.
    pub(super) fn add_event(&mut self, event: &Map<String, Value>) {
        *self.events.get_or_insert_default() += 1;
        let member = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut line = String::new();
        match member("type") {
            "log" => push_chunk(&mut line, member("chunk"), false),
            "test-begin" => push_begin(&mut line, member("title")),
            "test-end" => {
                let status = status_of(event).unwrap_or(TestStatus::Failed);
                let duration = event.get("duration").and_then(Value::as_u64).unwrap_or_default();
                push_end(&mut line, status, member("testId"), duration, member("error"));
                let tests = self.tests.get_or_insert_default();
                let outcome =
                    tests.entry(member("testId").to_owned()).or_insert(Outcome { status, attempts: 0 });
                outcome.status = status;
                outcome.attempts += 1;
            }
            _ => {}
        }
        self.text.add(&line);
    }

    /// Adds results as the server shows them.
    pub(super) fn add_results(&mut self, results: &[Value]) {
        let tests = self.tests.get_or_insert_default();
        for result in results.iter().filter_map(Value::as_object) {
            let attempts = result.get("attemptCount").and_then(Value::as_u64).unwrap_or_default();
            if let (Some(Value::String(id)), Some(status)) = (result.get("testId"), status_of(result)) {
                tests.insert(id.clone(), Outcome { status, attempts });
            }
        }
    }

    fn attempts(&self) -> Option<u64> {
        Some(self.tests.as_ref()?.values().map(|outcome| outcome.attempts).sum())
    }
}

fn status_of(object: &Map<String, Value>) -> Option<TestStatus> {
    serde_json::from_value(object.get("status")?.clone()).ok()
}

/// The three sides beside each other.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// What every acknowledged request carried.
    pub(super) sent: Tally,
    /// What the server gives back when asked.
    pub(super) stored: Tally,
    /// What arrived on the live channel.
    pub(super) seen: Tally,
    /// Whether the text that was seen is the stored text, byte for byte.
    pub(super) seen_is_stored: bool,
}

impl Comparison {
    /// Whether all three sides agree, as far as each of them can know.
    pub(super) fn agrees(&self) -> bool {
        let Self { sent, stored, seen, seen_is_stored } = self;
        *seen_is_stored
            && sent == stored
            && sent.text == seen.text
            && (seen.tests.is_none() || sent.tests == seen.tests)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = [&self.sent, &self.stored, &self.seen];
        writeln!(f, "{:<22}{:>12}{:>12}{:>12}", "", "sent", "stored", "seen live")?;
        let mut row = |name: &str, count: &dyn Fn(&Tally) -> Option<u64>| {
            write!(f, "{name:<22}")?;
            for side in sides {
                let shown = count(side).map_or_else(|| "-".to_owned(), grouped);
                write!(f, "{shown:>12}")?;
            }
            writeln!(f)
        };
        row("events", &|side| side.events)?;
        row("tests", &|side| side.tests.as_ref().map(|tests| tests.len() as u64))?;
        row("attempts", &Tally::attempts)?;
        row("log lines", &|side| Some(side.text.lines))?;
        row("log text, UTF-16", &|side| Some(side.text.units))
    }
}

/// `1234567` as `1 234 567`.
pub(in crate::cli) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("not an object") };
        object
    }

    fn sent() -> Tally {
        let mut tally = Tally::default();
        for event in [
            json!({"type": "test-begin", "testId": "a", "title": "adds", "file": "f"}),
            json!({"type": "log", "chunk": "no newline"}),
            json!({"type": "test-end", "testId": "a", "status": "failed", "duration": 3, "error": "x\ny"}),
            json!({"type": "test-end", "testId": "a", "status": "passed", "duration": 4}),
        ] {
            tally.add_event(&object(event));
        }
        tally
    }

    const LOG: &str = "▶ RUNNING  adds\nno newline\n✘ FAILED   a (3ms)\n  Error: x\ny\n✔ PASSED   a (4ms)\n";

    fn shown(results: Value, text: &str) -> Tally {
        let mut tally = Tally { events: Some(4), ..Tally::default() };
        tally.add_results(results.as_array().unwrap());
        tally.text.add(text);
        tally
    }

    fn comparison() -> Comparison {
        let stored = shown(json!([{"testId": "a", "status": "passed", "attemptCount": 2}]), LOG);
        Comparison {
            sent: sent(),
            seen: Tally { events: None, ..stored.clone() },
            stored,
            seen_is_stored: true,
        }
    }

    #[test]
    fn what_was_sent_is_told_from_what_came_back_by_every_difference() {
        assert!(comparison().agrees(), "{}", comparison());
        let differs = |change: fn(&mut Comparison)| {
            let mut comparison = comparison();
            change(&mut comparison);
            assert!(!comparison.agrees(), "{comparison}");
        };
        differs(|c| c.stored.events = Some(3));
        differs(|c| c.stored.text.add("x\n"));
        differs(|c| c.seen.text = TextTally::default());
        differs(|c| c.seen_is_stored = false);
        differs(|c| c.seen.tests = Some(BTreeMap::new()));
        differs(|c| c.stored.add_results(&[json!({"testId": "a", "status": "failed", "attemptCount": 2})]));
        differs(|c| c.stored.add_results(&[json!({"testId": "a", "status": "passed", "attemptCount": 1})]));
        let mut untold = comparison();
        untold.seen.tests = None;
        assert!(untold.agrees(), "a side that is not told cannot disagree");
    }

    #[test]
    fn lines_count_whatever_their_order() {
        let (mut one, mut other) = (TextTally::default(), TextTally::default());
        one.add("a\nb\n");
        other.add("b\n");
        other.add("a\n");
        assert_eq!(one, other);
        other.add("a\n");
        assert_ne!(one, other);
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(
            ["0", "999", "1 000", "1 234 567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }
}
