//! One connection, in raw bytes, so that a test can say exactly what is sent.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open connection.
pub(super) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Value,
}

impl Answer {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Checks that this is the error envelope with these words.
    pub(super) fn refused(&self, status: u16, error: &str) {
        assert_eq!((self.status, &self.body["error"]), (status, &Value::from(error)), "{self:?}");
        assert_eq!(self.body["success"], false, "{self:?}");
        assert!(self.body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
    }

    /// Checks that all went well and nothing was lost.
    pub(super) fn accepted(&self) {
        assert_eq!((self.status, self.body.to_string().as_str()), (200, r#"{"success":true}"#), "{self:?}");
    }
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    /// Writes. A peer that has closed is no error here: what it said is what counts.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// Says that nothing more will be sent.
    pub(super) async fn finish(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// One answer.
    pub(super) async fn answer(&mut self) -> Answer {
        tokio::time::timeout(PATIENCE, self.read_answer()).await.expect("the server answers")
    }

    /// Everything until the server closes.
    pub(super) async fn rest(&mut self) -> String {
        let read = self.stream.read_to_end(&mut self.unread);
        // A reset after the answer is an end like any other.
        drop(tokio::time::timeout(PATIENCE, read).await.expect("the server closes"));
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    async fn read_answer(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.take_answer() {
                return answer;
            }
            let read = self.stream.read_buf(&mut self.unread).await.unwrap();
            assert_ne!(read, 0, "closed before an answer: {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.unread[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let end_of_body = end + length.map_or(0, |(_, length)| length.parse().unwrap());
        if self.unread.len() < end_of_body {
            return None;
        }
        if status == 100 {
            self.unread.drain(..end);
            return self.take_answer();
        }
        let body = serde_json::from_slice(&self.unread[end..end_of_body]).unwrap_or(Value::Null);
        self.unread.drain(..end_of_body);
        Some(Answer { status, headers, body })
    }
}
