//! What both stores do to a letter, without where it is kept.

use crate::clock::UnixMs;
use crate::domain::mail::{Letter, LetterKind, SealedContent, WaitingLetter, letter_place};
use crate::domain::seal::Sealed;
use crate::limits::LETTER_END_KEPT;
use crate::store::contract::StoreResult;
use crate::store::record;
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

/// The sealed content of a letter with its name among the sealed values. What is no sealed value cannot be sent either, and
/// is `None`.
pub(super) fn sealed(letter: &WaitingLetter) -> Option<(String, Sealed)> {
    let sealed = record::decode(&letter.letter.content.0).ok()?;
    Some((letter_place(&letter.letter.key), sealed))
}

/// The letter with its content sealed anew, if it is still `old`.
pub(super) fn resealed(
    mut letter: WaitingLetter,
    old: &Sealed,
    new: &Sealed,
) -> StoreResult<Option<WaitingLetter>> {
    if sealed(&letter).is_none_or(|(_, stored)| stored != *old) {
        return Ok(None);
    }
    letter.letter.content = SealedContent(record::encode(new)?);
    Ok(Some(letter))
}

/// How long the end of a letter is remembered, in milliseconds.
pub(super) fn end_kept_ms() -> i64 {
    i64::try_from(LETTER_END_KEPT.as_millis()).unwrap_or(i64::MAX)
}

/// Counts a letter there is no room for.
pub(super) fn count_refused(kind: LetterKind) {
    metrics::counter!(MAIL_REFUSED, "kind" => kind.name()).increment(1);
}
