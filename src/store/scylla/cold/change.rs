//! How an organization's partition changes: a turn knows its revision, its holder reads and decides, and commits all edits
//! by one conditional batch. If another node was faster the turn begins anew.
//!
//! Rows are read after the revision. Reads and writes take a quorum, and a change is with a quorum before the next one
//! begins; so whoever commits on revision `n` has seen every change up to `n` whole.

use std::time::Duration;

use scylla::value::CqlValue;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::Cold;
use super::rows::{RUN_PLACES, VOID, moment};
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::OrgId;
use crate::limits::{CQL_CHANGE_BACKOFF_MAX, CQL_CHANGE_TRIES, CQL_VOID_KEPT, RUN_PLACES_KEPT};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::places::Places;
use crate::store::record;
use crate::store::scylla::statement::{Prepared, Value};

/// Organizations whose changes wait for each other within this process: those of one stripe.
const STRIPES: usize = 64;

/// What is known of the partitions that this process changed last, and the queue before each.
pub(super) struct Heads([Mutex<Option<(OrgId, Head)>>; STRIPES]);

impl Default for Heads {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(None)))
    }
}

/// The static columns of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// How many changes there were; `None` for a partition without any.
    rev: Option<i64>,
    /// Names the last change.
    change: Option<Uuid>,
    /// The entries of the last audited change, encoded.
    audit: Option<Vec<u8>>,
}

impl Head {
    /// The entries of the last audited change.
    pub(super) fn entries(&self) -> StoreResult<Vec<AuditEntry>> {
        let Some(bytes) = &self.audit else { return Ok(Vec::new()) };
        let (first, mut more): (AuditEntry, Vec<AuditEntry>) = record::decode_with(bytes)?;
        more.insert(0, first);
        Ok(more)
    }
}

/// The stored form of the entries of one change; `None` without any.
fn encoded(entries: &[AuditEntry]) -> StoreResult<Option<Vec<u8>>> {
    match entries {
        [] => Ok(None),
        [entry] => record::encode(entry).map(Some),
        [first, more @ ..] => record::encode_with(first, &more).map(Some),
    }
}

/// What a change does to a row.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// Writes it.
    Put(&'static str, Vec<u8>, Vec<u8>),
    /// Writes it for so many seconds.
    PutFor(&'static str, Vec<u8>, Vec<u8>, i32),
    /// Removes it.
    Remove(&'static str, Vec<u8>),
}

impl Edit {
    /// Remembers that the claim or the move with this nonce is void.
    pub(super) fn void(nonce: &[u8]) -> Self {
        Self::PutFor(VOID, nonce.to_vec(), Vec::new(), seconds(CQL_VOID_KEPT))
    }

    /// Writes how many runs of the period were started.
    pub(super) fn run_places(period_ms: UnixMs, places: Places) -> StoreResult<Self> {
        let key = moment(period_ms).to_vec();
        Ok(Self::PutFor(RUN_PLACES, key, record::encode(&places)?, seconds(RUN_PLACES_KEPT)))
    }

    /// Bytes that it takes in a batch, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(kind, key, value) | Self::PutFor(kind, key, value, _) => {
                kind.len() + key.len() + value.len()
            }
            Self::Remove(kind, key) => kind.len() + key.len(),
        }
    }
}

/// Turns at changing one organization, until one is committed or given up.
pub(super) struct Turns<'a> {
    cold: &'a Cold,
    org: OrgId,
    stripe: MutexGuard<'a, Option<(OrgId, Head)>>,
    head: Head,
    tries: u32,
}

impl Cold {
    /// Waits for its turn at changing `org`.
    pub(super) async fn turns(&self, org: OrgId) -> Turns<'_> {
        let at = org.as_bytes().iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(*byte));
        let Self { heads: Heads(stripes), .. } = self;
        // The remainder is below the number of stripes.
        let stripe = stripes.get(at % STRIPES).unwrap_or(&stripes[0]).lock().await;
        Turns { cold: self, org, stripe, head: Head::default(), tries: 0 }
    }

    /// The static columns as a quorum has them.
    pub(super) async fn head(&self, org: OrgId) -> StoreResult<Head> {
        self.head_by(&self.statements.head, org).await
    }

    /// As [`Cold::head`], after every change that was under way has happened or never will.
    async fn settled_head(&self, org: OrgId) -> StoreResult<Head> {
        self.head_by(&self.statements.settled_head, org).await
    }

    async fn head_by(&self, statement: &Prepared, org: OrgId) -> StoreResult<Head> {
        let found = self.cql.first(statement, (org.as_bytes().as_slice(),)).await?;
        let (rev, change, audit) = found.unwrap_or_default();
        Ok(Head { rev, change, audit })
    }
}

