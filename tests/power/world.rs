//! A machine whose power can be cut: a file system and a query store that forget what was not synced.
//!
//! Of writes to a file since its last sync any 4 KiB block may be missing after a cut, in any order, and one block may be
//! cut off in its middle. Names that were made or taken since the directory's last sync may be there or not. Of the query
//! store's tables each has lost any number of its newest batches since the last persist, independently of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use runstream::fs::{Entry, File, Fs};
use runstream::store::contract::{StoreError, StoreResult};
use runstream::store::lsm::runs::rows::{Batch, Change, Row, Rows, Table, Visit};

const BLOCK: u64 = 4096;

/// Where the store syncs. Taking any one of them away must lose something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Site {
    /// The head of a new journal file.
    FileHead,
    /// The name of a new journal file.
    FileName,
    /// The name of the journal's folder.
    FolderName,
    /// A group of records.
    Group,
    /// The end of a file that is complete.
    Seal,
    /// The end of a file whose torn end was cut off at start.
    SealAtStart,
    /// The rows of a settled run.
    Settle,
    /// What replaces the files and rows that are to be removed.
    BeforeRemoval,
    /// The number of the first file that is needed.
    FirstFile,
    /// The epoch of the feeds.
    FeedEpoch,
}

impl Site {
    pub(crate) const ALL: [Self; 10] = [
        Self::FileHead,
        Self::FileName,
        Self::FolderName,
        Self::Group,
        Self::Seal,
        Self::SealAtStart,
        Self::Settle,
        Self::BeforeRemoval,
        Self::FirstFile,
        Self::FeedEpoch,
    ];
}

#[derive(Clone, Debug)]
enum Pending {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Default, Clone)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    durable_folders: BTreeSet<PathBuf>,
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    durable_tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    unpersisted: BTreeMap<Table, Vec<Vec<Change>>>,
    steps: u64,
    cut_at: Option<u64>,
    is_cut: bool,
    without: Option<Site>,
    is_starting: bool,
    is_tending: bool,
    free_bytes: u64,
    seen: BTreeSet<Site>,
    expected: Vec<(u64, u64)>,
}

