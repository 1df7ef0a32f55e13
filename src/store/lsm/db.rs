//! The LSM tree behind the queries: fjall, with its calls kept off the async threads and its persist mode stated.
//! fjall's own default stops at the operating system's buffers; here a change is on disk or it is said that it is not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fjall::{
    KeyspaceCreateOptions, KvSeparationOptions, PersistMode, SingleWriterTxDatabase, SingleWriterTxKeyspace,
    SingleWriterWriteTx,
};

use super::failure::FailureLatch;
use crate::limits::{STORE_CATCH_UP_MAX, STORE_LOG_BYTES, STORE_LONG_VALUE_BYTES, STORE_MEMTABLE_BYTES};
use crate::rank;
use crate::store::contract::{StoreError, StoreResult};

/// Full memtables of a keyspace from which on work that can wait does so; fjall holds every commit up at 4.
const SEALED_MAX: usize = 1;
/// Tables that are not compacted yet from which on it does so too; fjall slows commits down at 20.
const UNSORTED_MAX: usize = 12;
/// How soon it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

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
        let builder =
            SingleWriterTxDatabase::builder(dir).cache_size(cache_bytes).max_journaling_size(STORE_LOG_BYTES);
        // Its threads write memory out and compact. They inherit their rank from the one that starts them: what they do
        // can wait, and one of them goes round and round while the other compacts.
        let opening = || {
            rank::give_way();
            builder.open()
        };
        let inner = std::thread::scope(|scope| {
            let opener = std::thread::Builder::new().name("store-opener".into()).spawn_scoped(scope, opening);
            let opener = opener
                .map_err(|error| StoreError::Unavailable(format!("no thread for the store: {error}")))?;
            let opened =
                opener.join().map_err(|_| StoreError::Unavailable("opening the store panicked".into()))?;
            opened.map_err(store_error)
        })?;
        Ok(Self { inner, keyspaces: Arc::default(), failure, syncs: Arc::default() })
    }

    /// The keyspace `name`, created if it is not there. Long values lie in files of their own, which compacting leaves
    /// alone. Blocks the first time.
    pub(super) fn keyspace(&self, name: &'static str) -> StoreResult<SingleWriterTxKeyspace> {
        if let Some(known) = self.keyspaces.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(known.clone());
        }
        let separation = KvSeparationOptions::default().separation_threshold(STORE_LONG_VALUE_BYTES);
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(STORE_MEMTABLE_BYTES)
                .with_kv_separation(Some(separation.clone()))
        };
        let opened = self.inner.keyspace(name, options).map_err(store_error)?;
        self.keyspaces.write().unwrap_or_else(PoisonError::into_inner).insert(name, opened.clone());
        Ok(opened)
    }

    /// Waits until so much of what the keyspace `name` was given is written out that a commit to it is not held up. A
    /// commit that is held up holds all others up. At most a while: a database that stands still says so when it is
    /// written to. Blocks.
    pub(super) fn catch_up(&self, name: &'static str) -> StoreResult<()> {
        let keyspace = self.keyspace(name)?;
        let is_behind = || {
            keyspace.inner().sealed_memtable_count() > SEALED_MAX
                || keyspace.inner().l0_table_count() > UNSORTED_MAX
        };
        let patience = Instant::now() + STORE_CATCH_UP_MAX;
        while is_behind() && Instant::now() < patience {
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
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
            // By threads that let other tests go first.
            assert!(begun.elapsed() < Duration::from_secs(120), "{} bytes", db.inner().write_buffer_size());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn long_values_are_written_apart_from_their_keys_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(folder.path(), 1 << 20, Arc::new(FailureLatch::new())).unwrap();
        let long = vec![7; STORE_LONG_VALUE_BYTES as usize];
        let value = long.clone();
        db.commit(move |db, change| {
            change.insert(&db.keyspace("sample")?, "long", value);
            change.insert(&db.keyspace("sample")?, "short", "1");
            Ok(())
        })
        .await
        .unwrap();
        let sample = db.keyspace("sample").unwrap();
        assert_eq!(sample.inner().blob_file_count(), 0);
        sample.inner().rotate_memtable_and_wait().unwrap();
        assert_eq!(sample.inner().blob_file_count(), 1);
        assert_eq!(sample.get("long").unwrap().unwrap(), long);
        assert_eq!(sample.get("short").unwrap().unwrap(), b"1");
        // What is removed gives its room back, once nobody reads an older state and others have been written since.
        sample.remove("long").unwrap();
        for round in 0_u32.. {
            sample.insert("short", round.to_be_bytes()).unwrap();
            sample.inner().rotate_memtable_and_wait().unwrap();
            sample.inner().major_compact().unwrap();
            if sample.inner().blob_file_count() == 0 {
                break;
            }
            assert!(round < 10, "the long value's file is still there");
        }
    }

    #[tokio::test]
    async fn who_waits_for_the_store_to_catch_up_is_never_held_up() {
        const ROW_BYTES: usize = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(folder.path(), 1 << 20, Arc::new(FailureLatch::new())).unwrap();
        let sample = db.keyspace("sample").unwrap();
        for number in 0..6 * STORE_MEMTABLE_BYTES / ROW_BYTES as u64 {
            db.catch_up("sample").unwrap();
            let sealed = sample.inner().sealed_memtable_count();
            assert!(sealed <= SEALED_MAX, "{sealed} full memtables before row {number}");
            let put = db.commit_unsynced(move |db, change| {
                change.insert(&db.keyspace("sample")?, number.to_be_bytes(), vec![7; ROW_BYTES]);
                Ok(())
            });
            put.await.unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_of_the_database_let_everything_else_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let _db = Db::open(folder.path(), 1 << 20, Arc::new(FailureLatch::new())).unwrap();
        let policies = rank::policies("fjall:worker");
        assert!(!policies.is_empty());
        assert!(policies.iter().all(|policy| *policy == rank::IDLE), "{policies:?}");
        assert_ne!(rank::current().unwrap(), rank::LAST, "who opened it keeps its own");
    }
}
