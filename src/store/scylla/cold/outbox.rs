//! Letters that wait: rows of their organization's partition, so that other nouns put them into their own batch with
//! [`Cold::letter_edits`]. Where there may be some is announced before, in a table of its own.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::Cold;
use super::change::{Edit, Turns};
use super::rows::{LETTER, LETTER_END, TOLD, org_id};
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::domain::mail::{Letter, LetterEnd, LetterState, OutboxDepth, WaitingLetter};
use crate::limits::{CQL_TTL_MAX, OUTBOX_LETTERS_MAX, OUTBOX_LOOK_AFTER, OUTBOX_ORG_LETTERS_MAX};
use crate::store::contract::{Outbox, Posting, StoreResult};
use crate::store::{letters, record};

/// Partitions that organizations with letters are spread over.
const SHARDS: i32 = 16;
/// How much longer than needed rows are kept that go by TTL, in milliseconds: nodes' clocks may differ that much.
const KEPT_LONGER_MS: i64 = 3_600_000;
/// Announcements are counted in milliseconds, the cluster's timestamps in microseconds.
const MICROSECONDS: i64 = 1_000;

fn shard(org: OrgId) -> i32 {
    org.as_bytes().iter().map(|byte| i32::from(*byte)).sum::<i32>() % SHARDS
}

fn ttl_s(kept_ms: i64) -> i32 {
    let most_s = i64::try_from(CQL_TTL_MAX.as_secs()).unwrap_or(i64::MAX);
    let seconds = kept_ms.max(0).saturating_add(KEPT_LONGER_MS) / 1_000;
    i32::try_from(seconds.min(most_s)).unwrap_or(i32::MAX)
}

/// An organization that may have letters.
struct Announced {
    org: OrgId,
    announced_ms: UnixMs,
}

impl Cold {
    /// The edits that store letters of one organization with a change of it, for the batch of the turn that has begun.
    /// Letters that are known or that there is no room for are left out.
    pub(super) async fn letter_edits(&self, letters: &[Letter]) -> StoreResult<Vec<Edit>> {
        let mut edits = Vec::with_capacity(letters.len());
        for letter in letters {
            if self.posting(letter, edits.len() as u64).await? == Posting::Stored {
                edits.push(letter_edit(&letters::posted(letter.clone()))?);
            }
        }
        if let Some(letter) = letters.first()
            && !edits.is_empty()
        {
            self.announce(letter.org).await?;
        }
        Ok(edits)
    }

    /// Whether a letter is to be stored, if `more` are stored with it.
    async fn posting(&self, letter: &Letter, more: u64) -> StoreResult<Posting> {
        let (org, key) = (letter.org, letter.key.as_bytes());
        if self.value(org, LETTER, key).await?.is_some() || self.value(org, LETTER_END, key).await?.is_some()
        {
            return Ok(Posting::Known);
        }
        let is_full = self.letters_seen.load(Ordering::Relaxed) >= OUTBOX_LETTERS_MAX
            || self.reaches(org, LETTER, &[], OUTBOX_ORG_LETTERS_MAX.saturating_sub(more)).await?;
        if is_full {
            letters::count_refused(letter.kind);
        }
        Ok(if is_full { Posting::Full } else { Posting::Stored })
    }

    /// The edits that end a letter, if it waits, for the batch of the turn that has begun: it is not to be sent any more.
    pub(super) async fn giving_up(&self, org: OrgId, key: &str, now_ms: UnixMs) -> StoreResult<Vec<Edit>> {
        match self.value(org, LETTER, key.as_bytes()).await? {
            Some(_) => self.ending(key, LetterEnd::GivenUp, now_ms),
            None => Ok(Vec::new()),
        }
    }

    /// The edits that end a letter that waits.
    fn ending(&self, key: &str, end: LetterEnd, now_ms: UnixMs) -> StoreResult<Vec<Edit>> {
        let until_ms = now_ms.saturating_add(letters::end_kept_ms());
        let ttl_s = ttl_s(until_ms.saturating_sub(self.cql.clock().now_ms()));
        let key = key.as_bytes().to_vec();
        let ended = Edit::PutFor(LETTER_END, key.clone(), record::encode_with(&end, &until_ms)?, ttl_s);
        Ok(vec![Edit::Remove(LETTER, key), ended])
    }

