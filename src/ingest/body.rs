//! A request's body, from its headers to the frames a parser reads: what may be refused before a byte is read, the
//! share of the budget, unpacking.

use std::io::Read;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, SizeHint};
use http_body_util::BodyExt;
use smallvec::SmallVec;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::budget::{self, Budget, NoRoom};
use super::unpack::{Encoding, Unpacker};
use crate::actors::ByteShare;
use crate::domain::id::OrgId;
use crate::http::body::too_large;
use crate::http::{Failure, Kind};
use crate::limits::{BUDGET_STEP_BYTES, FRAME_KEPT_BYTES_MIN, REQUEST_OVERHEAD_BYTES};

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is not one that can be used.
    Refused(Failure),
    /// There is no room for it.
    NoRoom,
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<NoRoom> for Unread {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// What the headers promise of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promised {
    /// Bytes that are taken, before and after unpacking.
    cap: usize,
    /// Bytes that will come, if that is known.
    length: Option<usize>,
    encoding: Encoding,
}

impl Promised {
    /// Reads the headers.
    ///
    /// # Errors
    /// 413 if it will be too large, 415 if it is no JSON or packed in an unknown way.
    pub(super) fn of(headers: &HeaderMap, size: SizeHint, cap: usize) -> Result<Self, Failure> {
        let length = size.exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if length.is_some_and(|length| length > cap) {
            return Err(too_large(cap));
        }
        if length == Some(0) {
            return Ok(Self { cap, length, encoding: Encoding::Plain });
        }
        if !is_json(headers) {
            return Err(unsupported("The body must be application/json"));
        }
        let Some(name) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Self { cap, length, encoding: Encoding::Plain });
        };
        match name.to_str().ok().and_then(Encoding::named) {
            Some(encoding) if headers.get_all(header::CONTENT_ENCODING).iter().count() <= 1 => {
                Ok(Self { cap, length, encoding })
            }
            _ => Err(unsupported("The body may be packed with gzip or zstd, or not at all")),
        }
    }

    /// Whether it has to be unpacked.
    pub(super) fn is_packed(&self) -> bool {
        self.encoding != Encoding::Plain
    }
}

fn unsupported(message: &'static str) -> Failure {
    Failure::new(Kind::UnsupportedMediaType, "Unsupported media type", message)
}

/// Whether the headers say `application/json`, in UTF-8 if they say in what.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    // As nearly everybody writes it.
    if only.as_bytes() == b"application/json" {
        return true;
    }
    let Ok(text) = only.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let other_charset = |parameter: &str| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
    };
    is_json && !parts.any(other_charset)
}

/// A body in frames: mostly it is one.
pub(super) type Frames = SmallVec<[Bytes; 1]>;

/// A body that is all there, unpacked, and its share of the budget.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) frames: Frames,
    pub(super) bytes: usize,
    pub(super) share: ByteShare,
}

/// Where bodies are received.
#[derive(Debug)]
pub(super) struct Reception {
    pub(super) budget: Budget,
    /// How long a body may take.
    pub(super) timeout: Duration,
    /// Few at a time may take much more memory than their body for a moment.
    pub(super) heavy: Semaphore,
}

