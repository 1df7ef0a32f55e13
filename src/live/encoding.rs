//! A window as it goes out: each frame as the text of a Socket.IO event with its cursor as last argument, and in front
//! of it the header of the WebSocket frame that carries it. Frames of a server are not masked, so these bytes are the
//! same for every socket: a window is encoded once and shared.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::cursor::Cursor;
use crate::actors::feed::{Frame, Window};

/// A final text frame, unmasked.
const TEXT: u8 = 0x81;

/// `execution-log`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogEvent<'a> {
    task_id: &'a str,
    log: &'a str,
    offset: u64,
}

/// An encoded window.
#[derive(Debug)]
pub(super) struct Encoded {
    /// Everything after this boundary,
    pub(super) from: u64,
    /// and up to this one.
    pub(super) upto: u64,
    bytes: Bytes,
    frames: Vec<Span>,
}

/// Where a frame is in the bytes.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    payload: usize,
    end: usize,
}

impl Encoded {
    /// Encodes a window. What of it is not JSON or not text is left out and logged: a fault of ours, and no viewer's.
    pub(super) fn of(window: &Window) -> Self {
        // What is left out must not take the boundary with it, so the frames that stay are counted first.
        let usable: Vec<Body<'_>> = window.frames.iter().filter_map(Body::of).collect();
        let (mut bytes, mut frames) = (Vec::new(), Vec::with_capacity(usable.len()));
        let mut packet = Vec::new();
        for (index, body) in usable.iter().enumerate() {
            let cursor = Cursor::within(window.from, window.upto, index + 1, usable.len());
            packet.clear();
            body.write(&cursor, &mut packet);
            let start = bytes.len();
            write_header(packet.len(), &mut bytes);
            let payload = bytes.len();
            bytes.extend_from_slice(&packet);
            frames.push(Span { start, payload, end: bytes.len() });
        }
        Self { from: window.from, upto: window.upto, bytes: bytes.into(), frames }
    }

    /// Its frames.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// What it takes in memory, with what is kept beside it.
    pub(super) fn cost(&self) -> usize {
        self.bytes.len() + self.frames.len() * size_of::<Span>() + 256
    }

