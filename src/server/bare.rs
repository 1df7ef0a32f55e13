//! Answers to what is not a request: a head that cannot be read never reaches a door, and hyper answers it by itself
//! with a bare status. Here is what is sent instead: the same status with the envelope and the headers of every answer.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::http::{Failure, Kind};

/// The prepared answers, whole as they go over the wire.
pub(super) struct BareAnswers {
    bad_request: Bytes,
    uri_too_long: Bytes,
    headers_too_large: Bytes,
}

impl BareAnswers {
    /// Prepares them with the headers that every answer carries.
    pub(super) fn new(common: &HeaderMap) -> Self {
        let bad_request = Failure::bad_request("Bad request", "The request cannot be read as HTTP");
        let uri_too_long = Failure::bad_request("URI too long", "The request target is too long");
        let headers_too_large = Failure::new(
            Kind::HeadersTooLarge,
            "Request header fields too large",
            "The request has too many headers or too long ones",
        );
        Self {
            bad_request: message(StatusCode::BAD_REQUEST, &bad_request, common),
            uri_too_long: message(StatusCode::URI_TOO_LONG, &uri_too_long, common),
            headers_too_large: message(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                &headers_too_large,
                common,
            ),
        }
    }

    /// The answer to send instead of one that begins with `head`, or `None` to leave that alone.
    pub(super) fn for_head(&self, head: &[u8]) -> Option<Bytes> {
        let status = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
        match status.get(..3)? {
            b"400" => Some(self.bad_request.clone()),
            b"414" => Some(self.uri_too_long.clone()),
            b"431" => Some(self.headers_too_large.clone()),
            _ => None,
        }
    }
}

fn message(status: StatusCode, failure: &Failure, common: &HeaderMap) -> Bytes {
    let body = failure.body();
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    text.push_str("content-type: application/json; charset=utf-8\r\n");
    let mut message = text.into_bytes();
    for (name, value) in common {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&body);
    message.into()
}
