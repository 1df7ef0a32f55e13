//! The LSM tree behind the queries: fjall, with its calls kept off the async threads and its persist mode stated.
//! fjall's own default stops at the operating system's buffers; here a change is on disk or it is said that it is not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fjall::{
    KeyspaceCreateOptions, PersistMode, SingleWriterTxDatabase, SingleWriterTxKeyspace, SingleWriterWriteTx,
};

use super::failure::FailureLatch;
use crate::limits::{STORE_LOG_BYTES, STORE_MEMTABLE_BYTES};
use crate::store::contract::{StoreError, StoreResult};

/// A handle on the database; cheap to clone.
#[derive(Clone)]
pub(super) struct Db {
    inner: SingleWriterTxDatabase,
    keyspaces: Arc<RwLock<HashMap<&'static str, SingleWriterTxKeyspace>>>,
    failure: Arc<FailureLatch>,
    syncs: Arc<Syncs>,
}

/// Lets changes that wait at the same time share one sync.
#[derive(Default)]
struct Syncs {
    /// Changes written so far.
    written: AtomicU64,
    /// Of these, how many are known to be on disk. Locked while a sync runs.
    synced: Mutex<u64>,
}

impl Db {
    /// Opens or creates the database in `dir`. Blocks.
    pub(super) fn open(dir: &Path, cache_bytes: u64, failure: Arc<FailureLatch>) -> StoreResult<Self> {
        let inner =
            SingleWriterTxDatabase::builder(dir).cache_size(cache_bytes).max_journaling_size(STORE_LOG_BYTES);
        let inner = inner.open().map_err(store_error)?;
        Ok(Self { inner, keyspaces: Arc::default(), failure, syncs: Arc::default() })
    }

    /// The keyspace `name`, created if it is not there. Blocks the first time.
    pub(super) fn keyspace(&self, name: &'static str) -> StoreResult<SingleWriterTxKeyspace> {
        if let Some(known) = self.keyspaces.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(known.clone());
        }
        let options = || KeyspaceCreateOptions::default().max_memtable_size(STORE_MEMTABLE_BYTES);
        let opened = self.inner.keyspace(name, options).map_err(store_error)?;
        self.keyspaces.write().unwrap_or_else(PoisonError::into_inner).insert(name, opened.clone());
        Ok(opened)
    }

    /// The database itself, for reads and unsynced writes. Blocks; for use inside [`Db::blocking`] and on own threads.
    pub(super) fn inner(&self) -> &SingleWriterTxDatabase {
        &self.inner
    }

    /// Runs `work` where it may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let db = self.clone();
        tokio::task::spawn_blocking(move || work(&db))
            .await
            .map_err(|error| StoreError::Unavailable(format!("a store call ended early: {error}")))?
    }

    /// Runs `change` in a transaction: one at a time, sees its own writes, nothing is stored if it returns an error.
    /// When this returns `Ok` the change is on disk.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Self, &mut SingleWriterWriteTx<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.blocking(move |db| {
            let outcome = db.transact(change)?;
            db.persist_through(db.syncs.written.fetch_add(1, Ordering::SeqCst) + 1)?;
            Ok(outcome)
        })
        .await
    }

    /// As [`Db::commit`], but a crash may lose the change.
    pub(super) async fn commit_unsynced<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Self, &mut SingleWriterWriteTx<'_>) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.blocking(move |db| db.transact(change)).await
    }

    fn transact<T>(
        &self,
        change: impl FnOnce(&Self, &mut SingleWriterWriteTx<'_>) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let mut transaction = self.inner.write_tx();
        let outcome = change(self, &mut transaction)?;
        transaction.commit().map_err(|error| self.fatal("commit", error))?;
        Ok(outcome)
    }

    /// Makes the first `number` changes durable; whoever syncs does so for all that are written by then. A change that
    /// found nothing to do takes a number too: what it saw may not be on disk yet.
    fn persist_through(&self, number: u64) -> StoreResult<()> {
        // Poisoned: a thread died during a sync, whose changes are then not counted as synced.
        let mut synced = self.syncs.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced < number {
            let written = self.syncs.written.load(Ordering::SeqCst);
            self.persist()?;
            *synced = written;
        }
        Ok(())
    }

    /// Makes everything written so far durable. Blocks.
    pub(super) fn persist(&self) -> StoreResult<()> {
        self.inner.persist(PersistMode::SyncAll).map_err(|error| self.fatal("persist", error))
    }

    /// A failed write or sync: fjall accepts nothing any more, so neither does the store.
    pub(super) fn fatal(&self, doing: &str, error: fjall::Error) -> StoreError {
        self.failure.fail(&format!("the query store failed to {doing}: {error}"));
        store_error(error)
    }
}

/// What a failure of fjall means to callers.
pub(super) fn store_error(error: fjall::Error) -> StoreError {
    match &error {
        fjall::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => {
            StoreError::Full(error.to_string())
        }
        fjall::Error::Storage(
            fjall::LsmError::ChecksumMismatch { .. }
            | fjall::LsmError::InvalidTag(_)
            | fjall::LsmError::InvalidHeader(_)
            | fjall::LsmError::Decompress(_)
            | fjall::LsmError::Unrecoverable,
        )
        | fjall::Error::JournalRecovery(_)
        | fjall::Error::Unrecoverable
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTag(_)
        | fjall::Error::InvalidTrailer => StoreError::Damaged(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn new_rows_of_a_table_stay_in_memory_up_to_a_bound() {
        const ROW_BYTES: usize = 64 << 10;
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(folder.path(), 1 << 20, Arc::new(FailureLatch::new())).unwrap();
        for number in 0..5 * STORE_MEMTABLE_BYTES / ROW_BYTES as u64 {
            let put = db.commit_unsynced(move |db, change| {
                change.insert(&db.keyspace("sample")?, number.to_be_bytes(), [7; ROW_BYTES]);
                Ok(())
            });
            put.await.unwrap();
        }
        // They are written out in the background.
        let begun = Instant::now();
        while db.inner().write_buffer_size() > 2 * STORE_MEMTABLE_BYTES {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} bytes", db.inner().write_buffer_size());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
