//! Stored form of a segment: fixed facts, then what describes its batches, then their text, then their strings.
//!
//! The facts are all that start-up reads of a segment, and the text stands in one piece, so that reading a log neither
//! decodes events nor puts text together. Text and strings are handed to the journal as they are, not copied here.

use std::cell::RefCell;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::domain::batch::{Batch, Item, Receipt};
use crate::domain::execution::Status;
use crate::domain::id::{ExecutionId, OrgId, SessionId};
use crate::domain::segment::{Position, Refusals, Segment, SegmentBatch};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::record;

/// Bytes of the facts.
const FACTS_BYTES: usize = 88;
/// Room for a segment's front that a thread keeps.
const FRONT_KEPT_BYTES: usize = 64 << 10;
/// The second version: with the number in the feed.
const VERSION: u8 = 2;
/// The first version, which ends before that number.
const FIRST_VERSION: u8 = 1;
/// Bytes of the facts in the first version.
const FIRST_FACTS_BYTES: usize = 80;

/// The small facts of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store) struct Facts {
    /// Where the run stood before it.
    pub(in crate::store) start: Position,
    /// Where the run stands after it.
    pub(in crate::store) end: Position,
    /// When its newest batch was received; Unix milliseconds.
    pub(in crate::store) heard_ms: Option<UnixMs>,
    /// The last status announced in it.
    pub(in crate::store) status: Option<Status>,
    /// Bytes of what describes its batches.
    pub(in crate::store) description_bytes: u32,
    /// Bytes of its text.
    pub(in crate::store) text_bytes: u32,
    /// Its number in the feed; 0 if it is not in it.
    pub(in crate::store) feed_seq: u64,
    /// Whether viewers are told of a new status with it.
    pub(in crate::store) is_update: bool,
}

impl Facts {
    fn of(segment: &Segment, description_bytes: u32) -> Self {
        let batches = || segment.batches.iter().map(|entry| &entry.batch);
        let (start, end) = (segment.start, segment.end());
        let status = batches().flat_map(|batch| &batch.items).filter_map(|item| match item {
            Item::Status { status, .. } => Some(*status),
            _ => None,
        });
        Self {
            start,
            end,
            heard_ms: segment.heard_ms(),
            status: status.last(),
            description_bytes,
            text_bytes: u32::try_from(end.bytes - start.bytes).unwrap_or(u32::MAX),
            feed_seq: segment.feed_seq,
            is_update: segment.is_update,
        }
    }

    /// Their stored form.
    pub(in crate::store) fn to_bytes(self) -> [u8; FACTS_BYTES] {
        let Self { start, end, heard_ms, status, description_bytes, text_bytes, feed_seq, is_update } = self;
        let mut bytes = [0; FACTS_BYTES];
        let status_code = status.and_then(|status| Status::ALL.iter().position(|one| *one == status));
        let status_code = status_code.and_then(|code| u8::try_from(code + 1).ok()).unwrap_or(0);
        let numbers = [start.units, start.bytes, start.results, end.units, end.bytes, end.results];
        let (has_heard, is_update) = (u8::from(heard_ms.is_some()), u8::from(is_update));
        let columns = [u64::from_le_bytes([VERSION, status_code, has_heard, is_update, 0, 0, 0, 0])]
            .into_iter()
            .chain(numbers)
            .chain([
                heard_ms.unwrap_or(0).cast_unsigned(),
                u64::from(description_bytes),
                u64::from(text_bytes),
                feed_seq,
            ]);
        for (place, column) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(columns) {
            *place = column.to_le_bytes();
        }
        bytes
    }

