//! The thread that writes. It takes everything that waits, lays it out in one buffer, writes it with one call, makes
//! it durable with one sync, and then wakes everyone whose record was in it. Those who wait as tasks are woken by one
//! task: waking each from here would interrupt the runtime's thread, and this one, once for each.
//!
//! What is written are whole blocks, past the system's cache: the last one of a group is filled up with zeros, and
//! written again, from its beginning, with the next group. Through the cache it would be the same on the disk.
//!
//! A write or sync that fails is the end: what the disk holds is then unknown, so nothing is acknowledged any more and
//! the process ends. A full disk is not: space for a file is reserved before anything is put into it, and while there
//! is none, or the disk's free space is below the reserve, records are refused with nothing changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::blocks::Blocks;
use super::file::{CreateError, Files, JournalFile, Place};
use super::frame::{HEAD_BYTES, Key, Kind, frame_bytes, saturated, whole_frame, write_frame};
use super::gather::Gather;
use super::queue::{Done, Queue, Record, Waiter, Work};
use super::settings::{FILE_BYTES_MAX, JournalSettings, RECORD_BYTES_MAX};
use crate::fs::{BLOCK_BYTES, Fs};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::lsm::failure::FailureLatch;
use crate::telemetry::name::{
    JOURNAL_FILES, JOURNAL_REFUSED, JOURNAL_SYNC_RECORDS, JOURNAL_SYNC_SECONDS, JOURNAL_WRITTEN_BYTES,
};

/// Every file keeps this much for its last frame.
const SEAL_BYTES: usize = frame_bytes(0);
/// Longest that a look at the disk's free space is believed.
const SPACE_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes after which the disk's free space is looked at again.
const SPACE_LOOK_BYTES: u64 = 8 << 20;

/// What the writer did so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// What the writer shares with the journal's handle.
pub(crate) struct Shared {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) settings: JournalSettings,
    pub(crate) failure: Arc<FailureLatch>,
    pub(crate) queue: Queue,
    pub(crate) files: Files,
    pub(crate) counters: Counters,
}

impl Shared {
    /// Refuses if the disk has less than `reserve` free bytes.
    pub(crate) fn check_space(&self, reserve: u64) -> StoreResult<()> {
        let free = self.fs.free_bytes(&self.settings.dir);
        let free =
            free.map_err(|error| StoreError::Unavailable(format!("free space is unknown: {error}")))?;
        if free < reserve {
            return Err(StoreError::Full(format!(
                "{free} bytes of the disk are free, {reserve} are kept in reserve"
            )));
        }
        Ok(())
    }
}

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    dir: PathBuf,
    active: Option<Active>,
    spare: Option<Arc<JournalFile>>,
    next_number: u32,
    /// What is laid out, from the beginning of the active file's last block on.
    buffer: Blocks,
    /// Whose records are in the buffer.
    threads: Vec<(Done, Place)>,
    tasks: Vec<(Done, Place)>,
    /// Where tasks are woken.
    runtime: Option<Handle>,
    looked: Option<Look>,
}

/// Tasks that wait for records which are durable now. They are told when it is dropped: by a task, or, if there is no
/// runtime any more that would run it, all the same.
struct Durable {
    file: Arc<JournalFile>,
    waiting: Vec<(Done, Place)>,
}

impl Drop for Durable {
    fn drop(&mut self) {
        for (done, place) in self.waiting.drain(..) {
            if !done(Ok(place)) {
                self.file.release(place.bytes);
            }
        }
    }
}

struct Active {
    file: Arc<JournalFile>,
    /// Bytes that are reserved for it.
    capacity: u64,
    /// Where the next frame goes.
    position: u32,
    /// Up to where it is written.
    written: u32,
    /// Up to where it is durable.
    synced: u32,
}

