//! A client's socket: it holds the connection's place for as long as it lives (also after an upgrade), gives back the
//! bytes that were read to tell HTTP/1.1 from HTTP/2, and puts the envelope where hyper would answer a broken head with
//! an empty body.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::activity::Activity;
use super::bare::BareAnswers;
use crate::live::Taken;

/// Takes the TCP connection out of an upgraded HTTP connection. Its place goes with it.
pub(super) fn take(upgraded: Upgraded) -> Result<Taken, Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Socket>>()?;
    let Socket { stream, seen, _place: place, .. } = parts.io.into_inner();
    // What the socket has to give back comes after what was read of it.
    let read = if seen.is_empty() { parts.read_buf } else { [parts.read_buf, seen].concat().into() };
    Ok(Taken { stream, read, held: Box::new(place) })
}

/// What a client with prior knowledge of HTTP/2 sends first.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

/// A client's socket.
pub(super) struct Socket {
    stream: TcpStream,
    /// Read already, to be read again.
    seen: Bytes,
    activity: Arc<Activity>,
    bare: Arc<BareAnswers>,
    /// What is written in place of hyper's own answer.
    substitute: Option<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
        bare: Arc<BareAnswers>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { stream, seen: Bytes::new(), activity, bare, substitute: None, _place: place }
    }

    /// Waits for the first bytes, until they decide which protocol this is.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        let mut seen = Vec::with_capacity(HTTP2_PREFACE.len());
        loop {
            let missing = HTTP2_PREFACE.len() - seen.len();
            let read = (&mut self.stream).take(missing as u64).read_buf(&mut seen).await?;
            let preface = HTTP2_PREFACE.starts_with(&seen);
            if read == 0 || !preface || seen.len() == HTTP2_PREFACE.len() {
                self.activity.read();
                let complete = preface && seen.len() == HTTP2_PREFACE.len();
                self.seen = seen.into();
                return Ok(if complete { Protocol::Http2 } else { Protocol::Http1 });
            }
        }
    }

    /// Writes the substitute for an answer of `replaced` bytes; the writer believes that those were written.
    fn poll_substitute(
        &mut self,
        context: &mut Context<'_>,
        mut rest: Bytes,
        replaced: usize,
    ) -> Poll<io::Result<usize>> {
        while !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &rest) {
                Poll::Ready(written) => match written? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => rest.advance(count),
                },
                Poll::Pending => {
                    self.substitute = Some(rest);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(replaced))
    }

    fn substitute_for(&mut self, start: &[u8]) -> Option<Bytes> {
        self.substitute.take().or_else(|| {
            let silent = self.activity.is_silent();
            silent.then(|| self.bare.for_head(start)).flatten()
        })
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.seen.is_empty() {
            let count = self.seen.len().min(buffer.remaining());
            buffer.put_slice(&self.seen.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(substitute) = self.substitute_for(bytes) {
            return self.poll_substitute(context, substitute, bytes.len());
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let start = slices.first().map_or(&[][..], |slice| slice);
        if let Some(substitute) = self.substitute_for(start) {
            let replaced = slices.iter().map(|slice| slice.len()).sum();
            return self.poll_substitute(context, substitute, replaced);
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
