//! The door for dashboards: Socket.IO at `/socket.io/`, WebSocket and long polling. It owns who is watching and how
//! frames reach them; it never decides what is sent (that is the feed, see [`crate::actors::feed`]) and never reads a
//! run. Whatever happens to a viewer's connection, to its speed or to the server: a stock client from 4.6 on that only
//! appends what comes ends with exactly the stored text.
//!
//! The journey of a viewer: `door` takes the HTTP request and upgrades it itself, so that the library gets a stream
//! (`edge`) that is ours → the library reads CONNECT → `entry` looks at token and cursor before the library answers →
//! the answer gets its `pid` on the way out (`bell`) → `handshake` says `auth-success` and lets the socket into its
//! organization's audience (`viewers`) → frames follow → `recheck` looks again and again whether it may still watch.
//!
//! The way of a frame: the feed seals a window → `encoding` makes it bytes that are the same for every socket →
//! `delivery` writes them to each connection that is up to date (`wire`), between two frames of the library
//! (`boundaries`). Who is behind, or does not take all of it, gets a `pump` that fetches window after window
//! (`windows`); who polls finds a bell in the library's answer, and `polling` puts the window there in its place. Each
//! frame ends in a `cursor`: clients keep the last one and bring it back, so nothing is remembered about them here.
//! `seat` is where one viewer stands and who brings it frames now.
//!
//! What one viewer can cost: a few packets of the library, the rest of one frame, a polling answer of
//! [`limits::LIVE_PAYLOAD_BYTES_MAX`]; and nothing any more [`limits::LIVE_STALL`] after it stopped reading.
//!
//! Faults of the library (engineioxide 0.17.9, socketioxide 0.18.9) that this room works around, and where. Those that
//! `tests/live/faults` reproduces tell there when they are gone:
//! - It has no connection state recovery: `bell` and `polling` add the `pid`, the feed is what is recovered from.
//! - A full queue drops packets and kills the socket at the next heartbeat: no text goes through its queue.
//! - A packet that did not fit into a polling answer is lost when the session upgrades: its queue has small ones only.
//! - A peer that stops reading is never removed, since its writer waits in a flush: `wire` cuts it.
//! - A failed upgrade leaves the session polling for ever: the goodbye of its `session::Connection` closes it.
//! - A refused namespace leaves the connection open: `hang_up` ends it.
//! - Sessions keep all request headers, and with them 8 KiB of the connection's buffer: `door` passes none.
//!
//! Source: API reference, ingest 8 and identity 2.7.

mod bell;
mod boundaries;
mod cursor;
mod delivery;
mod door;
mod edge;
mod encoding;
mod entry;
mod handshake;
mod polling;
mod pump;
mod recheck;
mod scissors;
mod seat;
mod session;
#[cfg(test)]
mod tests;
mod viewers;
mod windows;
mod wire;

use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use http_body_util::Full;
use hyper::body::Bytes;
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;
use socketioxide::{ParserConfig, SocketIo};
use tokio::sync::Semaphore;

use crate::actors::feed::Feeds;
use crate::clock::Clock;
use crate::limits;
pub use door::Take;
pub use handshake::{Doorkeeper, Refusal};
use scissors::Scissors;
use session::Session;
use viewers::{Source, Viewers};
pub use wire::{StallLimit, Taken};

/// What an operator may change about the live channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// Viewers per organization; further ones are told so and disconnected.
    pub sockets_per_organization_max: usize,
    /// Connections that have not proved who they are; further ones are answered 503.
    pub handshakes_max: usize,
    /// How slowly a viewer may read.
    pub stall: StallLimit,
    /// Heartbeat.
    pub ping_interval: Duration,
    /// How long a heartbeat may go unanswered.
    pub ping_timeout: Duration,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            sockets_per_organization_max: limits::LIVE_SOCKETS_PER_ORG_MAX,
            handshakes_max: limits::LIVE_HANDSHAKES_MAX,
            stall: StallLimit { window: limits::LIVE_STALL, bytes_min: limits::LIVE_STALL_BYTES },
            ping_interval: limits::LIVE_PING_INTERVAL,
            ping_timeout: limits::LIVE_PING_TIMEOUT,
        }
    }
}

