//! The listening socket and the loop that accepts. A connection's place is taken before it is accepted: over the cap,
//! clients wait in the system's backlog instead of being turned away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::activity::Activity;
use super::bare::BareAnswers;
use super::connection::{self, Phase};
use super::dispatch::Site;
use super::socket::Socket;
use crate::config::ConnectionSettings;
use crate::{limits, telemetry};

/// Pause after an `accept` that failed for want of something, file descriptors mostly.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Opens the listening socket.
///
/// # Errors
/// Whatever binding failed with.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the last connections of the process before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::BACKLOG)
}

/// What the loop needs.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) places: Arc<Semaphore>,
    pub(super) settings: ConnectionSettings,
    pub(super) site: Arc<Site>,
    pub(super) bare: Arc<BareAnswers>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Acceptor {
    /// Accepts until the server drains.
    pub(super) async fn run(mut self) {
        loop {
            let mut phase = self.phase.clone();
            tokio::select! {
                () = self.accept_one() => {}
                _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
            }
        }
    }

    async fn accept_one(&mut self) {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            // The semaphore is never closed; a loop that cannot take places must not spin.
            return std::future::pending().await;
        };
        let (stream, peer) = match self.listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_of_the_peer(&error) {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
                return;
            }
        };
        if let Err(error) = self.prepare(&stream) {
            tracing::debug!(%peer, %error, "cannot set up a connection");
            return;
        }
        let activity = Arc::<Activity>::default();
        let socket = Socket::new(stream, Arc::clone(&activity), Arc::clone(&self.bare), place);
        let (site, settings, phase) = (Arc::clone(&self.site), self.settings.clone(), self.phase.clone());
        tokio::spawn(async move {
            let open = metrics::gauge!(telemetry::name::HTTP_CONNECTIONS);
            open.increment(1.0);
            connection::serve(socket, peer, activity, site, settings, phase).await;
            open.decrement(1.0);
        });
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stalled_ms = u32::try_from(self.settings.stalled_timeout.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(stream, stalled_ms)?;
        Ok(())
    }
}

/// Whether the client went away before it was accepted: nothing is wrong here.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
