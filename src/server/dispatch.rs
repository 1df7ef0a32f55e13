//! Which door a request goes to, and what every answer has in common, in one place: headers, the log line, the answer
//! to a panic.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use metrics::{Counter, counter};
use smallvec::SmallVec;
use tower::ServiceExt;

use super::activity::InFlight;
use super::body::Payload;
use super::rooms::Rooms;
use crate::config::ServerSettings;
use crate::http::headers::CommonHeaders;
use crate::http::{Body, Failure, Outgoing, Peer};
use crate::ingest::IngestDoor;
use crate::live::Live;
use crate::telemetry;

/// What is behind the socket: the doors, and the path they stand under.
pub(super) struct Site {
    base_path: String,
    slow_request: Duration,
    headers: CommonHeaders,
    ingest: IngestDoor,
    live: Live,
    api: axum::Router,
    /// Requests answered, by door and status class.
    answered: [[Counter; STATUS_CLASSES.len()]; Door::ALL.len()],
}

/// Classes of status codes as in metrics.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A request's path. Most are short.
type Path = SmallVec<[u8; 64]>;

/// The doors, by name as in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Ingest,
    Live,
    Api,
    None,
}

impl Door {
    /// All of them, in the order of their declaration.
    const ALL: [Self; 4] = [Self::Ingest, Self::Live, Self::Api, Self::None];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Live => "live",
            Self::Api => "api",
            Self::None => "none",
        }
    }
}

impl Site {
    pub(super) fn new(settings: &ServerSettings, headers: CommonHeaders, rooms: &Rooms) -> Self {
        Self {
            base_path: settings.base_path.clone(),
            slow_request: settings.slow_request,
            headers,
            ingest: rooms.ingest.clone(),
            live: rooms.live.clone(),
            api: rooms.api.clone(),
            answered: Door::ALL.map(|door| {
                STATUS_CLASSES.map(|class| {
                    counter!(telemetry::name::HTTP_REQUESTS, "door" => door.as_str(), "status" => class)
                })
            }),
        }
    }

    /// Answers a request. It always does: a panic on the way is an answer too.
    pub(super) async fn answer(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        in_flight: InFlight,
    ) -> Response<Payload> {
        let begun = Instant::now();
        let method = request.method().clone();
        // As it came, base path and all. A copy, since a clone would share the buffer that the connection reads into.
        let path = Path::from_slice(request.uri().path().as_bytes());
        let path = || std::str::from_utf8(&path).unwrap_or_default();
        // hyper reads a chunked body and forgets a length beside it. A proxy in front may have believed the length:
        // what follows on this connection cannot be trusted to be a request.
        let ends_connection =
            request.version() < Version::HTTP_2 && request.headers().contains_key(header::TRANSFER_ENCODING);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let door = self.door(&mut request);
        // In a box, since a request's future is large and would be moved several times on its way into the connection's.
        let handled = Box::pin(self.hand_over(door, request, peer));
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        let mut response = handled.unwrap_or_else(|panic| {
            tracing::error!(%method, path = loggable(path()), panic = panic_text(&*panic), "a request handler panicked");
            Failure::internal("Internal Server Error", "panic").response()
        });
        self.headers.dress(origin.as_ref(), response.headers_mut());
        if ends_connection {
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        self.note(door, &method, path(), response.status(), begun.elapsed());
        response.map(|body| Payload::new(body, in_flight))
    }

    /// Takes the base path off and tells the door.
    fn door(&self, request: &mut Request<Incoming>) -> Door {
        if !self.base_path.is_empty() {
            match without_prefix(request.uri(), &self.base_path) {
                Some(uri) => *request.uri_mut() = uri,
                None => return Door::None,
            }
        }
        let path = request.uri().path();
        if IngestDoor::is_below(path) {
            Door::Ingest
        } else if Live::serves(path) {
            Door::Live
        } else {
            Door::Api
        }
    }

    async fn hand_over(
        &self,
        door: Door,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Outgoing> {
        if let Some(response) = self.headers.preflight(request.method(), request.headers()) {
            return response;
        }
        match door {
            Door::Ingest => self.ingest.answer(request, peer.ip()).await,
            Door::Live => self.live.answer(request).await.map(Outgoing::Body),
            Door::Api => {
                request.extensions_mut().insert(Peer(peer));
                let answered = self.api.clone().oneshot(request.map(Body::new)).await;
                match answered {
                    Ok(response) => response.map(Outgoing::Body),
                    Err(impossible) => match impossible {},
                }
            }
            Door::None => not_found(),
        }
    }

    /// One line per request for those who want it, one for the slow ones in any case. The query is left out: it may
    /// hold what nobody else should see.
    fn note(&self, door: Door, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        if let Some(counter) = self.answered.get(door as usize).and_then(|classes| classes.get(class)) {
            counter.increment(1);
        }
        let duration_ms = took.as_secs_f64() * 1e3;
        let status = status.as_u16();
        if took > self.slow_request {
            tracing::warn!(%method, path = loggable(path), status, duration_ms, "slow request");
        } else {
            tracing::debug!(%method, path = loggable(path), status, duration_ms, "request");
        }
    }
}

/// 404 for what no door knows.
fn not_found() -> Response<Outgoing> {
    Failure::not_found("Not Found", "There is nothing at this path").response()
}

/// The request target below `prefix`, or `None` if it is not below it.
fn without_prefix(uri: &Uri, prefix: &str) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let rest = whole.strip_prefix(prefix)?;
    let below = match rest.as_bytes().first() {
        Some(b'/') => PathAndQuery::from_maybe_shared(Bytes::copy_from_slice(rest.as_bytes())),
        None | Some(b'?') => PathAndQuery::try_from(format!("/{rest}")),
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(below.ok()?);
    Uri::from_parts(parts).ok()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

/// What may be logged of a path: not the token of an invitation, which whoever reads it could redeem.
fn loggable(path: &str) -> &str {
    const BEFORE_TOKEN: &str = "/api/invitations/validate/";
    match path.find(BEFORE_TOKEN) {
        Some(at) => path.get(..at.saturating_add(BEFORE_TOKEN.len())).unwrap_or_default(),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_is_taken_off_whole_segments_only() {
        let check = |uri: &str, expected: Option<&str>| {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(without_prefix(&uri, "/ci").map(|uri| uri.to_string()).as_deref(), expected, "{uri}");
        };
        check("/ci/api/x?a=1", Some("/api/x?a=1"));
        check("/ci/", Some("/"));
        check("/ci", Some("/"));
        check("/ci?a=1", Some("/?a=1"));
        check("/cigar", None);
        check("/api/x", None);
        check("http://host/ci/x", Some("http://host/x"));
    }
}
