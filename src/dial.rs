//! Outgoing connections, behind a seam: what talks to another host asks a [`Dial`] for the connection, so that tests
//! can hand out one that breaks, stalls, or leads somewhere else.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// An open, ordered stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Opens connections.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects to `port` of `host`, a name or an address.
    ///
    /// # Errors
    /// Whatever resolving or connecting failed with; `TimedOut` if it took too long.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>>;
}

/// Plain TCP, without delay of small writes.
#[derive(Debug, Clone, Copy)]
pub struct TcpDial {
    /// How long resolving and connecting may take together.
    pub timeout: Duration,
}

#[async_trait]
impl Dial for TcpDial {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let connect = tokio::net::TcpStream::connect((host, port));
        let stream = tokio::time::timeout(self.timeout, connect)
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Finds the addresses of names. Apart from [`Dial`], for whoever has to know where a name leads before anything goes there.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, a name.
    ///
    /// # Errors
    /// If there is none, or that could not be found out; `TimedOut` if it took too long.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// As the operating system finds them.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolve {
    /// How long it may take.
    pub timeout: Duration,
}

#[async_trait]
impl Resolve for SystemResolve {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        // The port plays no part; the call wants one.
        let found = tokio::time::timeout(self.timeout, tokio::net::lookup_host((host, 443)));
        let found = found.await.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(found.map(|address| address.ip()).collect())
    }
}
