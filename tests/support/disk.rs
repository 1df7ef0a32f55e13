//! The machine's files with syncs that are slow, that begin to fail, or that somebody watches.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runstream::fs::{Entry, File, Fs, OsFs};

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment<'a> {
    /// These bytes are about to be written.
    Write(&'a [u8]),
    /// What was written is about to be synced.
    Sync,
    /// It is synced.
    Synced,
}

/// Told of every moment, on the thread that writes.
pub(crate) type Watch = Arc<dyn Fn(Moment<'_>) + Send + Sync>;

/// What its syncs do.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    delay: Duration,
    broken: Arc<AtomicBool>,
    watch: Option<Watch>,
}

impl Disk {
    /// Every sync takes this long.
    pub(crate) fn slow(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// `watch` is told of what happens.
    pub(crate) fn watched(watch: Watch) -> Self {
        Self { watch: Some(watch), ..Self::default() }
    }

    fn tell(&self, moment: Moment<'_>) {
        if let Some(watch) = &self.watch {
            watch(moment);
        }
    }

    /// From now on no sync succeeds.
    pub(crate) fn break_down(&self) {
        self.broken.store(true, Ordering::Release);
    }
}

impl Fs for Disk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsFs.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsFs.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile { file: OsFs.create(path)?, disk: self.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile { file: OsFs.open(path)?, disk: self.clone() }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsFs.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFs.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsFs.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        OsFs.free_bytes(dir)
    }
}

struct DiskFile {
    file: Arc<dyn File>,
    disk: Disk,
}

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.tell(Moment::Write(bytes));
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(self.disk.delay);
        if self.disk.broken.load(Ordering::Acquire) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.disk.tell(Moment::Sync);
        self.file.sync_data()?;
        self.disk.tell(Moment::Synced);
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
