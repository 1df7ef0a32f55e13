//! The body of every answer: bytes at hand or a stream, and the mark that its request is in flight.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::activity::InFlight;

/// An answer's body. The request counts as in flight until hyper lets go of it.
#[derive(Debug)]
pub(super) struct Payload {
    content: Content,
    _in_flight: InFlight,
}

/// What an answer carries.
#[derive(Debug)]
pub(super) enum Content {
    /// All of it is there: every ingest answer and every failure, without an allocation for the body's type.
    Whole(Full<Bytes>),
    /// It comes as it comes.
    Streamed(axum::body::Body),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Full::from(bytes))
    }
}

impl Content {
    pub(super) fn guarded(self, in_flight: InFlight) -> Payload {
        Payload { content: self, _in_flight: in_flight }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.content {
            Content::Whole(full) => {
                Pin::new(full).poll_frame(context).map_err(|impossible| match impossible {})
            }
            Content::Streamed(stream) => Pin::new(stream).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(full) => full.is_end_stream(),
            Content::Streamed(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(full) => full.size_hint(),
            Content::Streamed(stream) => stream.size_hint(),
        }
    }
}
