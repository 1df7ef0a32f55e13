//! Reading the journal back at start: every file once, in order, checked while it is read.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::file::{Files, JournalFile, Place, number_of, path_of, read_full};
use super::frame::{FORMAT, FRAME_HEAD_BYTES, FileHead, HEAD_BYTES, Key, Kind, saturated};
use super::scan::{Found, leading_zeros, scan};
use super::settings::FILE_BYTES_MAX;
use super::writer::seal_file;
use crate::domain::id::ExecutionId;
use crate::fs::Fs;
use crate::store::contract::{StoreError, StoreResult};

/// Bytes that are looked at together in a file that may be blank.
const BLANK_LOOK_BYTES: usize = 256 << 10;

/// What was found at start, for operators and tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Files read.
    pub files: u32,
    /// Bytes read.
    pub bytes: u64,
    /// Whole records found.
    pub records: u64,
    /// Bytes that a cut-off write left at the end. Nothing of them was acknowledged, unless the disk damaged what was
    /// written in the last seconds before a crash: the two look the same.
    pub torn_bytes: u64,
    /// Records of which one of the two heads was damaged, and the other good.
    pub repaired: u64,
    /// Damage in what had been durable.
    pub damaged: Vec<DamagedRange>,
    /// Runs whose text and results cannot be given any more, or not for certain.
    pub damaged_runs: Vec<ExecutionId>,
    /// Whether the process before this one ended in good order.
    pub clean: bool,
    /// How long it took.
    pub took: Duration,
}

/// How far the journal was durable at some moment, as the rows remember it. Whatever is missing below it is lost, and
/// does not pass for something that was never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// Number of the last file that held anything.
    pub(crate) file: u32,
    /// Bytes of it that were durable.
    pub(crate) bytes: u32,
}

/// A damaged part of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedRange {
    /// Number of the file.
    pub file: u32,
    /// First byte.
    pub from: u32,
    /// Byte after the last; the same as `from` if the whole file is missing.
    pub to: u32,
    /// Whose record it was, if that can still be told.
    pub execution: Option<ExecutionId>,
}

/// What the reader of the journal is told, in order.
pub(crate) enum Event<'a> {
    /// A whole record.
    Record {
        /// Whose it is.
        key: Key,
        /// Where it is.
        place: Place,
        /// What was stored.
        payload: &'a [u8],
    },
    /// A record whose payload is lost.
    Damaged {
        /// Whose it was.
        key: Key,
        /// Where it is.
        place: Place,
    },
    /// Bytes are lost that may have been anybody's.
    Lost {
        /// Where.
        place: Place,
    },
}

