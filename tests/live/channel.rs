//! The door alone on a real port: tokens are what the test says, frames are what the test delivers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::SinkExt;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use runstream::access::{Caller, Credential, Revocation};
use runstream::actors::feed::{Delivery, Feeds, Frame};
use runstream::clock::{Clock, SystemClock};
use runstream::domain::id::{OrgId, TaskId, UserId};
use runstream::domain::role::Role;
use runstream::live::{Doorkeeper, Live, LiveSettings, Refusal, Taken};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::rows::Rows;
use crate::support::node::Script;

/// A WebSocket that speaks Engine.IO by hand.
pub(super) type RawSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Tokens and whom they belong to.
pub(super) struct Tokens {
    clock: Arc<dyn Clock>,
    callers: Mutex<HashMap<String, Caller>>,
    revocations: broadcast::Sender<Revocation>,
    down: AtomicBool,
}

impl Tokens {
    /// A token for a new person of `org`, valid for `lifetime`.
    pub(super) fn issue(&self, token: &str, org: OrgId, lifetime: Duration) -> UserId {
        let now = self.clock.now_ms();
        let user = UserId::generate(now);
        let expires_ms = now + i64::try_from(lifetime.as_millis()).unwrap();
        let credential = Credential::Token { id: token.to_owned(), expires_ms, credentials_from_ms: 0 };
        let caller = Caller { org, user, role: Role::Developer, credential };
        self.callers.lock().unwrap().insert(token.to_owned(), caller);
        user
    }

    /// Takes a token back without a word, as another server or an operator would.
    pub(super) fn forget(&self, token: &str) {
        self.callers.lock().unwrap().remove(token).unwrap();
    }

    /// Takes a token back and announces it, as a logout does.
    pub(super) fn revoke(&self, token: &str) {
        self.forget(token);
        self.revocations.send(Revocation::Token(token.to_owned())).unwrap();
    }

    /// Whether tokens can be checked at all.
    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn look(&self, find: impl Fn(&str, &Caller) -> bool) -> Result<Caller, Refusal> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Refusal::Unavailable);
        }
        let callers = self.callers.lock().unwrap();
        let caller = callers.iter().find(|(token, caller)| find(token, caller)).map(|(_, caller)| caller);
        match caller {
            Some(Caller { credential: Credential::Token { expires_ms, .. }, .. })
                if *expires_ms <= self.clock.now_ms() =>
            {
                Err(Refusal::Invalid)
            }
            Some(caller) => Ok(caller.clone()),
            None => Err(Refusal::Invalid),
        }
    }
}

#[async_trait]
impl Doorkeeper for Tokens {
    async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        self.look(|known, _| known == token)
    }

    async fn still_valid(&self, caller: &Caller) -> Result<(), Refusal> {
        self.look(|_, known| known == caller).map(drop)
    }

    fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.revocations.subscribe()
    }
}

/// The running door.
pub(super) struct Channel {
    pub(super) live: Live,
    pub(super) tokens: Arc<Tokens>,
    pub(super) rows: Arc<Rows>,
    pub(super) address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Channel {
    pub(super) async fn open() -> Self {
        Self::open_with(LiveSettings::default(), Arc::new(SystemClock)).await
    }

    pub(super) async fn open_with(settings: LiveSettings, clock: Arc<dyn Clock>) -> Self {
        let tokens = Arc::new(Tokens {
            clock: clock.clone(),
            callers: Mutex::default(),
            revocations: broadcast::Sender::new(16),
            down: AtomicBool::new(false),
        });
        let live = Live::new(settings, tokens.clone(), clock, take);
        let rows = Arc::<Rows>::default();
        live.attach(&(rows.clone() as Arc<dyn Feeds>));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, live.clone()));
        Self { live, tokens, rows, address, server }
    }

    /// A stock dashboard; `options` are those of `dashboard.mjs` without the URL.
    pub(super) fn dashboard(&self, options: Value) -> Script {
        let mut all = json!({ "url": format!("http://{}", self.address) });
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        Script::start("dashboard.mjs", &all)
    }

    /// A WebSocket to the door that has said nothing yet.
    pub(super) async fn raw(&self) -> RawSocket {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", self.address);
        tokio_tungstenite::connect_async(url).await.unwrap().0
    }

    /// A WebSocket that was let in, and has heard so.
    pub(super) async fn raw_member(&self, token: &str) -> RawSocket {
        let mut raw = self.raw().await;
        let connect = format!("40{}", json!({ "token": token }));
        raw.send(Message::text(connect)).await.unwrap();
        while !next_text(&mut raw).await.unwrap().starts_with("42[\"auth-success\"") {}
        raw
    }

    /// Appends `text` to the live log of `task`, which had `offset` units.
    pub(super) fn log(&self, org: OrgId, task: &str, offset: u64, text: &str) {
        self.tick(org, &[log(task, offset, text)]);
    }

    /// One tick of the organization's feed.
    pub(super) fn tick(&self, org: OrgId, frames: &[Frame]) {
        let window = self.rows.add(org, frames);
        self.live.sealed(org, &window);
    }

    /// Waits until the organization has viewers, or has none any more.
    pub(super) async fn until_viewers(&self, org: OrgId, some: bool) {
        let waiting = async {
            while self.live.has_viewers(org) != some {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    }
}

/// Text of a run.
pub(super) fn log(task: &str, offset: u64, text: &str) -> Frame {
    Frame::Log { task: TaskId::from(task), offset, text: Bytes::copy_from_slice(text.as_bytes()) }
}

fn take(upgraded: Upgraded) -> Result<Taken, Upgraded> {
    let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
    Ok(Taken { stream: parts.io.into_inner(), read: parts.read_buf, held: Box::new(()) })
}

async fn serve(listener: TcpListener, live: Live) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let live = live.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let live = live.clone();
                async move {
                    assert!(Live::serves(request.uri().path()));
                    Ok::<_, std::convert::Infallible>(live.answer(request).await)
                }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            // A client that goes away mid-request is no fault.
            let _gone = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

/// A new organization.
pub(super) fn an_org() -> OrgId {
    OrgId::generate(1_774_000_000_000)
}

/// An hour.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);

/// The transports a stock client may be told to use: WebSocket only, polling only, and its default with upgrade.
pub(super) fn transports() -> [Value; 3] {
    [json!(["websocket"]), json!(["polling"]), json!(["polling", "websocket"])]
}

/// The next text frame of a raw WebSocket, or `None` when it has ended.
pub(super) async fn next_text(socket: &mut RawSocket) -> Option<String> {
    use futures_util::StreamExt;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Some(text.to_string()),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}