    /// Reads the facts at the start of a stored segment.
    pub(in crate::store) fn read(bytes: &[u8]) -> StoreResult<Self> {
        let damaged = |what: &str| StoreError::Damaged(format!("a segment's facts: {what}"));
        let facts_bytes = facts_bytes(bytes).map_err(|what| damaged(&what))?;
        let bytes = bytes.get(..facts_bytes).ok_or_else(|| damaged("too short"))?;
        let mut columns = bytes.as_chunks::<8>().0.iter().map(|column| u64::from_le_bytes(*column));
        let mut next = || columns.next().unwrap_or(0);
        let [_, status_code, has_heard, is_update, ..] = next().to_le_bytes();
        let status = match status_code {
            0 => None,
            code => Some(*Status::ALL.get(usize::from(code) - 1).ok_or_else(|| damaged("status"))?),
        };
        let mut position = || Position { units: next(), bytes: next(), results: next() };
        let (start, end) = (position(), position());
        let heard_ms = next().cast_signed();
        let mut short = || u32::try_from(next()).map_err(|_| damaged("length"));
        let (description_bytes, text_bytes) = (short()?, short()?);
        // The first version has no such column: it reads as 0.
        let feed_seq = next();
        if end.bytes.checked_sub(start.bytes) != Some(u64::from(text_bytes)) {
            return Err(damaged("positions"));
        }
        Ok(Self {
            start,
            end,
            heard_ms: (has_heard == 1).then_some(heard_ms),
            status,
            description_bytes,
            text_bytes,
            feed_seq,
            is_update: is_update == 1,
        })
    }
}

/// How many bytes of a stored segment are facts.
fn facts_bytes(stored: &[u8]) -> Result<usize, String> {
    match stored.first() {
        Some(&VERSION) => Ok(FACTS_BYTES),
        Some(&FIRST_VERSION) => Ok(FIRST_FACTS_BYTES),
        Some(version) => Err(format!("version {version}")),
        None => Err("too short".into()),
    }
}

#[derive(Deserialize)]
struct Described {
    refusals: Refusals,
    batches: Vec<BatchIn>,
}

#[derive(Serialize)]
struct DescribedOut<'a> {
    refusals: Refusals,
    batches: Batches<'a>,
}

/// The batches of a segment, described one by one as they are written.
struct Batches<'a>(&'a [SegmentBatch]);

impl Serialize for Batches<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let described = self.0.iter().map(|SegmentBatch { session, receipt, batch }| BatchOut {
            session: *session,
            receipt: *receipt,
            // A batch is far below four gigabytes; `encode` has looked.
            text_bytes: u32::try_from(batch.text.len()).unwrap_or(u32::MAX),
            text_units: batch.text_units,
            strings_bytes: u32::try_from(batch.strings.len()).unwrap_or(u32::MAX),
            received: batch.received,
            truncated: batch.truncated,
            rejected: batch.rejected,
            items: &batch.items,
        });
        serializer.collect_seq(described)
    }
}

#[derive(Serialize)]
struct BatchOut<'a> {
    session: SessionId,
    receipt: Receipt,
    text_bytes: u32,
    text_units: u64,
    strings_bytes: u32,
    received: u32,
    truncated: u32,
    rejected: u32,
    items: &'a [Item],
}

#[derive(Deserialize)]
struct BatchIn {
    session: SessionId,
    receipt: Receipt,
    text_bytes: u32,
    text_units: u64,
    strings_bytes: u32,
    received: u32,
    truncated: u32,
    rejected: u32,
    items: Vec<Item>,
}

/// The parts of a record: mostly what describes a batch, its text, and its strings.
pub(in crate::store) type Parts = SmallVec<[Bytes; 3]>;

