//! Where a viewer stands in its organization's feed, as clients carry it: the last argument of each event, and the
//! `pid` of the CONNECT answer. Both come back from clients and are hostile input until parsed; neither is a
//! credential: which organization's feed is read depends on the token alone.
//!
//! Numbers are in base 36. A cursor is `S` (everything up to the boundary S) or `S.T.i` (everything up to S, and the
//! first i frames of the window from S to T); a `pid` is `<numbering>-<start>`. Each has exactly one spelling.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::domain::id::OrgId;

/// Digits of the largest number.
const DIGITS_MAX: usize = 13;

/// Everything of a feed that a viewer has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Everything up to this boundary.
    pub(super) after: u64,
    /// What it has had beyond it.
    pub(super) partly: Option<Partly>,
}

/// The beginning of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partly {
    /// Where the window ends.
    pub(super) upto: u64,
    /// How many of its frames; not zero.
    pub(super) frames: u64,
}

impl Cursor {
    /// Everything up to `boundary`.
    pub(super) const fn at(boundary: u64) -> Self {
        Self { after: boundary, partly: None }
    }

    /// The first `frames` of the `of` frames of a window.
    pub(super) const fn within(from: u64, upto: u64, frames: usize, of: usize) -> Self {
        if frames >= of {
            Self::at(upto)
        } else if frames == 0 {
            Self::at(from)
        } else {
            Self { after: from, partly: Some(Partly { upto, frames: frames as u64 }) }
        }
    }

    /// Reads what [`fmt::Display`] writes, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let after = number(parts.next()?)?;
        let partly = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(upto), Some(frames), None) => {
                let (upto, frames) = (number(upto)?, number(frames)?);
                (upto > after && frames > 0).then_some(Some(Partly { upto, frames }))?
            }
            _ => return None,
        };
        Some(Self { after, partly })
    }

    /// The highest boundary it speaks of.
    pub(super) fn reach(&self) -> u64 {
        self.partly.map_or(self.after, |partly| partly.upto)
    }

    /// Where the window that it needs next has to end, if that is not free.
    pub(super) fn upto(&self) -> Option<u64> {
        self.partly.map(|partly| partly.upto)
    }

    /// How many frames of that window it has had.
    pub(super) fn frames(&self) -> usize {
        self.partly.map_or(0, |partly| usize::try_from(partly.frames).unwrap_or(usize::MAX))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partly {
            None => write!(f, "{}", Base36(self.after)),
            Some(Partly { upto, frames }) => {
                write!(f, "{}.{}.{}", Base36(self.after), Base36(upto), Base36(frames))
            }
        }
    }
}

/// The `pid` of a CONNECT answer: to which numbering cursors belong, and where a client stands that has had no event.
/// Many viewers share one value; it identifies nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pid {
    /// See [`numbering`].
    pub(super) numbering: u64,
    /// A boundary.
    pub(super) start: u64,
}

impl Pid {
    /// Reads what [`fmt::Display`] writes, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (numbering, start) = text.split_once('-')?;
        Some(Self { numbering: number(numbering)?, start: number(start)? })
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Base36(self.numbering), Base36(self.start))
    }
}

/// Names the numbering of one organization's feed, so that a cursor of one organization means nothing in another.
pub(super) fn numbering(epoch: u64, org: OrgId) -> u64 {
    xxh3_64_with_seed(org.to_string().as_bytes(), epoch)
}

struct Base36(u64);

impl fmt::Display for Base36 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; DIGITS_MAX];
        let (mut rest, mut used) = (self.0, 0);
        for digit in digits.iter_mut().rev() {
            *digit = rest % 36;
            (rest, used) = (rest / 36, used + 1);
            if rest == 0 {
                break;
            }
        }
        let shown = digits.iter().skip(DIGITS_MAX - used);
        shown.filter_map(|digit| char::from_digit(u32::try_from(*digit).ok()?, 36)).try_for_each(|c| {
            use fmt::Write;
            f.write_char(c)
        })
    }
}

/// A number in its one spelling: lower case, no leading zeros, no sign.
fn number(text: &str) -> Option<u64> {
    let spelt = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'));
    let padded = text.len() > 1 && text.starts_with('0');
    if !spelt || padded || text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    u64::from_str_radix(text, 36).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_reads_back(after: u64, ahead: u64, frames: u64) {
            let partly = after.checked_add(ahead).filter(|upto| *upto > after && frames > 0);
            for partly in [None, partly.map(|upto| Partly { upto, frames })] {
                let cursor = Cursor { after, partly };
                prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            }
            let pid = Pid { numbering: after, start: ahead };
            prop_assert_eq!(Pid::parse(&pid.to_string()), Some(pid));
        }

        #[test]
        fn what_is_accepted_has_one_spelling(text in "[0-9a-z.\\-+ A]{0,40}") {
            if let Some(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text.clone());
            }
            if let Some(pid) = Pid::parse(&text) {
                prop_assert_eq!(pid.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            "1.2",
            "1.2.",
            "1.2.0",
            "2.1.1",
            "1.1.1",
            "1.2.3.4",
            "01",
            "-1",
            "+1",
            "A",
            " 1",
            "1 ",
            "é",
            "3w5e11264sgsg",
            "zzzzzzzzzzzzz",
            "11111111111111",
            "1.2.3\n",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
        assert_eq!(Cursor::parse("3w5e11264sgsf"), Some(Cursor::at(u64::MAX)));
        for text in ["", "-", "1-", "-1", "1", "1-2-3", "1-02", "1-Z", "1-1.2.1"] {
            assert_eq!(Pid::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_last_frame_of_a_window_is_its_boundary() {
        assert_eq!(Cursor::within(35, 36, 0, 3).to_string(), "z");
        assert_eq!(Cursor::within(35, 36, 2, 3).to_string(), "z.10.2");
        assert_eq!(Cursor::within(35, 36, 3, 3).to_string(), "10");
    }

    #[test]
    fn numberings_differ_by_epoch_and_organization() {
        let (one, two) = (OrgId::generate(1), OrgId::generate(2));
        assert_ne!(numbering(1, one), numbering(1, two));
        assert_ne!(numbering(1, one), numbering(2, one));
    }
}
