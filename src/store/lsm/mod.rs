//! The embedded store: a shared journal for what is acknowledged about runs, an LSM tree for what is queried.
//!
//! Accounts, tokens and projects are plain transactions on the tree, on disk before a call returns ([`db`]). Runs are
//! in the [`journal`] first ([`runs`]). Either half that fails to sync ends the store ([`failure`]).

mod accounts;
mod audit;
mod db;
mod executions;
mod feed;
mod invitations;
mod journal;
mod logins;
mod organizations;
mod outbox;
mod people;
mod projects;
mod resets;
pub mod runs;
mod sealed;
mod table;
mod tokens;
mod transfer;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use db::Db;
use failure::FailureLatch;
use fjall::Readable;
pub use journal::{DamagedRange, JournalCounts, JournalSettings, RecoveryReport};
use runs::{RunSettings, RunStore};
pub(in crate::store) use transfer::LsmTransfer;
pub use transfer::copied_keyspaces;

use super::contract::{Store, StoreError, StoreResult};
use super::copy::UNFINISHED;
use super::failure;
use crate::fs::Fs;

/// Where the embedded store lives and how much it may take.
#[derive(Debug, Clone)]
pub struct LsmSettings {
    /// The data folder; the store makes `lsm` and `journal` in it.
    pub data: PathBuf,
    /// Bytes of blocks that the LSM tree keeps in memory.
    pub cache_bytes: u64,
    /// How runs are kept.
    pub runs: RunSettings,
}

impl LsmSettings {
    /// Default sizes in this data folder.
    #[must_use]
    pub fn at(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        let runs = RunSettings { journal: JournalSettings::at(data.join("journal")), files_max: 8 };
        Self { data, cache_bytes: 32 << 20, runs }
    }
}

/// The embedded store.
pub struct LsmStore {
    runs: RunStore,
    db: Db,
    failure: Arc<FailureLatch>,
}

impl LsmStore {
    /// Opens the store, creating it if the data folder is empty, and recovers what the last process left.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be used (another process holds it, say), `Damaged` if it holds no store that
    /// this build can read. `Unavailable` too if it holds a copy that is not finished.
    pub async fn open(settings: LsmSettings, fs: Arc<dyn Fs>) -> StoreResult<Self> {
        let store = Self::open_for_copy(settings, fs).await?;
        match store.copy_note().await? {
            Some(_) => Err(StoreError::Unavailable(UNFINISHED.into())),
            None => Ok(store),
        }
    }

    /// As [`LsmStore::open`], whether a copy into it is finished or not.
    async fn open_for_copy(settings: LsmSettings, fs: Arc<dyn Fs>) -> StoreResult<Self> {
        let failure = Arc::new(FailureLatch::new());
        let opening = tokio::task::spawn_blocking(move || {
            let dir = settings.data.join("lsm");
            fs.create_dir_all(&dir)
                .map_err(|error| StoreError::Unavailable(format!("{}: {error}", dir.display())))?;
            let db = Db::open(&dir, settings.cache_bytes, Arc::clone(&failure))?;
            let runs = RunStore::open_with(settings.runs, fs, Arc::new(db.clone()), Arc::clone(&failure))?;
            Ok(Self { runs, db, failure })
        });
        opening.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    /// What was found at start.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        self.runs.recovery()
    }

    /// What the journal did since.
    #[must_use]
    pub fn journal_counts(&self) -> JournalCounts {
        self.runs.journal_counts()
    }

    /// A row is written, synced and read back.
    async fn probe_rows(&self) -> StoreResult<()> {
        self.db
            .commit(|db, change| {
                change.insert(&db.keyspace("probe")?, "probe", "written");
                Ok(())
            })
            .await?;
        self.db
            .blocking(|db| {
                let read =
                    db.inner().read_tx().get(db.keyspace("probe")?, "probe").map_err(db::store_error)?;
                read.map(|_| ())
                    .ok_or_else(|| StoreError::Damaged("the probe's row cannot be read back".into()))
            })
            .await
    }
}

#[async_trait]
impl Store for LsmStore {
    async fn probe(&self) -> StoreResult<()> {
        if let Some(reason) = self.failure.reason() {
            return Err(StoreError::Unavailable(reason));
        }
        self.runs.probe().await?;
        self.probe_rows().await
    }

    async fn failed(&self) -> String {
        self.runs.failed().await
    }

    async fn shut_down(&self) -> StoreResult<()> {
        self.runs.shut_down().await?;
        self.db.blocking(Db::persist).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::OsFs;

    #[tokio::test]
    async fn a_committed_change_is_there_after_a_restart_and_a_refused_one_is_not() {
        let data = tempfile::tempdir().unwrap();
        let store = LsmStore::open(LsmSettings::at(data.path()), Arc::new(OsFs)).await.unwrap();
        let refused: StoreResult<()> = store
            .db
            .commit(|db, change| {
                change.insert(&db.keyspace("things")?, "refused", "1");
                Err(StoreError::Full("no".into()))
            })
            .await;
        assert_eq!(refused, Err(StoreError::Full("no".into())));
        store
            .db
            .commit(|db, change| {
                let things = db.keyspace("things")?;
                change.insert(&things, "kept", "1");
                assert!(change.contains_key(&things, "kept").unwrap(), "a change sees itself");
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(store.probe().await, Ok(()));
        drop(store);

        let store = LsmStore::open(LsmSettings::at(data.path()), Arc::new(OsFs)).await.unwrap();
        let found = store
            .db
            .blocking(|db| {
                let things = db.keyspace("things")?;
                let kept = things.get("kept").map_err(db::store_error)?;
                let refused = things.get("refused").map_err(db::store_error)?;
                Ok((kept.is_some(), refused.is_some()))
            })
            .await;
        assert_eq!(found, Ok((true, false)));
    }
}
