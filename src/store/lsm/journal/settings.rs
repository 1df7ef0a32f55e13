//! Sizes of the journal.

use std::path::PathBuf;
use std::time::Duration;

/// Sizes of the journal.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Where its files are.
    pub dir: PathBuf,
    /// Bytes reserved for a file. A record that does not fit gets a longer file.
    pub file_bytes: u64,
    /// Free bytes of the disk below which nothing is accepted any more: the query store needs room to fold what has
    /// been accepted already, and breaks without.
    pub reserve_bytes: u64,
    /// Bytes that are written and synced together at most, unless one record alone is longer.
    pub group_bytes_max: usize,
    /// How long nothing has to happen before the journal notes that all it holds is durable. Without that note
    /// damage in the last write could not be told from a write that a power cut tore.
    pub mark_after: Duration,
}

impl JournalSettings {
    /// Default sizes in this folder.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            file_bytes: 64 << 20,
            reserve_bytes: 256 << 20,
            group_bytes_max: 16 << 20,
            mark_after: Duration::from_millis(50),
        }
    }
}

/// Longest file: places in it are 32 bits wide.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;
/// Longest record; a segment is bounded far below it by the byte budget.
pub(crate) const RECORD_BYTES_MAX: usize = 512 << 20;

const _: () = assert!((RECORD_BYTES_MAX as u64) < FILE_BYTES_MAX);
