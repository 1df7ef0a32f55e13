//! Letters that wait, by organization and key, with an index by when they are due and one by age; how they ended, and what
//! was told once. Other nouns put a letter into their own transaction with [`put`].

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::LsmStore;
use super::db::Db;
use super::table::{Key, Table};
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::domain::mail::{Letter, LetterEnd, LetterState, OutboxDepth, WaitingLetter};
use crate::domain::seal::Sealed;
use crate::limits::{OUTBOX_LETTERS_MAX, OUTBOX_ORG_LETTERS_MAX, ROWS_PER_CALL_MAX};
use crate::store::contract::{Outbox, Posting, StoreError, StoreResult};
use crate::store::letters;

/// `org letter`.
pub(super) const LETTERS: Table<WaitingLetter> = Table::named("letters");
/// `due_ms org letter`.
const LETTERS_BY_DUE: Table<()> = Table::named("letters_by_due");
/// `created_ms org letter` → when it was written.
const LETTERS_BY_AGE: Table<UnixMs> = Table::named("letters_by_age");
/// `org`, or [`ALL`] → how many letters wait.
const LETTER_COUNTS: Table<u64> = Table::named("letter_counts");
/// `org letter` → how it ended, and until when that is remembered.
pub(super) const ENDS: Table<(LetterEnd, UnixMs)> = Table::named("letter_ends");
/// `until_ms org letter`.
const ENDS_BY_EXPIRY: Table<()> = Table::named("letter_ends_by_expiry");
/// `org mark` → until when it is remembered.
pub(super) const TOLD: Table<UnixMs> = Table::named("told");
/// `until_ms org mark`.
const TOLD_BY_EXPIRY: Table<()> = Table::named("told_by_expiry");
/// Where the letters of all organizations are counted: shorter than an organization's id.
const ALL: &str = "all";
/// Bytes of an index key before what it leads to.
const MOMENT_BYTES: usize = 8;

fn letter_key(org: OrgId, key: &str) -> Key {
    Key::new().id(org.as_bytes()).text(key)
}

fn at(moment_ms: UnixMs, key: &Key) -> Key {
    Key::new().moment(moment_ms).id(key.as_ref())
}

/// What an index key with a moment leads to.
fn led_to(index_key: &[u8]) -> Key {
    Key::new().id(index_key.get(MOMENT_BYTES..).unwrap_or_default())
}

fn counters(org: OrgId) -> [Key; 2] {
    [Key::new().id(org.as_bytes()), Key::new().text(ALL)]
}

/// Adds a letter to the caller's transaction, if there is room for it and it is not known.
pub(super) fn put(db: &Db, change: &mut SingleWriterWriteTx<'_>, letter: Letter) -> StoreResult<Posting> {
    let key = letter_key(letter.org, &letter.key);
    if LETTERS.has(db, change, &key)? || ENDS.has(db, change, &key)? {
        return Ok(Posting::Known);
    }
    for (counter, most) in counters(letter.org).iter().zip([OUTBOX_ORG_LETTERS_MAX, OUTBOX_LETTERS_MAX]) {
        if LETTER_COUNTS.count(db, change, counter)? >= most {
            letters::count_refused(letter.kind);
            return Ok(Posting::Full);
        }
    }
    for counter in counters(letter.org) {
        LETTER_COUNTS.add(db, change, counter, 1)?;
    }
    LETTERS_BY_AGE.put(db, change, at(letter.created_ms, &key), &letter.created_ms)?;
    let waiting = letters::posted(letter);
    LETTERS_BY_DUE.put(db, change, at(waiting.due_ms, &key), &())?;
    LETTERS.put(db, change, key, &waiting)?;
    Ok(Posting::Stored)
}

/// Replaces a waiting letter.
fn replace(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    before: &WaitingLetter,
    after: &WaitingLetter,
) -> StoreResult<()> {
    let key = letter_key(before.letter.org, &before.letter.key);
    LETTERS_BY_DUE.remove(db, change, at(before.due_ms, &key))?;
    LETTERS_BY_DUE.put(db, change, at(after.due_ms, &key), &())?;
    LETTERS.put(db, change, key, after)
}

/// Takes up to `limit` letters that are due.
fn take(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    now_ms: UnixMs,
    lease_ms: i64,
    limit: usize,
) -> StoreResult<Vec<WaitingLetter>> {
    let due = LETTERS_BY_DUE.keys_before(db, change, now_ms.saturating_add(1), limit)?;
    let mut all_taken = Vec::with_capacity(due.len());
    for index_key in due {
        let Some(waiting) = LETTERS.get(db, change, &led_to(&index_key))? else { continue };
        let taken = letters::taken(waiting.clone(), now_ms.saturating_add(lease_ms));
        replace(db, change, &waiting, &taken)?;
        all_taken.push(taken);
    }
    Ok(all_taken)
}

