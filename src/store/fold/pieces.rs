//! The text of a settled run: pieces of bounded size, without what the log cap leaves out.

use super::text::{Cut, Gap};
use crate::domain::text::utf16_len;
use crate::store::contract::StoreResult;

/// Bytes of text in a piece, about.
const PIECE_BYTES: usize = 64 << 10;

/// Takes where a piece begins, and the piece.
pub(in crate::store) type Put<'a> = dyn FnMut(Cut, &str) -> StoreResult<()> + 'a;

/// Cuts text into pieces between characters, leaving out the gap. No piece reaches over it.
pub(in crate::store) struct TextFolder {
    gap: Option<Gap>,
    piece: String,
    /// Where the piece begins.
    start: Cut,
    /// Where the text has come to.
    at: Cut,
}

impl TextFolder {
    /// A text that has not begun, whose middle is perhaps left out.
    pub(in crate::store) fn new(gap: Option<Gap>) -> Self {
        Self { gap, piece: String::new(), start: Cut::default(), at: Cut::default() }
    }

    /// Takes in the next text, and hands pieces that are complete to `put`.
    pub(in crate::store) fn push(&mut self, text: &str, put: &mut Put<'_>) -> StoreResult<()> {
        let mut rest = text;
        while !rest.is_empty() {
            let (part, is_kept) = self.next_part(rest);
            let part = part.min(rest.len());
            let (taken, behind) = rest.split_at(rest.floor_char_boundary(part).max(first_char(rest)));
            if is_kept {
                self.piece.push_str(taken);
            }
            self.at.bytes += taken.len() as u64;
            self.at.units += utf16_len(taken);
            rest = behind;
            if !is_kept || self.piece.len() >= PIECE_BYTES || self.is_at_gap() {
                self.finish(put)?;
            }
        }
        Ok(())
    }

    /// How many bytes may be taken next, and whether they are kept.
    fn next_part(&self, rest: &str) -> (usize, bool) {
        let upto = |bytes: u64| usize::try_from(bytes - self.at.bytes).unwrap_or(usize::MAX);
        let room = PIECE_BYTES - self.piece.len().min(PIECE_BYTES - 1);
        match self.gap {
            Some(gap) if self.at.bytes < gap.from.bytes => (room.min(upto(gap.from.bytes)), true),
            Some(gap) if self.at.bytes < gap.to.bytes => (rest.len().min(upto(gap.to.bytes)), false),
            _ => (room, true),
        }
    }

    fn is_at_gap(&self) -> bool {
        self.gap.is_some_and(|gap| self.at.bytes == gap.from.bytes)
    }

    /// Hands over the piece, if there is something in it, and begins the next one here.
    pub(in crate::store) fn finish(&mut self, put: &mut Put<'_>) -> StoreResult<()> {
        if !self.piece.is_empty() {
            put(self.start, &self.piece)?;
            self.piece.clear();
        }
        self.start = self.at;
        Ok(())
    }
}

fn first_char(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}