thread_local! {
    /// Where a segment's front is laid out before it is known how long it is.
    static FRONT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The stored form of a segment, in parts; put one after the other they are the record.
pub(in crate::store) fn encode(segment: &Segment) -> StoreResult<(Facts, Parts)> {
    let short = |bytes: usize| {
        u32::try_from(bytes).map_err(|_| StoreError::Unavailable(format!("a batch of {bytes} bytes")))
    };
    for SegmentBatch { batch, .. } in &segment.batches {
        short(batch.text.len().max(batch.strings.len()))?;
    }
    let (facts, front) = FRONT.with_borrow_mut(|front| {
        front.clear();
        // The facts tell how long the description is, and come before it.
        front.resize(FACTS_BYTES, 0);
        let described = DescribedOut { refusals: segment.refusals, batches: Batches(&segment.batches) };
        record::encode_into(&described, front)?;
        let facts = Facts::of(segment, short(front.len() - FACTS_BYTES)?);
        if let Some(place) = front.first_chunk_mut() {
            *place = facts.to_bytes();
        }
        let exact = Bytes::copy_from_slice(front);
        front.shrink_to(FRONT_KEPT_BYTES);
        Ok::<_, StoreError>((facts, exact))
    })?;
    let mut parts = Parts::with_capacity(1 + 2 * segment.batches.len());
    parts.push(front);
    parts.extend(segment.batches.iter().map(|entry| entry.batch.text.clone()));
    parts.extend(segment.batches.iter().map(|entry| entry.batch.strings.clone()));
    Ok((facts, parts))
}

/// Whose segment it is and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct SegmentKey {
    pub(in crate::store) org: OrgId,
    pub(in crate::store) execution: ExecutionId,
    pub(in crate::store) epoch: u32,
    pub(in crate::store) seq: u64,
}

/// Reads a stored segment back. Its texts and strings are slices of `stored`.
pub(in crate::store) fn decode(key: SegmentKey, stored: &Bytes) -> StoreResult<Segment> {
    let facts = Facts::read(stored)?;
    let mut rest = Slices { rest: stored.slice(facts_bytes(stored).map_err(StoreError::Damaged)?..) };
    let description = rest.next(facts.description_bytes)?;
    let described: Described = record::decode(&description)?;
    let lengths: Vec<_> =
        described.batches.iter().map(|batch| (batch.text_bytes, batch.strings_bytes)).collect();
    let texts = lengths.iter().map(|(text, _)| rest.next_text(*text)).collect::<StoreResult<Vec<_>>>()?;
    let strings =
        lengths.iter().map(|(_, strings)| rest.next_text(*strings)).collect::<StoreResult<Vec<_>>>()?;
    if !rest.rest.is_empty() {
        return Err(StoreError::Damaged("a segment with bytes left over".into()));
    }
    let batches =
        described.batches.into_iter().zip(texts.into_iter().zip(strings)).map(|(batch, (text, strings))| {
            let BatchIn { session, receipt, text_units, received, truncated, rejected, items, .. } = batch;
            SegmentBatch {
                session,
                receipt,
                batch: Batch {
                    text,
                    text_units,
                    strings,
                    items: items.into(),
                    received,
                    truncated,
                    rejected,
                },
            }
        });
    let SegmentKey { org, execution, epoch, seq } = key;
    let Facts { start, feed_seq, is_update, .. } = facts;
    let (batches, refusals) = (batches.collect(), described.refusals);
    Ok(Segment { org, execution, epoch, seq, start, batches, refusals, feed_seq, is_update })
}

/// The text of a stored segment.
pub(in crate::store) fn text(stored: &[u8]) -> StoreResult<&str> {
    let facts = Facts::read(stored)?;
    let from = facts_bytes(stored).map_err(StoreError::Damaged)? + facts.description_bytes as usize;
    let text = stored.get(from..from + facts.text_bytes as usize);
    text.and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(|| StoreError::Damaged("a segment's text".into()))
}

struct Slices {
    rest: Bytes,
}

impl Slices {
    fn next(&mut self, bytes: u32) -> StoreResult<Bytes> {
        let bytes = bytes as usize;
        if bytes > self.rest.len() {
            return Err(StoreError::Damaged("a segment that is too short".into()));
        }
        Ok(self.rest.split_to(bytes))
    }

