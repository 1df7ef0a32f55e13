//! The body of requests and answers, the same for all doors.

use bytes::Bytes;

/// A body: bytes at hand or a stream.
pub type Body = axum::body::Body;

/// A body of bytes that are all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Body::from(bytes.into())
}