    pub(super) async fn announce(&self, org: OrgId) -> StoreResult<()> {
        let now_ms = self.cql.clock().now_ms();
        let values = (shard(org), org.as_bytes().as_slice(), now_ms, now_ms.saturating_mul(MICROSECONDS));
        self.cql.run(&self.statements.announce, values).await
    }

    /// Every organization that may have letters, beginning anywhere.
    async fn announced(&self) -> StoreResult<Vec<Announced>> {
        let one = |shard: i32| {
            self.cql.first_rows::<(Vec<u8>, i64)>(&self.statements.announced, (shard,), usize::MAX)
        };
        let rows = try_join_all((0..SHARDS).map(one)).await?.into_iter().flatten();
        let mut found = rows
            .map(|(org, announced_ms)| Ok(Announced { org: org_id(&org)?, announced_ms }))
            .collect::<StoreResult<Vec<_>>>()?;
        if !found.is_empty() {
            let first = rand::random_range(0..found.len());
            found.rotate_left(first);
        }
        Ok(found)
    }

    /// The letters of an organization.
    pub(super) async fn waiting(&self, org: OrgId) -> StoreResult<Vec<WaitingLetter>> {
        let rows = self.all(org, LETTER, &[]).await?;
        rows.into_iter().map(|(_, value)| record::decode(&value)).collect()
    }

    /// Takes due letters of one organization.
    async fn take_of(
        &self,
        found: &Announced,
        now_ms: UnixMs,
        until_ms: UnixMs,
        limit: usize,
    ) -> StoreResult<Vec<WaitingLetter>> {
        let waiting = self.waiting(found.org).await?;
        if waiting.is_empty() {
            self.withdraw(found, now_ms).await?;
        }
        if waiting.iter().all(|letter| letter.due_ms > now_ms) {
            return Ok(Vec::new());
        }
        let mut turns = self.turns(found.org).await;
        loop {
            turns.begin().await?;
            let mut due = self.waiting(found.org).await?;
            due.retain(|letter| letter.due_ms <= now_ms);
            due.sort_by_key(|letter| letter.due_ms);
            due.truncate(limit);
            let due: Vec<_> = due.into_iter().map(|letter| letters::taken(letter, until_ms)).collect();
            let edits = due.iter().map(letter_edit).collect::<StoreResult<Vec<_>>>()?;
            if edits.is_empty() || turns.commit(edits, None).await? {
                return Ok(due);
            }
        }
    }

    /// Looks no more at an organization that has had no letters for long, unless it was announced again.
    async fn withdraw(&self, found: &Announced, now_ms: UnixMs) -> StoreResult<()> {
        let patience_ms = i64::try_from(OUTBOX_LOOK_AFTER.as_millis()).unwrap_or(i64::MAX);
        if now_ms.saturating_sub(found.announced_ms) < patience_ms {
            return Ok(());
        }
        let timestamp = found.announced_ms.saturating_mul(MICROSECONDS);
        let values = (timestamp, shard(found.org), found.org.as_bytes().as_slice());
        self.cql.run(&self.statements.withdraw, values).await
    }

    /// A letter as it is in the turn that has begun.
    async fn in_turn(
        &self,
        turns: &mut Turns<'_>,
        taken: &WaitingLetter,
    ) -> StoreResult<Option<WaitingLetter>> {
        turns.begin().await?;
        self.record(taken.letter.org, LETTER, taken.letter.key.as_bytes()).await
    }
}

pub(super) fn letter_edit(waiting: &WaitingLetter) -> StoreResult<Edit> {
    Ok(Edit::Put(LETTER, waiting.letter.key.as_bytes().to_vec(), record::encode(waiting)?))
}

