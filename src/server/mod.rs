//! The composition root: opens the store, starts what is alive, accepts connections and hands each request to its door,
//! and takes it all down in order. Start reading at [`Server::start`]; a connection's way is `accept` (a place under
//! the cap), `connection` (HTTP/1.1 or HTTP/2, quiet ones are let go), `dispatch` (which door; what all answers share).
//!
//! It holds no rule of the product: what a request means is the doors' business.

mod accept;
mod activity;
mod bare;
mod body;
mod connection;
mod data_folder;
mod dispatch;
mod mail;
mod offline;
mod reseal;
mod rooms;
mod socket;
mod store;
mod table;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use self::accept::Acceptor;
use self::bare::BareAnswers;
use self::connection::Phase;
pub use self::data_folder::{DataFolder, DataFolderError};
use self::dispatch::Site;
pub use self::offline::Offline;
pub use self::reseal::{KeyChange, change_sealing_key};
use self::rooms::Rooms;
pub use self::table::{api_document, endpoints};
use crate::access::{PasswordError, SecretError};
use crate::actors::{Engine, EngineError};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::dial::{Resolve, SystemResolve};
use crate::fs::{Fs, OsFs};
use crate::http::headers::{CommonHeaders, NotAnOrigin};
use crate::jobs::mail::Mail;
use crate::limits::RESOLVE_TIMEOUT;
use crate::outbound::mail::SmtpSettingsError;
use crate::store::contract::{Store, StoreError};
use crate::store::scylla::schema::SchemaError;
use crate::telemetry;

/// What a server takes from the outside world, replaceable in tests.
#[derive(Clone)]
pub struct Seams {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Files of the journal.
    pub fs: Arc<dyn Fs>,
    /// Where names lead.
    pub resolver: Arc<dyn Resolve>,
}

impl Default for Seams {
    fn default() -> Self {
        let resolver = Arc::new(SystemResolve { timeout: RESOLVE_TIMEOUT });
        Self { clock: Arc::new(SystemClock), fs: Arc::new(OsFs), resolver }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What binding failed with.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// A configured origin is none.
    #[error(transparent)]
    Origin(#[from] NotAnOrigin),
    /// The secrets cannot be read or made.
    #[error("cannot use the secrets: {0}")]
    Secrets(#[from] SecretError),
    /// Passwords cannot be hashed as configured.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The mail server cannot be used as configured.
    #[error(transparent)]
    Mail(#[from] SmtpSettingsError),
    /// The store cannot be opened.
    #[error("cannot open the store: {0}")]
    Store(#[from] StoreError),
    /// The cluster cannot be used, or does not have this build's tables.
    #[error(transparent)]
    Cluster(#[from] SchemaError),
    /// The store was to be used alone, and servers use it.
    #[error(
        "the keyspace {keyspace:?} is in use (servers at work: {servers}); stop them first, or leave --offline out"
    )]
    KeyspaceInUse {
        /// Its name.
        keyspace: String,
        /// How many.
        servers: usize,
    },
    /// What was alive cannot be brought back.
    #[error("cannot bring back open runs: {0}")]
    Engine(#[from] EngineError),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a server and returns once it accepts connections. Clients that connect before, while the journal of the
    /// last process is read, wait.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(settings: Settings, seams: Seams) -> Result<RunningServer, StartError> {
        telemetry::start_metrics();
        let headers = CommonHeaders::new(&settings.headers)?;
        let folder = DataFolder::open(&settings.data_folder)?;
        let address = SocketAddr::new(settings.server.address, settings.server.port);
        let listening = accept::listen(address)
            .and_then(|listener| listener.local_addr().map(|bound| (listener, bound)))
            .map_err(|source| StartError::Listen { address, source });
        let (listener, bound) = listening?;
        let rooms = Rooms::open(&settings, &seams, &folder).await?;
        let (phase, phase_of_connections) = watch::channel(Phase::Serving);
        let places = Arc::new(Semaphore::new(settings.connections.max));
        let bare = Arc::new(BareAnswers::new(headers.security()));
        let acceptor = Acceptor {
            listener,
            places: Arc::clone(&places),
            settings: settings.connections.clone(),
            site: Arc::new(Site::new(&settings.server, headers, &rooms)),
            bare,
            phase: phase_of_connections,
        };
        let accepting = tokio::spawn(acceptor.run());
        tracing::info!(address = %bound, data = %folder.path.display(), "serving");
        Ok(RunningServer { address: bound, rooms, folder, settings, phase, places, accepting })
    }
}

/// A server that accepts connections. Dropping it stops nothing in order: call [`RunningServer::shut_down`].
pub struct RunningServer {
    address: SocketAddr,
    rooms: Rooms,
    /// Held until everything in it is closed.
    folder: DataFolder,
    settings: Settings,
    phase: watch::Sender<Phase>,
    places: Arc<Semaphore>,
    accepting: JoinHandle<()>,
}

impl RunningServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is reached from this machine, base path included, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        local_url(self.address, &self.settings.server.base_path)
    }

    /// Whether the data folder was new.
    #[must_use]
    pub fn is_first_start(&self) -> bool {
        self.folder.is_new
    }

    /// Where everything is kept.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        &self.folder.path
    }

    /// What is alive, for tests that look behind the doors.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.rooms.engine
    }

    /// What sends letters, for tests that look behind the doors.
    #[must_use]
    pub fn mail(&self) -> &Mail {
        &self.rooms.mail
    }

    /// What is remembered, for tests that look behind the doors.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.rooms.store
    }

    /// Resolves when the store has failed: nothing can be acknowledged any more, and the process should end. The text
    /// says why.
    pub async fn failed(&self) -> String {
        self.rooms.store.failed().await
    }

    /// Stops accepting, sends viewers away, lets requests in flight finish, then closes everything. What was
    /// acknowledged is kept.
    ///
    /// # Errors
    /// If the store could not be closed in order; what was acknowledged is kept even so.
    pub async fn shut_down(self) -> Result<(), StoreError> {
        self.phase.send_replace(Phase::Draining);
        // The loop ends at the change of phase and closes the listening socket with it.
        drop(self.accepting.await);
        let connections = u32::try_from(self.settings.connections.max).unwrap_or(u32::MAX);
        let finished = async {
            self.rooms.send_viewers_away().await;
            self.places.acquire_many(connections).await.map(drop)
        };
        if tokio::time::timeout(self.settings.server.drain_timeout, finished).await.is_err() {
            let open = self.settings.connections.max.saturating_sub(self.places.available_permits());
            tracing::warn!(connections = open, "cutting connections that did not finish in time");
        }
        self.phase.send_replace(Phase::Closing);
        self.rooms.close().await
    }
}

/// Where a server that listens on `address` is reached from its own machine, without a slash at the end.
#[must_use]
pub fn local_url(mut address: SocketAddr, base_path: &str) -> String {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    format!("http://{address}{base_path}")
}
