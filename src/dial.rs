//! Outgoing connections, behind a seam: what talks to another host asks a [`Dial`] for the connection, so that tests
//! can hand out one that breaks, stalls, or leads somewhere else.

use std::io;
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
