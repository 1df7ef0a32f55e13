//! What the three doors share: the error envelope, the headers of every answer, query parameters of lists.
//! Nothing here knows who calls or what is stored.

pub mod failure;

pub use failure::{Failure, Finding, Kind};

/// The content type of every JSON answer.
pub const JSON_CONTENT_TYPE: http::HeaderValue =
    http::HeaderValue::from_static("application/json; charset=utf-8");

/// Who is at the other end of the connection: the socket's peer, which may be a proxy. The server puts it into every
/// request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub std::net::SocketAddr);
