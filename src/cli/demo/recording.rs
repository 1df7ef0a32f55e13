//! The recorded run that the demo streams: what a reporter saw of a real Playwright run of 486 tests in four workers,
//! event by event with the time since the start, compressed. How it was made: `tests/fixtures/demo/`.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::tally::Tally;

const RECORDING: &[u8] = include_bytes!("recording.ndjson.zst");

/// The embedded recording cannot be read: the binary was built from a damaged file.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordingError {
    /// It does not decompress.
    #[error("the recorded run cannot be decompressed: {0}")]
    Compression(String),
    /// A line is not what it should be.
    #[error("line {line} of the recorded run is not understood: {source}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What parsing it failed with.
        source: serde_json::Error,
    },
    /// The first line is not a setup, or the last is not a teardown.
    #[error("the recorded run has no beginning or no end")]
    Incomplete,
}

/// One line of the recording.
#[derive(Deserialize)]
struct Line {
    at: u64,
    setup: Option<Map<String, Value>>,
    event: Option<Map<String, Value>>,
    teardown: Option<Map<String, Value>>,
}

/// An event and when it happened.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    /// Milliseconds since the start of the run.
    pub(super) at_ms: u64,
    /// The event as a reporter sends it, without `timestamp`; `startedAt` counts from the start of the run.
    pub(super) event: Map<String, Value>,
}

/// A whole run.
#[derive(Debug)]
pub(super) struct Recording {
    /// Body of the setup, without `projectId`.
    pub(super) setup: Map<String, Value>,
    /// Events in the order they happened.
    pub(super) events: Vec<Recorded>,
    /// Body of the teardown, without `sessionId`.
    pub(super) teardown: Map<String, Value>,
}

impl Recording {
    /// The recording inside this binary.
    pub(super) fn embedded() -> Result<Self, RecordingError> {
        let failed = |error: String| RecordingError::Compression(error);
        let mut decoder = StreamingDecoder::new(RECORDING).map_err(|error| failed(error.to_string()))?;
        let mut text = String::new();
        decoder.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
        Self::parse(&text)
    }

    /// UTF-16 units of the log text that its events make.
    pub(super) fn text_units(&self) -> u64 {
        let mut tally = Tally::default();
        self.events.iter().for_each(|recorded| tally.add_event(&recorded.event));
        tally.text.units
    }

    fn parse(text: &str) -> Result<Self, RecordingError> {
        let (mut setup, mut events, mut teardown) = (None, Vec::new(), None);
        for (index, line) in text.lines().enumerate() {
            let line: Line = serde_json::from_str(line)
                .map_err(|source| RecordingError::Line { line: index + 1, source })?;
            setup = setup.or(line.setup);
            events.extend(line.event.map(|event| Recorded { at_ms: line.at, event }));
            teardown = teardown.or(line.teardown);
        }
        match (setup, teardown) {
            (Some(setup), Some(teardown)) => Ok(Self { setup, events, teardown }),
            _ => Err(RecordingError::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_recording_is_a_run_worth_watching() {
        let run = Recording::embedded().unwrap();
        assert!(RECORDING.len() <= 150 << 10, "the binary carries {} bytes", RECORDING.len());
        let text = |event: &Map<String, Value>, member: &str| {
            event.get(member).and_then(Value::as_str).map(str::to_owned)
        };
        let mut ends: HashMap<String, Vec<String>> = HashMap::new();
        let mut failures = 0;
        for Recorded { event, .. } in run.events.iter().filter(|e| e.event["type"] == "test-end") {
            ends.entry(text(event, "testId").unwrap()).or_default().push(text(event, "status").unwrap());
            let error = text(event, "error").unwrap_or_default();
            failures += usize::from(error.contains(" |\x1b[39m"));
        }
        assert_eq!(run.setup["totalTests"], ends.len());
        assert!(ends.len() > 400);
        assert!(
            ends.values().any(|attempts| attempts.len() > 1 && attempts.last().unwrap() == "passed"),
            "a flaky test"
        );
        assert!(
            ends.values().any(|attempts| attempts.iter().any(|status| status == "timedOut")),
            "a timeout"
        );
        assert!(failures > 5, "failures with coloured code frames");
        assert!(run.events.windows(2).all(|pair| pair[0].at_ms <= pair[1].at_ms));
        assert_eq!(run.teardown["status"], "FAILED");
    }

    #[test]
    fn damage_is_named() {
        assert!(matches!(
            Recording::parse("{\"at\":0,\"setup\":{}}\nnope"),
            Err(RecordingError::Line { line: 2, .. })
        ));
        assert!(matches!(Recording::parse("{\"at\":0,\"setup\":{}}"), Err(RecordingError::Incomplete)));
        assert!(matches!(Recording::parse(""), Err(RecordingError::Incomplete)));
    }
}
