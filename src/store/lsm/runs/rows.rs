//! The query store as runs use it, behind a seam. Changes of one batch become visible together; they are durable only
//! after [`Rows::persist`]. After a power cut each table may have lost any number of its newest batches since then,
//! independently of the other tables: nothing here relies on more, and the tests' stand-in does exactly that.

use super::super::db::{Db, store_error};
use crate::store::contract::StoreResult;

/// Where what is long or short-lived lies.
const CONTENTS: &str = "run_contents";

/// What is kept about runs, by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Organization, execution: the execution.
    Executions,
    /// Organization, task id: execution id.
    Tasks,
    /// Organization, start (newest first), execution (descending): what lists filter by.
    List,
    /// Organization, execution: the cycle.
    Cycles,
    /// Session: the session.
    Sessions,
    /// Expiry, session: nothing. Archived sessions only.
    SessionExpiry,
    /// Organization, execution: the closure.
    Closures,
    /// Execution: that the run is not settled.
    Open,
    /// Organization, execution: that the run is settled, and how much it is.
    Settled,
    /// Execution, start in UTF-16 units: a piece of a settled run's text.
    Texts,
    /// Execution, number of the last attempt: a settled run's result.
    Results,
    /// Organization, execution: bytes that a settled run takes.
    Storage,
    /// Execution, epoch, number: facts of a segment that was moved out of the journal.
    SegmentFacts,
    /// Execution, epoch, number: a segment that was moved out of the journal.
    Segments,
    /// Execution: why its text and results cannot be given any more.
    Damaged,
    /// Facts about the journal.
    Journal,
    /// Organization, number in its feed: a row of the feed. Number 0: how far the feed was forgotten.
    Feed,
    /// The feed's epoch.
    FeedEpoch,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 18] = [
        Self::Executions,
        Self::Tasks,
        Self::List,
        Self::Cycles,
        Self::Sessions,
        Self::SessionExpiry,
        Self::Closures,
        Self::Open,
        Self::Settled,
        Self::Texts,
        Self::Results,
        Self::Storage,
        Self::SegmentFacts,
        Self::Segments,
        Self::Damaged,
        Self::Journal,
        Self::Feed,
        Self::FeedEpoch,
    ];

    /// The keyspace that holds the table: each costs files and syncs of its own, so small tables share one, and what
    /// is long or short-lived is kept from those.
    const fn keyspace(self) -> &'static str {
        match self {
            Self::Texts | Self::Results | Self::Feed => CONTENTS,
            Self::SegmentFacts | Self::Segments => "run_segments",
            _ => "runs",
        }
    }

    /// The byte that the table's keys begin with in its keyspace. Stored: never changed, never given twice.
    const fn prefix(self) -> u8 {
        match self {
            Self::Executions => 1,
            Self::Tasks => 2,
            Self::List => 3,
            Self::Cycles => 4,
            Self::Sessions => 5,
            Self::SessionExpiry => 6,
            Self::Closures => 7,
            Self::Open => 8,
            Self::Settled => 9,
            Self::Texts => 10,
            Self::Results => 11,
            Self::Storage => 12,
            Self::SegmentFacts => 13,
            Self::Segments => 14,
            Self::Damaged => 15,
            Self::Journal => 16,
            Self::Feed => 17,
            Self::FeedEpoch => 18,
        }
    }

    fn key(self, key: &[u8]) -> Vec<u8> {
        [&[self.prefix()], key].concat()
    }
}

/// One changed row; without a value it is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// Changes that become visible together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order: of two for one key the later one counts.
    pub changes: Vec<Change>,
}

impl Batch {
    pub(super) fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change { table, key, value: Some(value) });
    }

    pub(super) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.changes.push(Change { table, key, value: None });
    }
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Takes a key and its value; `false` ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> StoreResult<bool> + 'a;

/// The query store. Calls block.
pub trait Rows: Send + Sync + 'static {
    /// The value at `key`.
    ///
    /// # Errors
    /// Those of the disk.
    fn get(&self, table: Table, key: &[u8]) -> StoreResult<Option<Vec<u8>>>;

    /// Hands the rows with `from ≤ key < to` to `visit`, in the order of keys, until it returns `false`.
    ///
    /// # Errors
    /// Those of the disk and of `visit`.
    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> StoreResult<()>;

    /// The last row with `from ≤ key < to`.
    ///
    /// # Errors
    /// Those of the disk.
    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> StoreResult<Option<Row>>;

    /// Makes all changes of `batch` visible together.
    ///
    /// # Errors
    /// Those of the disk.
    fn commit(&self, batch: Batch) -> StoreResult<()>;

    /// Waits until contents of runs may be committed without holding up other commits. For whoever has time; a store that
    /// is never held up needs no waiting.
    ///
    /// # Errors
    /// Those of the disk.
    fn catch_up(&self) -> StoreResult<()> {
        Ok(())
    }

    /// Makes everything that was committed before durable.
    ///
    /// # Errors
    /// Those of the disk: the store has then failed for good.
    fn persist(&self) -> StoreResult<()>;
}

impl Rows for Db {
    fn get(&self, table: Table, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        let found = self.keyspace(table.keyspace())?.get(table.key(key)).map_err(store_error)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> StoreResult<()> {
        for row in self.keyspace(table.keyspace())?.inner().range(table.key(from)..table.key(to)) {
            let (key, value) = row.into_inner().map_err(store_error)?;
            if !visit(key.get(1..).unwrap_or_default(), &value)? {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> StoreResult<Option<Row>> {
        let last = self.keyspace(table.keyspace())?.inner().range(table.key(from)..table.key(to)).next_back();
        last.map(|row| {
            let (key, value) = row.into_inner().map_err(store_error)?;
            Ok((key.get(1..).unwrap_or_default().to_vec(), value.to_vec()))
        })
        .transpose()
    }

    fn commit(&self, batch: Batch) -> StoreResult<()> {
        let mut transaction = self.inner().write_tx();
        for Change { table, key, value } in batch.changes {
            let keyspace = self.keyspace(table.keyspace())?;
            match value {
                Some(value) => transaction.insert(&keyspace, table.key(&key), value),
                None => transaction.remove(&keyspace, table.key(&key)),
            }
        }
        transaction.commit().map_err(|error| self.fatal("commit", error))
    }

    fn catch_up(&self) -> StoreResult<()> {
        Self::catch_up(self, CONTENTS)
    }

    fn persist(&self) -> StoreResult<()> {
        Self::persist(self)
    }
}
