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
mod socket;
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
use self::data_folder::DataFolder;
pub use self::data_folder::DataFolderError;
use self::dispatch::Site;
pub use self::table::{api_document, endpoints};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::fs::{Fs, OsFs};
use crate::http::Failure;
use crate::http::headers::{CommonHeaders, NotAnOrigin};
use crate::telemetry;

/// What a server takes from the outside world, replaceable in tests.
#[derive(Clone)]
pub struct Seams {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Files of the journal.
    pub fs: Arc<dyn Fs>,
}

impl Default for Seams {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), fs: Arc::new(OsFs) }
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
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a server and returns once it accepts connections.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(settings: Settings, _seams: Seams) -> Result<RunningServer, StartError> {
        telemetry::start_metrics();
        let folder = DataFolder::open(&settings.data_folder)?;
        let address = SocketAddr::new(settings.server.address, settings.server.port);
        let listening = accept::listen(address)
            .and_then(|listener| listener.local_addr().map(|bound| (listener, bound)))
            .map_err(|source| StartError::Listen { address, source });
        let (listener, bound) = listening?;
        let api = axum::Router::new().fallback(async || {
            Failure::not_found("Not Found", "There is nothing at this path").response::<axum::body::Body>()
        });
        let headers = CommonHeaders::new(&settings.headers)?;
        let bare = Arc::new(BareAnswers::new(headers.security()));
        let (phase, phase_of_connections) = watch::channel(Phase::Serving);
        let site = Site {
            base_path: settings.server.base_path.clone(),
            slow_request: settings.server.slow_request,
            headers,
            phase: phase_of_connections.clone(),
            api,
        };
        let places = Arc::new(Semaphore::new(settings.connections.max));
        let acceptor = Acceptor {
            listener,
            places: Arc::clone(&places),
            settings: settings.connections.clone(),
            site: Arc::new(site),
            bare,
            phase: phase_of_connections,
        };
        let accepting = tokio::spawn(acceptor.run());
        Ok(RunningServer { address: bound, folder, settings, phase, places, accepting })
    }
}

/// A server that accepts connections. Dropping it stops nothing in order: call [`RunningServer::shut_down`].
pub struct RunningServer {
    address: SocketAddr,
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

    /// Stops accepting, lets requests in flight finish, then closes everything. What was acknowledged is kept.
    pub async fn shut_down(self) {
        self.phase.send_replace(Phase::Draining);
        // The loop ends at the change of phase and closes the listening socket with it.
        drop(self.accepting.await);
        let connections = u32::try_from(self.settings.connections.max).unwrap_or(u32::MAX);
        let all_gone = self.places.acquire_many(connections);
        if tokio::time::timeout(self.settings.server.drain_timeout, all_gone).await.is_err() {
            let open = self.settings.connections.max.saturating_sub(self.places.available_permits());
            tracing::warn!(connections = open, "cutting connections that did not finish in time");
            self.phase.send_replace(Phase::Closing);
        }
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
