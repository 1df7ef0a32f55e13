//! Follows the live text of a run while the load goes on, and keeps what is needed to compare it with the stored text:
//! a hash and a length. Source: the run's stream of server-sent events, which needs no more than the key.

use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::Xxh3;

use crate::cli::client::Client;
use crate::cli::sse::{SseEvent, SseReader};
use crate::domain::text::utf16_len;

/// A stream that is silent for longer is dead: the server sends a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// Text as far as it can be compared.
#[derive(Default)]
pub(super) struct Digest {
    hasher: Xxh3,
    /// UTF-16 units.
    pub(super) units: u64,
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digest").field("units", &self.units).field("hash", &self.hasher.digest()).finish()
    }
}

impl Digest {
    /// Adds text.
    pub(super) fn add(&mut self, text: &str) {
        self.hasher.update(text.as_bytes());
        self.units += utf16_len(text);
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.units == other.units && self.hasher.digest() == other.hasher.digest()
    }
}

/// What a follower has seen.
#[derive(Debug)]
pub(super) enum Followed {
    /// All of the run's text, to its end.
    Whole(Box<Digest>),
    /// The server has no such stream.
    NotOffered,
    /// The stream skipped, doubled or broke something.
    Broken(String),
}

/// A follower at work.
#[derive(Debug)]
pub(super) struct Follower {
    seen: JoinHandle<Followed>,
    stored_units: watch::Sender<Option<u64>>,
}

impl Follower {
    /// Follows run `task`.
    pub(super) fn start(client: Client, task: String) -> Self {
        let (stored_units, told) = watch::channel(None);
        Self { seen: tokio::spawn(follow(client, task, told)), stored_units }
    }

    /// What it has seen of a run that is over and has so many units of text. The stream itself goes on for a while, as
    /// late events are still accepted: what was seen is all once it is as long as what is stored.
    pub(super) async fn seen(self, stored_units: u64) -> Followed {
        self.stored_units.send_replace(Some(stored_units));
        self.seen.await.unwrap_or_else(|error| Followed::Broken(error.to_string()))
    }
}

/// Follows run `task` until it ends, or until it has as much text as is stored.
async fn follow(client: Client, task: String, mut stored_units: watch::Receiver<Option<u64>>) -> Followed {
    let path = format!("/api/executions/{task}/live?from=0");
    let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
    let mut body = match client.stream(&path, accept).await {
        Ok(response) if response.status() == StatusCode::OK => response.into_body(),
        Ok(response) if response.status() == StatusCode::NOT_FOUND => return Followed::NotOffered,
        Ok(response) => return Followed::Broken(format!("the server answered {}", response.status())),
        Err(error) => return Followed::Broken(error.to_string()),
    };
    let (mut reader, mut events, mut digest) = (SseReader::default(), Vec::new(), Digest::default());
    loop {
        let frame = tokio::select! {
            frame = tokio::time::timeout(SILENCE_MAX, body.frame()) => frame,
            // Its sender goes only with the whole bench.
            _ = stored_units.wait_for(|units| units.is_some_and(|units| units <= digest.units)) => {
                return Followed::Whole(Box::new(digest));
            }
        };
        let frame = match frame {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Followed::Broken(error.to_string()),
            Ok(None) => return Followed::Broken("the stream was cut".into()),
            Err(_elapsed) => return Followed::Broken("the stream fell silent".into()),
        };
        if let Err(error) = reader.push(frame.data_ref().map(AsRef::as_ref).unwrap_or_default(), &mut events)
        {
            return Followed::Broken(error.to_string());
        }
        for event in events.drain(..) {
            match take(&event, &mut digest) {
                Ok(false) => {}
                Ok(true) => return Followed::Whole(Box::new(digest)),
                Err(reason) => return Followed::Broken(reason),
            }
        }
    }
}

/// Takes in one event; whether it was the last.
fn take(event: &SseEvent, digest: &mut Digest) -> Result<bool, String> {
    match event.name.as_str() {
        "log" => {
            let data: Value = serde_json::from_str(&event.data).map_err(|error| error.to_string())?;
            let text = data.get("log").and_then(Value::as_str).ok_or("a log event without text")?;
            let offset = data.get("offset").and_then(Value::as_u64).ok_or("a log event without offset")?;
            if offset != digest.units {
                return Err(format!("live text at offset {offset} where {} was next", digest.units));
            }
            digest.add(text);
            Ok(false)
        }
        "end" => Ok(true),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str, offset: u64) -> SseEvent {
        let data = serde_json::json!({ "log": text, "offset": offset }).to_string();
        SseEvent { name: "log".into(), data, ..SseEvent::default() }
    }

    #[test]
    fn text_is_taken_without_gap_and_double() {
        let mut digest = Digest::default();
        assert_eq!(take(&log("▶ a\n", 0), &mut digest), Ok(false));
        assert_eq!(take(&log("b\n", 4), &mut digest), Ok(false));
        let mut whole = Digest::default();
        whole.add("▶ a\nb\n");
        assert_eq!(digest, whole);
        assert!(take(&log("b\n", 4), &mut digest).is_err(), "doubled");
        assert!(take(&log("c\n", 9), &mut digest).is_err(), "skipped");
        whole.add("c");
        assert_ne!(digest, whole);
        assert_eq!(take(&SseEvent { name: "end".into(), ..SseEvent::default() }, &mut digest), Ok(true));
    }
}
