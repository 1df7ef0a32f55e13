//! The body of every answer, with the mark that its request is in flight.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::activity::InFlight;
use crate::http::Body;

/// An answer's body. The request counts as in flight until hyper lets go of it.
pub(super) struct Payload {
    body: Body,
    /// Ends a body that would go on for ever.
    until: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _in_flight: InFlight,
}

impl Payload {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, until: None, _in_flight: in_flight }
    }

    /// The same body, ended when `end` comes: its client finds an end that it can tell from a cut, and comes back.
    pub(super) fn until(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Some(Box::pin(end));
        self
    }
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let ended = self.until.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready());
        if ended {
            // Asked again, it is at its end as well.
            self.body = Body::empty();
            self.until = None;
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