impl Active {
    /// Adds a frame to those in `buffer`, which begins with this file's last block.
    fn add(&mut self, buffer: &mut Blocks, key: Key, parts: &[impl AsRef<[u8]>]) -> std::io::Result<()> {
        let frame = buffer.add(frame_bytes(parts.iter().map(|part| part.as_ref().len()).sum()))?;
        write_frame(frame, self.position, self.file.head.salt, self.synced, key, parts);
        self.position = self.position.saturating_add(saturated(frame.len()));
        Ok(())
    }

    /// Writes what is in `buffer`.
    fn write(&mut self, buffer: &mut Blocks) -> Result<(), Broken> {
        let start = u64::from(self.position) - buffer.len() as u64;
        let written = buffer.write(|blocks| self.file.file.write_all_at(blocks, start));
        written.map_err(|error| Broken::new("write", &error))?;
        self.written = self.position;
        Ok(())
    }
}

struct Look {
    at: Instant,
    bytes: u64,
    outcome: StoreResult<()>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, next_number: u32) -> Self {
        let dir = shared.settings.dir.clone();
        Self {
            shared,
            dir,
            active: None,
            spare: None,
            next_number,
            buffer: Blocks::default(),
            threads: Vec::new(),
            tasks: Vec::new(),
            runtime: Handle::try_current().ok(),
            looked: None,
        }
    }

    /// Runs until the queue is closed and empty, then seals the file.
    pub(crate) fn run(mut self) {
        let alarm = Alarm(Arc::clone(&self.shared));
        // Who is refused is told from here, and may have something to start for that.
        let runtime = self.runtime.clone();
        let _entered = runtime.as_ref().map(Handle::enter);
        if let Err(Broken(reason)) = self.work() {
            self.shared.failure.fail(&reason);
            for (done, _) in self.threads.drain(..).chain(self.tasks.drain(..)) {
                done(Err(StoreError::Unavailable(reason.clone())));
            }
            self.shared.queue.fail(&reason);
        }
        drop(alarm);
    }

    fn work(&mut self) -> Result<(), Broken> {
        // Whether there is room is found out here, before the first batch has to wait for it.
        self.prepare_spare()?;
        let mut is_marked = true;
        loop {
            let patience = if is_marked { None } else { Some(self.shared.settings.mark_after) };
            match self.shared.queue.take(patience, self.shared.settings.group_bytes_max) {
                Work::Write(records) => {
                    is_marked = false;
                    self.write(records)?;
                }
                Work::Idle => {
                    is_marked = true;
                    self.mark()?;
                }
                Work::Ended => return self.seal(),
            }
        }
    }

    fn write(&mut self, records: Vec<(Record, Waiter)>) -> Result<(), Broken> {
        let room = self.room();
        for (Record { key, parts, done }, waiter) in records {
            match room.clone().map_err(Trouble::Refused).and_then(|()| self.lay_out(key, &parts)) {
                Ok(place) if waiter == Waiter::Task => self.tasks.push((done, place)),
                Ok(place) => self.threads.push((done, place)),
                Err(Trouble::Refused(refusal)) => {
                    metrics::counter!(JOURNAL_REFUSED).increment(1);
                    done(Err(refusal));
                }
                Err(Trouble::Broken(broken)) => {
                    done(Err(StoreError::Unavailable(broken.0.clone())));
                    return Err(broken);
                }
            }
        }
        self.flush(true)?;
        if self.active.as_ref().is_some_and(|active| u64::from(active.position) > active.capacity / 2) {
            // Ahead of need, so that no batch waits for it and a full disk is known early.
            self.prepare_spare()?;
        }
        Ok(())
    }

    /// Whether the disk has its reserve. Looked at now and then, and each time while it has not.
    fn room(&mut self) -> StoreResult<()> {
        let written = self.shared.counters.bytes.load(Ordering::Relaxed);
        let is_fresh = self.looked.as_ref().is_some_and(|look| {
            look.outcome.is_ok()
                && look.at.elapsed() < SPACE_LOOK_INTERVAL
                && written - look.bytes < SPACE_LOOK_BYTES
        });
        if !is_fresh {
            let outcome = self.shared.check_space(self.shared.settings.reserve_bytes);
            self.looked = Some(Look { at: Instant::now(), bytes: written, outcome });
        }
        self.looked.as_ref().map_or(Ok(()), |look| look.outcome.clone())
    }

    /// Gives a record its place, in a new file if the active one has no room for it.
    fn lay_out(&mut self, key: Key, parts: &[bytes::Bytes]) -> Result<Place, Trouble> {
        let payload_bytes: usize = parts.iter().map(bytes::Bytes::len).sum();
        if payload_bytes > RECORD_BYTES_MAX {
            return Err(Trouble::Refused(StoreError::Unavailable(format!(
                "a record of {payload_bytes} bytes"
            ))));
        }
        let needed = (frame_bytes(payload_bytes) + SEAL_BYTES) as u64;
        let fits = |active: &Active| u64::from(active.position) + needed <= active.capacity;
        if !self.active.as_ref().is_some_and(fits) {
            self.rotate(needed)?;
        }
        let Some(active) = &mut self.active else {
            return Err(Trouble::Refused(StoreError::Full("there is no journal file".into())));
        };
        let position = active.position;
        active.add(&mut self.buffer, key, parts).map_err(|error| {
            Trouble::Refused(StoreError::Unavailable(format!("no memory for a record: {error}")))
        })?;
        Ok(Place { file: active.file.head.number, position, bytes: saturated(payload_bytes) })
    }

    /// Writes what is laid out, syncs it and wakes who waits for it. `ends_group` says that nothing more of the group that
    /// was taken is to be laid out.
    fn flush(&mut self, ends_group: bool) -> Result<(), Broken> {
        let Some(active) = &mut self.active else {
            self.hand_over(None, ends_group);
            return Ok(());
        };
        let records = self.threads.len() + self.tasks.len();
        if active.position > active.written {
            let bytes = u64::from(active.position - active.written);
            let began = Instant::now();
            active.write(&mut self.buffer)?;
            active.file.file.sync_data().map_err(|error| Broken::new("sync", &error))?;
            let took = began.elapsed();
            metrics::histogram!(JOURNAL_SYNC_SECONDS).record(took.as_secs_f64());
            metrics::histogram!(JOURNAL_SYNC_RECORDS).record(f64::from(saturated(records)));
            metrics::counter!(JOURNAL_WRITTEN_BYTES).increment(bytes);
            active.synced = active.position;
            active.file.set_bytes(u64::from(active.position));
            let counters = &self.shared.counters;
            counters.syncs.fetch_add(1, Ordering::Relaxed);
            counters.records.fetch_add(records as u64, Ordering::Relaxed);
            counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        for (_, place) in self.threads.iter().chain(&self.tasks) {
            active.file.pin(place.bytes);
        }
        let durable = |waiting| Durable { file: Arc::clone(&active.file), waiting };
        let tasks = durable(std::mem::take(&mut self.tasks));
        let threads = durable(std::mem::take(&mut self.threads));
        self.hand_over(Some(tasks), ends_group);
        drop(threads);
        Ok(())
    }

    /// Has the tasks told, and the next group gathered if something has come meanwhile.
    fn hand_over(&self, tasks: Option<Durable>, ends_group: bool) {
        let tasks = tasks.filter(|tasks| !tasks.waiting.is_empty());
        let gather = (ends_group && self.shared.queue.written()).then(|| Gather::new(&self.shared));
        if tasks.is_none() && gather.is_none() {
            return;
        }
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                drop(tasks);
                if let Some(gather) = gather {
                    gather.run().await;
                }
            });
        }
    }

    /// Completes the active file and goes on in a new one with room for `needed` bytes of frames.
    fn rotate(&mut self, needed: u64) -> Result<(), Trouble> {
        let needed = HEAD_BYTES as u64 + needed;
        if needed > FILE_BYTES_MAX {
            return Err(Trouble::Refused(StoreError::Unavailable(format!("a record needs {needed} bytes"))));
        }
        self.prepare_spare()?;
        let Some(spare) = &self.spare else {
            let reason = "there is no room for a new journal file".to_owned();
            return Err(Trouble::Refused(StoreError::Full(reason)));
        };
        let usual = whole_blocks(self.shared.settings.file_bytes);
        let capacity = usual.max(whole_blocks(needed));
        if capacity > usual {
            // A record longer than a whole file: the spare one is stretched, and durably so, before it is used.
            spare.file.allocate(capacity).map_err(|error| {
                Trouble::Refused(StoreError::Full(format!("no room for a long record: {error}")))
            })?;
        }
        self.flush(false)?;
        self.seal()?;
        if let Some(file) = self.spare.take() {
            let position = saturated(HEAD_BYTES);
            self.buffer.clear();
            self.active = Some(Active { file, capacity, position, written: position, synced: position });
        }
        Ok(())
    }

    /// Makes the next file, unless it is there. That there is no room for it is no failure, as long as it is not needed.
    fn prepare_spare(&mut self) -> Result<(), Broken> {
        if self.spare.is_some() {
            return Ok(());
        }
        let Shared { fs, settings, files, .. } = self.shared.as_ref();
        if let Err(refusal) =
            self.shared.check_space(settings.reserve_bytes.saturating_add(settings.file_bytes))
        {
            tracing::warn!(%refusal, "no room for another journal file");
            return Ok(());
        }
        match JournalFile::create(fs.as_ref(), &self.dir, self.next_number, whole_blocks(settings.file_bytes))
        {
            Ok(file) => {
                let file = Arc::new(file);
                files.add(Arc::clone(&file));
                metrics::gauge!(JOURNAL_FILES).set(f64::from(saturated(files.count())));
                self.spare = Some(file);
                self.next_number = self.next_number.saturating_add(1);
                Ok(())
            }
            Err(CreateError::NoRoom(error)) => {
                tracing::warn!(%error, "another journal file cannot be made");
                Ok(())
            }
            Err(CreateError::Broken(error)) => Err(Broken::new("make a file", &error)),
        }
    }

    /// Notes that everything so far is durable. The note itself needs no sync: it only helps to judge later damage.
    fn mark(&mut self) -> Result<(), Broken> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if u64::from(active.position) + 2 * SEAL_BYTES as u64 > active.capacity {
            return Ok(());
        }
        let added = active.add(&mut self.buffer, MARK, NOTHING);
        added.map_err(|error| Broken::new("note what is durable", &error))?;
        active.write(&mut self.buffer)
    }

    /// Completes the active file, if there is one: nothing follows in it, and what was reserved and not used is free.
    fn seal(&mut self) -> Result<(), Broken> {
        let Some(active) = self.active.take() else { return Ok(()) };
        seal_file(&active.file, active.position, active.synced)
    }
}