#[async_trait]
impl Outbox for Cold {
    async fn post_letter(&self, letter: Letter) -> StoreResult<Posting> {
        let mut turns = self.turns(letter.org).await;
        loop {
            turns.begin().await?;
            let posting = self.posting(&letter, 0).await?;
            if posting != Posting::Stored {
                return Ok(posting);
            }
            self.announce(letter.org).await?;
            if turns.commit(vec![letter_edit(&letters::posted(letter.clone()))?], None).await? {
                return Ok(posting);
            }
        }
    }

    async fn tell_once(
        &self,
        org: OrgId,
        marks: Vec<String>,
        until_ms: UnixMs,
        letters: Vec<Letter>,
    ) -> StoreResult<bool> {
        let ttl_s = ttl_s(until_ms.saturating_sub(self.cql.clock().now_ms()));
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            if let Some(first) = marks.first()
                && self.value(org, TOLD, first.as_bytes()).await?.is_some()
            {
                return Ok(false);
            }
            let mut edits = self.letter_edits(&letters).await?;
            for mark in &marks {
                edits.push(Edit::PutFor(TOLD, mark.as_bytes().to_vec(), record::encode(&until_ms)?, ttl_s));
            }
            if turns.commit(edits, None).await? {
                return Ok(true);
            }
        }
    }

    /// What one organization's rows cannot give does not take away what others' gave.
    async fn take_letters(
        &self,
        now_ms: UnixMs,
        lease_ms: i64,
        limit: usize,
    ) -> StoreResult<Vec<WaitingLetter>> {
        let (mut taken, until_ms) = (Vec::new(), now_ms.saturating_add(lease_ms));
        for found in self.announced().await? {
            let room = limit.saturating_sub(taken.len());
            if room == 0 {
                break;
            }
            match self.take_of(&found, now_ms, until_ms, room).await {
                Ok(more) => taken.extend(more),
                Err(error) if taken.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(taken)
    }

    async fn end_letter(&self, taken: &WaitingLetter, end: LetterEnd, now_ms: UnixMs) -> StoreResult<bool> {
        let mut turns = self.turns(taken.letter.org).await;
        loop {
            let Some(waiting) = self.in_turn(&mut turns, taken).await? else { return Ok(false) };
            if end != LetterEnd::Sent && waiting.taken != taken.taken {
                return Ok(false);
            }
            if turns.commit(self.ending(&taken.letter.key, end, now_ms)?, None).await? {
                return Ok(true);
            }
        }
    }

    async fn postpone_letter(&self, taken: &WaitingLetter, due_ms: UnixMs) -> StoreResult<bool> {
        let mut turns = self.turns(taken.letter.org).await;
        loop {
            let found = self.in_turn(&mut turns, taken).await?;
            let Some(waiting) = found.filter(|waiting| waiting.taken == taken.taken) else {
                return Ok(false);
            };
            if turns.commit(vec![letter_edit(&letters::postponed(waiting, due_ms))?], None).await? {
                return Ok(true);
            }
        }
    }

    async fn letter_state(&self, org: OrgId, key: &str) -> StoreResult<Option<LetterState>> {
        let key = key.as_bytes();
        if let Some(waiting) = self.record::<WaitingLetter>(org, LETTER, key).await? {
            return Ok(Some(LetterState::Waiting { failures: waiting.failures }));
        }
        let Some(ended) = self.value(org, LETTER_END, key).await? else { return Ok(None) };
        let (end, _until_ms): (_, UnixMs) = record::decode_with(&ended)?;
        Ok(Some(LetterState::Ended(end)))
    }

    async fn outbox_depth(&self) -> StoreResult<OutboxDepth> {
        let mut depth = OutboxDepth::default();
        for found in self.announced().await? {
            for waiting in self.waiting(found.org).await? {
                let written_ms = waiting.letter.created_ms;
                depth.letters += 1;
                depth.oldest_ms = Some(depth.oldest_ms.map_or(written_ms, |oldest| oldest.min(written_ms)));
            }
        }
        self.letters_seen.store(depth.letters, Ordering::Relaxed);
        Ok(depth)
    }

    /// They go by TTL.
    async fn purge_letters(&self, _now_ms: UnixMs) -> StoreResult<u64> {
        Ok(0)
    }
}
