//! The one error of the three doors. Each room's own errors become a [`Failure`]; one table maps its [`Kind`] to a
//! status; the envelope is written in one place. Source: API reference, identity 1.2 and 1.3.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

pub use crate::domain::finding::Finding;

/// What kind of failure: decides the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 400.
    BadRequest,
    /// 401.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 408: the body did not arrive in time.
    Timeout,
    /// 409.
    Conflict,
    /// 413.
    PayloadTooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 429.
    TooManyRequests,
    /// 431.
    HeadersTooLarge,
    /// 500.
    Internal,
    /// 503.
    Unavailable,
}

impl Kind {
    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A failed request: what the client is told, and the cause that only the log sees.
#[derive(Debug)]
pub struct Failure {
    /// Decides the status.
    pub kind: Kind,
    /// The stable identifier; clients compare it exactly.
    pub error: Cow<'static, str>,
    /// For a person; never internals.
    pub message: Cow<'static, str>,
    /// Per-field findings, if any.
    pub details: Vec<Finding>,
    /// Whole seconds, at least 1; also sent as `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// Further members of the body (`limit`, `window`, `usage`, `upgradeUrl`).
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// The cause, for the log.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// A failure of `kind` with the contract's `error` and a `message` for people.
    pub fn new(
        kind: Kind,
        error: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            error: error.into(),
            message: message.into(),
            details: Vec::new(),
            retry_after_s: None,
            extra: serde_json::Map::new(),
            source: None,
        }
    }

    /// 400 with this `error`.
    pub fn bad_request(error: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadRequest, error, message)
    }

    /// 404 with this `error`.
    pub fn not_found(error: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, error, message)
    }

    /// 500 with the endpoint's own `error`; `cause` goes to the log only.
    pub fn internal(error: &'static str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, error, "Something went wrong on the server").because(cause)
    }

    /// 503 that asks to come back after `retry_after_s` seconds.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, retry_after_s: u64) -> Self {
        Self::new(Kind::Unavailable, "Service unavailable", message).retry_after(retry_after_s)
    }

    /// Adds per-field findings.
    #[must_use]
    pub fn with_details(mut self, details: Vec<Finding>) -> Self {
        self.details = details;
        self
    }

    /// Adds a retry time in whole seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// The body: the one place that writes the error envelope.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = self.extra.clone();
        body.insert("success".into(), false.into());
        body.insert("error".into(), self.error.as_ref().into());
        body.insert("message".into(), self.message.as_ref().into());
        if !self.details.is_empty() {
            let details = self
                .details
                .iter()
                .map(|finding| serde_json::json!({ "field": finding.field, "message": finding.message }));
            body.insert("details".into(), details.collect());
        }
        if let Some(seconds) = self.retry_after_s
            && self.kind == Kind::TooManyRequests
        {
            body.insert("retryAfter".into(), seconds.into());
        }
        serde_json::Value::Object(body).to_string().into_bytes()
    }

    /// The whole answer, for any door: status, JSON content type, `Retry-After` if there is one, envelope.
    #[must_use]
    pub fn response<B: From<Vec<u8>>>(&self) -> http::Response<B> {
        let mut response = http::Response::new(B::from(self.body()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, super::JSON_CONTENT_TYPE);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(http::header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as _)
    }
}