/// The machine.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl World {
    /// An empty machine on which the syncs of `without` do nothing.
    pub(crate) fn new(without: Option<Site>) -> Self {
        Self(Arc::new(Mutex::new(State { without, free_bytes: 1 << 40, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The power goes at this step from now.
    pub(crate) fn cut_after(&self, steps: u64) {
        let mut state = self.lock();
        state.cut_at = Some(state.steps + steps);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    /// Whether the store is being opened: its syncs are those of recovery.
    pub(crate) fn set_starting(&self, is_starting: bool) {
        self.lock().is_starting = is_starting;
    }

    /// Whether the keeper's work is done by the test itself.
    pub(crate) fn set_tending(&self, is_tending: bool) {
        self.lock().is_tending = is_tending;
    }

    pub(crate) fn set_free_bytes(&self, free_bytes: u64) {
        self.lock().free_bytes = free_bytes;
    }

    /// The sites that synced so far.
    pub(crate) fn seen(&self) -> BTreeSet<Site> {
        self.lock().seen.clone()
    }

    /// What was said to be read soon, in order: offset and bytes.
    pub(crate) fn expected(&self) -> Vec<(u64, u64)> {
        self.lock().expected.clone()
    }

    /// The journal's files and what is in them.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.lock();
        state.names.iter().map(|(path, id)| (path.clone(), state.inodes[*id].live.clone())).collect()
    }

    /// Changes what a file holds, behind the store's back.
    pub(crate) fn overwrite(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.lock();
        let id = state.names[path];
        state.inodes[id] = Inode { live: bytes.clone(), durable: bytes, pending: Vec::new() };
    }

    /// A copy of the machine as it is, nothing lost.
    pub(crate) fn copy(&self) -> Self {
        let state = self.lock();
        let inodes = state.inodes.iter().map(|inode| Inode {
            live: inode.live.clone(),
            durable: inode.live.clone(),
            pending: Vec::new(),
        });
        Self(Arc::new(Mutex::new(State {
            inodes: inodes.collect(),
            names: state.names.clone(),
            durable_names: state.names.clone(),
            folders: state.folders.clone(),
            durable_folders: state.folders.clone(),
            tables: state.tables.clone(),
            durable_tables: state.tables.clone(),
            free_bytes: state.free_bytes,
            ..State::default()
        })))
    }

    /// The machine after the power came back.
    pub(crate) fn after_cut(&self, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let state = self.lock();
        let mut folders = state.durable_folders.clone();
        folders.extend(state.folders.iter().filter(|_| rng.random_bool(0.5)).cloned());
        let mut names = state.durable_names.clone();
        let touched: BTreeSet<&PathBuf> = state.names.keys().chain(state.durable_names.keys()).collect();
        for path in touched {
            if state.names.get(path) != state.durable_names.get(path) && rng.random_bool(0.5) {
                match state.names.get(path) {
                    Some(id) => names.insert(path.clone(), *id),
                    None => names.remove(path),
                };
            }
        }
        names.retain(|path, _| path.parent().is_some_and(|folder| folders.contains(folder)));
        let inodes: Vec<Inode> = state.inodes.iter().map(|inode| torn(inode, &mut rng)).collect();
        let mut tables = state.durable_tables.clone();
        for (table, batches) in &state.unpersisted {
            let kept = rng.random_range(0..=batches.len());
            for batch in &batches[..kept] {
                apply(tables.entry(*table).or_default(), batch);
            }
        }
        Self(Arc::new(Mutex::new(State {
            inodes,
            durable_names: names.clone(),
            names,
            durable_folders: folders.clone(),
            folders,
            durable_tables: tables.clone(),
            tables,
            without: state.without,
            free_bytes: state.free_bytes,
            seen: state.seen.clone(),
            ..State::default()
        })))
    }
}

fn apply(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, batch: &[Change]) {
    for change in batch {
        match &change.value {
            Some(value) => rows.insert(change.key.clone(), value.clone()),
            None => rows.remove(&change.key),
        };
    }
}

fn write(bytes: &mut Vec<u8>, offset: u64, written: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + written.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(written);
}

/// What is left of a file.
fn torn(inode: &Inode, rng: &mut SmallRng) -> Inode {
    let mut left = inode.durable.clone();
    // Sometimes nothing or all of it arrived; mostly some of it.
    let share = [0.0, 1.0, 0.5, 0.5, 0.9][rng.random_range(0..5)];
    for pending in &inode.pending {
        match pending {
            Pending::SetLen(bytes) => {
                if rng.random_bool(share) {
                    left.resize(*bytes as usize, 0);
                }
            }
            Pending::Write(offset, bytes) => {
                let mut at = 0;
                while at < bytes.len() {
                    let position = offset + at as u64;
                    let end = bytes.len().min(at + (BLOCK - position % BLOCK) as usize);
                    if rng.random_bool(share) {
                        let kept = if rng.random_bool(0.1) { rng.random_range(at..=end) } else { end };
                        write(&mut left, position, &bytes[at..kept]);
                    }
                    at = end;
                }
            }
        }
    }
    Inode { live: left.clone(), durable: left, pending: Vec::new() }
}

impl State {
    /// Counts a step; the power may go with it.
    fn step(&mut self) -> io::Result<()> {
        if self.is_cut {
            return Err(power_is_off());
        }
        self.steps += 1;
        self.is_cut = self.cut_at.is_some_and(|cut_at| self.steps >= cut_at);
        Ok(())
    }

    /// Whether the sync at `site` is to do its work. One that the power cuts off does nothing and fails.
    fn sync(&mut self, site: Site) -> io::Result<bool> {
        self.step()?;
        if self.is_cut {
            return Err(power_is_off());
        }
        self.seen.insert(site);
        Ok(self.without != Some(site))
    }
}

impl Fs for World {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.folders.insert(dir.to_owned());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.lock();
        state.step()?;
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, id): (&PathBuf, &usize)| Entry {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: state.inodes[*id].live.len() as u64,
        };
        Ok(inside.map(entry).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        state.step()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.to_owned(), id);
        Ok(Arc::new(WorldFile { world: self.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        state.step()?;
        let id = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(WorldFile { world: self.clone(), id }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.names.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let is_journal = dir.ends_with("journal");
        if state.sync(if is_journal { Site::FileName } else { Site::FolderName })? {
            let inside: Vec<PathBuf> =
                state.folders.iter().filter(|folder| folder.parent() == Some(dir)).cloned().collect();
            state.durable_folders.extend(inside);
            state.durable_names.retain(|path, _| path.parent() != Some(dir));
            let named: Vec<_> = state.names.iter().filter(|(path, _)| path.parent() == Some(dir)).collect();
            let named: Vec<(PathBuf, usize)> =
                named.into_iter().map(|(path, id)| (path.clone(), *id)).collect();
            state.durable_names.extend(named);
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.lock();
        if state.is_cut { Err(power_is_off()) } else { Ok(state.free_bytes) }
    }
}

struct WorldFile {
    world: World,
    id: usize,
}

impl WorldFile {
    fn change(&self, pending: Pending) -> io::Result<()> {
        let mut state = self.world.lock();
        state.step()?;
        let is_cut = state.is_cut;
        let inode = &mut state.inodes[self.id];
        match &pending {
            Pending::Write(offset, bytes) => write(&mut inode.live, *offset, bytes),
            Pending::SetLen(bytes) => inode.live.resize(*bytes as usize, 0),
        }
        inode.pending.push(pending);
        if is_cut { Err(power_is_off()) } else { Ok(()) }
    }
}

impl File for WorldFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.world.lock();
        if state.is_cut {
            return Err(power_is_off());
        }
        let rest = state.inodes[self.id].live.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn expect_read(&self, offset: u64, bytes: u64) {
        self.world.lock().expected.push((offset, bytes));
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Pending::Write(offset, bytes.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.world.lock();
        let pending = &state.inodes[self.id].pending;
        let is_cut_short = |pending: &Pending| matches!(pending, Pending::SetLen(_));
        let site = if pending.iter().any(|pending| matches!(pending, Pending::Write(0, _))) {
            // A file that was never synced before: its head is among what is synced now.
            if pending.len() <= 2 { Site::FileHead } else { Site::Group }
        } else if pending.iter().any(is_cut_short) {
            if state.is_starting { Site::SealAtStart } else { Site::Seal }
        } else {
            Site::Group
        };
        if state.sync(site)? {
            let inode = &mut state.inodes[self.id];
            inode.durable.clone_from(&inode.live);
            inode.pending.clear();
        }
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let (len, free_bytes) = (self.len()?, self.world.lock().free_bytes);
        if bytes.saturating_sub(len) > free_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(Pending::SetLen(bytes.max(len)))
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.change(Pending::SetLen(bytes))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.world.lock().inodes[self.id].live.len() as u64)
    }
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Rows for World {
    fn get(&self, table: Table, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        let state = self.lock();
        if state.is_cut {
            return Err(unavailable(power_is_off()));
        }
        Ok(state.tables.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> StoreResult<()> {
        let rows: Vec<Row> = {
            let state = self.lock();
            if state.is_cut {
                return Err(unavailable(power_is_off()));
            }
            let rows = state.tables.get(&table).into_iter().flatten();
            let inside = rows.filter(|(key, _)| key.as_slice() >= from && key.as_slice() < to);
            inside.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        for (key, value) in rows {
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> StoreResult<Option<Row>> {
        let mut last = None;
        self.scan(table, from, to, &mut |key, value| {
            last = Some((key.to_vec(), value.to_vec()));
            Ok(true)
        })?;
        Ok(last)
    }

    fn commit(&self, batch: Batch) -> StoreResult<()> {
        let mut state = self.lock();
        state.step().map_err(unavailable)?;
        for table in Table::ALL {
            let changes: Vec<Change> =
                batch.changes.iter().filter(|change| change.table == table).cloned().collect();
            if !changes.is_empty() {
                apply(state.tables.entry(table).or_default(), &changes);
                state.unpersisted.entry(table).or_default().push(changes);
            }
        }
        if state.is_cut { Err(unavailable(power_is_off())) } else { Ok(()) }
    }

    fn persist(&self) -> StoreResult<()> {
        let mut state = self.lock();
        let is_keeper = state.is_tending || std::thread::current().name() == Some("keeper");
        let site = match () {
            () if state.unpersisted.contains_key(&Table::FeedEpoch) => Site::FeedEpoch,
            () if state.unpersisted.contains_key(&Table::Journal) => Site::FirstFile,
            () if is_keeper => Site::BeforeRemoval,
            () => Site::Settle,
        };
        if state.sync(site).map_err(unavailable)? {
            state.durable_tables = state.tables.clone();
            state.unpersisted.clear();
        }
        Ok(())
    }
}
