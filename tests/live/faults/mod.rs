//! The Socket.IO library alone, without our edge, in memory: what it lacks or does wrong. Each test asserts that the fault
//! is still there; when an upgrade of the library makes one fail, its message says which cure of ours can go.

mod stalling;
mod upgrading;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::Service;
use socketioxide::extract::SocketRef;
use socketioxide::service::SocketIoService;
use socketioxide::{SocketIo, SocketIoBuilder};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes on the way to a peer; few, so that one that does not read is felt at once.
const ON_THE_WAY: usize = 256;

/// The library takes other paths to it; there are none.
#[derive(Clone)]
struct Nowhere;

impl Service<Request<Full<Bytes>>> for Nowhere {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn call(&self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// The library, as anybody would set it up.
struct Library {
    service: SocketIoService<Nowhere>,
    io: SocketIo,
}

type Peer = WebSocketStream<DuplexStream>;

impl Library {
    fn new(configure: impl FnOnce(SocketIoBuilder) -> SocketIoBuilder) -> Self {
        let (service, io) = configure(SocketIo::builder()).build_with_inner_svc(Nowhere);
        Self { service, io }
    }

    /// One request.
    async fn http(&self, method: Method, query: &str, body: &'static str) -> (StatusCode, String) {
        let uri = format!("/socket.io/?EIO=4&{query}");
        let request =
            Request::builder().method(method).uri(uri).body(Full::new(Bytes::from_static(body.as_bytes())));
        let answering = Service::<Request<Full<Bytes>>>::call(&self.service, request.unwrap());
        let response = tokio::time::timeout(PATIENCE, answering).await.expect("it answers").unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// A WebSocket, upgraded by us.
    async fn websocket(&self, query: &str) -> Peer {
        let (ours, theirs) = tokio::io::duplex(ON_THE_WAY);
        let uri = format!("/socket.io/?EIO=4&transport=websocket{query}");
        let request = Request::builder().uri(uri).body(()).unwrap();
        Service::call(&self.service, (theirs, request)).await.unwrap();
        WebSocketStream::from_raw_socket(ours, Role::Client, None).await
    }

    /// Opens a session by polling and connects it; returns its id once the library has told of it by `connected`.
    async fn polling(&self, connected: &tokio::sync::Notify) -> String {
        let (_, open) = self.http(Method::GET, "transport=polling", "").await;
        let open: serde_json::Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let sid = format!("sid={}", open["sid"].as_str().unwrap());
        let query = format!("transport=polling&{sid}");
        assert_eq!(self.http(Method::POST, &query, "40").await.0, StatusCode::OK);
        tokio::time::timeout(PATIENCE, connected.notified()).await.expect("it connects");
        sid
    }
}

/// The next text; `None` at the end.
async fn next(peer: &mut Peer) -> Option<String> {
    loop {
        match tokio::time::timeout(PATIENCE, peer.next()).await.expect("something comes")? {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

async fn say(peer: &mut Peer, text: &'static str) {
    peer.send(Message::text(text)).await.unwrap();
}

/// Reads on until a packet begins like this.
async fn until(peer: &mut Peer, start: &str) -> String {
    loop {
        let text = next(peer).await.unwrap_or_else(|| panic!("it ended before {start}"));
        if text.starts_with(start) {
            return text;
        }
    }
}

#[tokio::test]
async fn a_connect_answer_has_no_pid() {
    let library = Library::new(|builder| builder);
    library.io.ns("/", async |_: SocketRef| {});
    let mut peer = library.websocket("").await;
    until(&mut peer, "0{").await;
    say(&mut peer, "40").await;
    let answer = until(&mut peer, "40{").await;
    assert!(answer.contains("\"sid\""), "{answer}");
    assert!(
        !answer.contains("\"pid\""),
        "the library has connection state recovery: see whether the `pid` of src/live/bell.rs and the cursors can go \
         through it: {answer}"
    );
}
