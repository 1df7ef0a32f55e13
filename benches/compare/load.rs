//! The load: many connections on one thread, with requests rendered beforehand. Two calls to the system a request and a
//! share of one more, so that it can outrun what it measures; it says when it could not.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll;

use crate::bodies::Request;
use crate::machine::ThreadTimes;
use crate::wire::Head;

/// When the load sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection sends its next request when the one before is answered.
    Closed,
    /// So many requests a second in all, whatever the answers do; latency counts from when a request was due.
    Open(f64),
}

/// Connections with sessions to send to.
pub(crate) struct Load {
    poll: OwnedFd,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    request: Request,
    sessions: Vec<Session>,
    turn: usize,
    /// Bytes of the request that were written.
    written: usize,
    answer: Vec<u8>,
    /// When the request was due; `None` while there is none.
    due: Option<Instant>,
}

struct Session {
    id: String,
    sent: u64,
}

/// What became of a stretch of load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Requests answered with 2xx.
    pub(crate) accepted: u64,
    /// Requests answered with 429 or 503 and a time to come back.
    pub(crate) refused: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Share of the time that this thread was running: above 0.95 it, not the server, was what limited.
    pub(crate) busy: f64,
    /// Share of the time that this thread waited for its core, which others use too.
    pub(crate) waited: f64,
    latencies: Vec<Duration>,
}

impl Outcome {
    /// Requests accepted a second.
    pub(crate) fn rate(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }

    /// The latency that `share` of the accepted requests kept below.
    pub(crate) fn latency(&mut self, share: f64) -> Duration {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl Load {
    /// Connects `connections` times to `port`; connection n sends `request(n)` to every `connections`-th of `sessions`
    /// in turn, or all connections to the only session.
    pub(crate) fn open(
        port: u16,
        connections: usize,
        sessions: &[String],
        request: impl Fn(usize) -> Request,
    ) -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let connections: Vec<_> = (0..connections)
            .map(|n| {
                let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                epoll::add(&poll, &stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)
                    .unwrap();
                let own = sessions.iter().skip(n % sessions.len()).step_by(connections);
                let sessions = own.map(|id| Session { id: id.clone(), sent: 0 }).collect();
                Connection {
                    stream,
                    request: request(n),
                    sessions,
                    turn: 0,
                    written: 0,
                    answer: Vec::new(),
                    due: None,
                }
            })
            .collect();
        Self { poll, connections }
    }

    /// Sends for `duration`, then waits for the answers. Any that is neither 2xx nor a refusal with a time ends it all.
    pub(crate) fn run(&mut self, pace: Pace, duration: Duration) -> Outcome {
        let (begun, times) = (Instant::now(), ThreadTimes::now());
        let mut outcome = Outcome::default();
        // The one that has rested longest goes first, so that all sessions get their share.
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut sent = 0_u64;
        let mut ready = Vec::with_capacity(self.connections.len());
        loop {
            let now = Instant::now();
            let sending = now - begun < duration;
            while sending && !idle.is_empty() {
                let due = match pace {
                    Pace::Closed => now,
                    Pace::Open(rate) => begun + Duration::from_secs_f64(sent as f64 / rate),
                };
                if due > now {
                    break;
                }
                sent += 1;
                let n = idle.pop_front().unwrap();
                self.send(n, due);
            }
            if !sending && idle.len() == self.connections.len() {
                break;
            }
            let timeout = match pace {
                Pace::Open(rate) if sending && !idle.is_empty() => {
                    (begun + Duration::from_secs_f64(sent as f64 / rate)).saturating_duration_since(now)
                }
                _ => Duration::from_millis(100),
            };
            self.wait(timeout, &mut ready);
            for event in ready.drain(..) {
                let n = usize::try_from(event.data.u64()).unwrap();
                if self.receive(n, &mut outcome) {
                    idle.push_back(n);
                }
            }
        }
        outcome.took = begun.elapsed();
        let times = ThreadTimes::now().since(times);
        outcome.busy = times.ran.as_secs_f64() / outcome.took.as_secs_f64();
        outcome.waited = times.waited.as_secs_f64() / outcome.took.as_secs_f64();
        outcome
    }

    fn wait(&self, timeout: Duration, ready: &mut Vec<epoll::Event>) {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match epoll::wait(&self.poll, rustix::buffer::spare_capacity(ready), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("epoll: {error}"),
        }
    }

    fn send(&mut self, n: usize, due: Instant) {
        let connection = &mut self.connections[n];
        let turn = connection.turn % connection.sessions.len();
        connection.turn += 1;
        let session = &mut connection.sessions[turn];
        session.sent += 1;
        connection.request.set(&session.id, session.sent);
        connection.written = 0;
        connection.due = Some(due);
        self.write(n);
    }

    /// Writes what is left of the request; with more to write it is called again when there is room.
    fn write(&mut self, n: usize) {
        let connection = &mut self.connections[n];
        let had_to_wait = connection.written > 0;
        while connection.written < connection.request.bytes().len() {
            match connection.stream.write(&connection.request.bytes()[connection.written..]) {
                Ok(written) => connection.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a request could not be sent: {error}"),
            }
        }
        let is_out = connection.written == connection.request.bytes().len();
        if had_to_wait || !is_out {
            let flags = if is_out { epoll::EventFlags::IN } else { epoll::EventFlags::OUT };
            let data = epoll::EventData::new_u64(n as u64);
            epoll::modify(&self.poll, &connection.stream, data, flags).unwrap();
        }
    }

    /// Takes what came; `true` when the answer is complete.
    fn receive(&mut self, n: usize, outcome: &mut Outcome) -> bool {
        let connection = &mut self.connections[n];
        if connection.written < connection.request.bytes().len() {
            self.write(n);
            return false;
        }
        let mut buffer = [0; 4 << 10];
        match connection.stream.read(&mut buffer) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(read) => connection.answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("an answer could not be read: {error}"),
        }
        let Some(head) = Head::of(&connection.answer).filter(|head| head.end <= connection.answer.len())
        else {
            return false;
        };
        match head.status {
            200..300 => {
                outcome.accepted += 1;
                outcome.latencies.push(connection.due.map(|due| due.elapsed()).unwrap_or_default());
            }
            // Over a tier, or over a budget.
            429 | 503 if head.has_retry_after => outcome.refused += 1,
            status => panic!("{status}: {}", String::from_utf8_lossy(&connection.answer)),
        }
        connection.answer.clear();
        connection.due = None;
        true
    }
}