/// Moves a letter from those that wait to those that ended.
fn end(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    waiting: &WaitingLetter,
    end: LetterEnd,
    now_ms: UnixMs,
) -> StoreResult<()> {
    let letter = &waiting.letter;
    let (key, until_ms) =
        (letter_key(letter.org, &letter.key), now_ms.saturating_add(letters::end_kept_ms()));
    for counter in counters(letter.org) {
        LETTER_COUNTS.add(db, change, counter, -1)?;
    }
    LETTERS_BY_AGE.remove(db, change, at(letter.created_ms, &key))?;
    LETTERS_BY_DUE.remove(db, change, at(waiting.due_ms, &key))?;
    ENDS_BY_EXPIRY.put(db, change, at(until_ms, &key), &())?;
    ENDS.put(db, change, key.clone(), &(end, until_ms))?;
    LETTERS.remove(db, change, key)
}

/// Ends a letter, if it waits, in the caller's transaction: it is not to be sent any more.
pub(super) fn give_up(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    org: OrgId,
    key: &str,
    now_ms: UnixMs,
) -> StoreResult<()> {
    match LETTERS.get(db, change, &letter_key(org, key))? {
        Some(waiting) => end(db, change, &waiting, LetterEnd::GivenUp, now_ms),
        None => Ok(()),
    }
}

/// The sealed content of a letter that waits.
pub(super) fn sealed_letter(
    db: &Db,
    view: &impl Readable,
    org: OrgId,
    key: &str,
) -> StoreResult<Option<Sealed>> {
    let waiting = LETTERS.get(db, view, &letter_key(org, key))?;
    Ok(waiting.as_ref().and_then(letters::sealed).map(|(_, sealed)| sealed))
}

/// The names and sealed contents of the organization's letters whose names come after `after`.
pub(super) fn sealed_letters(
    db: &Db,
    view: &impl Readable,
    org: OrgId,
    after: &str,
) -> StoreResult<Vec<(String, Sealed)>> {
    let waiting: Vec<_> =
        LETTERS.records(db, view, &Key::new().id(org.as_bytes()))?.collect::<StoreResult<_>>()?;
    Ok(waiting.iter().filter_map(letters::sealed).filter(|(name, _)| name.as_str() > after).collect())
}

/// Replaces the sealed content of a letter that waits, if it is still `old`.
pub(super) fn reseal_letter(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    (org, key): (OrgId, &str),
    old: &Sealed,
    new: &Sealed,
) -> StoreResult<bool> {
    let Some(waiting) = LETTERS.get(db, change, &letter_key(org, key))? else { return Ok(false) };
    let Some(anew) = letters::resealed(waiting, old, new)? else { return Ok(false) };
    LETTERS.put(db, change, letter_key(org, key), &anew)?;
    Ok(true)
}

/// Remembers marks, unless the first is remembered.
fn mark(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    org: OrgId,
    marks: &[String],
    until_ms: UnixMs,
) -> StoreResult<bool> {
    if let Some(first) = marks.first()
        && TOLD.has(db, change, &letter_key(org, first))?
    {
        return Ok(false);
    }
    for mark in marks {
        let key = letter_key(org, mark);
        if let Some(before_ms) = TOLD.get(db, change, &key)? {
            TOLD_BY_EXPIRY.remove(db, change, at(before_ms, &key))?;
        }
        TOLD_BY_EXPIRY.put(db, change, at(until_ms, &key), &())?;
        TOLD.put(db, change, key, &until_ms)?;
    }
    Ok(true)
}

fn state(db: &Db, view: &impl Readable, key: &Key) -> StoreResult<Option<LetterState>> {
    if let Some(waiting) = LETTERS.get(db, view, key)? {
        return Ok(Some(LetterState::Waiting { failures: waiting.failures }));
    }
    Ok(ENDS.get(db, view, key)?.map(|(end, _)| LetterState::Ended(end)))
}

#[async_trait]
impl Outbox for LsmStore {
    async fn post_letter(&self, letter: Letter) -> StoreResult<Posting> {
        self.db.commit(move |db, change| put(db, change, letter)).await
    }

    async fn tell_once(
        &self,
        org: OrgId,
        marks: Vec<String>,
        until_ms: UnixMs,
        letters: Vec<Letter>,
    ) -> StoreResult<bool> {
        self.db
            .commit(move |db, change| {
                let is_new = mark(db, change, org, &marks, until_ms)?;
                for letter in letters.into_iter().filter(|_| is_new) {
                    put(db, change, letter)?;
                }
                Ok(is_new)
            })
            .await
    }

