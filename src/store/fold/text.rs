//! Pages of a log, over pieces that are found by place: segments of a run that is not settled, rows of one that is.
//! Offsets count UTF-16 code units from the run's start; what the cap removed still counts.

use serde::{Deserialize, Serialize};

use crate::domain::segment::Position;
use crate::domain::text::utf16_len;
use crate::limits::{LOG_HEAD_BYTES, LOG_KEPT_BYTES_MAX, LOG_TAIL_BYTES, LOG_TRUNCATED_LINE};
use crate::store::contract::{StoreError, StoreResult, TextPage};

/// The middle of a log that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Gap {
    /// Where the run stood at its start.
    pub(in crate::store) from: Cut,
    /// Where the run stood at its end.
    pub(in crate::store) to: Cut,
}

/// A place in a log's text, between two characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::store) struct Cut {
    pub(in crate::store) units: u64,
    pub(in crate::store) bytes: u64,
}

/// A piece of a log's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Piece {
    /// Where it starts.
    pub(in crate::store) start: Cut,
    /// The text.
    pub(in crate::store) text: String,
}

/// Where pieces are found. `None` from any of them: the run has changed its place meanwhile, and all starts anew.
pub(in crate::store) trait Pieces {
    /// Where the text ends.
    fn end(&self) -> Position;
    /// The middle that is not kept, if there is one.
    fn gap(&self) -> StoreResult<Option<Option<Gap>>>;
    /// The piece that holds the unit at `units`, which is kept.
    fn at_units(&self, units: u64) -> StoreResult<Option<Piece>>;
}

/// The gap of a text of this length; `at_bytes` finds the piece that holds a byte. It depends on the text alone.
pub(in crate::store) fn gap_of(
    end: Position,
    mut at_bytes: impl FnMut(u64) -> StoreResult<Option<Piece>>,
) -> StoreResult<Option<Option<Gap>>> {
    if end.bytes <= LOG_KEPT_BYTES_MAX {
        return Ok(Some(None));
    }
    let Some(head) = at_bytes(LOG_HEAD_BYTES)? else { return Ok(None) };
    let from = cut_in(&head, LOG_HEAD_BYTES, str::floor_char_boundary);
    let tail_bytes = end.bytes - LOG_TAIL_BYTES;
    let Some(tail) = at_bytes(tail_bytes)? else { return Ok(None) };
    let to = cut_in(&tail, tail_bytes, str::ceil_char_boundary);
    Ok(Some(Some(Gap { from, to })))
}

fn cut_in(piece: &Piece, bytes: u64, boundary: fn(&str, usize) -> usize) -> Cut {
    let within = usize::try_from(bytes - piece.start.bytes).unwrap_or(usize::MAX);
    let at = boundary(&piece.text, within.min(piece.text.len()));
    let before = piece.text.get(..at).unwrap_or_default();
    Cut { units: piece.start.units + utf16_len(before), bytes: piece.start.bytes + at as u64 }
}

/// The page that starts at `from`, of about `limit` units at most.
pub(in crate::store) fn page(pieces: &impl Pieces, from: u64, limit: u64) -> StoreResult<Option<TextPage>> {
    let length = pieces.end().units;
    if from >= length {
        return Ok(Some(TextPage { text: String::new(), from: length, next: length, length }));
    }
    let Some(gap) = pieces.gap()? else { return Ok(None) };
    let (from, stop) = match gap {
        Some(gap) if from < gap.from.units => (from, gap.from.units),
        Some(gap) if from < gap.to.units => (gap.to.units, length),
        _ => (from, length),
    };
    let mut page = TextPage { text: String::new(), from, next: from, length };
    if !push_text(pieces, &mut page, stop, limit)? {
        return Ok(None);
    }
    Ok(Some(page))
}

/// The whole kept text, with a line where the middle is missing.
pub(in crate::store) fn whole(pieces: &impl Pieces) -> StoreResult<Option<TextPage>> {
    let length = pieces.end().units;
    let Some(gap) = pieces.gap()? else { return Ok(None) };
    let mut page = TextPage { text: String::new(), from: 0, next: 0, length };
    let head_end = gap.map_or(length, |gap| gap.from.units);
    if !push_text(pieces, &mut page, head_end, u64::MAX)? {
        return Ok(None);
    }
    if let Some(gap) = gap {
        if !page.text.ends_with('\n') {
            page.text.push('\n');
        }
        page.text.push_str(LOG_TRUNCATED_LINE);
        page.next = gap.to.units;
        if !push_text(pieces, &mut page, length, u64::MAX)? {
            return Ok(None);
        }
    }
    page.from = 0;
    Ok(Some(page))
}

/// Appends what is between `page.next` and `end`, about `limit` units of it at most. `false`: start anew.
fn push_text(pieces: &impl Pieces, page: &mut TextPage, end: u64, limit: u64) -> StoreResult<bool> {
    let mut stop = end.min(page.next.saturating_add(limit));
    let mut is_first = true;
    while page.next < stop {
        let Some(piece) = pieces.at_units(page.next)? else { return Ok(false) };
        let (skipped, skipped_units) = seek(&piece.text, page.next - piece.start.units);
        let rest = piece.text.get(skipped..).unwrap_or_default();
        let at = piece.start.units + skipped_units;
        if is_first {
            page.from = at;
            page.next = at;
            stop = end.min(at.saturating_add(limit));
            is_first = false;
        }
        let (mut taken, mut units) = seek(rest, stop - page.next);
        if taken == 0 {
            if !page.text.is_empty() {
                break;
            }
            // The limit would split the one character there is: a page with something in it comes before the limit.
            let Some(first) = rest.chars().next() else {
                return Err(StoreError::Damaged(format!("the log has no text at {at}")));
            };
            (taken, units) = (first.len_utf8(), first.len_utf16() as u64);
        }
        page.text.push_str(rest.get(..taken).unwrap_or_default());
        page.next += units;
    }
    Ok(true)
}

