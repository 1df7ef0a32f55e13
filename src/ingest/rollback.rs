//! A setup whose answer nobody could read is taken back: its client will set up another run, and this one would stand
//! there as running for a day. Source: API reference, ingest 7 (replay rule).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::actors::{Engine, EngineError, Opened};
use crate::domain::id::{OrgId, UserId};
use crate::domain::setup::SetupRequest;

/// Opens a run. It goes on when the caller is dropped with its connection, and then takes the run back.
pub(super) async fn open(
    engine: &Engine,
    org: OrgId,
    user: UserId,
    request: SetupRequest,
) -> Result<Told, EngineError> {
    let (tell, told) = oneshot::channel();
    let engine = engine.clone();
    tokio::spawn(async move {
        let opened = engine.set_up(org, user, request).await;
        let opened = opened.map(|opened| Told { engine, org, opened, kept: false });
        // A caller that is gone drops what it was told, and with it the run.
        drop(tell.send(opened));
    });
    told.await.unwrap_or(Err(EngineError::Busy { retry_after_s: 1 }))
}

/// A run that somebody is yet to be told of. Taken back when it is dropped before the answer is taken.
pub(super) struct Told {
    engine: Engine,
    org: OrgId,
    opened: Opened,
    kept: bool,
}

impl Told {
    /// What was opened.
    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Without a runtime the process is ending; the sweep of orphans finds the run.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (engine, org, opened) = (self.engine.clone(), self.org, self.opened.clone());
        runtime.spawn(async move {
            match engine.abandon(org, &opened).await {
                Ok(()) => tracing::info!(org.id = %org, execution.id = %opened.execution, "took back a run: its client is gone"),
                // The sweep of orphans finds it.
                Err(error) => tracing::warn!(org.id = %org, execution.id = %opened.execution, %error, "cannot take back a run"),
            }
        });
    }
}

/// An answer that keeps its run once the connection has taken it.
pub(super) struct Answer {
    bytes: Option<Bytes>,
    told: Told,
}

impl Answer {
    /// The answer `bytes` about the run of `told`.
    pub(super) fn new(bytes: Bytes, told: Told) -> Self {
        Self { bytes: Some(bytes), told }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = self.bytes.take();
        self.told.kept = true;
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
