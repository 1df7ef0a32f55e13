//! A server in this process and a socket to it that speaks in raw bytes.

use std::net::SocketAddr;
use std::time::Duration;

use runstream::config::Settings;
use runstream::server::{RunningServer, Seams, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server with a data folder of its own.
pub(super) struct Site {
    pub(super) server: RunningServer,
    _folder: tempfile::TempDir,
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with(|_settings| {}).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings { data_folder: folder.path().join("data"), ..Settings::default() };
        settings.server.port = 0;
        change(&mut settings);
        let server = Server::start(settings, Seams::default()).await.unwrap();
        Self { server, _folder: folder }
    }

    pub(super) async fn connect(&self) -> Wire {
        Wire::connect(self.server.address()).await
    }

    /// Sends `request` on a connection of its own and reads until the server closes it.
    pub(super) async fn exchange(&self, request: &str) -> String {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.rest().await
    }
}

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    /// Writes; a peer that closed already is not an error here, what it said is what counts.
    pub(crate) async fn send(&mut self, text: &str) {
        drop(self.stream.write_all(text.as_bytes()).await);
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let read = self.stream.read_to_end(&mut self.unread);
        // A reset after the answer is an end like any other.
        drop(tokio::time::timeout(PATIENCE, read).await.expect("the server closes"));
        String::from_utf8(std::mem::take(&mut self.unread)).unwrap()
    }

    /// One answer with a `content-length`.
    pub(crate) async fn answer(&mut self) -> Answer {
        tokio::time::timeout(PATIENCE, self.read_answer()).await.expect("the server answers")
    }

    async fn read_answer(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.take_answer() {
                return answer;
            }
            let count = self.stream.read_buf(&mut self.unread).await.unwrap();
            assert_ne!(count, 0, "closed within an answer: {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.unread[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let end_of_body = end + length.map_or(0, |length| length.parse().unwrap());
        (self.unread.len() >= end_of_body).then(|| {
            let body = String::from_utf8(self.unread[end..end_of_body].to_vec()).unwrap();
            self.unread.drain(..end_of_body);
            Answer { head, body }
        })
    }

    /// Waits until the server closes without a further byte.
    pub(super) async fn closed(&mut self) {
        assert_eq!(self.rest().await, "");
    }

    /// Whether the server has nothing to say for a moment.
    pub(super) async fn is_silent_for(&mut self, moment: Duration) -> bool {
        tokio::time::timeout(moment, self.stream.read_buf(&mut self.unread)).await.is_err()
    }
}

/// An answer: its head in lower case, and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}