    async fn take_letters(
        &self,
        now_ms: UnixMs,
        lease_ms: i64,
        limit: usize,
    ) -> StoreResult<Vec<WaitingLetter>> {
        // Mostly there are none, and then nothing needs to be synced.
        let after_ms = now_ms.saturating_add(1);
        let due = move |db: &Db| LETTERS_BY_DUE.keys_before(db, &db.inner().read_tx(), after_ms, limit);
        if self.db.blocking(due).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.db.commit(move |db, change| take(db, change, now_ms, lease_ms, limit)).await
    }

    async fn end_letter(&self, taken: &WaitingLetter, how: LetterEnd, now_ms: UnixMs) -> StoreResult<bool> {
        let (key, number) = (letter_key(taken.letter.org, &taken.letter.key), taken.taken);
        self.db
            .commit(move |db, change| {
                let Some(waiting) = LETTERS.get(db, change, &key)? else { return Ok(false) };
                if how != LetterEnd::Sent && waiting.taken != number {
                    return Ok(false);
                }
                end(db, change, &waiting, how, now_ms)?;
                Ok(true)
            })
            .await
    }

    async fn postpone_letter(&self, taken: &WaitingLetter, due_ms: UnixMs) -> StoreResult<bool> {
        let (key, number) = (letter_key(taken.letter.org, &taken.letter.key), taken.taken);
        self.db
            .commit(move |db, change| {
                let found = LETTERS.get(db, change, &key)?.filter(|waiting| waiting.taken == number);
                let Some(waiting) = found else { return Ok(false) };
                replace(db, change, &waiting, &letters::postponed(waiting.clone(), due_ms))?;
                Ok(true)
            })
            .await
    }

    async fn letter_state(&self, org: OrgId, key: &str) -> StoreResult<Option<LetterState>> {
        let key = letter_key(org, key);
        self.db.blocking(move |db| state(db, &db.inner().read_tx(), &key)).await
    }

    async fn outbox_depth(&self) -> StoreResult<OutboxDepth> {
        self.db
            .blocking(|db| {
                let view = db.inner().read_tx();
                let letters = LETTER_COUNTS.count(db, &view, &Key::new().text(ALL))?;
                let oldest_ms = LETTERS_BY_AGE.records(db, &view, &Key::new())?.next().transpose()?;
                Ok(OutboxDepth { letters, oldest_ms })
            })
            .await
    }

    async fn purge_letters(&self, now_ms: UnixMs) -> StoreResult<u64> {
        self.db
            .commit(move |db, change| {
                let ended = ENDS_BY_EXPIRY.keys_before(db, change, now_ms, ROWS_PER_CALL_MAX)?;
                for key in &ended {
                    ENDS.remove(db, change, led_to(key))?;
                    ENDS_BY_EXPIRY.remove(db, change, Key::new().id(key))?;
                }
                let told = TOLD_BY_EXPIRY.keys_before(db, change, now_ms, ROWS_PER_CALL_MAX)?;
                for key in &told {
                    TOLD.remove(db, change, led_to(key))?;
                    TOLD_BY_EXPIRY.remove(db, change, Key::new().id(key))?;
                }
                Ok((ended.len() + told.len()) as u64)
            })
            .await
    }
}

/// Takes in a letter that is copied.
pub(super) fn take_in(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    waiting: &WaitingLetter,
) -> StoreResult<()> {
    let letter = &waiting.letter;
    let key = letter_key(letter.org, &letter.key);
    if LETTERS.has(db, change, &key)? {
        return Ok(());
    }
    for counter in counters(letter.org) {
        LETTER_COUNTS.add(db, change, counter, 1)?;
    }
    LETTERS_BY_AGE.put(db, change, at(letter.created_ms, &key), &letter.created_ms)?;
    LETTERS_BY_DUE.put(db, change, at(waiting.due_ms, &key), &())?;
    LETTERS.put(db, change, key, waiting)
}

/// Takes in the end of a letter that is copied.
pub(super) fn take_in_end(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    (org, key): (OrgId, &str),
    end: LetterEnd,
    until_ms: UnixMs,
) -> StoreResult<()> {
    let key = letter_key(org, key);
    if ENDS.has(db, change, &key)? {
        return Ok(());
    }
    ENDS_BY_EXPIRY.put(db, change, at(until_ms, &key), &())?;
    ENDS.put(db, change, key, &(end, until_ms))
}

/// Takes in a mark that is copied.
pub(super) fn take_in_mark(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    org: OrgId,
    told: &str,
    until_ms: UnixMs,
) -> StoreResult<()> {
    mark(db, change, org, &[told.to_owned()], until_ms).map(drop)
}

/// The organization and the name that a key of letters, ends or marks is made of.
pub(super) fn read_key(key: &[u8]) -> StoreResult<(OrgId, String)> {
    let read = || {
        let (org, name) = key.split_first_chunk::<12>()?;
        Some((OrgId::from_bytes(*org), String::from_utf8(name.to_vec()).ok()?))
    };
    read().ok_or_else(|| StoreError::Damaged("the key of a letter".into()))
}
