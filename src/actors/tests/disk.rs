//! The machine's files behind switches: syncs that take long, space that runs out.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::fs::{Entry, File, Fs, OsFs};

/// A disk with switches.
#[derive(Clone, Default)]
pub(super) struct Disk {
    switches: Arc<Switches>,
}

#[derive(Default)]
struct Switches {
    sync_delay_ms: AtomicU64,
    held: AtomicBool,
    full: AtomicBool,
}

impl Disk {
    /// Every sync takes this long from now on.
    pub(super) fn slow_down(&self, delay: Duration) {
        self.switches.sync_delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Release);
    }

    /// No sync ends until [`Disk::release`].
    pub(super) fn hold(&self) {
        self.switches.held.store(true, Ordering::Release);
    }

    /// Lets held syncs end.
    pub(super) fn release(&self) {
        self.switches.held.store(false, Ordering::Release);
    }

    /// Whether there is no space left.
    pub(super) fn set_full(&self, full: bool) {
        self.switches.full.store(full, Ordering::Release);
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
        Ok(Arc::new(Handle { file: OsFs.create(path)?, switches: Arc::clone(&self.switches) }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Handle { file: OsFs.open(path)?, switches: Arc::clone(&self.switches) }))
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
        if self.switches.full.load(Ordering::Acquire) { Ok(0) } else { OsFs.free_bytes(dir) }
    }
}

struct Handle {
    file: Arc<dyn File>,
    switches: Arc<Switches>,
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.switches.sync_delay_ms.load(Ordering::Acquire)));
        while self.switches.held.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.file.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if self.switches.full.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.allocate(bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
