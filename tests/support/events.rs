//! A reader of live streams that keeps the server honest: text must follow on without gap or overlap, ids must be the
//! offsets after the text, and nothing may follow the end.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use runstream::cli::client::Client;
use runstream::cli::sse::{SseEvent, SseReader};
use serde_json::Value;

/// Nothing a test waits for takes this long, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a reader has so far.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// The text.
    pub(crate) text: String,
    /// Offset after it, UTF-16 units.
    pub(crate) offset: u64,
    /// Units that were skipped over: the log cap removed them.
    pub(crate) gaps: Vec<u64>,
    /// Statuses in order.
    pub(crate) statuses: Vec<String>,
    /// The final status, once `end` came.
    pub(crate) end: Option<String>,
    /// The last id, as it came.
    pub(crate) id: String,
}

impl Transcript {
    /// A reader that knows the text before `offset`.
    pub(crate) fn from(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    fn take(&mut self, event: &SseEvent, task: &str) {
        assert_eq!(self.end, None, "{event:?} after the end");
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["taskId"], task, "{event:?}");
        let status = || data["status"].as_str().unwrap().to_owned();
        match event.name.as_str() {
            "log" => {
                let (text, offset) = (data["log"].as_str().unwrap(), data["offset"].as_u64().unwrap());
                assert!(offset >= self.offset, "text at {offset} again, {} is known", self.offset);
                if offset > self.offset {
                    self.gaps.push(offset - self.offset);
                }
                assert!(!text.is_empty(), "an empty event");
                self.text.push_str(text);
                self.offset = offset + text.encode_utf16().count() as u64;
                assert_eq!(event.id, self.offset.to_string(), "the id is the offset after the text");
            }
            "status" => self.statuses.push(status()),
            "end" => self.end = Some(status()),
            other => panic!("unknown event {other}"),
        }
        self.id.clone_from(&event.id);
    }
}

/// An open live stream.
pub(crate) struct Stream {
    body: Incoming,
    reader: SseReader,
    task: String,
    /// Comments that came.
    pub(crate) comments: usize,
}

/// How reading came to a stop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// What was waited for is there.
    Reached,
    /// The server closed the stream, or the connection broke.
    Closed,
}

/// The header of a client that comes back.
pub(crate) fn last_event_id(id: &str) -> HeaderMap {
    let name = HeaderName::from_static("last-event-id");
    HeaderMap::from_iter([(name, HeaderValue::try_from(id).unwrap())])
}

impl Stream {
    /// Opens the stream of `task`; `query` is empty or begins with `?`.
    pub(crate) async fn open(
        client: &Client,
        task: &str,
        query: &str,
        headers: HeaderMap,
    ) -> Result<Self, StatusCode> {
        let path = format!("/api/executions/{task}/live{query}");
        let response = client.stream(&path, headers).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        Ok(Self {
            body: response.into_body(),
            reader: SseReader::default(),
            task: task.to_owned(),
            comments: 0,
        })
    }

    /// Reads the next piece of the stream. If it has more than `bytes_max`, the rest is lost with the connection.
    pub(crate) async fn read(&mut self, transcript: &mut Transcript, bytes_max: usize) -> Stop {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
        let frame = frame.unwrap_or_else(|_| panic!("the stream fell silent: {transcript:?}"));
        let Some(Ok(frame)) = frame else { return Stop::Closed };
        let data = frame.data_ref().cloned().unwrap_or_default();
        let (data, stop) = if data.len() > bytes_max {
            (&data[..bytes_max], Stop::Closed)
        } else {
            (&data[..], Stop::Reached)
        };
        self.comments += usize::from(data.starts_with(b":"));
        let mut events = Vec::new();
        self.reader.push(data, &mut events).unwrap();
        for event in &events {
            transcript.take(event, &self.task);
        }
        stop
    }

    /// Reads until `reached`.
    pub(crate) async fn until(
        &mut self,
        transcript: &mut Transcript,
        reached: impl Fn(&Transcript) -> bool,
    ) -> Stop {
        while !reached(transcript) {
            if self.read(transcript, usize::MAX).await == Stop::Closed {
                return Stop::Closed;
            }
        }
        Stop::Reached
    }

    /// Reads until the server closes the stream.
    pub(crate) async fn until_closed(&mut self, transcript: &mut Transcript) {
        while self.read(transcript, usize::MAX).await != Stop::Closed {}
    }
}