/// Lets others finish before the next try: a random time that grows with the tries there were.
pub(super) async fn pause(tries: u32) {
    let most = u64::try_from(CQL_CHANGE_BACKOFF_MAX.as_millis()).unwrap_or(u64::MAX);
    let wait_ms = rand::random_range(0..=most.min(4 << tries.min(16)));
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
}

impl Turns<'_> {
    /// Begins a turn: what is read from here on may be relied on in [`Turns::commit`].
    ///
    /// # Errors
    /// `Unavailable` if the cluster fails, or other nodes were faster every time.
    pub(super) async fn begin(&mut self) -> StoreResult<()> {
        if self.tries >= CQL_CHANGE_TRIES {
            return Err(StoreError::Unavailable(format!(
                "others changed organization {} every time",
                self.org
            )));
        }
        if self.tries > 0 {
            pause(self.tries).await;
        }
        self.tries += 1;
        self.head = match self.stripe.take() {
            Some((org, head)) if org == self.org => head,
            _ => self.cold.head(self.org).await?,
        };
        Ok(())
    }

    /// Makes all edits, and stores `audit`, if nobody changed the organization since [`Turns::begin`]; `false` if somebody
    /// did, then nothing was changed.
    ///
    /// # Errors
    /// `Unavailable`: the outcome is unknown.
    pub(super) async fn commit(&mut self, edits: Vec<Edit>, audit: Option<&AuditEntry>) -> StoreResult<bool> {
        self.commit_with_all(edits, audit.map_or(&[], std::slice::from_ref)).await
    }

    /// As [`Turns::commit`], with any number of entries of this organization.
    ///
    /// # Errors
    /// As [`Turns::commit`].
    pub(super) async fn commit_with_all(
        &mut self,
        edits: Vec<Edit>,
        audit: &[AuditEntry],
    ) -> StoreResult<bool> {
        let written = encoded(audit)?;
        if written.is_some() {
            for before in self.head.entries()? {
                self.cold.keep_entry(&before).await?;
            }
        }
        let next = Head {
            rev: Some(self.head.rev.unwrap_or(0).saturating_add(1)),
            change: Some(Uuid::new_v4()),
            audit: written.or_else(|| self.head.audit.clone()),
        };
        let batch = self.batch(&next, edits, !audit.is_empty());
        let applied = match self.cold.cql.applied_together(batch).await {
            Ok(applied) => applied,
            Err(error) => self.look_up(&next, error).await?,
        };
        if applied {
            *self.stripe = Some((self.org, next));
        }
        Ok(applied)
    }

    /// Whether the change `next`, whose sending ended with `error`, has happened. Not knowing is an error.
    async fn look_up(&self, next: &Head, error: StoreError) -> StoreResult<bool> {
        let Ok(found) = self.cold.settled_head(self.org).await else { return Err(error) };
        if found.change == next.change {
            return Ok(true);
        }
        // Had it happened and been followed by another, the revision would be beyond it.
        if found.rev <= next.rev { Ok(false) } else { Err(error) }
    }

    fn batch(&self, next: &Head, edits: Vec<Edit>, audited: bool) -> Vec<(&Prepared, Vec<Value>)> {
        let statements = &self.cold.statements;
        let org = || blob(self.org.as_bytes());
        let (rev, change) = (next.rev.map(CqlValue::BigInt), next.change.map(CqlValue::Uuid));
        let expected = self.head.rev.map(CqlValue::BigInt);
        let advance = if audited {
            let audit = next.audit.clone().map(CqlValue::Blob);
            (&statements.advance_audited, vec![rev, change, audit, org(), expected])
        } else {
            (&statements.advance, vec![rev, change, org(), expected])
        };
        let edits = edits.into_iter().map(|edit| match edit {
            Edit::Put(kind, key, value) => {
                (&statements.put_row, vec![org(), text(kind), blob(&key), blob(&value)])
            }
            Edit::PutFor(kind, key, value, ttl_s) => {
                let ttl = Some(CqlValue::Int(ttl_s));
                (&statements.put_row_for, vec![org(), text(kind), blob(&key), blob(&value), ttl])
            }
            Edit::Remove(kind, key) => (&statements.remove_row, vec![org(), text(kind), blob(&key)]),
        });
        std::iter::once(advance).chain(edits).collect()
    }
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

fn blob(bytes: &[u8]) -> Value {
    Some(CqlValue::Blob(bytes.to_vec()))
}

fn text(text: &str) -> Value {
    Some(CqlValue::Text(text.to_owned()))
}
