//! One upgraded TCP connection, written to from two sides: the library, through its [`super::edge::Edge`], and the
//! delivery, which puts shared frames of the feed between the library's. No text is queued here: a frame that the peer
//! takes only in part leaves its rest, and that is written before anything else.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::boundaries::{Boundaries, Next, Special};
use super::encoding::Encoded;
use super::scissors::{Scissors, cut_off};
use crate::limits;

/// How slowly a peer may take what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallLimit {
    /// Length of one look; real time, since it measures a peer.
    pub window: Duration,
    /// A peer that has more to take must take at least this many bytes per look.
    pub bytes_min: usize,
}

/// An upgraded connection, taken out of the HTTP server.
pub struct Taken {
    /// The connection.
    pub stream: TcpStream,
    /// What was read of it already.
    pub read: Bytes,
    /// Held for as long as the connection is open.
    pub held: Box<dyn Any + Send + Sync>,
}

/// What became of frames that were offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The first so many frames of the window are written, or begun.
    Begun {
        /// How many. If not all of them, the peer takes no more now.
        frames: usize,
        /// Whether the last of them is written to its end.
        whole: bool,
    },
    /// The library is in the middle of a frame, or has waited for its turn.
    LibrarysTurn,
    /// The connection is over.
    Closed,
}

/// What the library's side has to do after a write of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// Nothing.
    Plain,
    /// The answer to an upgrade's probe went out.
    Probed,
    /// This bell came out; it was taken away.
    Bell(super::bell::Bell),
}

/// See the module.
pub(super) struct Wire {
    stream: TcpStream,
    _held: Box<dyn Any + Send + Sync>,
    limit: StallLimit,
    scissors: Arc<Scissors>,
    state: Mutex<State>,
    /// Wakes the delivery's side.
    turn: Notify,
}

#[derive(Default)]
struct State {
    boundaries: Boundaries,
    /// Of one frame, or of what replaces one of the library's.
    rest: Bytes,
    library_waits: bool,
    closed: bool,
    /// Bytes that the peer took since the beginning.
    taken: u64,
}

/// Watches how fast a peer takes what it has to take.
#[derive(Default)]
pub(super) struct Patience {
    look: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Patience {
    /// Ready when the peer has taken too little for too long. `taken` is its count so far.
    fn poll_end(&mut self, context: &mut Context<'_>, limit: StallLimit, taken: u64) -> Poll<()> {
        let (look, before) =
            self.look.get_or_insert_with(|| (Box::pin(tokio::time::sleep(limit.window)), taken));
        while look.as_mut().poll(context).is_ready() {
            if taken.saturating_sub(*before) < limit.bytes_min as u64 {
                return Poll::Ready(());
            }
            *before = taken;
            look.as_mut().reset(Instant::now() + limit.window);
        }
        Poll::Pending
    }

    /// The peer has taken all there was.
    pub(super) fn reset(&mut self) {
        self.look = None;
    }
}

impl State {
    /// Writes what is left of the frame before; false if the peer does not take it all.
    fn write_rest(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while !self.rest.is_empty() {
            match self.write(stream, &self.rest.clone())? {
                0 => return Ok(false),
                count => self.rest.advance(count),
            }
        }
        // An empty slice would still hold its window.
        self.rest = Bytes::new();
        Ok(true)
    }

