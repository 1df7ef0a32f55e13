//! Letters that wait to be sent.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::domain::mail::{Letter, LetterEnd, LetterState, OutboxDepth, WaitingLetter};

/// Whether a letter was taken into the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posting {
    /// It waits to be sent.
    Stored,
    /// A letter of the organization with this key waits, or has ended less than [`crate::limits::LETTER_END_KEPT`] ago:
    /// nothing was stored.
    Known,
    /// [`crate::limits::OUTBOX_ORG_LETTERS_MAX`] letters of the organization wait, or about
    /// [`crate::limits::OUTBOX_LETTERS_MAX`] of all: nothing was stored, and the refusal was counted.
    Full,
}

/// Letters that wait to be sent.
///
/// Other nouns' methods take letters along with what they change: the letter is stored in the same step as the change, or
/// neither is; that it is known or that there is no room for it does not keep the change from happening.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Stores a letter that tells of no change. It may be taken at once.
    async fn post_letter(&self, letter: Letter) -> StoreResult<Posting>;

    /// Remembers that `marks` were told until `until_ms` (Unix milliseconds) and stores `letters`, all of `org`, in one
    /// step. `false` if the first of the marks is remembered already: then nothing is stored. Of several calls that race
    /// exactly one gets `true`. A mark is at most [`crate::limits::LETTER_KEY_BYTES_MAX`] bytes.
    async fn tell_once(
        &self,
        org: OrgId,
        marks: Vec<String>,
        until_ms: UnixMs,
        letters: Vec<Letter>,
    ) -> StoreResult<bool>;

    /// Takes up to `limit` letters that are due at `now_ms` for sending; those of one organization in the order in which
    /// they became due. Each is due again `lease_ms` later if nothing is said of it until then, so that no two calls get
    /// the same letter while its lease lasts, and a letter whose taker dies is taken by another.
    async fn take_letters(
        &self,
        now_ms: UnixMs,
        lease_ms: i64,
        limit: usize,
    ) -> StoreResult<Vec<WaitingLetter>>;

    /// Ends a letter that was taken; `false` if it does not wait any more, or, unless it was sent, if somebody else has
    /// taken it since: then nothing changes. How it ended is remembered for [`crate::limits::LETTER_END_KEPT`].
    async fn end_letter(&self, taken: &WaitingLetter, end: LetterEnd, now_ms: UnixMs) -> StoreResult<bool>;

    /// Counts a failure of a letter that was taken and makes it due at `due_ms`. `false` if it does not wait any more or
    /// somebody else has taken it since: then nothing changes.
    async fn postpone_letter(&self, taken: &WaitingLetter, due_ms: UnixMs) -> StoreResult<bool>;

    /// What became of a letter, or `None` if `org` has none with this key, or it ended long ago.
    async fn letter_state(&self, org: OrgId, key: &str) -> StoreResult<Option<LetterState>>;

    /// How many letters wait, due or not, and since when.
    async fn outbox_depth(&self) -> StoreResult<OutboxDepth>;

    /// Forgets how letters ended whose end was remembered until before `now_ms`, and the marks of
    /// [`Outbox::tell_once`] likewise; returns how many. At most 1000 of each a call. A store that forgets them by itself
    /// does nothing and returns 0.
    async fn purge_letters(&self, now_ms: UnixMs) -> StoreResult<u64>;
}
