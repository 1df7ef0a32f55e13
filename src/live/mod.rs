//! The door for dashboards: Socket.IO at `/socket.io/`, WebSocket and long polling. It owns who is watching and how
//! frames reach them; it never decides what is sent (that is the feed, see [`crate::actors::feed`]) and never reads a
//! run. A viewer that cannot keep up loses frames, sees the gap by the next frame's offset and fetches the text from
//! `GET …/logs?from=`; it costs neither memory without bound nor anybody else's latency.
//!
//! The journey of a viewer: `door` takes the HTTP request and upgrades it itself, so that the library gets a stream
//! (`edge`) that can be cut and that notices a stalled peer → the library connects the socket → `handshake` checks the
//! token and lets the socket into its organization's room (`viewers`) → `delivery` emits frames to the room, encoded
//! once → `recheck` looks again and again whether the viewer may still watch.
//!
//! What one viewer can cost: [`limits::LIVE_QUEUE_FRAMES`] frames, shared with all other viewers of the organization;
//! a polling answer of [`limits::LIVE_PAYLOAD_BYTES_MAX`]; and nothing any more [`limits::LIVE_STALL`] after it stopped
//! reading. Faults of the library that this room works around: a failed upgrade leaves the session polling for ever
//! (the goodbye of `edge` closes it), a refused namespace leaves the connection open (`hang_up` ends it), sessions keep
//! all request headers (`door` passes none).
//!
//! Source: API reference, ingest 8 and identity 2.7.

mod delivery;
mod door;
mod edge;
mod handshake;
mod recheck;
mod viewers;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use http_body_util::Full;
use hyper::body::Bytes;
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;
use socketioxide::{ParserConfig, SocketIo};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::limits;
pub use delivery::FrameCounts;
use edge::Scissors;
pub use edge::StallLimit;
pub use handshake::{Doorkeeper, Refusal};
use viewers::{Session, Viewers};

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
    io: SocketIo,
    service: SocketIoService<door::Nowhere>,
    viewers: Viewers,
    /// Sessions that came by polling and have a WebSocket now, or are about to.
    upgrades: DashMap<Sid, Arc<Scissors>>,
    handshakes: Arc<Semaphore>,
    counts: delivery::Counters,
}

impl Live {
    /// Opens the channel and starts looking after its viewers; needs a tokio runtime.
    #[must_use]
    pub fn new(settings: LiveSettings, doorkeeper: Arc<dyn Doorkeeper>, clock: Arc<dyn Clock>) -> Self {
        let (service, io) = SocketIo::builder()
            .req_path(door::PATH)
            .ping_interval(settings.ping_interval)
            .ping_timeout(settings.ping_timeout)
            .connect_timeout(limits::LIVE_HANDSHAKE)
            .upgrade_timeout(limits::LIVE_HANDSHAKE)
            .max_buffer_size(limits::LIVE_QUEUE_FRAMES)
            .max_payload(limits::LIVE_PAYLOAD_BYTES_MAX.into())
            .ws_read_buffer_size(512)
            .ws_max_message_size(limits::LIVE_PAYLOAD_BYTES_MAX as usize)
            .ws_max_frame_size(limits::LIVE_PAYLOAD_BYTES_MAX as usize)
            // Events of viewers are ignored, so nothing is worth collecting over several packets.
            .with_parser(
                ParserConfig::common().max_incoming_binary_buf_size(limits::LIVE_PAYLOAD_BYTES_MAX as usize),
            )
            .build_with_inner_svc(door::Nowhere);
        let shared = Arc::new(Shared {
            viewers: Viewers::new(settings.sockets_per_organization_max),
            handshakes: Arc::new(Semaphore::new(settings.handshakes_max)),
            settings,
            doorkeeper,
            io,
            service,
            upgrades: DashMap::new(),
            counts: delivery::Counters::default(),
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

    /// What this channel has sent and dropped so far.
    #[must_use]
    pub fn frame_counts(&self) -> FrameCounts {
        self.shared.counts.read()
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
