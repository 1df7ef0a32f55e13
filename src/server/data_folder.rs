//! The data folder: made on first start for its owner only, and locked, because two servers in one folder would each
//! believe that what they wrote is all there is.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that is locked; it holds the number of the process that has it.
const LOCK_FILE: &str = "runstream.lock";

/// An open data folder. The lock goes with the process, however that ends.
#[derive(Debug)]
pub struct DataFolder {
    pub(super) path: PathBuf,
    /// Whether no server has used it before.
    pub(super) is_new: bool,
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another server has it.
    #[error("the data folder {} is used by another server (process {process})", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The other process, as it noted itself.
        process: String,
    },
    /// There is none, and none is to be made.
    #[error("there is no data folder {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be made, read or written.
    #[error("cannot use the data folder {}: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl DataFolder {
    /// Locks a folder that is there.
    pub(super) fn open_existing(path: &Path) -> Result<Self, DataFolderError> {
        match path.try_exists() {
            Ok(true) => Self::open(path),
            Ok(false) => Err(DataFolderError::Missing(path.to_owned())),
            Err(source) => Err(DataFolderError::Io { folder: path.to_owned(), source }),
        }
    }

    /// Makes the folder if need be, and locks it.
    ///
    /// # Errors
    /// `InUse` while another process has it, `Io` if it cannot be made, read or written.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let failed = |source| DataFolderError::Io { folder: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock_path = path.join(LOCK_FILE);
        let is_new = !lock_path.try_exists().map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                lock.read_to_string(&mut process).map_err(failed)?;
                let process = process.trim().to_owned();
                return Err(DataFolderError::InUse { folder: path.to_owned(), process });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), is_new, _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_at_a_time_has_a_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataFolder::open(&path).unwrap();
        assert!(first.is_new);
        let refused = DataFolder::open(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        drop(first);
        let elsewhere = DataFolder::open_existing(&parent.path().join("b")).unwrap_err();
        assert!(matches!(elsewhere, DataFolderError::Missing(_)), "{elsewhere}");
        let again = DataFolder::open_existing(&path).unwrap();
        assert!(!again.is_new);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, "").unwrap();
        let refused = DataFolder::open(&path.join("folder")).unwrap_err();
        assert!(matches!(refused, DataFolderError::Io { .. }), "{refused}");
    }
}
