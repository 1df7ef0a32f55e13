//! What the three doors share: the two envelopes, the headers of every answer, the body type, query parameters of lists,
//! and the description of an endpoint. Nothing here knows who calls or what is stored.

pub mod body;
pub mod endpoint;
pub mod envelope;
pub mod failure;
pub mod headers;
pub mod query;

pub use body::{Body, Outgoing, full};
pub use endpoint::{Callers, Endpoint, Tier};
pub use failure::{Failure, Finding, Kind};
pub use query::{Page, Paging, Query};

/// The content type of every JSON answer.
pub const JSON_CONTENT_TYPE: http::HeaderValue =
    http::HeaderValue::from_static("application/json; charset=utf-8");

/// Who is at the other end of the connection: the socket's peer, which may be a proxy. The server puts it into every
/// request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub std::net::SocketAddr);
