//! The copy: page by page with a note after each, then both stores read whole and compared.

use std::sync::Arc;

use super::{CopyError, Note, Side, Tally, Transfer};
use crate::clock::{Clock, UnixMs};

/// Is told how far a copy has come.
pub trait Watch: Send + Sync {
    /// It begins, or goes on after so many records of earlier tries: what is cut off from here on can go on.
    fn begun(&self, _records: u64) {}
    /// So many records have been taken in, those of earlier tries among them.
    fn copied(&self, records: u64);
    /// So many records of both stores have been read and summed up.
    fn compared(&self, records: u64);
}

/// A copy that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Whether an earlier try had come part of the way.
    pub is_resumed: bool,
    /// Records taken in by this try. A page that an earlier one was cut off in is among them.
    pub taken_in: u64,
    /// What both stores hold.
    pub tally: Tally,
}

/// Copies everything from one store to another one that is empty, or holds a part of this copy. Neither may be in use.
///
/// # Errors
/// See [`CopyError`]. After any of them it may be tried again, and goes on.
pub async fn copy(
    from: &Side,
    to: &Side,
    clock: &Arc<dyn Clock>,
    watch: &dyn Watch,
) -> Result<Copied, CopyError> {
    let source = from.open_source(clock).await?;
    let outcome = from_source((from, &*source), to, clock, watch).await;
    // Whatever came of it: nobody has to wait for the end of a lease.
    let closed = source.close().await;
    let copied = outcome?;
    closed?;
    Ok(copied)
}

async fn from_source(
    (from, source): (&Side, &dyn Transfer),
    to: &Side,
    clock: &Arc<dyn Clock>,
    watch: &dyn Watch,
) -> Result<Copied, CopyError> {
    let target = to.open_target(clock).await?;
    let outcome = fill(source, (to, &*target), clock.now_ms(), watch).await;
    let closed = target.close().await;
    let (is_resumed, taken_in) = outcome?;
    closed?;
    // Opened anew, as a server will: what it finds then is what counts.
    let target = to.open_target(clock).await?;
    let outcome = compare((from, source), (to, &*target), clock.now_ms(), watch).await;
    let closed = target.close().await;
    let tally = outcome?;
    closed?;
    Ok(Copied { is_resumed, taken_in, tally })
}

/// Takes over what is not there yet; whether an earlier try had begun, and how many records it were.
async fn fill(
    source: &dyn Transfer,
    (to, target): (&Side, &dyn Transfer),
    now_ms: UnixMs,
    watch: &dyn Watch,
) -> Result<(bool, u64), CopyError> {
    let noted = target.note().await?;
    let is_resumed = noted.is_some();
    let mut note = match noted {
        Some(note) if note.source == source.lane() => {
            target.set_lane(source.lane()).await?;
            note
        }
        Some(_) => return Err(CopyError::OtherCopy(to.to_string())),
        None if is_empty(target, now_ms).await? => {
            let note = Note { source: source.lane(), ..Note::default() };
            // The target may refuse that, and is then as it was.
            target.set_lane(source.lane()).await?;
            // From here on no server starts on it.
            target.put_note(Some(&note)).await?;
            note
        }
        None => return Err(CopyError::NotEmpty(to.to_string())),
    };
    if !target.is_alone().await? {
        return Err(CopyError::InUse(to.to_string()));
    }
    watch.begun(note.records);
    Ok((is_resumed, take_over(source, target, &mut note, now_ms, watch).await?))
}

/// Reads both stores whole. If they hold the same, the target is released to servers.
async fn compare(
    (from, source): (&Side, &dyn Transfer),
    (to, target): (&Side, &dyn Transfer),
    now_ms: UnixMs,
    watch: &dyn Watch,
) -> Result<Tally, CopyError> {
    let wanted = sum_up(source, now_ms, 0, watch).await?;
    let found = sum_up(target, now_ms, wanted.records(), watch).await?;
    let differences = wanted.differences(&found);
    if !differences.is_empty() {
        return Err(CopyError::Differs { origin: from.to_string(), target: to.to_string(), differences });
    }
    for (side, transfer) in [(from, source), (to, target)] {
        if !transfer.is_alone().await? {
            return Err(CopyError::InUse(side.to_string()));
        }
    }
    target.put_note(None).await?;
    Ok(found)
}

async fn take_over(
    source: &dyn Transfer,
    target: &dyn Transfer,
    note: &mut Note,
    as_of_ms: UnixMs,
    watch: &dyn Watch,
) -> Result<u64, CopyError> {
    let before = note.records;
    while note.part < source.parts() {
        let page = source.export(note.part, &note.from, as_of_ms).await?;
        note.records += page.records.len() as u64;
        target.import(page.records, as_of_ms).await?;
        match page.next {
            Some(next) => note.from = next,
            None => (note.part, note.from) = (note.part + 1, Vec::new()),
        }
        target.put_note(Some(note)).await?;
        watch.copied(note.records);
    }
    Ok(note.records - before)
}

async fn sum_up(
    store: &dyn Transfer,
    as_of_ms: UnixMs,
    before: u64,
    watch: &dyn Watch,
) -> Result<Tally, CopyError> {
    let mut tally = Tally::default();
    for part in 0..store.parts() {
        let mut from = Some(Vec::new());
        while let Some(at) = from {
            let page = store.export(part, &at, as_of_ms).await?;
            page.records.iter().try_for_each(|record| tally.add(record))?;
            watch.compared(before + tally.records());
            from = page.next;
        }
    }
    Ok(tally)
}

async fn is_empty(store: &dyn Transfer, as_of_ms: UnixMs) -> Result<bool, CopyError> {
    for part in 0..store.parts() {
        let mut from = Some(Vec::new());
        while let Some(at) = from {
            let page = store.export(part, &at, as_of_ms).await?;
            if !page.records.is_empty() {
                return Ok(false);
            }
            from = page.next;
        }
    }
    Ok(true)
}