/// Files are as long as their last block is to be.
const fn whole_blocks(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64)
}

const MARK: Key = Key::of_file(Kind::Mark);
/// The payload of frames that have none.
const NOTHING: &[&[u8]] = &[];

/// Cuts a file at `end` and writes the frame that completes it, durably.
pub(crate) fn seal_file(file: &JournalFile, end: u32, synced: u32) -> Result<(), Broken> {
    let seal = whole_frame(end, file.head.salt, synced, Key::of_file(Kind::Seal), NOTHING);
    let bytes = u64::from(end) + seal.len() as u64;
    let complete = || {
        file.file.set_len(u64::from(end))?;
        file.file.write_all_at(&seal, u64::from(end))?;
        file.file.sync_data()
    };
    complete().map_err(|error| Broken::new("complete a file", &error))?;
    file.set_bytes(bytes);
    file.mark_sealed();
    Ok(())
}

/// The disk failed: what it holds is unknown.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl Broken {
    pub(crate) fn new(doing: &str, error: &std::io::Error) -> Self {
        Self(format!("the journal failed to {doing}: {error}"))
    }
}

enum Trouble {
    Refused(StoreError),
    Broken(Broken),
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Rings when the thread ends in a panic: nobody may wait for it any more.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the journal's thread has panicked";
            self.0.failure.fail(reason);
            self.0.queue.fail(reason);
        }
    }
}
