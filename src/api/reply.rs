//! What handlers return: a payload for the success envelope, or a failure. A failure is logged here, once.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::http::{Body, Failure, Kind, envelope, headers};
use crate::store::contract::StoreError;

/// What a handler returns.
pub(super) type Reply<T> = Result<Answer<T>, Failure>;

/// A payload on its way out.
#[derive(Debug)]
pub(super) struct Answer<T> {
    status: StatusCode,
    payload: T,
    enveloped: bool,
    secret: bool,
}

impl<T> Answer<T> {
    const fn new(status: StatusCode, payload: T) -> Self {
        Self { status, payload, enveloped: true, secret: false }
    }

    /// With another status.
    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// It carries a credential: no cache may keep it.
    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// 200 with `payload`.
pub(super) const fn ok<T>(payload: T) -> Answer<T> {
    Answer::new(StatusCode::OK, payload)
}

/// 201 with `payload`.
pub(super) const fn created<T>(payload: T) -> Answer<T> {
    Answer::new(StatusCode::CREATED, payload)
}

/// `payload` itself, for the few endpoints without an envelope.
pub(super) const fn bare<T>(status: StatusCode, payload: T) -> Answer<T> {
    Answer { status, payload, enveloped: false, secret: false }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let written: Result<Response, Failure> = if self.enveloped {
            envelope::success(self.status, &self.payload)
        } else {
            envelope::bare(self.status, &self.payload)
        };
        let mut response = match written {
            Ok(response) => response,
            Err(failure) => return failure.into_response(),
        };
        if self.secret {
            headers::forbid_caching(response.headers_mut());
        }
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let cause = self.source.as_deref().map(ToString::to_string).unwrap_or_default();
        match self.kind {
            Kind::Internal => tracing::error!(error = %self.error, cause, "request failed"),
            Kind::Unavailable => tracing::warn!(error = %self.error, cause, "request refused"),
            _ => {}
        }
        self.response::<Body>()
    }
}

/// Turns what the store could not do into the endpoint's own 500; a store without room, or that is not reached, into 503.
pub(super) fn failed(error: &'static str) -> impl FnOnce(StoreError) -> Failure {
    move |cause| match cause {
        StoreError::Unavailable(_) => {
            Failure::unavailable("This cannot be done right now", UNREACHED_RETRY_S).because(cause)
        }
        StoreError::Full(_) => {
            Failure::unavailable("There is no room left to store this", FULL_RETRY_S).because(cause)
        }
        cause => Failure::internal(error, cause),
    }
}

/// 503: others changed the same record every time.
pub(super) fn overtaken() -> Failure {
    Failure::unavailable("Others are changing this at the moment", UNREACHED_RETRY_S)
}

/// Seconds after which a store that was not reached may be again.
const UNREACHED_RETRY_S: u64 = 2;
/// Seconds after which a full store may have room again.
const FULL_RETRY_S: u64 = 5;
