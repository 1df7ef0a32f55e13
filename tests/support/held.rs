//! The machine's files, with syncs that can be held back: what is under way then stays under way.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use runstream::fs::{Entry, File, Fs, OsFs};

/// A file system whose syncs wait while it is held.
#[derive(Clone, Default)]
pub(crate) struct HeldFs {
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    waiting: usize,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        while state.held {
            state = self.changed.wait(state).unwrap();
        }
        state.waiting -= 1;
    }
}

impl HeldFs {
    /// No sync ends from now on.
    pub(crate) fn hold(&self) {
        self.gate.state.lock().unwrap().held = true;
    }

    /// Lets syncs end.
    pub(crate) fn release(&self) {
        self.gate.state.lock().unwrap().held = false;
        self.gate.changed.notify_all();
    }

    /// Waits until a sync is being held.
    pub(crate) async fn until_waiting(&self) {
        while self.gate.state.lock().unwrap().waiting == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

impl Fs for HeldFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsFs.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsFs.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Held { file: OsFs.create(path)?, gate: Arc::clone(&self.gate) }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Held { file: OsFs.open(path)?, gate: Arc::clone(&self.gate) }))
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

struct Held {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl File for Held {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
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
