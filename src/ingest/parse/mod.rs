//! Request bodies become batches. A body is read once, borrowed, with buffers that each thread keeps; events are
//! mended one by one, so that an odd one costs itself and not its batch.
//!
//! # Copies between socket and store
//! 1. Frames are gathered into the thread's padded buffer, once, whether a body came in one frame or in many. The
//!    parser wants padding behind the text and unescapes strings in place; and since the frames stay as they came, a
//!    body that a strict reader refuses can be mended and read again, which spares every other body that search.
//! 2. Log text and strings are rendered into the thread's buffers: this is the work itself.
//! 3. Both go into one piece of memory of exactly their size: a batch may wait for its append, and should hold what its size says.
//!
//! The compressed form of a body takes one more: it is unpacked into a frame first.

mod build;
mod context;
mod event;
mod json;
mod mend;
mod size;

use std::cell::RefCell;

use bytes::Bytes;
use simd_json::{Buffers, INPUT_PADDING, Node, Tape};
use xxhash_rust::xxh3::xxh3_128;

use crate::clock::UnixMs;
use crate::domain::batch::{Batch, BatchNumber};
use crate::domain::finding::Finding;
use crate::domain::id::SessionId;
use crate::limits::{
    EVENTS_PER_BATCH_MAX, FINDINGS_MAX, HEAVY_BODY_BYTES_MIN, JSON_DEPTH_MAX, JSON_VALUES_MAX,
};
use build::Builder;
use json::Json;

/// What some writers put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8; 3] = b"\xEF\xBB\xBF";

/// An event request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRequest {
    /// The session it is for.
    pub session: SessionId,
    /// The client's own number of the batch (addition E6), if it sent a usable one.
    pub number: Option<BatchNumber>,
    /// Its events; not one if all of them were rejected.
    pub batch: Batch,
    /// What was wrong with rejected events, the first of them.
    pub findings: Vec<Finding>,
    /// 128-bit hash of the body as it came.
    pub digest: u128,
}

/// Why a body is no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseError {
    /// It is no JSON, or nested too deeply, or made of too many values.
    NotJson,
    /// It is JSON, but not what was asked for.
    Envelope(Vec<Finding>),
}

/// Reads an event request from the frames of its body. `received_ms` (Unix milliseconds) stands for times that are
/// missing or odd.
///
/// # Errors
/// [`ParseError`] if nothing of it can be used. Events that cannot be used are no error: they are counted.
pub fn events(frames: &[Bytes], received_ms: UnixMs) -> Result<EventRequest, ParseError> {
    thread_local! {
        static PARSER: RefCell<Parser> = RefCell::new(Parser::default());
    }
    PARSER.with_borrow_mut(|parser| parser.events(frames, received_ms))
}

/// Reads any other body, with the same patience.
///
/// # Errors
/// [`ParseError::NotJson`] if it is none.
pub fn value(frames: &[Bytes]) -> Result<serde_json::Value, ParseError> {
    let mut body = frames.concat();
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body);
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    if !mend::mend(&mut body) {
        return Err(ParseError::NotJson);
    }
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body);
    serde_json::from_slice(text).map_err(|_| ParseError::NotJson)
}

/// The buffers of a thread.
#[derive(Default)]
struct Parser {
    body: Vec<u8>,
    buffers: Option<Buffers>,
    nodes: Vec<Node<'static>>,
    builder: Builder,
}

impl Parser {
    fn events(&mut self, frames: &[Bytes], received_ms: UnixMs) -> Result<EventRequest, ParseError> {
        let length = self.gather(frames);
        let body = self.body.get(..length).unwrap_or_default();
        let digest = xxh3_128(body);
        let is_heavy = length >= HEAVY_BODY_BYTES_MIN;
        let read = if is_heavy && size::exceeds(body, JSON_VALUES_MAX) {
            Err(ParseError::NotJson)
        } else {
            self.read(frames, length, digest, received_ms)
        };
        if is_heavy {
            // Heavy bodies are rare and need many times what others do: nothing of it is kept.
            *self = Self::default();
        }
        read
    }