    /// Writes what the peer takes now.
    fn write(&mut self, stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        match stream.try_write(bytes) {
            Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.taken += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

impl Wire {
    pub(super) fn new(
        stream: TcpStream,
        held: Box<dyn Any + Send + Sync>,
        limit: StallLimit,
        scissors: Arc<Scissors>,
    ) -> Self {
        Self { stream, _held: held, limit, scissors, state: Mutex::default(), turn: Notify::new() }
    }

    /// Ends the connection from any side.
    pub(super) fn cut(&self) {
        self.scissors.cut();
    }

    /// What the library reads from.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the peer takes now of a window's frames from `first` on. Never waits.
    pub(super) fn offer(&self, window: &Encoded, first: usize) -> Offered {
        let mut state = self.state();
        if state.closed {
            return Offered::Closed;
        }
        let written = match state.write_rest(&self.stream) {
            Ok(true) if state.library_waits || !state.boundaries.between() => return Offered::LibrarysTurn,
            Ok(true) => state.write(&self.stream, window.frames_from(first)),
            Ok(false) => return Offered::Begun { frames: first, whole: false },
            Err(error) => Err(error),
        };
        match written {
            Ok(written) => {
                let (begun, rest) = window.begun(first, written);
                state.rest = window.part(rest, limits::LIVE_SHARED_WINDOW_BYTES_MAX);
                if !state.rest.is_empty() {
                    tracing::trace!(rest_bytes = state.rest.len(), "a frame is written in part");
                }
                Offered::Begun { frames: begun, whole: state.rest.is_empty() }
            }
            // The library meets the same error, and ends the session over it.
            Err(_) => Offered::Closed,
        }
    }

    /// Waits until the rest of the last frame is written.
    pub(super) async fn until_rested(&self, patience: &mut Patience) -> io::Result<()> {
        loop {
            {
                let mut state = self.state();
                if state.closed {
                    return Err(cut_off());
                }
                if state.write_rest(&self.stream)? {
                    return Ok(());
                }
            }
            self.until_writable(patience).await?;
        }
    }

    /// Waits until the peer takes more, but not for ever.
    pub(super) async fn until_writable(&self, patience: &mut Patience) -> io::Result<()> {
        let stalled = std::future::poll_fn(|context| self.poll_patience(context, patience));
        tokio::select! {
            ready = self.stream.writable() => ready,
            () = self.turn.notified() => Ok(()),
            () = stalled => Err(cut_off()),
        }
    }

    /// Waits until the library has written what it has, or the connection is over.
    pub(super) async fn until_librarys_turn_is_over(&self) {
        loop {
            {
                let state = self.state();
                if state.closed || (!state.library_waits && state.boundaries.between()) {
                    return;
                }
            }
            self.turn.notified().await;
        }
    }

    /// The library's write. A special frame is replaced or taken away, and told of.
    pub(super) fn poll_write(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        replacement: impl Fn(Special, &[u8]) -> (Bytes, Passed),
    ) -> Poll<io::Result<(usize, Passed)>> {
        loop {
            let mut state = self.state();
            if state.closed {
                return Poll::Ready(Err(cut_off()));
            }
            if state.write_rest(&self.stream)? {
                let (written, passed) = match state.boundaries.next(bytes) {
                    Next::Plain(count) => {
                        let written = state.write(&self.stream, bytes.get(..count).unwrap_or(bytes))?;
                        state.boundaries.advance(bytes.get(..written).unwrap_or_default());
                        (written, Passed::Plain)
                    }
                    Next::Special(special, length, payload) => {
                        let (instead, passed) =
                            replacement(special, bytes.get(payload..length).unwrap_or_default());
                        state.rest = instead;
                        // What stays of it goes out with the flush that follows.
                        state.write_rest(&self.stream)?;
                        (length, passed)
                    }
                };
                if written > 0 || bytes.is_empty() {
                    state.library_waits = false;
                    self.turn.notify_one();
                    return Poll::Ready(Ok((written, passed)));
                }
            }
            state.library_waits = true;
            drop(state);
            // Ready means: try again, it was writable in between.
            std::task::ready!(self.stream.poll_write_ready(context))?;
        }
    }

    /// The library's flush: what replaces its last frame has gone out.
    pub(super) fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            {
                let mut state = self.state();
                if state.closed {
                    return Poll::Ready(Err(cut_off()));
                }
                if state.write_rest(&self.stream)? {
                    return Poll::Ready(Ok(()));
                }
            }
            std::task::ready!(self.stream.poll_write_ready(context))?;
        }
    }

    /// Ready when the peer, which has something to take, has taken too little for too long; it is cut off then.
    pub(super) fn poll_patience(&self, context: &mut Context<'_>, patience: &mut Patience) -> Poll<()> {
        let taken = self.state().taken;
        std::task::ready!(patience.poll_end(context, self.limit, taken));
        tracing::debug!("cut a live viewer that stopped reading");
        self.cut();
        Poll::Ready(())
    }

    /// The library has let the connection go: nothing is written to it any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.rest = Bytes::new();
        drop(state);
        self.turn.notify_one();
    }
}
