//! Where a batch grows while its events are read: log text, strings and items in buffers that are used again and
//! again, so that an event allocates nothing. What goes on is copied out at its exact size.

use bytes::Bytes;

use crate::domain::batch::{Batch, Item, Items, Span, Stream, TestStatus};
use crate::domain::{test_id, text};

/// How many test ids are remembered, so that the events of a test share one copy of its id. More than the workers a
/// run usually has.
const RECENT_TESTS: usize = 16;
/// Buffers that grew beyond this many bytes are let go after the batch.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A batch in the making.
#[derive(Debug, Default)]
pub(super) struct Builder {
    pub(super) log: String,
    strings: String,
    items: Vec<Item>,
    recent: [Span; RECENT_TESTS],
    next_recent: usize,
    /// The test of the event before: mostly it is that of the next one too.
    last_test: Span,
    /// Whether anything of the current event was cut.
    pub(super) event_cut: bool,
}

impl Builder {
    /// Keeps `text` for the batch.
    pub(super) fn push_str(&mut self, text: &str) -> Span {
        self.push_with(|strings| strings.push_str(text))
    }

    /// Keeps what `write` appends.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut String)) -> Span {
        let start = self.strings.len();
        write(&mut self.strings);
        Span { start: offset(start), len: offset(self.strings.len() - start) }
    }

    /// Keeps `text`, or its first `chars` characters and then the event counts as cut.
    pub(super) fn push_cut(&mut self, text: &str, chars: usize) -> Span {
        let text = self.cut(text, chars);
        self.push_str(text)
    }

    /// `text`, or its first `chars` characters and then the event counts as cut.
    pub(super) fn cut<'a>(&mut self, text: &'a str, chars: usize) -> &'a str {
        match text::cut(text, chars) {
            Some(head) => {
                self.event_cut = true;
                head
            }
            None => text,
        }
    }

    /// Appends the line of a test that begins.
    pub(super) fn render_begin(&mut self, title: Span) {
        text::push_begin(&mut self.log, kept(&self.strings, title));
    }

    /// Appends the lines of a test that ends.
    pub(super) fn render_end(
        &mut self,
        status: TestStatus,
        test: Span,
        duration_ms: u64,
        error: Option<Span>,
    ) {
        let error = error.map_or("", |error| kept(&self.strings, error));
        text::push_end(&mut self.log, status, kept(&self.strings, test), duration_ms, error);
    }

    /// The test's id as it is kept: shared with its recent events, shortened if it is too long.
    pub(super) fn test(&mut self, id: &str) -> Span {
        let is_known = |span: &&Span| span.len > 0 && kept_bytes(&self.strings, **span) == id.as_bytes();
        let known = std::iter::once(&self.last_test).chain(&self.recent).find(is_known);
        if let Some(span) = known.copied() {
            self.last_test = span;
            return span;
        }
        let start = self.strings.len();
        if test_id::push_shortened(id, &mut self.strings) {
            self.event_cut = true;
        } else {
            self.strings.push_str(id);
        }
        let span = Span { start: offset(start), len: offset(self.strings.len() - start) };
        if let Some(slot) = self.recent.get_mut(self.next_recent) {
            *slot = span;
        }
        self.next_recent = (self.next_recent + 1) % RECENT_TESTS;
        self.last_test = span;
        span
    }

    /// Adds an event that appended to the log, given where its text ends.
    pub(super) fn push_item(&mut self, item: impl FnOnce(u32) -> Item) {
        let text_end = offset(self.log.len());
        self.items.push(item(text_end));
    }

    /// Adds log text of a test and a stream; one item with the text before if both are the same.
    pub(super) fn push_log(&mut self, test: Option<Span>, stream: Option<Stream>) {
        let end = offset(self.log.len());
        if let Some(Item::Log { test: last_test, stream: last_stream, text_end }) = self.items.last_mut()
            && (*last_test, *last_stream) == (test, stream)
        {
            *text_end = end;
        } else {
            self.items.push(Item::Log { test, stream, text_end: end });
        }
    }

    /// The batch, in memory of exactly its size: text and strings are halves of one piece. The builder is empty again.
    pub(super) fn finish(&mut self, received: u32, truncated: u32, rejected: u32) -> Batch {
        let mut both = Vec::with_capacity(self.log.len() + self.strings.len());
        both.extend_from_slice(self.log.as_bytes());
        both.extend_from_slice(self.strings.as_bytes());
        let mut text = Bytes::from(both);
        let strings = text.split_off(self.log.len());
        let batch = Batch {
            text_units: text::utf16_len(&self.log),
            text,
            strings,
            items: Items::from_slice(&self.items),
            received,
            truncated,
            rejected,
        };
        self.clear();
        batch
    }

    /// Forgets everything, and large buffers too.
    pub(super) fn clear(&mut self) {
        if self.log.capacity().max(self.strings.capacity()) > KEPT_BYTES_MAX {
            *self = Self::default();
        }
        self.log.clear();
        self.strings.clear();
        self.items.clear();
        self.recent = [Span::default(); RECENT_TESTS];
        self.last_test = Span::default();
        self.event_cut = false;
    }
}

fn kept_bytes(strings: &str, span: Span) -> &[u8] {
    strings.as_bytes().get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default()
}

fn kept(strings: &str, span: Span) -> &str {
    strings.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default()
}

/// A position as it is stored. Bodies are far below four gigabytes, and text grows by a small factor at most.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_recent_tests_share_one_id() {
        let mut builder = Builder::default();
        let first = builder.test("test-a");
        let other = builder.test("test-b");
        assert_eq!(builder.test("test-a"), first);
        assert_ne!(first, other);
        for index in 0..RECENT_TESTS {
            builder.test(&format!("test-{index:02}"));
        }
        let again = builder.test("test-a");
        assert_ne!(again, first);
        assert_eq!(kept(&builder.strings, again), kept(&builder.strings, first));
    }

    #[test]
    fn neighbouring_text_of_one_test_and_stream_is_one_item() {
        let mut builder = Builder::default();
        let test = builder.test("a");
        for (test, stream, text) in [
            (Some(test), None, "1"),
            (Some(test), None, "2"),
            (Some(test), Some(Stream::Stderr), "3"),
            (None, Some(Stream::Stderr), "4"),
            (None, Some(Stream::Stderr), "5"),
        ] {
            builder.log.push_str(text);
            builder.push_log(test, stream);
        }
        let batch = builder.finish(5, 0, 0);
        let ends: Vec<_> = batch
            .items
            .iter()
            .map(|item| match item {
                Item::Log { text_end, .. } => *text_end,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((ends, batch.text()), (vec![2, 3, 5], "12345"));
    }

    #[test]
    fn a_finished_builder_is_empty_and_lets_large_buffers_go() {
        let mut builder = Builder::default();
        builder.log.push_str(&"x".repeat(KEPT_BYTES_MAX + 1));
        builder.test("a");
        assert_eq!(builder.finish(1, 0, 0).text.len(), KEPT_BYTES_MAX + 1);
        assert_eq!(builder.log.capacity(), 0);
        assert_eq!(builder.finish(0, 0, 0), Batch::default());
    }
}