impl Reception {
    /// Waits for a body, within the budget, and unpacks it.
    ///
    /// # Errors
    /// 408 if it takes too long, 413 if it is too large after all, 400 if it breaks off or cannot be unpacked.
    pub(super) async fn receive<B>(
        &self,
        org: OrgId,
        body: &mut B,
        promised: Promised,
    ) -> Result<Received, Unread>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let deadline = self.budget.deadline();
        let first = promised.length.unwrap_or(BUDGET_STEP_BYTES) + REQUEST_OVERHEAD_BYTES;
        let share = self.budget.take(org, first, deadline).await?;
        let mut gather = pin!(self.gather(org, body, promised.cap, share, deadline));
        // Mostly it has come with its head, and needs no timer.
        let received = match futures_util::poll!(gather.as_mut()) {
            Poll::Ready(received) => received,
            Poll::Pending => tokio::time::timeout(self.timeout, gather).await.unwrap_or_else(|_| {
                let message = "The request's body did not arrive in time";
                Err(Failure::new(Kind::Timeout, "Request timeout", message).into())
            }),
        }?;
        if promised.is_packed() {
            // In a box: most bodies are not, and need not carry its place.
            Box::pin(self.unpack(org, received, promised, deadline)).await
        } else {
            Ok(received)
        }
    }

    async fn gather<B>(
        &self,
        org: OrgId,
        body: &mut B,
        cap: usize,
        mut share: ByteShare,
        deadline: Instant,
    ) -> Result<Received, Unread>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut frames = Gathered::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::bad_request("Invalid JSON", "The request's body broke off").because(error)
            })?;
            let Ok(data) = frame.into_data() else { continue };
            let bytes = frames.bytes + data.len();
            if bytes > cap {
                return Err(too_large(cap).into());
            }
            self.hold(org, &mut share, bytes, deadline).await?;
            frames.push(data);
        }
        Ok(Received { bytes: frames.bytes, frames: frames.finish(), share })
    }

    /// Unpacks a body step by step. Both forms are held until it is done.
    async fn unpack(
        &self,
        org: OrgId,
        received: Received,
        promised: Promised,
        deadline: Instant,
    ) -> Result<Received, Unread> {
        let Received { frames, bytes: packed_bytes, mut share } = received;
        let place = tokio::time::timeout_at(deadline, self.heavy.acquire()).await;
        let _place = place.map_err(|_| Unread::NoRoom)?;
        let mut unpacker = Unpacker::new(promised.encoding, frames.into_vec());
        let mut unpacked = Frames::new();
        let mut bytes = 0;
        loop {
            let mut step = vec![0; BUDGET_STEP_BYTES];
            let length = fill(&mut unpacker, &mut step).map_err(|error| {
                Failure::bad_request("Invalid JSON", "The body cannot be unpacked").because(error)
            })?;
            if length == 0 {
                break;
            }
            bytes += length;
            if bytes > promised.cap {
                return Err(too_large(promised.cap).into());
            }
            self.hold(org, &mut share, packed_bytes + bytes, deadline).await?;
            step.truncate(length);
            unpacked.push(Bytes::from(step));
            // Others are served on this thread as well.
            tokio::task::yield_now().await;
        }
        drop(unpacker);
        budget::shrink(&mut share, bytes + REQUEST_OVERHEAD_BYTES);
        Ok(Received { frames: unpacked, bytes, share })
    }

    /// Makes the share fit `bytes` of body, in steps.
    async fn hold(
        &self,
        org: OrgId,
        share: &mut ByteShare,
        bytes: usize,
        deadline: Instant,
    ) -> Result<(), NoRoom> {
        let wanted = bytes + REQUEST_OVERHEAD_BYTES;
        if wanted <= share.bytes() {
            return Ok(());
        }
        self.budget.grow(org, share, wanted.max(share.bytes() + BUDGET_STEP_BYTES), deadline).await
    }
}