/// How many bytes and units of `text` stand before the character that holds the unit at `units`.
pub(in crate::store) fn seek(text: &str, units: u64) -> (usize, u64) {
    const ASCII_STEP: usize = 64;
    let bytes = text.as_bytes();
    let (mut at, mut passed) = (0, 0);
    while passed < units {
        let block = bytes.get(at..at + ASCII_STEP).unwrap_or_default();
        if passed + ASCII_STEP as u64 <= units && block.len() == ASCII_STEP && block.is_ascii() {
            at += ASCII_STEP;
            passed += ASCII_STEP as u64;
            continue;
        }
        let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
        let next_units = next.len_utf16() as u64;
        if passed + next_units > units {
            break;
        }
        at += next.len_utf8();
        passed += next_units;
    }
    (at, passed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Log {
        pieces: Vec<Piece>,
        end: Position,
    }

    fn log(texts: &[&str]) -> Log {
        let mut end = Position::default();
        let mut pieces = Vec::new();
        for text in texts {
            let start = Cut { units: end.units, bytes: end.bytes };
            pieces.push(Piece { start, text: (*text).to_owned() });
            end.units += utf16_len(text);
            end.bytes += text.len() as u64;
        }
        Log { pieces, end }
    }

    impl Pieces for Log {
        fn end(&self) -> Position {
            self.end
        }

        fn gap(&self) -> StoreResult<Option<Option<Gap>>> {
            gap_of(self.end, |bytes| {
                let at = self.pieces.partition_point(|piece| piece.start.bytes <= bytes);
                Ok(self.pieces.get(at - 1).cloned())
            })
        }

        fn at_units(&self, units: u64) -> StoreResult<Option<Piece>> {
            let at = self.pieces.partition_point(|piece| piece.start.units <= units);
            Ok(self.pieces.get(at - 1).cloned())
        }
    }

    fn read(log: &Log, from: u64, limit: u64) -> (String, u64, u64) {
        let page = page(log, from, limit).unwrap().unwrap();
        assert_eq!(page.length, log.end.units);
        (page.text, page.from, page.next)
    }

    #[test]
    fn pages_never_split_a_character() {
        let log = log(&["ab🦀", "", "c🦀d"]);
        assert_eq!(read(&log, 0, 100), ("ab🦀c🦀d".into(), 0, 8));
        assert_eq!(read(&log, 0, 3), ("ab".into(), 0, 2));
        assert_eq!(read(&log, 2, 1), ("🦀".into(), 2, 4), "a page is never empty without need");
        assert_eq!(read(&log, 3, 2), ("🦀".into(), 2, 4), "from inside a pair");
        assert_eq!(read(&log, 4, 3), ("c🦀".into(), 4, 7));
        assert_eq!(read(&log, 8, 5), (String::new(), 8, 8));
        assert_eq!(read(&log, 99, 5), (String::new(), 8, 8));
        assert_eq!(read(&log, 1, 0), (String::new(), 1, 1));
    }

    #[test]
    fn a_long_log_keeps_its_head_and_its_tail() {
        // A character of four bytes lies across both cuts.
        let head = "x".repeat(usize::try_from(LOG_HEAD_BYTES).unwrap() - 2);
        let middle = "🦀".repeat(1_000);
        let tail = "y".repeat(usize::try_from(LOG_TAIL_BYTES).unwrap() - 2);
        let log = log(&[&head, &middle, &tail]);
        let whole = whole(&log).unwrap().unwrap();
        assert_eq!(whole.text, [head.as_str(), "\n", LOG_TRUNCATED_LINE, &tail].concat());
        assert_eq!((whole.from, whole.next), (0, log.end.units));

        let (head_units, tail_units) = (head.len() as u64, log.end.units - tail.len() as u64);
        let (text, from, next) = read(&log, head_units - 5, 100);
        assert_eq!((text.as_str(), from, next), ("xxxxx", head_units - 5, head_units), "ends at the gap");
        let (text, from, next) = read(&log, head_units, 3);
        assert_eq!((text.as_str(), from, next), ("yyy", tail_units, tail_units + 3), "begins behind the gap");
    }

    proptest! {
        #[test]
        fn pages_put_together_are_the_text(
            texts in prop::collection::vec("[a-zé🦀\n]{0,80}", 0..8),
            limit in 1_u64..50,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let log = log(&texts);
            let mut at = 0;
            let mut together = String::new();
            while at < log.end.units {
                let (text, from, next) = read(&log, at, limit);
                prop_assert_eq!(from, at);
                prop_assert_eq!(next - from, utf16_len(&text));
                prop_assert!(next - from <= limit.max(2));
                together.push_str(&text);
                at = next;
            }
            prop_assert_eq!(together, texts.concat());
        }
    }
}
