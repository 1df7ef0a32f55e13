//! One connection that carries event batches: HTTP/1.1, kept open, one request at a time, bodies ready to send.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::BenchError;
use crate::cli::client::Client;
use crate::limits;

/// Pause before a refused batch is sent again if the server does not say.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Stored, says the server.
    Acknowledged,
    /// Not taken for now: 429 or 503.
    Refused {
        /// Which of them.
        status: StatusCode,
        /// What the server asks for.
        wait: Duration,
    },
    /// Not sent: no connection.
    Unsent(String),
    /// Nobody knows: the answer was lost, late, or an internal error.
    Uncertain(String),
    /// The server will not take any batch like this.
    Unusable(String),
}

/// A connection, opened when it is needed.
pub(super) struct Wire {
    client: Client,
    uri: String,
    headers: HeaderMap,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Wire {
    /// A connection to the server of `client` that signs with `key`.
    ///
    /// # Errors
    /// If no header can carry the key or the host's name.
    pub(super) fn new(client: &Client, key: &HeaderValue) -> Result<Self, BenchError> {
        let host = HeaderValue::try_from(client.authority());
        let host = host.map_err(|_error| BenchError::Unexpected(format!("host {}", client.authority())))?;
        let headers = HeaderMap::from_iter([
            (HOST, host),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("x-api-key"), key.clone()),
        ]);
        let uri = format!("{}/api/ingest/event", client.prefix());
        Ok(Self { client: client.clone(), uri, headers, sender: None })
    }

    /// Sends a batch and waits for its answer, as long as the public reporter would.
    pub(super) async fn send(&mut self, body: Bytes) -> Outcome {
        match tokio::time::timeout(limits::REPORTER_TIMEOUT, self.exchange(body)).await {
            Ok(Outcome::Uncertain(reason)) => {
                self.sender = None;
                Outcome::Uncertain(reason)
            }
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                self.sender = None;
                Outcome::Uncertain(format!("no answer within {} s", limits::REPORTER_TIMEOUT.as_secs()))
            }
        }
    }

    async fn exchange(&mut self, body: Bytes) -> Outcome {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        match self.uri.parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return Outcome::Unusable(format!("{}: {error}", self.uri)),
        }
        *request.headers_mut() = self.headers.clone();
        // A kept connection that the server has closed hands the request back unsent; a new one is tried once.
        for _ in 0..2 {
            let sender = match &mut self.sender {
                Some(sender) => sender,
                None => match self.open().await {
                    Ok(sender) => self.sender.insert(sender),
                    Err(error) => return Outcome::Unsent(error.to_string()),
                },
            };
            match sender.try_send_request(request).await {
                Ok(response) => return judge(response).await,
                Err(mut refused) => {
                    let unsent = refused.take_message();
                    self.sender = None;
                    match unsent {
                        Some(unsent) => request = unsent,
                        None => return Outcome::Uncertain(refused.into_error().to_string()),
                    }
                }
            }
        }
        Outcome::Unsent("the server closes its connections".into())
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, BenchError> {
        let stream = self.client.connect().await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| BenchError::Unexpected(error.to_string()))?;
        // What breaks the connection also shows as an error of the request that used it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

async fn judge(response: Response<Incoming>) -> Outcome {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let body = match Limited::new(body, limits::BENCH_ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Outcome::Uncertain(format!("the answer broke off: {error}")),
    };
    let said =
        || format!("{status} {}", String::from_utf8_lossy(&body).chars().take(300).collect::<String>());
    match status {
        status if status.is_success() => match shortfall(&body) {
            None => Outcome::Acknowledged,
            Some(reason) => Outcome::Unusable(format!("{reason}: {}", said())),
        },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let seconds = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Outcome::Refused { status, wait: seconds.map_or(RETRY_AFTER_DEFAULT, Duration::from_secs) }
        }
        status if status.is_server_error() => Outcome::Uncertain(said()),
        _ => Outcome::Unusable(said()),
    }
}

/// Why an answer with a good status is none: every event of this tool is within the interface's bounds, so none may be
/// cut or skipped. Most answers have no `data`, and are not looked at further.
fn shortfall(body: &[u8]) -> Option<&'static str> {
    if !body.starts_with(b"{") {
        return Some("the answer is not JSON");
    }
    memchr::memmem::find(body, b"\"data\"")?;
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Some("the answer is not JSON") };
    let count = |name: &str| answer.pointer(name).and_then(Value::as_u64).unwrap_or(0);
    (count("/data/rejected") + count("/data/truncated") > 0).then_some("events were skipped or cut")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_lost_events_is_no_acknowledgement() {
        let check = |body: &str, lost| assert_eq!(shortfall(body.as_bytes()).is_some(), lost, "{body}");
        check(r#"{"success":true}"#, false);
        check(r#"{"success":true,"data":{"accepted":5,"truncated":0,"rejected":0}}"#, false);
        check(r#"{"success":true,"data":{"accepted":4,"truncated":0,"rejected":1}}"#, true);
        check(r#"{"success":true,"data":{"accepted":5,"truncated":1,"rejected":0}}"#, true);
        check("", true);
        check("OK", true);
        check(r#"{"data""#, true);
    }
}