/// Reads all files from number `first` on; older ones are left over from a deletion that was cut off, and go. What
/// `reach` says was durable must be there. Returns the number that the next file gets.
pub(crate) fn recover(
    fs: &dyn Fs,
    dir: &Path,
    first: u32,
    reach: Option<Reach>,
    files: &Files,
    tell: &mut dyn FnMut(Event<'_>) -> StoreResult<()>,
) -> StoreResult<(u32, RecoveryReport)> {
    let began = Instant::now();
    let mut report = RecoveryReport { clean: true, ..RecoveryReport::default() };
    let numbers = tidy(fs, dir, first)?;
    let mut buffer = Vec::new();
    let reached = reach.map_or(0, |reach| reach.file);
    let last = last_written(fs, dir, &numbers, reached, &mut buffer)?;
    let mut expected = first;
    for number in numbers.into_iter().filter(|number| last.is_some_and(|last| *number <= last)) {
        missing(expected..number, &mut report, tell)?;
        expected = number.saturating_add(1);
        let durable = reach.filter(|reach| reach.file == number).map_or(0, |reach| reach.bytes);
        recover_file(fs, dir, number, last == Some(number), durable, &mut buffer, files, &mut report, tell)?;
    }
    missing(expected..reached.saturating_add(1), &mut report, tell)?;
    expected = expected.max(reached.saturating_add(1));
    report.took = began.elapsed();
    Ok((expected, report))
}

/// Tells of files that are not there.
fn missing(
    numbers: Range<u32>,
    report: &mut RecoveryReport,
    tell: &mut dyn FnMut(Event<'_>) -> StoreResult<()>,
) -> StoreResult<()> {
    for file in numbers {
        let place = Place { file, position: 0, bytes: 0 };
        note(report, place, None);
        tell(Event::Lost { place })?;
    }
    Ok(())
}

/// Removes what is older than `first` and lists the rest in order.
fn tidy(fs: &dyn Fs, dir: &Path, first: u32) -> StoreResult<Vec<u32>> {
    let entries = fs.list(dir).map_err(|error| unreadable(dir, &error))?;
    let mut numbers: Vec<u32> = entries.iter().filter_map(|entry| number_of(&entry.name)).collect();
    numbers.sort_unstable();
    for old in numbers.extract_if(.., |number| *number < first) {
        let path = path_of(dir, old);
        fs.remove(&path).map_err(|error| unreadable(&path, &error))?;
    }
    Ok(numbers)
}

/// The last file that was written to, file `reached` or a later one. Those after it were made ahead of need and go.
fn last_written(
    fs: &dyn Fs,
    dir: &Path,
    numbers: &[u32],
    reached: u32,
    buffer: &mut Vec<u8>,
) -> StoreResult<Option<u32>> {
    for number in numbers.iter().rev() {
        if *number <= reached {
            return Ok(Some(*number));
        }
        let path = path_of(dir, *number);
        let file = fs.open(&path).map_err(|error| unreadable(&path, &error))?;
        buffer.clear();
        buffer.resize(HEAD_BYTES, 0);
        read_full(file.as_ref(), buffer, 0).map_err(|error| unreadable(&path, &error))?;
        let bytes = file.len().map_err(|error| unreadable(&path, &error))?;
        // A file that is shorter than it was made has been completed, unless its making was cut off.
        let is_complete = |head: FileHead| bytes > HEAD_BYTES as u64 && bytes < head.reserved;
        let is_written = FileHead::read(buffer).is_some_and(is_complete)
            || !is_blank(file.as_ref(), buffer).map_err(|error| unreadable(&path, &error))?;
        if is_written {
            return Ok(Some(*number));
        }
        fs.remove(&path).map_err(|error| unreadable(&path, &error))?;
    }
    Ok(None)
}

/// Whether a file holds nothing but zeros after its head.
fn is_blank(file: &dyn crate::fs::File, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    buffer.resize(BLANK_LOOK_BYTES, 0);
    let mut at = HEAD_BYTES as u64;
    loop {
        let looked = read_full(file, buffer, at)?;
        if leading_zeros(buffer.get(..looked).unwrap_or_default()) < looked {
            return Ok(false);
        }
        if looked < buffer.len() {
            return Ok(true);
        }
        at += looked as u64;
    }
}

fn read_whole(file: &dyn crate::fs::File, path: &Path, buffer: &mut Vec<u8>) -> StoreResult<()> {
    let bytes = file.len().map_err(|error| unreadable(path, &error))?;
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes as u64 <= FILE_BYTES_MAX);
    let bytes = bytes.ok_or_else(|| StoreError::Damaged(format!("{}: too long", path.display())))?;
    // What is read over is not cleared first, and what is new comes cleared from the system.
    if buffer.len() < bytes {
        *buffer = vec![0; bytes];
    }
    buffer.truncate(bytes);
    let filled = read_full(file, buffer, 0).map_err(|error| unreadable(path, &error))?;
    buffer.truncate(filled);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the loop's body, apart so that each fits a screen")]
fn recover_file(
    fs: &dyn Fs,
    dir: &Path,
    number: u32,
    is_last: bool,
    durable: u32,
    buffer: &mut Vec<u8>,
    files: &Files,
    report: &mut RecoveryReport,
    tell: &mut dyn FnMut(Event<'_>) -> StoreResult<()>,
) -> StoreResult<()> {
    let path = path_of(dir, number);
    let file = fs.open(&path).map_err(|error| unreadable(&path, &error))?;
    read_whole(file.as_ref(), &path, buffer)?;
    report.files += 1;
    report.bytes += buffer.len() as u64;
    let head = FileHead::read(buffer).filter(|head| head.number == number);
    let Some(head) = head else {
        let place = Place { file: number, position: 0, bytes: saturated(buffer.len()) };
        note(report, place, None);
        files.add(Arc::new(JournalFile::new(
            FileHead { format: FORMAT, number, salt: 0, reserved: 0 },
            file,
            buffer.len() as u64,
            true,
        )));
        return tell(Event::Lost { place });
    };
    if head.format != FORMAT {
        return Err(StoreError::Damaged(format!("{}: format {} is not known", path.display(), head.format)));
    }
    let found = scan(buffer, &head, is_last, durable);
    let file = Arc::new(JournalFile::new(head, file, u64::from(found.end), found.sealed || !is_last));
    files.add(Arc::clone(&file));
    report.repaired += u64::from(found.repaired);
    if is_last {
        report.clean = found.sealed;
        report.torn_bytes = u64::from(found.torn_bytes);
        if found.torn_bytes > 0 {
            let (bytes, end) = (found.torn_bytes, found.end);
            tracing::warn!(file = number, end, bytes, "a write that was cut off is removed from the journal");
        }
        if !found.sealed {
            seal_file(&file, found.end, found.end).map_err(|broken| StoreError::Unavailable(broken.0))?;
        }
    }
    for item in &found.found {
        match item {
            Found::Lost(range) => {
                let place = Place { file: number, position: range.from, bytes: range.to - range.from };
                note(report, place, None);
                tell(Event::Lost { place })?;
            }
            Found::Frame(frame) if matches!(frame.head.key.kind, Kind::Mark | Kind::Seal) => {}
            Found::Frame(frame) => {
                let (key, bytes) = (frame.head.key, frame.head.payload_bytes);
                let place = Place { file: number, position: frame.position, bytes };
                let start = frame.position as usize + FRAME_HEAD_BYTES;
                match buffer.get(start..start + bytes as usize).filter(|_| frame.is_whole) {
                    Some(payload) => {
                        report.records += 1;
                        tell(Event::Record { key, place, payload })?;
                    }
                    None => {
                        note(report, place, Some(key.execution));
                        tell(Event::Damaged { key, place })?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn note(report: &mut RecoveryReport, place: Place, execution: Option<ExecutionId>) {
    let Place { file, position: from, bytes } = place;
    let to = from.saturating_add(bytes);
    tracing::error!(file, from, to, execution.id = ?execution, "the journal is damaged");
    report.damaged.push(DamagedRange { file, from, to, execution });
}

fn unreadable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::OsFs;

    #[test]
    fn a_file_made_ahead_of_need_goes_unless_something_is_written_anywhere_in_it() {
        for (written_at, last) in [(None, Some(1)), (Some(HEAD_BYTES), Some(2)), (Some(700_001), Some(2))] {
            let dir = tempfile::tempdir().unwrap();
            let head = FileHead { format: FORMAT, number: 2, salt: 7, reserved: 1 << 20 };
            let mut spare = head.block();
            spare.resize(1 << 20, 0);
            if let Some(at) = written_at {
                *spare.get_mut(at).unwrap() = 1;
            }
            std::fs::write(path_of(dir.path(), 1), b"").unwrap();
            std::fs::write(path_of(dir.path(), 2), spare).unwrap();
            let found = last_written(&OsFs, dir.path(), &[1, 2], 1, &mut Vec::new()).unwrap();
            assert_eq!(found, last, "a byte at {written_at:?}");
            assert_eq!(path_of(dir.path(), 2).exists(), written_at.is_some());
        }
    }
}
