//! The body of requests and answers, the same for all doors, and two ways to be done with one that a client sends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{Failure, Kind};
use crate::limits;

/// A body: bytes at hand or a stream.
pub type Body = axum::body::Body;

/// The body of an answer. What is at hand needs no box, nor calls through one.
#[derive(Debug)]
pub enum Outgoing {
    /// Bytes that are all there; `None` once they are taken.
    Ready(Option<Bytes>),
    /// Anything else.
    Body(Body),
}

impl From<Bytes> for Outgoing {
    fn from(bytes: Bytes) -> Self {
        Self::Ready(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Default for Outgoing {
    /// Nothing.
    fn default() -> Self {
        Self::Ready(None)
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut *self {
            Self::Ready(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Body(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ready(bytes) => bytes.is_none(),
            Self::Body(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Body(body) => body.size_hint(),
        }
    }
}

/// A body of bytes that are all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body::from(bytes.into())
}

/// Waits for all of a body.
///
/// # Errors
/// 413 beyond `bytes_max`, 408 if it takes longer than `time`, 400 if the client breaks off.
pub async fn gather(body: Body, bytes_max: usize, time: Duration) -> Result<Bytes, Failure> {
    let collected = tokio::time::timeout(time, Limited::new(body, bytes_max).collect()).await;
    let collected = collected.map_err(|_| too_slow())?;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| broken(error, bytes_max))
}

/// How far a body that nobody wants is read.
#[derive(Debug, Clone, Copy)]
pub struct Discarding {
    /// Bytes of it.
    pub bytes_max: usize,
    /// How long the next piece of it may take.
    pub pause_max: Duration,
    /// How long all of it may take.
    pub time: Duration,
}

impl Discarding {
    /// As the limits say.
    pub const DEFAULT: Self = Self {
        bytes_max: limits::DISCARD_BYTES_MAX,
        pause_max: limits::DISCARD_PAUSE_MAX,
        time: limits::DISCARD_TIMEOUT,
    };
}

/// Reads a body that nobody wants, without keeping it: a client that is still sending when it is answered and
/// disconnected would see a broken connection instead of the answer. It is read as long as it keeps coming, so that this
/// holds on a slow line and a busy machine too.
///
/// # Errors
/// As [`gather`].
pub async fn discard(body: Body, how_far: &Discarding) -> Result<(), Failure> {
    let Discarding { bytes_max, pause_max, time } = *how_far;
    let mut body = Limited::new(body, bytes_max);
    let read_all = async {
        while let Some(frame) = tokio::time::timeout(pause_max, body.frame()).await.map_err(|_| too_slow())? {
            frame.map_err(|error| broken(error, bytes_max))?;
        }
        Ok(())
    };
    tokio::time::timeout(time, read_all).await.map_err(|_| too_slow())?
}

/// 413.
#[must_use]
pub fn too_large(bytes_max: usize) -> Failure {
    Failure::new(Kind::PayloadTooLarge, "Payload too large", format!("At most {bytes_max} bytes are taken"))
}

fn too_slow() -> Failure {
    Failure::new(Kind::Timeout, "Request timeout", "The request's body did not arrive in time")
}

fn broken(error: Box<dyn std::error::Error + Send + Sync>, bytes_max: usize) -> Failure {
    if error.is::<LengthLimitError>() {
        return too_large(bytes_max);
    }
    Failure::bad_request("Invalid request body", "The request's body broke off").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn bodies_are_taken_up_to_their_bound() {
        assert_eq!(gather(full("abcd"), 4, TIME).await.unwrap(), "abcd");
        assert_eq!(gather(full("abcde"), 4, TIME).await.unwrap_err().kind, Kind::PayloadTooLarge);
        let four = Discarding { bytes_max: 4, ..Discarding::DEFAULT };
        assert!(discard(full("abcd"), &four).await.is_ok());
        assert_eq!(discard(full("abcde"), &four).await.unwrap_err().error, "Payload too large");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let silent = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let soon = Duration::from_millis(5);
        assert_eq!(gather(silent(), 4, soon).await.unwrap_err().kind, Kind::Timeout);
        let impatient = Discarding { pause_max: soon, ..Discarding::DEFAULT };
        assert_eq!(discard(silent(), &impatient).await.unwrap_err().kind, Kind::Timeout);
    }

    /// A body of `pieces` bytes, one at a time.
    fn dripping(pieces: usize, pause: Duration) -> Body {
        let piece = move |left: usize| async move {
            tokio::time::sleep(pause).await;
            (left > 0).then(|| (Ok::<_, std::io::Error>(Bytes::from("x")), left - 1))
        };
        Body::from_stream(Box::pin(futures_util::stream::unfold(pieces, piece)))
    }

    #[tokio::test]
    async fn what_nobody_wants_is_read_on_while_it_keeps_coming() {
        let pause = Duration::from_millis(20);
        let patient = Discarding { bytes_max: 100, pause_max: Duration::from_secs(1), time: 50 * pause };
        assert!(discard(dripping(10, pause), &patient).await.is_ok(), "each piece comes in time");
        let begun = std::time::Instant::now();
        let endless = discard(dripping(1_000, pause), &Discarding { bytes_max: 10_000, ..patient }).await;
        assert_eq!(endless.unwrap_err().kind, Kind::Timeout);
        assert!(begun.elapsed() >= patient.time, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_the_clients_fault() {
        let parts = [Ok(Bytes::from("ab")), Err(std::io::Error::other("gone"))];
        let broken = Body::from_stream(futures_util::stream::iter(parts));
        assert_eq!(gather(broken, 4, TIME).await.unwrap_err().kind, Kind::BadRequest);
    }
}
