//! One upgraded connection, as the Socket.IO library sees it: a byte stream that can be cut from outside, and that
//! cuts itself when its peer stops taking what is written. The library has neither: it waits in a flush for as long
//! as the peer keeps its TCP connection, and such a viewer would stay in its room for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How slowly a peer may take what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallLimit {
    /// Length of one look; real time, since it measures a peer.
    pub window: Duration,
    /// A peer that has more to take must take at least this many bytes per look.
    pub bytes_min: usize,
}

/// Cuts a connection from outside. Works at any moment, once.
#[derive(Debug, Default)]
pub(super) struct Scissors {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Scissors {
    /// Ends the stream: its reader sees the end, its writer an error.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

/// A peer that has not taken all it was given.
struct Waiting {
    look: Pin<Box<Sleep>>,
    taken: usize,
}

/// The stream that is handed to the library; `goodbye` runs when the library lets it go.
pub(super) struct Edge<S> {
    stream: S,
    limit: StallLimit,
    waiting: Option<Waiting>,
    scissors: Arc<Scissors>,
    goodbye: Option<Box<dyn FnOnce() + Send>>,
}

impl<S> Edge<S> {
    pub(super) fn new(
        stream: S,
        limit: StallLimit,
        scissors: Arc<Scissors>,
        goodbye: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self { stream, limit, waiting: None, scissors, goodbye: Some(Box::new(goodbye)) }
    }

    /// Called when the peer took `taken` of `offered` bytes.
    fn progressed(&mut self, taken: usize, offered: usize) {
        if taken >= offered {
            self.waiting = None;
        } else if let Some(waiting) = &mut self.waiting {
            waiting.taken = waiting.taken.saturating_add(taken);
        }
    }

    /// Called when the peer took nothing: waits for it, but not for ever.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let window = self.limit.window;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Waiting { look: Box::pin(tokio::time::sleep(window)), taken: 0 });
        loop {
            ready!(waiting.look.as_mut().poll(context));
            if waiting.taken < self.limit.bytes_min {
                tracing::debug!("cut a live viewer that stopped reading");
                self.scissors.cut();
                return Poll::Ready(cut_off());
            }
            waiting.taken = 0;
            waiting.look.as_mut().reset(Instant::now() + window);
        }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")
}

impl<S: AsyncRead + Unpin> AsyncRead for Edge<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Registered before the look, so that a cut between the two is not missed.
        self.scissors.reader.register(context.waker());
        if self.scissors.is_cut() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Edge<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.scissors.writer.register(context.waker());
        if self.scissors.is_cut() {
            return Poll::Ready(Err(cut_off()));
        }
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(Ok(taken)) => {
                self.progressed(taken, bytes.len());
                Poll::Ready(Ok(taken))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_patience(context).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.scissors.writer.register(context.waker());
        if self.scissors.is_cut() {
            return Poll::Ready(Err(cut_off()));
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.poll_patience(context).map(Err),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> Drop for Edge<S> {
    fn drop(&mut self) {
        if let Some(goodbye) = self.goodbye.take() {
            goodbye();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Short, since it measures real time; what happens within it takes microseconds.
    const WINDOW: Duration = Duration::from_millis(300);

    fn edge(buffer: usize) -> (Edge<DuplexStream>, DuplexStream) {
        let (ours, peer) = duplex(buffer);
        let limit = StallLimit { window: WINDOW, bytes_min: 100 };
        (Edge::new(ours, limit, Arc::default(), || ()), peer)
    }

    #[tokio::test]
    async fn a_peer_that_stops_reading_is_cut_after_one_window() {
        let (edge, _peer) = edge(64);
        let started = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(edge);
        let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
        let error = writer.write_all(&[7; 1_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(started.elapsed() >= WINDOW);
        // The reading half ends too: that is what makes the library forget the session.
        assert_eq!(reading.await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_reads_slowly_but_steadily_stays() {
        let (mut edge, mut peer) = edge(64);
        let reading = tokio::spawn(async move {
            let mut read = 0;
            while read < 2_000 {
                tokio::time::sleep(WINDOW / 30).await;
                read += peer.read(&mut [0; 20]).await.unwrap();
            }
        });
        edge.write_all(&[7; 2_000]).await.unwrap();
        reading.await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_byte_now_and_then_does_not() {
        let (mut edge, mut peer) = edge(64);
        tokio::spawn(async move {
            while peer.read(&mut [0; 1]).await.is_ok_and(|read| read > 0) {
                tokio::time::sleep(WINDOW / 30).await;
            }
        });
        assert!(edge.write_all(&[7; 2_000]).await.is_err());
    }

    #[tokio::test]
    async fn an_idle_peer_is_left_alone() {
        let (mut edge, mut peer) = edge(64);
        edge.write_all(&[7; 64]).await.unwrap();
        tokio::time::sleep(WINDOW * 2).await;
        peer.read_exact(&mut [0; 64]).await.unwrap();
        edge.write_all(&[7; 64]).await.unwrap();
    }

    #[tokio::test]
    async fn scissors_wake_both_halves_and_the_goodbye_runs_once() {
        let (ours, _peer) = duplex(8);
        let (told, goodbye) = tokio::sync::oneshot::channel();
        let scissors = Arc::new(Scissors::default());
        let limit = StallLimit { window: Duration::from_secs(60), bytes_min: 1 };
        let edge = Edge::new(ours, limit, scissors.clone(), || told.send(()).unwrap());
        let (mut reader, mut writer) = tokio::io::split(edge);
        let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
        let writing = tokio::spawn(async move { writer.write_all(&[7; 100]).await });
        tokio::task::yield_now().await;
        scissors.cut();
        assert_eq!(reading.await.unwrap().unwrap(), 0);
        assert!(writing.await.unwrap().is_err());
        goodbye.await.unwrap();
    }
}
