//! What the three doors share: the error envelope, the headers of every answer, query parameters of lists.
//! Nothing here knows who calls or what is stored.

pub mod failure;

pub use failure::{Failure, Finding, Kind};

/// The content type of every JSON answer.
pub const JSON_CONTENT_TYPE: http::HeaderValue =
    http::HeaderValue::from_static("application/json; charset=utf-8");
