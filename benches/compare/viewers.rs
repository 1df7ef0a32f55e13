//! Dashboards: many Socket.IO clients over WebSocket on one thread, which take what comes and count it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sockets of viewers.
pub(crate) struct Viewers {
    poll: OwnedFd,
    sockets: Vec<Socket>,
}

struct Socket {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What viewers received.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    /// Frames with log text.
    pub(crate) frames: u64,
    /// Line ends in them.
    pub(crate) lines: u64,
}

impl Viewers {
    /// Connects `count` viewers to `port`; each shows `token` and waits until it is let in.
    pub(crate) fn connect(port: u16, count: usize, token: &str) -> Self {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let sockets: Vec<_> = (0..count).map(|_| Socket::open(port, token)).collect();
        for (n, socket) in sockets.iter().enumerate() {
            socket.stream.set_nonblocking(true).unwrap();
            epoll::add(&poll, &socket.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)
                .unwrap();
        }
        Self { poll, sockets }
    }

    /// Asks a server that echoes, `count` times one after the other; how long each answer took.
    pub(crate) fn echoes(port: u16, count: usize) -> Vec<Duration> {
        let mut socket = Socket::open(port, "");
        let asked = (0..count).map(|_| {
            let begun = Instant::now();
            socket.say(br#"42["echo",{"log":"a line of some length, as they are"}]"#);
            while !socket.wait().starts_with(b"42[\"echo\"") {}
            begun.elapsed()
        });
        asked.collect()
    }

    /// Takes what comes until `until`.
    pub(crate) fn watch(&mut self, until: Instant) -> Seen {
        let mut seen = Seen::default();
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(256);
        let mut buffer = vec![0; 64 << 10];
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let left = left.min(Duration::from_millis(50));
            let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut ready), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("epoll: {error}"),
            }
            for event in ready.drain(..) {
                let socket = &mut self.sockets[usize::try_from(event.data.u64()).unwrap()];
                match socket.stream.read(&mut buffer) {
                    Ok(0) => panic!("a viewer was cut off"),
                    Ok(read) => socket.received.extend_from_slice(&buffer[..read]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => panic!("a viewer: {error}"),
                }
                while let Some(payload) = socket.next_message() {
                    if payload.starts_with(b"42[\"execution-log\"") {
                        seen.frames += 1;
                        seen.lines += memmem::find_iter(&payload, b"\\n").count() as u64;
                    } else if payload == b"2" {
                        socket.say(b"3");
                    }
                }
            }
        }
        seen
    }
}

impl Socket {
    fn open(port: u16, token: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\
             connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut socket = Self { stream, received: Vec::new() };
        let head = loop {
            if let Some(head) = memmem::find(&socket.received, b"\r\n\r\n") {
                break head + 4;
            }
            socket.more();
        };
        assert!(
            socket.received.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&socket.received)
        );
        socket.received.drain(..head);
        // Engine.IO opens, then Socket.IO's CONNECT with the credential.
        assert!(socket.wait().starts_with(b"0{"));
        socket.say(format!("40{{\"token\":\"{token}\"}}").as_bytes());
        let mut answer = socket.wait();
        // A first heartbeat may come before the answer.
        while answer == b"2" {
            socket.say(b"3");
            answer = socket.wait();
        }
        assert!(answer.starts_with(b"40{"), "{}", String::from_utf8_lossy(&answer));
        socket
    }

    fn more(&mut self) {
        let mut buffer = [0; 4 << 10];
        let read = self.stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the server closed a viewer's connection");
        self.received.extend_from_slice(&buffer[..read]);
    }

    fn wait(&mut self) -> Vec<u8> {
        loop {
            if let Some(message) = self.next_message() {
                return message;
            }
            self.more();
        }
    }

    /// Sends one text frame; masked, as clients have to, with a key of zeros.
    fn say(&mut self, text: &[u8]) {
        let mut frame = vec![0x81];
        match u8::try_from(text.len()) {
            Ok(length) if length < 126 => frame.push(0x80 | length),
            _ => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text);
        self.stream.write_all(&frame).unwrap();
    }

    /// The payload of the next frame that is complete.
    fn next_message(&mut self) -> Option<Vec<u8>> {
        let (short, rest) = (self.received.get(1)? & 0x7F, &self.received);
        let (head, length) = match short {
            126 => (4, u64::from(u16::from_be_bytes(rest.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(rest.get(2..10)?.try_into().unwrap())),
            length => (2, u64::from(length)),
        };
        let end = head + usize::try_from(length).unwrap();
        let payload = rest.get(head..end)?.to_vec();
        self.received.drain(..end);
        Some(payload)
    }
}
