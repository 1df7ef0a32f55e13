//! Reads Server-Sent Events: bytes in, in pieces of any size, events out. Source: WHATWG HTML, "Server-sent events",
//! as far as this product's server uses it: `event`, `id` and `data` fields, comments, lines that end with LF or CRLF.

/// Bytes of one line that are accepted; the server's longest data line is far below it.
const LINE_BYTES_MAX: usize = 8 << 20;

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// Its type; empty if the server named none.
    pub name: String,
    /// The last id the server set, on this or an earlier event.
    pub id: String,
    /// Its data, lines joined by LF.
    pub data: String,
}

/// What came is not an event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line that does not end.
    #[error("a line of the event stream is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// Event streams are UTF-8.
    #[error("the event stream is not UTF-8")]
    NotUtf8,
}

/// Collects bytes until they make events.
#[derive(Debug, Default)]
pub struct SseReader {
    line: Vec<u8>,
    pending: SseEvent,
    has_data: bool,
}

impl SseReader {
    /// Takes the next piece of the stream and adds every event that it completes to `events`.
    ///
    /// # Errors
    /// When the stream is not one of events; nothing sensible follows.
    pub fn push(&mut self, mut piece: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (head, rest) = piece.split_at(end);
            self.line.extend_from_slice(head);
            piece = rest.get(1..).unwrap_or_default();
            let line = std::mem::take(&mut self.line);
            let line = std::str::from_utf8(&line).map_err(|_error| SseError::NotUtf8)?;
            events.extend(self.take_line(line.strip_suffix('\r').unwrap_or(line)));
        }
        self.line.extend_from_slice(piece);
        if self.line.len() > LINE_BYTES_MAX { Err(SseError::LineTooLong) } else { Ok(()) }
    }

    fn take_line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let id = self.pending.id.clone();
            let event = std::mem::replace(&mut self.pending, SseEvent { id, ..SseEvent::default() });
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.pending.name),
            "id" => value.clone_into(&mut self.pending.id),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.pending.data.push('\n');
                }
                self.pending.data.push_str(value);
            }
            // Comments and fields nobody here needs.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: &str, data: &str) -> SseEvent {
        SseEvent { name: name.into(), id: id.into(), data: data.into() }
    }

    const STREAM: &str = ": hello\n\nevent: log\nid: 12\ndata: {\"log\":\"é✔\"}\n\nevent: status\r\ndata: a\r\ndata:b\r\n\r\n\
                          event: nothing\n\n:\ndata\n\nretry: 5\nevent: end\ndata: {}\n\ndata: cut off";

    fn expected() -> Vec<SseEvent> {
        vec![
            event("log", "12", "{\"log\":\"é✔\"}"),
            event("status", "12", "a\nb"),
            event("", "12", ""),
            event("end", "12", "{}"),
        ]
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            let (mut reader, mut events) = (SseReader::default(), Vec::new());
            reader.push(head, &mut events).unwrap();
            reader.push(tail, &mut events).unwrap();
            assert_eq!(events, expected(), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_of_something_else_is_refused() {
        let mut reader = SseReader::default();
        assert_eq!(reader.push(b"data: \xff\n", &mut Vec::new()), Err(SseError::NotUtf8));
        let mut reader = SseReader::default();
        let endless = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(reader.push(&endless, &mut Vec::new()), Err(SseError::LineTooLong));
    }
}
