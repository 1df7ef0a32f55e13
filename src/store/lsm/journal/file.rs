//! One file of the journal, and the table of those that exist.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::frame::{FORMAT, FRAME_HEAD_BYTES, FileHead, FrameHead, HEAD_BYTES, Key, saturated};
use crate::fs::{File, Fs};
use crate::store::contract::{StoreError, StoreResult};

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the file.
    pub(crate) file: u32,
    /// Its frame's first byte in the file.
    pub(crate) position: u32,
    /// Bytes of its payload.
    pub(crate) bytes: u32,
}

/// A file of the journal.
pub(crate) struct JournalFile {
    pub(crate) head: FileHead,
    pub(crate) file: Arc<dyn File>,
    /// Whether nothing is added to it any more.
    sealed: AtomicBool,
    /// Bytes up to the end of its last frame.
    bytes: AtomicU64,
    /// Records that are needed from here: segments of unsettled runs, facts whose rows are not written yet.
    live: AtomicU64,
    /// Payload bytes of these.
    live_bytes: AtomicU64,
}

impl JournalFile {
    pub(crate) fn new(head: FileHead, file: Arc<dyn File>, bytes: u64, sealed: bool) -> Self {
        Self {
            head,
            file,
            sealed: AtomicBool::new(sealed),
            bytes: AtomicU64::new(bytes),
            live: AtomicU64::new(0),
            live_bytes: AtomicU64::new(0),
        }
    }

    /// Creates file `number` with `bytes` reserved, durable with its name before anything is put into it.
    pub(crate) fn create(fs: &dyn Fs, dir: &Path, number: u32, bytes: u64) -> Result<Self, CreateError> {
        let path = path_of(dir, number);
        let file = fs.create(&path).map_err(CreateError::NoRoom)?;
        if let Err(error) = file.allocate(bytes) {
            // Nothing has been promised yet. If the empty file cannot be removed either, the next try says so.
            drop(fs.remove(&path));
            return Err(CreateError::NoRoom(error));
        }
        let head = FileHead { format: FORMAT, number, salt: rand::random(), reserved: bytes };
        file.write_all_at(&head.block(), 0).map_err(CreateError::Broken)?;
        file.sync_data().map_err(CreateError::Broken)?;
        fs.sync_dir(dir).map_err(CreateError::Broken)?;
        Ok(Self::new(head, file, HEAD_BYTES as u64, false))
    }

    /// Says that a record is going to be read.
    pub(crate) fn expect_read(&self, place: Place) {
        let bytes = super::frame::frame_bytes(place.bytes as usize);
        self.file.expect_read(u64::from(place.position), bytes as u64);
    }

    /// Reads a record and checks that it is the one that was put there.
    pub(crate) fn read(&self, place: Place, expected: impl Fn(&Key) -> bool) -> StoreResult<Vec<u8>> {
        let damaged = |what: &str| {
            let Place { file, position, .. } = place;
            StoreError::Damaged(format!("journal file {file} at {position}: {what}"))
        };
        let mut bytes = vec![0; FRAME_HEAD_BYTES + place.bytes as usize];
        let filled = read_full(self.file.as_ref(), &mut bytes, u64::from(place.position))
            .map_err(|error| StoreError::Unavailable(format!("reading the journal: {error}")))?;
        if filled < bytes.len() {
            return Err(damaged("the file is too short"));
        }
        let mut payload = bytes.split_off(FRAME_HEAD_BYTES);
        let head = match FrameHead::read_head(&bytes, self.head.salt, place.position) {
            Some(head) => head,
            None => self.read_tail(place).ok_or_else(|| damaged("a damaged head"))?,
        };
        if head.payload_bytes != place.bytes || !expected(&head.key) {
            return Err(damaged("another record"));
        }
        if crc32fast::hash(&payload) != head.payload_check {
            return Err(damaged("a damaged record"));
        }
        payload.shrink_to_fit();
        Ok(payload)
    }

    /// The second copy of a record's head.
    fn read_tail(&self, place: Place) -> Option<FrameHead> {
        let before = super::frame::frame_bytes(place.bytes as usize) - FRAME_HEAD_BYTES;
        let position = place.position.saturating_add(saturated(before));
        let mut bytes = [0; FRAME_HEAD_BYTES];
        read_full(self.file.as_ref(), &mut bytes, u64::from(position)).ok()?;
        let (head, start) = FrameHead::read_tail(&bytes, self.head.salt, position)?;
        (start == place.position).then_some(head)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(crate) fn mark_sealed(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Release);
    }

    /// Keeps the file for a record with this payload until it is released.
    pub(crate) fn pin(&self, bytes: u32) {
        self.live.fetch_add(1, Ordering::AcqRel);
        self.live_bytes.fetch_add(u64::from(bytes), Ordering::AcqRel);
    }

    /// The record is not needed from here any more.
    pub(crate) fn release(&self, bytes: u32) {
        self.live.fetch_sub(1, Ordering::AcqRel);
        self.live_bytes.fetch_sub(u64::from(bytes), Ordering::AcqRel);
    }

    /// Bytes of the records that are needed from here.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Acquire)
    }

    /// Whether a record is needed from here.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire) > 0
    }
}

/// Why a file was not created.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// There is no room for it; nothing has happened.
    NoRoom(io::Error),
    /// The disk failed: what it holds is unknown.
    Broken(io::Error),
}

/// The files that exist.
#[derive(Default)]
pub(crate) struct Files {
    by_number: RwLock<BTreeMap<u32, Arc<JournalFile>>>,
}

impl Files {
    pub(crate) fn add(&self, file: Arc<JournalFile>) {
        self.by_number.write().unwrap_or_else(PoisonError::into_inner).insert(file.head.number, file);
    }

    pub(crate) fn forget(&self, number: u32) {
        self.by_number.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    pub(crate) fn get(&self, number: u32) -> Option<Arc<JournalFile>> {
        self.by_number.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.by_number.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<JournalFile>> {
        self.by_number.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Reads a record of the wanted key; `None` if its file is gone.
    pub(crate) fn read(&self, place: Place, expected: impl Fn(&Key) -> bool) -> StoreResult<Option<Vec<u8>>> {
        self.get(place.file).map(|file| file.read(place, expected)).transpose()
    }
}

/// Name of file `number` in `dir`.
pub(crate) fn path_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.journal"))
}

/// The number of a journal file, or `None` for another name.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".journal")?;
    let is_ours = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok() } else { None }
}

/// Reads until `buffer` is full or the file ends; returns how many bytes that were.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        let path = path_of(Path::new("/data"), 42);
        assert_eq!(path, Path::new("/data/0000000042.journal"));
        assert_eq!(number_of("0000000042.journal"), Some(42));
        for other in ["42.journal", "0000000042.journal.damaged", "000000004x.journal", "+000000042.journal"]
        {
            assert_eq!(number_of(other), None, "{other}");
        }
    }
}
