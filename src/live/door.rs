//! HTTP at the door: which requests open, feed, poll or upgrade a session. WebSockets are upgraded here and handed to
//! the library as a stream; it gets a request without headers, since it would keep them, and with them the
//! connection's 8 KiB read buffer, for as long as the viewer stays.

use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, LengthLimitError, Limited};
use hyper::service::Service;
use hyper::upgrade::Upgraded;
use socketioxide::socket::Sid;
use tokio::runtime::Handle;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::edge::Edge;
use super::scissors::Scissors;
use super::session::{Connection, Session};
use super::wire::Taken;
use super::{Live, Shared, polling};
use crate::http::{Failure, Kind};
use crate::limits;

/// Where the channel lives, as the library compares it.
pub(super) const PATH: &str = "/socket.io/";
/// How long the body of a polling client's POST may take.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Takes a connection out of the HTTP server that has upgraded it, or gives it back if it is of an unknown kind.
pub type Take = fn(Upgraded) -> Result<Taken, Upgraded>;

/// What the library would pass other paths to; it is given none.
#[derive(Clone, Copy)]
pub(super) struct Nowhere;

impl Service<Request<Full<Bytes>>> for Nowhere {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn call(&self, _: Request<Full<Bytes>>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        std::future::ready(Ok(response))
    }
}

/// What a request wants, as far as the door has to know.
struct Wish<'a> {
    query: &'a str,
    session: Option<&'a str>,
    websocket: bool,
}

impl<'a> Wish<'a> {
    fn of(uri: &'a http::Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        Self { query, session: value("sid"), websocket: value("transport") == Some("websocket") }
    }

    /// The request as the library gets it.
    fn request<B>(&self, method: Method, body: B) -> http::Result<Request<B>> {
        Request::builder().method(method).uri(format!("{PATH}?{}", self.query)).body(body)
    }
}

impl Live {
    /// Whether a path (without the server's own prefix) belongs to this door.
    #[must_use]
    pub fn serves(path: &str) -> bool {
        path == PATH || Some(path) == PATH.strip_suffix('/')
    }

    /// Answers one request of the channel: opens a session, takes what a client posts, waits for what it polls, or
    /// upgrades. The connection has to be served with upgrades. Credentials are not looked at here.
    pub async fn answer<B>(&self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + Send + 'static,
    {
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let wish = Wish::of(&parts.uri);
        let answer = match (&parts.method, wish.websocket) {
            (&Method::GET, true) => self.upgrade(&wish, &parts.headers, upgrade),
            (&Method::GET, false) => self.pass_on(&wish, Method::GET, Bytes::new()).await,
            (&Method::POST, false) => match read(body).await {
                Ok(bytes) => self.pass_on(&wish, Method::POST, bytes).await,
                Err(failure) => Err(failure),
            },
            _ => Err(Failure::not_found("Not Found", "No such route")),
        };
        answer.unwrap_or_else(|failure| failure.response())
    }

    /// A record for a session that is about to begin.
    fn new_session(&self) -> Result<Arc<Session>, Failure> {
        match self.shared.handshakes.clone().try_acquire_owned() {
            Ok(handshake) => Ok(Arc::new(Session::new(handshake))),
            Err(_) => Err(Failure::unavailable("Too many connections are being opened", 1)),
        }
    }

    async fn pass_on(&self, wish: &Wish<'_>, method: Method, body: Bytes) -> Result<Response<Body>, Failure> {
        let polls = method == Method::GET;
        let mut request = wish.request(method, Full::new(body)).map_err(bad_request)?;
        let session = match wish.session {
            Some(sid) => sid.parse().ok().and_then(|sid| self.shared.find_polling(sid)),
            None => Some(self.new_session()?),
        };
        if let (Some(sid), Some(session)) = (wish.session, &session)
            && polls
            && session.repeats(wish.query)
        {
            // What its answer was is gone; the client comes back and says where it stands.
            self.shared.close_polling(sid.parse().map_err(bad_request)?).await;
        }
        if let (None, Some(session)) = (wish.session, &session) {
            request.extensions_mut().insert(Arc::clone(session));
        }
        let poll = wish.session.filter(|_| polls).and_then(|sid| sid.parse().ok());
        let poll = poll.map(|sid| Poll { sid, shared: &self.shared, is_answered: false });
        let Ok(response) = Service::<Request<Full<Bytes>>>::call(&self.shared.service, request).await;
        let (mut head, body) = response.map(Body::new).into_parts();
        head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let Some(session) = session.filter(|_| polls && head.status == StatusCode::OK) else {
            poll.into_iter().for_each(Poll::answered);
            return Ok(Response::from_parts(head, body));
        };
        // The library has its answers whole.
        let answer = body.collect().await.map(|body| body.to_bytes());
        let mut answer =
            answer.map_err(|error| Failure::internal("Internal Server Error", error.to_string()))?;
        match wish.session {
            None => {
                if let Some(sid) = sid_of(&answer) {
                    session.list(sid, &self.shared);
                }
            }
            Some(sid) => match polling::rewritten(&session, answer).await {
                Ok(rewritten) => answer = rewritten,
                Err(error) => {
                    self.shared.close_polling(sid.parse().map_err(bad_request)?).await;
                    return Err(bad_request(error));
                }
            },
        }
        poll.into_iter().for_each(Poll::answered);
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.len()));
        Ok(Response::from_parts(head, Body::from(answer)))
    }

    fn upgrade(
        &self,
        wish: &Wish<'_>,
        headers: &HeaderMap,
        upgrade: hyper::upgrade::OnUpgrade,
    ) -> Result<Response<Body>, Failure> {
        let key = websocket_key(headers).ok_or_else(|| {
            Failure::bad_request("Bad Request", "A WebSocket needs Upgrade, version 13 and a key")
        })?;
        let mut request = wish.request(Method::GET, ()).map_err(bad_request)?;
        let (connection, scissors) = match wish.session {
            Some(sid) => Shared::connection_of_upgrade(&self.shared, sid.parse().map_err(bad_request)?)
                .ok_or_else(|| Failure::bad_request("Bad Request", "No such session"))?,
            None => {
                let session = self.new_session()?;
                let scissors = session.scissors.clone();
                request.extensions_mut().insert(Arc::clone(&session));
                (Connection { session, upgrade: None, goodbye: None }, scissors)
            }
        };
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let upgraded = match tokio::time::timeout(limits::LIVE_HANDSHAKE, upgrade).await {
                Ok(Ok(upgraded)) => upgraded,
                Ok(Err(error)) => return tracing::debug!(%error, "a live viewer did not upgrade"),
                Err(_) => return tracing::debug!("a live viewer did not upgrade in time"),
            };
            let Ok(taken) = (shared.take)(upgraded) else {
                return tracing::error!("a live viewer on a connection that nobody knows how to take");
            };
            let edge = Edge::new(taken, shared.settings.stall, scissors, Box::new(connection));
            if let Err(error) = Service::call(&shared.service, (edge, request)).await {
                tracing::debug!(%error, "not a live session");
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, key);
        Ok(response)
    }
}

