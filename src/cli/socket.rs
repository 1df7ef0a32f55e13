//! A small Socket.IO client: as much of Engine.IO v4 and Socket.IO v5 over WebSocket as it takes to sign in to the
//! live channel and to receive its events. Source: API reference, ingest 8; Socket.IO protocol v5.

use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use super::client::{Client, ClientError};
use crate::dial::Stream;

/// One event of the live channel.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveEvent {
    /// Its name, as `execution-log`.
    pub name: String,
    /// Its first argument, `Null` without one.
    pub body: Value,
    /// Its last argument, if that is a string: where whoever has had this event stands.
    pub cursor: Option<String>,
}

/// A packet that has come and was not read yet.
#[derive(Debug)]
pub struct Arrival {
    /// When it was taken from the system.
    pub at: Instant,
    text: Utf8Bytes,
}

/// Where a client stands, to go on from there over another connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Names the numbering; from the server's answer to the connection.
    pub pid: Option<String>,
    /// Of the last event.
    pub cursor: Option<String>,
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
    /// The answer to the Socket.IO CONNECT, with its `pid`.
    Connected(Option<String>),
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
        (Some('4'), Some('0')) => {
            let answer: Value = serde_json::from_str(kinds.as_str()).map_err(|_| unexpected())?;
            Ok(Packet::Connected(answer.get("pid").and_then(Value::as_str).map(str::to_owned)))
        }
        (Some('6'), _) => Ok(Packet::Other),
        (Some('4'), Some('1')) => Ok(Packet::Close("disconnected".into())),
        (Some('4'), Some('4')) => Ok(Packet::Close(kinds.as_str().to_owned())),
        (Some('4'), Some('2')) => {
            // An event that wants an acknowledgement carries a number before its arguments.
            let arguments = kinds.as_str().trim_start_matches(|digit: char| digit.is_ascii_digit());
            let Ok(Value::Array(arguments)) = serde_json::from_str(arguments) else {
                return Err(unexpected());
            };
            let mut arguments = arguments.into_iter();
            let Some(Value::String(name)) = arguments.next() else { return Err(unexpected()) };
            let body = arguments.next().unwrap_or_default();
            let cursor = arguments.next_back().and_then(|last| last.as_str().map(str::to_owned));
            Ok(Packet::Event(LiveEvent { name, body, cursor }))
        }
        _ => Err(unexpected()),
    }
}

/// An open, signed-in connection to the live channel.
pub struct LiveSocket {
    stream: WebSocketStream<Box<dyn Stream>>,
    place: Place,
    recovered: bool,
}

impl LiveSocket {
    /// Connects and signs in with `token`, to go on at `place`; returns once the server has let the socket in.
    ///
    /// # Errors
    /// See [`SocketError`]; a refused token is `Closed`.
    pub async fn open(client: &Client, token: &str, place: Place) -> Result<Self, SocketError> {
        let stream = client.connect().await?;
        let url =
            format!("ws://{}{}/socket.io/?EIO=4&transport=websocket", client.authority(), client.prefix());
        let (stream, _answer) = tokio_tungstenite::client_async(url, stream).await?;
        let mut socket = Self { stream, place, recovered: false };
        match socket.packet().await? {
            Packet::Open => {}
            other => return Err(SocketError::Packet(format!("{other:?}"))),
        }
        let mut auth = serde_json::json!({ "token": token });
        let place = [("pid", &socket.place.pid), ("offset", &socket.place.cursor)];
        for (key, known) in place {
            if let (Some(known), Some(auth)) = (known, auth.as_object_mut()) {
                auth.insert(key.to_owned(), known.as_str().into());
            }
        }
        let connect = format!("40{auth}");
        socket.stream.send(Message::text(connect)).await?;
        loop {
            let event = socket.next().await?;
            match event.name.as_str() {
                "auth-success" => return Ok(socket),
                "auth-error" => return Err(SocketError::Closed(event.body.to_string())),
                _ => {}
            }
        }
    }

    /// Where it stands now.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place.clone()
    }

    /// Whether the server goes on where the place it was opened with says: nothing is missed then.
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    /// The next event; answers pings meanwhile. Dropping the call loses nothing.
    ///
    /// # Errors
    /// See [`SocketError`]. There are no further events after an error.
    pub async fn next(&mut self) -> Result<LiveEvent, SocketError> {
        loop {
            let arrival = self.arrive().await?;
            if let Some(event) = self.read(&arrival).await? {
                return Ok(event);
            }
        }
    }

    /// The next packet, for [`LiveSocket::read`]: who measures notes when packets came before any of them is read.
    /// Dropping the call loses nothing.
    ///
    /// # Errors
    /// As [`LiveSocket::next`].
    pub async fn arrive(&mut self) -> Result<Arrival, SocketError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Arrival { at: Instant::now(), text }),
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

    /// Reads a packet and does what it asks for; the event, if it is one. Packets are to be read in the order they came.
    ///
    /// # Errors
    /// As [`LiveSocket::next`].
    pub async fn read(&mut self, arrival: &Arrival) -> Result<Option<LiveEvent>, SocketError> {
        match parse(arrival.text.as_str())? {
            Packet::Event(event) => {
                if event.cursor.is_some() {
                    self.place.cursor.clone_from(&event.cursor);
                }
                return Ok(Some(event));
            }
            Packet::Connected(pid) => {
                self.recovered = pid.is_some() && pid == self.place.pid;
                if !self.recovered {
                    self.place.cursor = None;
                }
                self.place.pid = pid;
            }
            Packet::Ping => self.stream.send(Message::text("3")).await?,
            Packet::Close(reason) => return Err(SocketError::Closed(reason)),
            Packet::Open | Packet::Other => {}
        }
        Ok(None)
    }

    async fn packet(&mut self) -> Result<Packet, SocketError> {
        let arrival = self.arrive().await?;
        parse(arrival.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packets_mean_what_the_protocol_says() {
        let event = |name: &str, body: Value, cursor: Option<&str>| {
            Packet::Event(LiveEvent { name: name.into(), body, cursor: cursor.map(str::to_owned) })
        };
        for (text, packet) in [
            (r#"0{"sid":"x","upgrades":[],"pingInterval":25000}"#, Packet::Open),
            ("2", Packet::Ping),
            ("6", Packet::Other),
            (r#"40{"sid":"y"}"#, Packet::Connected(None)),
            (r#"40{"sid":"y","pid":"1-a"}"#, Packet::Connected(Some("1-a".to_owned()))),
            (
                r#"42["execution-log",{"taskId":"t","log":"é\n","offset":3},"1.3.2"]"#,
                event("execution-log", json!({"taskId": "t", "log": "é\n", "offset": 3}), Some("1.3.2")),
            ),
            (r#"42["other",{"a":1},{"b":2}]"#, event("other", json!({"a": 1}), None)),
            (r#"4217["named"]"#, event("named", Value::Null, None)),
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