    /// The bytes of all frames.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Frames for a WebSocket, from the one at `first` on; empty if there is none.
    pub(super) fn frames_from(&self, first: usize) -> &[u8] {
        let start = self.frames.get(first).map_or(self.bytes.len(), |span| span.start);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// When the first `written` bytes of the frames from `first` on were written: how many frames were begun, and what
    /// of the last of them is still to be written.
    pub(super) fn begun(&self, first: usize, written: usize) -> (usize, Range<usize>) {
        let at = self.frames.get(first).map_or(self.bytes.len(), |span| span.start) + written;
        let begun = self.frames.partition_point(|span| span.start < at);
        let end = begun.checked_sub(1).and_then(|last| self.frames.get(last)).map_or(at, |span| span.end);
        (begun, at..end.max(at))
    }

    /// A part of the bytes. A part of a large window is copied, so that it does not hold the rest.
    pub(super) fn part(&self, range: Range<usize>, shared_max: usize) -> Bytes {
        let part = self.bytes.get(range.clone()).unwrap_or_default();
        if self.bytes.len() <= shared_max && !part.is_empty() {
            self.bytes.slice(range)
        } else {
            Bytes::copy_from_slice(part)
        }
    }

    /// The Engine.IO packet of the frame at `index`, as polling answers carry it.
    pub(super) fn packet(&self, index: usize) -> Option<&[u8]> {
        let span = self.frames.get(index)?;
        self.bytes.get(span.payload..span.end)
    }
}

/// What can be encoded of a frame.
enum Body<'a> {
    Log(LogEvent<'a>),
    Updated(&'a RawValue),
}

impl<'a> Body<'a> {
    fn of(frame: &'a Frame) -> Option<Self> {
        let body = match frame {
            Frame::Log { task, offset, text } => std::str::from_utf8(text)
                .map(|log| Self::Log(LogEvent { task_id: task.as_str(), log, offset: *offset }))
                .map_err(|error| error.to_string()),
            // Checked once and copied as it is: the body is never built anew.
            Frame::Updated { body, .. } => {
                serde_json::from_slice(body).map(Self::Updated).map_err(|error| error.to_string())
            }
        };
        body.inspect_err(|error| tracing::error!(%error, "a live frame cannot be encoded")).ok()
    }

    fn write(&self, cursor: &Cursor, packet: &mut Vec<u8>) {
        // Writing to memory does not fail, and neither does writing a string or a number as JSON.
        let _written = match self {
            Self::Log(event) => {
                packet.extend_from_slice(br#"42["execution-log","#);
                serde_json::to_writer(&mut *packet, event).is_ok()
            }
            Self::Updated(body) => {
                packet.extend_from_slice(br#"42["execution-updated","#);
                packet.extend_from_slice(body.get().as_bytes());
                true
            }
        };
        let _written = write!(packet, r#","{cursor}"]"#).is_ok();
    }
}

/// The header of an unmasked text frame.
fn write_header(length: usize, bytes: &mut Vec<u8>) {
    bytes.push(TEXT);
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        bytes.push(short);
    } else if let Ok(medium) = u16::try_from(length) {
        bytes.push(126);
        bytes.extend_from_slice(&medium.to_be_bytes());
    } else {
        bytes.push(127);
        bytes.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// One WebSocket frame with this text.
pub(super) fn text_frame(text: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(text.len() + 10);
    write_header(text.len(), &mut bytes);
    bytes.extend_from_slice(text);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn log(task: &str, offset: u64, text: &[u8]) -> Frame {
        Frame::Log { task: task.into(), offset, text: Bytes::copy_from_slice(text) }
    }

    fn updated(body: &'static str) -> Frame {
        Frame::Updated { task: "a".into(), body: Bytes::from_static(body.as_bytes()) }
    }

    fn packets(encoded: &Encoded) -> Vec<Value> {
        let texts = (0..encoded.len()).map(|index| encoded.packet(index).unwrap());
        texts.map(|text| serde_json::from_slice(text.strip_prefix(b"42").unwrap()).unwrap()).collect()
    }

    #[test]
    fn each_frame_ends_in_its_cursor_and_the_last_in_the_boundary() {
        let text = "\"é\u{1e}\u{0}😀\\\n";
        let frames = vec![log("a", 7, text.as_bytes()), log("b", 0, b"x"), updated(r#"{"n": 1.50}"#)];
        let encoded = Encoded::of(&Window { from: 35, upto: 40, frames });
        let expected = [
            json!(["execution-log", { "taskId": "a", "log": text, "offset": 7 }, "z.14.1"]),
            json!(["execution-log", { "taskId": "b", "log": "x", "offset": 0 }, "z.14.2"]),
            json!(["execution-updated", { "n": 1.5 }, "14"]),
        ];
        assert_eq!(packets(&encoded), expected);
        let last = std::str::from_utf8(encoded.packet(2).unwrap()).unwrap();
        assert_eq!(last, r#"42["execution-updated",{"n": 1.50},"14"]"#, "copied as it is");
        assert!(!encoded.bytes.contains(&0x1e), "the separator of polling answers is escaped");
    }

    #[test]
    fn what_cannot_be_encoded_takes_no_boundary_with_it() {
        let frames = vec![log("a", 0, b"x"), log("a", 1, b"\xff"), updated("{\"half\":")];
        let encoded = Encoded::of(&Window { from: 1, upto: 4, frames });
        assert_eq!(packets(&encoded)[0][2], "4");
        assert_eq!(encoded.len(), 1);
        let nothing = Encoded::of(&Window { from: 1, upto: 4, frames: vec![updated("{")] });
        assert_eq!((nothing.len(), nothing.frames_from(0)), (0, &[][..]));
    }

    #[test]
    fn headers_are_those_of_the_protocol_at_every_length() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let text = vec![b'x'; length];
            let bytes = text_frame(&text);
            let header = match length {
                0..=125 => vec![0x81, u8::try_from(length).unwrap()],
                126..=65_535 => [&[0x81, 126], &u16::try_from(length).unwrap().to_be_bytes()[..]].concat(),
                _ => [&[0x81, 127], &(length as u64).to_be_bytes()[..]].concat(),
            };
            assert_eq!(bytes, [&header[..], &text].concat(), "{length}");
        }
    }

    #[test]
    fn a_cut_anywhere_leaves_the_rest_of_one_frame() {
        let frames = (0..5).map(|n| log("a", n, &vec![b'x'; 60 * usize::try_from(n).unwrap()])).collect();
        let encoded = Encoded::of(&Window { from: 0, upto: 5, frames });
        for first in 0..=5 {
            let whole = encoded.frames_from(first).len();
            for written in 0..=whole {
                let (begun, rest) = encoded.begun(first, written);
                let done = encoded.frames_from(first).len() - encoded.frames_from(begun).len();
                assert!(begun >= first && (written == 0) == (begun == first));
                assert_eq!(written + rest.len(), done, "what is begun is written to its end, and no more");
                let from = encoded.size() - whole + written;
                assert_eq!(encoded.part(rest.clone(), 0), encoded.bytes[from..from + rest.len()]);
                assert_eq!(encoded.part(rest.clone(), 1 << 20), encoded.part(rest, 0));
            }
        }
    }
}