/// A poll that waits for its answer. One whose connection is gone ends its session: the client comes back with another,
/// and this one would be a viewer until its heartbeat fails.
struct Poll<'a> {
    sid: Sid,
    shared: &'a Arc<Shared>,
    is_answered: bool,
}

impl Poll<'_> {
    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        // Without a runtime the whole server is going away.
        if !self.is_answered
            && let Ok(runtime) = Handle::try_current()
        {
            let (shared, sid) = (Arc::clone(self.shared), self.sid);
            runtime.spawn(async move { shared.close_polling(sid).await });
        }
    }
}

impl Shared {
    fn find_polling(&self, sid: Sid) -> Option<Arc<Session>> {
        self.polling.get(&sid)?.upgrade()
    }

    /// The connection of a polling session that upgrades. When the library lets it go without having finished the
    /// upgrade, it leaves the session polling for ever; so the session is closed then. If the upgrade was finished,
    /// the session is closing anyway.
    fn connection_of_upgrade(shared: &Arc<Self>, sid: Sid) -> Option<(Connection, Arc<Scissors>)> {
        let session = shared.find_polling(sid)?;
        let scissors = Arc::<Scissors>::default();
        shared.upgrades.insert(sid, scissors.clone());
        let upgrade = Some((sid, Arc::downgrade(shared)));
        let (shared, ours) = (Arc::downgrade(shared), scissors.clone());
        let goodbye: Box<dyn FnOnce() + Send + Sync> = Box::new(move || {
            let Some(shared) = shared.upgrade() else { return };
            shared.upgrades.remove_if(&sid, |_, current| Arc::ptr_eq(current, &ours));
            // Without a runtime the whole server is going away.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(async move { shared.close_polling(sid).await });
            }
        });
        Some((Connection { session, upgrade, goodbye: Some(goodbye) }, scissors))
    }
}

/// The session's id in the answer to a first poll.
fn sid_of(answer: &[u8]) -> Option<Sid> {
    let open: serde_json::Value = serde_json::from_slice(answer.strip_prefix(b"0")?).ok()?;
    open.get("sid")?.as_str()?.parse().ok()
}

/// The answer to a proper upgrade request's key, or `None` for any other request.
fn websocket_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let is = |name, wanted: &str| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())?;
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)).then_some(())
    };
    is(UPGRADE, "websocket")?;
    is(CONNECTION, "upgrade")?;
    is(SEC_WEBSOCKET_VERSION, "13")?;
    derive_accept_key(headers.get(SEC_WEBSOCKET_KEY)?.as_bytes()).try_into().ok()
}

/// The whole body of a POST.
async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Error: std::error::Error + Send + Sync + 'static>,
{
    let reading = Limited::new(body, limits::LIVE_PAYLOAD_BYTES_MAX as usize).collect();
    match tokio::time::timeout(BODY_WAIT, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Failure::new(Kind::PayloadTooLarge, "Payload too large", "At most 1000000 bytes"))
        }
        Ok(Err(_)) => Err(Failure::bad_request("Bad Request", "The body broke off")),
        Err(_) => Err(Failure::new(Kind::Timeout, "Request Timeout", "The body took too long")),
    }
}

fn bad_request(cause: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::bad_request("Bad Request", "Not a request of the live channel").because(cause)
}
