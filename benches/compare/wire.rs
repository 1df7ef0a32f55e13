//! HTTP/1.1 on a plain socket: a call at a time, for setting things up, and the reading of answers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Nothing takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer's head, and where the answer ends.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) has_retry_after: bool,
    pub(crate) body: usize,
    pub(crate) end: usize,
}

impl Head {
    /// Reads the head of `bytes`; `None` if it is not complete. Only what servers here send is understood.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let body = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
        let status = std::str::from_utf8(&bytes[9..12]).unwrap().parse().unwrap();
        let (mut length, mut has_retry_after) = (0, false);
        for line in bytes[..body].split(|byte| *byte == b'\n').skip(1) {
            match line.first() {
                Some(b'c' | b'C')
                    if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") =>
                {
                    length = std::str::from_utf8(&line[15..]).unwrap().trim().parse().unwrap();
                }
                Some(b'r' | b'R') => {
                    has_retry_after |= line.len() > 12 && line[..12].eq_ignore_ascii_case(b"retry-after:");
                }
                _ => {}
            }
        }
        Some(Self { status, has_retry_after, body, end: body + length })
    }
}

/// A connection that is used for one call after the other.
pub(crate) struct Wire {
    stream: TcpStream,
    port: u16,
}

impl Wire {
    /// Connects to `port` of this machine.
    pub(crate) fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, port })
    }

    /// Sends `bytes`, a whole request, and reads the answer: status and body.
    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        self.stream.write_all(bytes)?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 16 << 10]);
        loop {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&buffer[..read]);
            if let Some(head) = Head::of(&answer)
                && answer.len() >= head.end
            {
                return Ok((head.status, answer[head.body..head.end].to_owned()));
            }
        }
    }

    /// Calls `path` with `headers` (each with its line end) and `body`.
    pub(crate) fn post(&mut self, path: &str, headers: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost:{}\r\ncontent-type: application/json\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        let (status, answer) = self.exchange(request.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!((200..300).contains(&status), "{path}: {status} {text}");
        serde_json::from_slice(&answer).unwrap()
    }
}

/// The body of a GET of a server that may answer in chunks: the connection is closed after it.
pub(crate) fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
