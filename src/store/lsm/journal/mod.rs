//! The shared append-only log: everything that is acknowledged about runs is here first.
//!
//! A record is put into the [`queue`] from any thread; when [`gather`] says so, the [`writer`]'s thread takes all that is
//! there, writes it with one call and one sync, and wakes everyone at once. [`frame`] is what is on the disk, [`scan`] and [`recovery`]
//! read it back at start, [`file`] reads single records. The journal knows runs only as names on its records.
//!
//! Copies of a batch's text on the way: one, from the batch into the group's buffer (the disk takes it from there).
//! A file goes as a whole once nothing in it is needed any more, oldest first.

mod blocks;
mod file;
mod frame;
mod gather;
mod queue;
mod recovery;
mod scan;
mod settings;
mod writer;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::runtime::Handle;

pub(crate) use file::Place;
pub(crate) use frame::{Key, Kind};
pub(crate) use queue::Record;
pub use recovery::{DamagedRange, RecoveryReport};
pub(crate) use recovery::{Event, Reach};
pub use settings::JournalSettings;

use file::{Files, path_of};
use gather::Gather;
use queue::{Queue, Waiter};
use writer::{Counters, Shared, Writer};

use super::failure::FailureLatch;
use crate::fs::Fs;
use crate::store::contract::{StoreError, StoreResult};
use crate::telemetry::name::JOURNAL_FILES;

/// What the journal did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalCounts {
    /// Syncs of groups of records.
    pub syncs: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files that exist.
    pub files: usize,
}

/// The journal's handle.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Reads what is there, telling `tell` in order, and starts the writer. Files below number `first` are not needed;
    /// what `reach` says was durable has to be there.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        settings: JournalSettings,
        failure: Arc<FailureLatch>,
        first: u32,
        reach: Option<Reach>,
        tell: &mut dyn FnMut(Event<'_>) -> StoreResult<()>,
    ) -> StoreResult<(Self, RecoveryReport)> {
        let unusable =
            |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", settings.dir.display()));
        fs.create_dir_all(&settings.dir).map_err(unusable)?;
        if let Some(parent) = settings.dir.parent() {
            fs.sync_dir(parent).map_err(unusable)?;
        }
        let files = Files::default();
        let (next, report) = recovery::recover(fs.as_ref(), &settings.dir, first, reach, &files, tell)?;
        let (queue, counters) = (Queue::default(), Counters::default());
        let shared = Arc::new(Shared { fs, settings, failure, queue, files, counters });
        let writer = Writer::new(Arc::clone(&shared), next);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Unavailable(format!("no thread for the journal: {error}")))?;
        Ok((Self { shared, thread: Mutex::new(Some(thread)) }, report))
    }

    /// Hands a record to the writer. Never waits. Its `done` is called in a task of the runtime the journal was opened
    /// in, if there is one and it still runs.
    pub(crate) fn append(&self, record: Record) {
        if self.shared.queue.put(record, Waiter::Task) {
            let gather = Gather::new(&self.shared);
            // Without a runtime there is nothing to wait for.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(gather.run());
            }
        }
    }

    /// Appends a record that stays until it is released, and waits for it. Blocks.
    pub(crate) fn append_and_wait(&self, key: Key, payload: Vec<u8>) -> StoreResult<Place> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        // The receiver is below: it is there as long as it is waited for.
        let done = Box::new(move |outcome| sender.send(outcome).is_ok());
        self.shared
            .queue
            .put(Record { key, parts: [payload.into()].into_iter().collect(), done }, Waiter::Thread);
        receiver.recv().unwrap_or_else(|_| Err(StoreError::Unavailable("the journal has ended".into())))
    }

    /// Reads a record back; `None` if its file is gone. Blocks.
    pub(crate) fn read(&self, place: Place, expected: impl Fn(&Key) -> bool) -> StoreResult<Option<Vec<u8>>> {
        self.shared.files.read(place, expected)
    }

    /// Says that these records are going to be read. Never waits.
    pub(crate) fn expect_read(&self, places: &[Place]) {
        for place in places {
            if let Some(file) = self.shared.files.get(place.file) {
                file.expect_read(*place);
            }
        }
    }

    /// Keeps the file of a record until it is released.
    pub(crate) fn pin(&self, place: Place) {
        if let Some(file) = self.shared.files.get(place.file) {
            file.pin(place.bytes);
        }
    }

    /// Says that a record is not needed from the journal any more.
    pub(crate) fn release(&self, place: Place) {
        if let Some(file) = self.shared.files.get(place.file) {
            file.release(place.bytes);
        }
    }

    /// Refuses if the disk has less than `share` of the reserve left.
    pub(crate) fn check_space(&self, share: f64) -> StoreResult<()> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a threshold"
        )]
        let reserve = (self.shared.settings.reserve_bytes as f64 * share) as u64;
        self.shared.check_space(reserve)
    }

    /// How far it is durable; `None` while there is nothing in it.
    pub(crate) fn reach(&self) -> Option<Reach> {
        let files = self.shared.files.all();
        let last = files.iter().rev().find(|file| file.bytes() > frame::HEAD_BYTES as u64)?;
        Some(Reach { file: last.head.number, bytes: u32::try_from(last.bytes()).unwrap_or(u32::MAX) })
    }

    /// The oldest sealed files of which nothing is needed, up to the first that is still needed: their numbers.
    pub(crate) fn unneeded(&self) -> Vec<u32> {
        let files = self.shared.files.all();
        let unneeded = files.iter().take_while(|file| file.is_sealed() && !file.is_live());
        unneeded.map(|file| file.head.number).collect()
    }

    /// The oldest complete file above `after` that something is needed from, if complete files are more than
    /// `files_max` and less than half of what they hold is needed: moving the rest of it out then pays. Files before
    /// the first that is needed do not count, they go anyway.
    pub(crate) fn worth_moving(&self, files_max: usize, after: u32) -> Option<u32> {
        let files = self.shared.files.all();
        let mut files: Vec<_> =
            files.iter().filter(|file| file.is_sealed()).skip_while(|file| !file.is_live()).collect();
        let held: u64 = files.iter().map(|file| file.bytes()).sum();
        let needed: u64 = files.iter().map(|file| file.live_bytes()).sum();
        if files.len() <= files_max || needed > held / 2 {
            return None;
        }
        files.retain(|file| file.is_live() && file.head.number > after);
        files.first().map(|file| file.head.number)
    }

    /// Removes a file, or puts it aside under another name if its bytes are to be kept. Whoever has it open still
    /// reads it.
    pub(crate) fn remove(&self, number: u32, is_evidence: bool) -> StoreResult<()> {
        let Shared { fs, settings, files, .. } = self.shared.as_ref();
        let path = path_of(&settings.dir, number);
        files.forget(number);
        metrics::gauge!(JOURNAL_FILES).set(f64::from(frame::saturated(files.count())));
        let removed =
            if is_evidence { fs.rename(&path, &path.with_extension("damaged")) } else { fs.remove(&path) };
        removed.map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))
    }

    /// What was done so far.
    pub(crate) fn counts(&self) -> JournalCounts {
        let counters = &self.shared.counters;
        JournalCounts {
            syncs: counters.syncs.load(Ordering::Relaxed),
            records: counters.records.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            files: self.shared.files.count(),
        }
    }

    /// Writes what waits, completes the file and ends the writer. Blocks.
    pub(crate) fn shut_down(&self) {
        self.shared.queue.close("the store has been shut down");
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            // A panic of the thread is on the failure latch already.
            tracing::error!("the journal's thread ended in a panic");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shut_down();
    }
}