    /// Puts the body and the padding behind it into the buffer; returns the body's length.
    fn gather(&mut self, frames: &[Bytes]) -> usize {
        self.body.clear();
        self.body.reserve_exact(frames.iter().map(Bytes::len).sum::<usize>() + INPUT_PADDING);
        for frame in frames {
            self.body.extend_from_slice(frame);
        }
        let length = self.body.len();
        self.body.resize(length + INPUT_PADDING, b' ');
        length
    }

    fn read(
        &mut self,
        frames: &[Bytes],
        length: usize,
        digest: u128,
        received_ms: UnixMs,
    ) -> Result<EventRequest, ParseError> {
        if let Some(read) = self.try_read(length, digest, received_ms) {
            return read;
        }
        self.gather(frames);
        if !mend::mend(self.body.get_mut(..length).unwrap_or_default()) {
            return Err(ParseError::NotJson);
        }
        self.try_read(length, digest, received_ms).unwrap_or(Err(ParseError::NotJson))
    }

    /// Reads the gathered body; `None` if a strict reader refuses it.
    fn try_read(
        &mut self,
        length: usize,
        digest: u128,
        received_ms: UnixMs,
    ) -> Option<Result<EventRequest, ParseError>> {
        let mark = if self.body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let buffers = self.buffers.get_or_insert_with(|| Buffers::with_max_depth(0, JSON_DEPTH_MAX));
        let mut tape = Tape(std::mem::take(&mut self.nodes)).reset();
        let text = self.body.get_mut(mark..).unwrap_or_default();
        let sound = simd_json::fill_tape_padded(text, length - mark, buffers, &mut tape).is_ok();
        let read = sound.then(|| request(&mut self.builder, Json::root(&tape.0), digest, received_ms));
        self.nodes = tape.reset().0;
        read
    }
}

/// Reads the envelope, then the events.
fn request(
    builder: &mut Builder,
    body: Json<'_, '_>,
    digest: u128,
    received_ms: UnixMs,
) -> Result<EventRequest, ParseError> {
    let refused = |field, message| ParseError::Envelope(vec![Finding::new(field, message)]);
    let Some(fields) = body.fields() else { return Err(refused("", "must be an object")) };
    let (mut session, mut events, mut number) = (None, None, None);
    for (name, value) in fields {
        match name {
            "sessionId" => session = value.text(),
            "events" => events = Some(value),
            "batch" => number = value.text().and_then(batch_number),
            _ => {}
        }
    }
    let Some(session) = session.and_then(|id| id.parse().ok()) else {
        return Err(refused("sessionId", "must be a UUID"));
    };
    let Some((count, events)) = events.and_then(Json::elements) else {
        return Err(refused("events", "must be an array"));
    };
    if count == 0 || count > EVENTS_PER_BATCH_MAX {
        return Err(refused("events", "must have 1 to 1000 entries"));
    }
    builder.clear();
    let (mut received, mut truncated, mut rejected) = (0, 0, 0);
    let mut findings = Vec::new();
    for (index, event) in events.enumerate() {
        received += 1;
        match event::read(builder, event, received_ms) {
            Ok(()) => truncated += u32::from(builder.event_cut),
            Err(reason) => {
                rejected += 1;
                if findings.len() < FINDINGS_MAX {
                    let separator = if reason.field.is_empty() { "" } else { "." };
                    let field = format!("events[{index}]{separator}{}", reason.field);
                    findings.push(Finding::new(field, reason.message));
                }
            }
        }
    }
    let batch = builder.finish(received, truncated, rejected);
    Ok(EventRequest { session, number, batch, findings, digest })
}

/// Reads `<writer>:<n>`, the writer as 8 hexadecimal characters. Anything else is no number: the batch then goes by
/// its bytes, as that of a client which sends none.
fn batch_number(text: &str) -> Option<BatchNumber> {
    let (writer, n) = text.split_once(':')?;
    let is_hex = writer.len() == 8 && writer.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_decimal = !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
    if !is_hex || !is_decimal {
        return None;
    }
    Some(BatchNumber { writer: u32::from_str_radix(writer, 16).ok()?, n: n.parse().ok()? })
}

#[cfg(test)]
mod tests;
