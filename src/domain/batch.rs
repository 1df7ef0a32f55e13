//! A batch of events in its normal form: what the door makes of a request body, what the journal stores and what
//! readers decode. Everything that does not depend on the run's state is done once, here: the log text is rendered,
//! strings are bounded, bad events are gone. Nothing is allocated per event: strings are spans of one buffer.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::execution::Status;
use crate::clock::UnixMs;

/// A part of [`Batch::strings`]: start and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

/// Result of one attempt of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TestStatus {
    /// Passed.
    Passed,
    /// Failed.
    Failed,
    /// Not run.
    Skipped,
    /// Took too long.
    TimedOut,
}

impl TestStatus {
    /// Whether it counts as a failure.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

/// Which output stream of the test process a text came from (addition E5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One event of a batch, in array order. Neighbouring `log` events of one test and stream are one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// Log text: up to byte `text_end` of [`Batch::text`], starting where the item before it ended.
    Log {
        /// The test it belongs to, if the client said so.
        test: Option<Span>,
        /// The stream, if the client said so.
        stream: Option<Stream>,
        /// Byte in the text where this item's text ends.
        text_end: u32,
    },
    /// A test started.
    Begin {
        /// The test.
        test: Span,
        /// Title as sent, cut.
        title: Span,
        /// File as sent, cut.
        file: Span,
        /// Client time, Unix milliseconds.
        timestamp_ms: UnixMs,
        /// Byte in the text where this item's text ends.
        text_end: u32,
    },
    /// An attempt of a test ended.
    End {
        /// The test.
        test: Span,
        /// Its result.
        status: TestStatus,
        /// Milliseconds.
        duration_ms: u64,
        /// Error text as sent, cut.
        error: Option<Span>,
        /// Client time, Unix milliseconds.
        timestamp_ms: UnixMs,
        /// Normalised `runtimeContext`, a JSON object.
        runtime_context: Option<Span>,
        /// The additions of E4 (`attempt`, `startedAt`, `worker`, `line`, `tags`, `suite`, `flaky`), a JSON object.
        extra: Option<Span>,
        /// How many attempts of this test the run had with this one; set by the run (0 until then).
        attempt_count: u32,
        /// False when the results cap was reached: the text stays, the result does not count. Set by the run.
        recorded: bool,
        /// Byte in the text where this item's text ends.
        text_end: u32,
    },
    /// The client announced a status.
    Status {
        /// `RUNNING` or `ANALYZING`.
        status: Status,
        /// Client time, Unix milliseconds.
        timestamp_ms: UnixMs,
    },
}

/// The items of a batch. Mostly there is one: log lines of one test become one item.
pub type Items = SmallVec<[Item; 1]>;

/// The normal form of one request's events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The log text these events append, UTF-8.
    pub text: Bytes,
    /// The text's length in UTF-16 code units.
    pub text_units: u64,
    /// The bytes that [`Span`]s point into, UTF-8.
    pub strings: Bytes,
    /// The events.
    pub items: Items,
    /// Events in the request.
    pub received: u32,
    /// Events that were cut.
    pub truncated: u32,
    /// Events that were skipped.
    pub rejected: u32,
}

impl Batch {
    /// The text of `span`; empty if the span is not of this batch.
    #[must_use]
    pub fn str(&self, span: Span) -> &str {
        std::str::from_utf8(self.str_bytes(span)).unwrap_or_default()
    }

    /// The bytes of [`Batch::str`], for those who need not read them as text.
    #[must_use]
    pub fn str_bytes(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.strings.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// The appended log text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// Events that were applied.
    #[must_use]
    pub const fn accepted(&self) -> u32 {
        self.received.saturating_sub(self.rejected)
    }

    /// Bytes of memory this batch holds, for budgets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len() + self.strings.len() + self.items.len() * size_of::<Item>()
    }
}

/// A batch number chosen by the client (addition E6): `<writer>:<n>`, writer = 8 hex characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BatchNumber {
    /// The writer within the session.
    pub writer: u32,
    /// Its running number.
    pub n: u64,
}

/// The identity of a received request: what tells a batch that was sent again from one that is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// When its body was complete at the door; Unix milliseconds.
    pub received_ms: UnixMs,
    /// 128-bit hash of the body's bytes.
    pub digest: u128,
    /// Random per request, so that the engine recognises its own second try.
    pub nonce: u64,
    /// Length of the body in bytes, as received.
    pub body_bytes: u32,
    /// The client's own number, if it sent one.
    pub number: Option<BatchNumber>,
}
