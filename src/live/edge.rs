//! One upgraded connection, as the Socket.IO library sees it: a byte stream that can be cut from outside, that cuts
//! itself when its peer stops taking what is written, and that takes bells out of what the library writes and puts the
//! `pid` in. The library knows none of this: it waits in a flush for as long as the peer keeps its TCP connection, and
//! such a viewer would stay for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bell::{self, Bell};
use super::boundaries::Special;
use super::encoding::text_frame;
use super::scissors::{Scissors, cut_off};
use super::wire::{Passed, Patience, StallLimit, Taken, Wire};

/// What an edge tells of, and asks.
pub(super) trait Owner: Send + Sync {
    /// The `pid` for the CONNECT answer.
    fn pid(&self) -> Option<String>;
    /// The answer to an upgrade's probe went out.
    fn probed(&self);
    /// This bell came out of the library's queue at `wire`.
    fn heard(&self, bell: Bell, wire: &Arc<Wire>);
    /// The library has let `wire` go.
    fn gone(&self, wire: &Arc<Wire>);
}

/// The stream that is handed to the library.
pub(super) struct Edge {
    wire: Arc<Wire>,
    /// Read by the HTTP server, but not for it.
    read: Bytes,
    patience: Patience,
    scissors: Arc<Scissors>,
    owner: Box<dyn Owner>,
}

impl Edge {
    pub(super) fn new(
        taken: Taken,
        limit: StallLimit,
        scissors: Arc<Scissors>,
        owner: Box<dyn Owner>,
    ) -> Self {
        let wire = Arc::new(Wire::new(taken.stream, taken.held, limit, scissors.clone()));
        // A copy: what the server read is a slice of its whole buffer, and even an empty one would keep that.
        let read = Bytes::copy_from_slice(&taken.read);
        Self { wire, read, patience: Patience::default(), scissors, owner }
    }

    /// Ends a wait of the library that has lasted too long.
    fn waited(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.wire.poll_patience(context, &mut self.patience));
        Poll::Ready(cut_off())
    }
}

/// What is written in place of a special frame, and what it means.
fn instead_of(owner: &dyn Owner, special: Special, packet: &[u8]) -> (Bytes, Passed) {
    match special {
        Special::Bell => (Bytes::new(), Passed::Bell(Bell::of(packet))),
        Special::Probed => (text_frame(packet), Passed::Probed),
        Special::Connected => match owner.pid() {
            Some(pid) => (text_frame(&bell::connected_with(packet, &pid)), Passed::Plain),
            None => (text_frame(packet), Passed::Plain),
        },
    }
}

impl AsyncRead for Edge {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.scissors.cut_for_reader(context) {
            return Poll::Ready(Ok(()));
        }
        if !self.read.is_empty() {
            let count = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(count));
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.wire.stream().poll_read_ready(context))?;
            match self.wire.stream().try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Edge {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.scissors.cut_for_writer(context) {
            return Poll::Ready(Err(cut_off()));
        }
        let owner = &*self.owner;
        match self.wire.poll_write(context, bytes, |special, packet| instead_of(owner, special, packet)) {
            Poll::Ready(Ok((written, passed))) => {
                match passed {
                    Passed::Plain => {}
                    Passed::Probed => owner.probed(),
                    Passed::Bell(bell) => owner.heard(bell, &self.wire),
                }
                self.patience.reset();
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.waited(context).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.scissors.cut_for_writer(context) {
            return Poll::Ready(Err(cut_off()));
        }
        match self.wire.poll_flush(context) {
            Poll::Pending => self.waited(context).map(Err),
            done => done,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(rustix::net::shutdown(self.wire.stream(), rustix::net::Shutdown::Write)?))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.wire.close();
        self.owner.gone(&self.wire);
    }
}