/// Reads until the buffer is full or there is nothing more.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match source.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Frames in order. Small ones are gathered: each costs a handle and may keep a whole read buffer alive, and a body can
/// be sent one byte a frame.
#[derive(Debug, Default)]
struct Gathered {
    frames: Frames,
    small: BytesMut,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        // A body that comes in one frame stays as it came, however small.
        if frame.len() >= FRAME_KEPT_BYTES_MIN || self.bytes == frame.len() {
            self.flush();
            self.frames.push(frame);
        } else {
            self.small.extend_from_slice(&frame);
        }
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.frames.push(self.small.split().freeze());
        }
    }

    fn finish(mut self) -> Frames {
        self.flush();
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;
    use http::HeaderValue;
    use http_body_util::StreamBody;

    use super::super::unpack::tests::{gzip, zstd};
    use super::*;

    const CAP: usize = 200_000;

    fn reception(budget_bytes: usize) -> Reception {
        let budget = Budget::new(budget_bytes, Duration::from_millis(20));
        Reception { budget, timeout: Duration::from_secs(2), heavy: Semaphore::new(1) }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn promised(encoding: Encoding, length: Option<usize>) -> Promised {
        Promised { cap: CAP, length, encoding }
    }

    /// Receives a body that comes in chunks of `chunk` bytes: its bytes, or the status it is refused with (0 for room).
    async fn receive(
        reception: &Reception,
        body: &[u8],
        chunk: usize,
        promised: Promised,
    ) -> Result<(Vec<u8>, usize), u16> {
        let frames: Vec<_> = body
            .chunks(chunk)
            .map(|frame| Ok::<_, io::Error>(http_body::Frame::data(Bytes::copy_from_slice(frame))))
            .collect();
        let mut body = StreamBody::new(stream::iter(frames));
        let org = OrgId::from_bytes([1; 12]);
        match reception.receive(org, &mut body, promised).await {
            Ok(received) => {
                let whole = received.frames.concat();
                assert_eq!(received.bytes, whole.len());
                assert_eq!(reception.budget.used_bytes(), received.share.bytes());
                assert!(received.share.bytes() >= received.bytes);
                Ok((whole, received.frames.len()))
            }
            Err(Unread::Refused(failure)) => Err(failure.kind.status().as_u16()),
            Err(Unread::NoRoom) => Err(0),
        }
    }

    #[test]
    fn what_the_headers_promise_is_checked_before_a_byte_is_read() {
        let check =
            |pairs: &[(&'static str, &'static str)], length: Option<u64>, expected: Result<Encoding, u16>| {
                let hint = length.map_or_else(SizeHint::default, SizeHint::with_exact);
                let found = Promised::of(&headers(pairs), hint, CAP)
                    .map(|promised| promised.encoding)
                    .map_err(|failure| failure.kind.status().as_u16());
                assert_eq!(found, expected, "{pairs:?} {length:?}");
            };
        let json = ("content-type", "application/json");
        check(&[json], Some(5), Ok(Encoding::Plain));
        check(&[json], None, Ok(Encoding::Plain));
        check(&[("content-type", "Application/JSON; Charset=\"UTF-8\"")], Some(5), Ok(Encoding::Plain));
        check(&[json], Some(CAP as u64), Ok(Encoding::Plain));
        check(&[json], Some(CAP as u64 + 1), Err(413));
        check(&[json], Some(u64::MAX), Err(413));
        check(&[("content-type", "text/plain")], Some(CAP as u64 + 1), Err(413));
        for other in [
            "text/plain",
            "application/jsonx",
            "application/x-www-form-urlencoded",
            "",
            "application/json; charset=utf-16",
        ] {
            check(&[("content-type", other)], Some(5), Err(415));
        }
        check(&[], Some(5), Err(415));
        check(&[], Some(0), Ok(Encoding::Plain));
        check(&[json, json], Some(5), Err(415));
        check(&[json, ("content-encoding", "gzip")], Some(5), Ok(Encoding::Gzip));
        check(&[json, ("content-encoding", "zstd")], None, Ok(Encoding::Zstd));
        check(&[json, ("content-encoding", "br")], Some(5), Err(415));
        check(&[json, ("content-encoding", "gzip"), ("content-encoding", "gzip")], Some(5), Err(415));
    }

    #[tokio::test]
    async fn bodies_of_any_cut_are_taken_whole() {
        let body: Vec<u8> = (0..=250).cycle().take(CAP).collect();
        for chunk in [1, 100, 4_096, 65_536, CAP] {
            for length in [Some(CAP), None] {
                let reception = reception(1 << 20);
                let (whole, frames) =
                    receive(&reception, &body, chunk, promised(Encoding::Plain, length)).await.unwrap();
                assert!(whole == body, "chunks of {chunk}");
                assert!(frames <= CAP / FRAME_KEPT_BYTES_MIN + 2, "{frames} frames from chunks of {chunk}");
                assert_eq!(reception.budget.used_bytes(), 0);
            }
        }
    }

    #[tokio::test]
    async fn packed_bodies_are_unpacked_up_to_the_bound() {
        let bomb = vec![b' '; 4 << 20];
        for (encoding, pack) in
            [(Encoding::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Encoding::Zstd, zstd as fn(&[u8]) -> Vec<u8>)]
        {
            let reception = reception(1 << 20);
            let body: Vec<u8> = (0..7).cycle().take(CAP).collect();
            let packed = pack(&body);
            let promised = promised(encoding, Some(packed.len()));
            let (whole, _) = receive(&reception, &packed, 999, promised).await.unwrap();
            assert!(whole == body);
            let over = [&body[..], b"x"].concat();
            assert_eq!(receive(&reception, &pack(&over), 999, promised).await, Err(413));
            assert_eq!(receive(&reception, &pack(&bomb), 999, promised).await, Err(413));
            assert_eq!(receive(&reception, b"not packed at all", 999, promised).await, Err(400));
            assert_eq!(receive(&reception, &packed[..packed.len() / 2], 999, promised).await, Err(400));
            assert_eq!(reception.budget.used_bytes(), 0);
        }
    }

    #[tokio::test]
    async fn a_body_longer_than_it_may_be_is_noticed_as_it_comes() {
        let reception = reception(1 << 20);
        let body = vec![0; CAP + 1];
        assert_eq!(receive(&reception, &body, 1_000, promised(Encoding::Plain, None)).await, Err(413));
    }

    #[tokio::test]
    async fn without_room_there_is_no_body() {
        let plain = promised(Encoding::Plain, Some(50_000));
        let reception = reception(120_000);
        let org = OrgId::from_bytes([1; 12]);
        let held = reception.budget.take(org, 20_000, reception.budget.deadline()).await.unwrap();
        assert_eq!(receive(&reception, &vec![0; 50_000], 999, plain).await, Err(0));
        // A stream notices on the way.
        assert_eq!(receive(&reception, &vec![0; 50_000], 999, promised(Encoding::Plain, None)).await, Err(0));
        assert_eq!(reception.budget.used_bytes(), 20_000);
        drop(held);
        assert!(receive(&reception, &vec![0; 50_000], 999, plain).await.is_ok());
    }

    #[tokio::test]
    async fn slow_and_broken_bodies_give_their_share_back() {
        let reception = reception(1 << 20);
        let org = OrgId::from_bytes([1; 12]);
        let plain = promised(Encoding::Plain, Some(10));
        let mut silent = StreamBody::new(stream::pending::<Result<http_body::Frame<Bytes>, io::Error>>());
        let slow = reception.receive(org, &mut silent, plain).await.unwrap_err();
        assert!(matches!(slow, Unread::Refused(Failure { kind: Kind::Timeout, .. })), "{slow:?}");
        let parts = [Ok(http_body::Frame::data(Bytes::from("ab"))), Err(io::Error::other("gone"))];
        let mut broken = StreamBody::new(stream::iter(parts));
        let broken = reception.receive(org, &mut broken, plain).await.unwrap_err();
        assert!(matches!(broken, Unread::Refused(Failure { kind: Kind::BadRequest, .. })), "{broken:?}");
        assert_eq!(reception.budget.used_bytes(), 0);
    }
}