    fn next_text(&mut self, bytes: u32) -> StoreResult<Bytes> {
        let text = self.next(bytes)?;
        match std::str::from_utf8(&text) {
            Ok(_) => Ok(text),
            Err(_) => Err(StoreError::Damaged("a segment with text that is none".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::batch::{BatchNumber, Span, Stream, TestStatus};

    fn segment() -> Segment {
        let items = vec![
            Item::Log { test: Some(Span { start: 0, len: 4 }), stream: Some(Stream::Stderr), text_end: 6 },
            Item::Begin {
                test: Span { start: 0, len: 4 },
                title: Span { start: 4, len: 2 },
                file: Span::default(),
                timestamp_ms: -1,
                text_end: 9,
            },
            Item::End {
                test: Span { start: 0, len: 4 },
                status: TestStatus::TimedOut,
                duration_ms: 7,
                error: None,
                timestamp_ms: 9,
                runtime_context: None,
                extra: Some(Span { start: 4, len: 2 }),
                attempt_count: 2,
                recorded: true,
                text_end: 9,
            },
            Item::Status { status: Status::Analyzing, timestamp_ms: 10 },
        ];
        let batch = Batch {
            text: Bytes::from_static("grün 🦀".as_bytes()),
            text_units: 7,
            strings: Bytes::from_static(b"testxy"),
            items: items.into(),
            received: 5,
            truncated: 1,
            rejected: 1,
        };
        let receipt =
            |received_ms, number| Receipt { received_ms, digest: 3 << 100, nonce: 4, body_bytes: 5, number };
        let session = SessionId(uuid::Uuid::from_u128(11));
        Segment {
            org: OrgId::from_bytes([1; 12]),
            execution: ExecutionId::from_bytes([2; 12]),
            epoch: 1,
            seq: 6,
            start: Position { units: 100, bytes: 120, results: 3 },
            batches: vec![
                SegmentBatch { session, receipt: receipt(50, Some(BatchNumber { writer: 8, n: 9 })), batch },
                SegmentBatch { session, receipt: receipt(40, None), batch: Batch::default() },
            ],
            refusals: Refusals { replayed: 1, tier: 2, pressure: 3, rejected: 4 },
            feed_seq: 1 << 40,
            is_update: true,
        }
    }

    fn stored(segment: &Segment) -> Bytes {
        encode(segment).unwrap().1.concat().into()
    }

    fn key(segment: &Segment) -> SegmentKey {
        let Segment { org, execution, epoch, seq, .. } = *segment;
        SegmentKey { org, execution, epoch, seq }
    }

    #[test]
    fn a_segment_reads_back_as_it_was() {
        let segment = segment();
        let bytes = stored(&segment);
        assert_eq!(decode(key(&segment), &bytes), Ok(segment.clone()));
        assert_eq!(text(&bytes), Ok("grün 🦀"));
        let facts = Facts::read(&bytes).unwrap();
        assert_eq!((facts.start, facts.end), (segment.start, segment.end()));
        assert_eq!((facts.heard_ms, facts.status), (Some(50), Some(Status::Analyzing)));
        assert_eq!((facts.feed_seq, facts.is_update), (1 << 40, true));
        assert_eq!(Facts::read(&facts.to_bytes()), Ok(facts));

        let only_refusals = Segment { batches: Vec::new(), ..segment };
        let bytes = stored(&only_refusals);
        assert_eq!(Facts::read(&bytes).unwrap().heard_ms, None);
        assert_eq!(decode(key(&only_refusals), &bytes), Ok(only_refusals));
    }

    #[test]
    fn the_text_is_not_copied_before_the_journal_takes_it() {
        let segment = segment();
        let (_, parts) = encode(&segment).unwrap();
        let text = &segment.batches[0].batch.text;
        assert!(parts.iter().any(|part| part.as_ptr() == text.as_ptr()), "a copy was made");
    }

    #[test]
    fn a_shortened_or_stretched_segment_is_damaged() {
        let segment = segment();
        let bytes = stored(&segment);
        for len in 0..bytes.len() {
            let cut = decode(key(&segment), &bytes.slice(..len));
            assert!(matches!(cut, Err(StoreError::Damaged(_))), "{len}: {cut:?}");
        }
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        assert!(matches!(decode(key(&segment), &longer), Err(StoreError::Damaged(_))));
    }
}
