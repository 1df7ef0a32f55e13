//! What both stores do to a letter, without where it is kept.

use crate::clock::UnixMs;
use crate::domain::mail::{Letter, LetterKind, WaitingLetter};
use crate::limits::LETTER_END_KEPT;
use crate::telemetry::name::MAIL_REFUSED;

/// A letter as it is stored first: due at once.
pub(super) fn posted(letter: Letter) -> WaitingLetter {
    let due_ms = letter.created_ms;
    WaitingLetter { letter, taken: 0, failures: 0, due_ms }
}

/// A letter that is taken for sending until `due_ms`.
pub(super) fn taken(mut letter: WaitingLetter, due_ms: UnixMs) -> WaitingLetter {
    letter.taken = letter.taken.saturating_add(1);
    letter.due_ms = due_ms;
    letter
}

/// A letter whose sending failed, due again at `due_ms`.
pub(super) fn postponed(mut letter: WaitingLetter, due_ms: UnixMs) -> WaitingLetter {
    letter.failures = letter.failures.saturating_add(1);
    letter.due_ms = due_ms;
    letter
}

/// How long the end of a letter is remembered, in milliseconds.
pub(super) fn end_kept_ms() -> i64 {
    i64::try_from(LETTER_END_KEPT.as_millis()).unwrap_or(i64::MAX)
}

/// Counts a letter there is no room for.
pub(super) fn count_refused(kind: LetterKind) {
    metrics::counter!(MAIL_REFUSED, "kind" => kind.name()).increment(1);
}
