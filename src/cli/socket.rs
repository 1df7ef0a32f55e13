//! A small Socket.IO client: as much of Engine.IO v4 and Socket.IO v5 over WebSocket as it takes to sign in to the
//! live channel and to receive its events. Source: API reference, ingest 8; Socket.IO protocol v5.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::client::{Client, ClientError};
use crate::dial::Stream;

/// One event of the live channel.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveEvent {
    /// Its name, as `execution-log`.
    pub name: String,
    /// Its first argument, `Null` without one.
    pub body: Value,
}

/// Why the channel gives no more events.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The server cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The WebSocket broke or could not be opened.
    #[error("the live channel failed: {0}")]
    WebSocket(#[source] Box<tungstenite::Error>),
    /// The server closed the channel, or does not let this caller in.
    #[error("the server closed the live channel: {0}")]
    Closed(String),
    /// What came is not the protocol.
    #[error("unexpected packet on the live channel: {0}")]
    Packet(String),
}

impl From<tungstenite::Error> for SocketError {
    fn from(error: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(error))
    }
}

/// What a packet of the server asks for.
#[derive(Debug, PartialEq)]
enum Packet {
    /// Engine.IO `open`: answer with the Socket.IO CONNECT.
    Open,
    /// Engine.IO `ping`: answer with a pong.
    Ping,
    /// An event.
    Event(LiveEvent),
    /// The end, with a reason.
    Close(String),
    /// Nothing this client needs.
    Other,
}

/// Reads one Engine.IO packet with the Socket.IO packet inside it.
fn parse(text: &str) -> Result<Packet, SocketError> {
    let unexpected = || SocketError::Packet(text.chars().take(80).collect());
    let mut kinds = text.chars();
    match (kinds.next(), kinds.next()) {
        (Some('0'), _) => Ok(Packet::Open),
        (Some('1'), _) => Ok(Packet::Close("transport closed".into())),
        (Some('2'), None) => Ok(Packet::Ping),
        (Some('4'), Some('0')) | (Some('6'), _) => Ok(Packet::Other),
        (Some('4'), Some('1')) => Ok(Packet::Close("disconnected".into())),
        (Some('4'), Some('4')) => Ok(Packet::Close(kinds.as_str().to_owned())),
        (Some('4'), Some('2')) => {
            // An event that wants an acknowledgement carries a number before its arguments.
            let arguments = kinds.as_str().trim_start_matches(|digit: char| digit.is_ascii_digit());
            let mut arguments = match serde_json::from_str(arguments) {
                Ok(Value::Array(arguments)) => arguments.into_iter(),
                _ => return Err(unexpected()),
            };
            let Some(Value::String(name)) = arguments.next() else { return Err(unexpected()) };
            Ok(Packet::Event(LiveEvent { name, body: arguments.next().unwrap_or_default() }))
        }
        _ => Err(unexpected()),
    }
}

/// An open, signed-in connection to the live channel.
pub struct LiveSocket {
    stream: WebSocketStream<Box<dyn Stream>>,
}

impl LiveSocket {
    /// Connects and signs in with `token`; returns once the server has let the socket into its room.
    ///
    /// # Errors
    /// See [`SocketError`]; a refused token is `Closed`.
    pub async fn open(client: &Client, token: &str) -> Result<Self, SocketError> {
        let stream = client.connect().await?;
        let url =
            format!("ws://{}{}/socket.io/?EIO=4&transport=websocket", client.authority(), client.prefix());
        let (stream, _answer) = tokio_tungstenite::client_async(url, stream).await?;
        let mut socket = Self { stream };
        match socket.packet().await? {
            Packet::Open => {}
            other => return Err(SocketError::Packet(format!("{other:?}"))),
        }
        let connect = format!("40{}", serde_json::json!({ "token": token }));
        socket.stream.send(Message::text(connect)).await?;
        loop {
            let event = socket.next().await?;
            match event.name.as_str() {
                "auth-success" => return Ok(socket),
                "auth-error" => return Err(SocketError::Closed(event.body.to_string())),
                // The room may speak between joining and the word of it; who needs that text sees the gap and reads it.
                _ => {}
            }
        }
    }

    /// The next event; answers pings meanwhile. Dropping the call loses nothing.
    ///
    /// # Errors
    /// See [`SocketError`]. There are no further events after an error.
    pub async fn next(&mut self) -> Result<LiveEvent, SocketError> {
        loop {
            match self.packet().await? {
                Packet::Event(event) => return Ok(event),
                Packet::Ping => self.stream.send(Message::text("3")).await?,
                Packet::Close(reason) => return Err(SocketError::Closed(reason)),
                Packet::Open | Packet::Other => {}
            }
        }
    }

    async fn packet(&mut self) -> Result<Packet, SocketError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return parse(text.as_str()),
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.to_string());
                    return Err(SocketError::Closed(reason.unwrap_or_default()));
                }
                Some(Ok(_control)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(SocketError::Closed("connection closed".into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packets_mean_what_the_protocol_says() {
        let event = |name: &str, body: Value| Packet::Event(LiveEvent { name: name.into(), body });
        for (text, packet) in [
            (r#"0{"sid":"x","upgrades":[],"pingInterval":25000}"#, Packet::Open),
            ("2", Packet::Ping),
            ("6", Packet::Other),
            (r#"40{"sid":"y"}"#, Packet::Other),
            (
                r#"42["execution-log",{"taskId":"t","log":"é\n","offset":3}]"#,
                event("execution-log", json!({"taskId": "t", "log": "é\n", "offset": 3})),
            ),
            (r#"4217["named"]"#, event("named", Value::Null)),
            ("41", Packet::Close("disconnected".into())),
            (r#"44{"message":"no"}"#, Packet::Close(r#"{"message":"no"}"#.into())),
            ("1", Packet::Close("transport closed".into())),
        ] {
            assert_eq!(parse(text).unwrap(), packet, "{text}");
        }
    }

    #[test]
    fn anything_else_is_named() {
        for text in ["", "2probe", "5", "42", "42{}", "42[]", "42[7]", "451-[\"b\"]", "é"] {
            assert!(matches!(parse(text), Err(SocketError::Packet(_))), "{text}");
        }
    }
}
