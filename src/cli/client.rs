//! A small HTTP/1.1 client for the subcommands that talk to a server. It keeps idle connections, dials through the
//! [`Dial`] seam, and knows nothing of what it carries.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use url::Url;

use crate::dial::{Dial, Stream};

/// Bytes of an answer that are read whole; streamed answers have no bound.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Connections kept for the next request.
const IDLE_MAX: usize = 64;

/// Why a request got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is not `http://host[:port][/prefix]`.
    #[error("{0} is not an http:// URL")]
    Url(String),
    /// No connection.
    #[error("cannot connect to {authority}: {source}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What connecting failed with.
        source: std::io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("the connection to {authority} failed: {source}")]
    Exchange {
        /// Host and port.
        authority: String,
        /// What reading or writing failed with.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request cannot be written down: a bad path or header.
    #[error("not a valid request: {0}")]
    Request(#[from] http::Error),
    /// The answer is not JSON.
    #[error("the answer of {authority} is not JSON: {source} ({status})")]
    Json {
        /// Host and port.
        authority: String,
        /// The answer's status: a proxy may say in HTML that the server is away.
        status: StatusCode,
        /// What parsing failed with.
        source: serde_json::Error,
    },
}

/// An answer read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, parsed; `Null` for an empty one.
    pub body: Value,
}

/// A client of one server. Clones share connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    headers: HeaderMap,
}

struct Shared {
    dial: Arc<dyn Dial>,
    host: String,
    port: u16,
    prefix: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Client {
    /// A client of the server at `base_url`; a path in it is put before the path of every request.
    ///
    /// # Errors
    /// `Url` unless it is an `http` URL with a host.
    pub fn new(dial: Arc<dyn Dial>, base_url: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::Url(base_url.to_owned());
        let url = Url::parse(base_url).map_err(|_error| bad())?;
        let host = url.host_str().filter(|_| url.scheme() == "http").ok_or_else(bad)?;
        // An IPv6 address stands in brackets in a URL and without them where it is dialled.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or_else(bad)?;
        let prefix = url.path().trim_end_matches('/').to_owned();
        let shared = Shared { dial, host, port, prefix, idle: Mutex::new(Vec::new()) };
        Ok(Self { shared: Arc::new(shared), headers: HeaderMap::new() })
    }

    /// The same client, sending `name: value` with every request.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same headers, sent to the server of `other`.
    #[must_use]
    pub fn at(&self, other: &Self) -> Self {
        Self { shared: Arc::clone(&other.shared), headers: self.headers.clone() }
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn authority(&self) -> String {
        let Shared { host, port, .. } = &*self.shared;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The path put before the path of every request; empty or `/…` without a slash at its end.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// Sends a request, with `body` as JSON if there is one, and reads the answer to its end. `path` begins with `/`.
    /// A request may be repeated by the caller only if the endpoint allows it: this client never does.
    ///
    /// # Errors
    /// See [`ClientError`]. An answer with an error status is not an error here.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let request = self.request(&method, path, body)?;
        let (response, sender) = self.exchange(request).await?;
        let (parts, body) = response.into_parts();
        let bytes =
            Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| self.broken(error))?;
        self.keep(sender);
        let bytes = bytes.to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|source| ClientError::Json {
                authority: self.authority(),
                status: parts.status,
                source,
            })?
        };
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Sends a request without a body on a connection of its own and hands over the answer as it arrives.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stream(&self, path: &str, headers: HeaderMap) -> Result<Response<Incoming>, ClientError> {
        let mut request = self.request(&Method::GET, path, None)?;
        request.headers_mut().extend(headers);
        let mut sender = self.open().await?;
        sender.send_request(request).await.map_err(|error| self.broken(error))
    }

    /// A raw connection to the server, for protocols that begin with an upgrade.
    ///
    /// # Errors
    /// `Connect`.
    pub async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let Shared { dial, host, port, .. } = &*self.shared;
        let connect = dial.connect(host, *port).await;
        connect.map_err(|source| ClientError::Connect { authority: self.authority(), source })
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.shared.prefix))
            .header(header::HOST, self.authority());
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        let mut request = request.body(Full::new(body.unwrap_or_default()))?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    /// Sends over an idle connection if there is one. A request that hyper hands back was not begun on the closed
    /// connection it was meant for, so sending it over another cannot repeat it.
    async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), ClientError> {
        while let Some(mut sender) = self.idle() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(refused.into_error())),
                },
            }
        }
        let mut sender = self.open().await?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(error))?;
        Ok((response, sender))
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = self.connect().await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        // A broken connection also shows as an error of the request that used it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|sender| !sender.is_closed())
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
    }

    fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Exchange { authority: self.authority(), source: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dial::TcpDial;

    #[test]
    fn the_base_url_is_split_into_authority_and_prefix() {
        let dial: Arc<dyn Dial> = Arc::new(TcpDial { timeout: Duration::from_secs(1) });
        let client = |url: &str| Client::new(Arc::clone(&dial), url);
        let check = |url: &str, authority: &str, prefix: &str| {
            let client = client(url).unwrap();
            assert_eq!((client.authority().as_str(), client.shared.prefix.as_str()), (authority, prefix));
        };
        check("http://localhost:3000", "localhost:3000", "");
        check("http://ci.example/runstream/", "ci.example:80", "/runstream");
        check("http://[::1]:8080/a/b", "[::1]:8080", "/a/b");
        assert!(matches!(client("https://ci.example"), Err(ClientError::Url(_))));
        assert!(matches!(client("localhost:3000"), Err(ClientError::Url(_))));
    }
}