/// The live channel. A cheap handle: the server passes requests to [`Live::answer`], the engine gets it as its
/// [`crate::actors::feed::Delivery`].
#[derive(Clone)]
pub struct Live {
    shared: Arc<Shared>,
}

/// What all parts of the room share. Tasks and handlers inside the library hold it weakly.
struct Shared {
    settings: LiveSettings,
    doorkeeper: Arc<dyn Doorkeeper>,
    take: Take,
    source: Arc<Source>,
    io: SocketIo,
    service: SocketIoService<door::Nowhere>,
    viewers: Viewers,
    /// Sessions that came by polling and have a WebSocket now, or are about to.
    upgrades: DashMap<Sid, Arc<Scissors>>,
    /// Sessions that came by polling.
    polling: DashMap<Sid, Weak<Session>>,
    handshakes: Arc<Semaphore>,
}

impl Live {
    /// Opens the channel and starts looking after its viewers; needs a tokio runtime. `take` knows what kind of
    /// connection the server has. Nobody is let in before [`Live::attach`].
    #[must_use]
    pub fn new(
        settings: LiveSettings,
        doorkeeper: Arc<dyn Doorkeeper>,
        clock: Arc<dyn Clock>,
        take: Take,
    ) -> Self {
        let (service, io) = SocketIo::builder()
            .req_path(door::PATH)
            .ping_interval(settings.ping_interval)
            .ping_timeout(settings.ping_timeout)
            .connect_timeout(limits::LIVE_HANDSHAKE)
            .upgrade_timeout(limits::LIVE_HANDSHAKE)
            .max_buffer_size(limits::LIVE_QUEUE_PACKETS)
            .max_payload(limits::LIVE_PAYLOAD_BYTES_MAX.into())
            .ws_read_buffer_size(512)
            .ws_max_message_size(limits::LIVE_PAYLOAD_BYTES_MAX as usize)
            .ws_max_frame_size(limits::LIVE_PAYLOAD_BYTES_MAX as usize)
            // Events of viewers are ignored, so nothing is worth collecting over several packets.
            .with_parser(
                ParserConfig::common().max_incoming_binary_buf_size(limits::LIVE_PAYLOAD_BYTES_MAX as usize),
            )
            .build_with_inner_svc(door::Nowhere);
        let source = Arc::<Source>::default();
        let shared = Arc::new(Shared {
            viewers: Viewers::new(settings.sockets_per_organization_max, Arc::clone(&source)),
            source,
            take,
            handshakes: Arc::new(Semaphore::new(settings.handshakes_max)),
            settings,
            doorkeeper,
            io,
            service,
            upgrades: DashMap::new(),
            polling: DashMap::new(),
        });
        handshake::open_namespace(&shared);
        tokio::spawn(recheck::run(Arc::downgrade(&shared), clock));
        Self { shared }
    }

    /// Authenticated viewers now.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.shared.viewers.len()
    }

    /// Tells where feeds are read; held weakly, since the engine delivers to this channel.
    pub fn attach(&self, feeds: &Arc<dyn Feeds>) {
        self.shared.source.attach(feeds);
    }

    /// Frames times sockets, since the start.
    #[must_use]
    pub fn frames_sent(&self) -> u64 {
        self.shared.source.counters.sent()
    }

    /// Tells every viewer that the server goes away (clients then reconnect) and closes their connections.
    pub async fn close(&self) {
        self.shared.io.close().await;
    }
}

impl Shared {
    /// Ends a session whatever its transport is: cuts its connection, and closes it if it is polling.
    async fn hang_up(&self, sid: Sid, session: &Session) {
        session.scissors.cut();
        if let Some(upgrade) = self.upgrades.get(&sid).map(|entry| entry.value().clone()) {
            upgrade.cut();
        }
        self.close_polling(sid).await;
    }

    /// Closes a session that is polling, as its client would. Does nothing to any other.
    async fn close_polling(&self, sid: Sid) {
        let close = Full::new(Bytes::from_static(b"1"));
        let uri = format!("{}?EIO=4&transport=polling&sid={sid}", door::PATH);
        match http::Request::post(uri).body(close) {
            Ok(request) => drop(hyper::service::Service::call(&self.service, request).await),
            Err(error) => tracing::error!(%error, "a session id made no path"),
        }
    }
}
