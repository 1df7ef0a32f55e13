//! A gate before a node that lets so many writes through and no more, as if whoever made them had ended there. It passes
//! bytes on as they come, so that a server behind it is as quick as without; whatever else can go wrong is [`super::Wire`]'s.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use runstream::store::scylla::ScyllaSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes of a frame before its body. The opcode is the fifth of them, the body's length the last four.
const HEAD_BYTES: usize = 9;
const RESULT: u8 = 0x08;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0a;
const BATCH: u8 = 0x0d;
/// The kind of a result that names a prepared statement.
const PREPARED: [u8; 4] = [0, 0, 0, 4];

/// A gate before the only node of a cluster.
pub(crate) struct Gate {
    address: SocketAddr,
    state: Arc<State>,
    direct: ScyllaSettings,
}

#[derive(Default)]
struct State {
    /// Writes that still get through; `None` lets all through.
    left: Mutex<Option<usize>>,
    /// Whether one did not.
    is_shut: watch::Sender<bool>,
    /// The ids of statements that are no writes of a request: reads, and heartbeats.
    passing: Mutex<HashSet<Vec<u8>>>,
}

impl State {
    fn lets_through(&self, opcode: u8, body: &[u8]) -> bool {
        // Conditional writes of one partition make a batch.
        let is_write =
            opcode == BATCH || opcode == EXECUTE && !self.passing.lock().unwrap().contains(short_bytes(body));
        let mut left = self.left.lock().unwrap();
        match *left {
            Some(0) if is_write => {
                self.is_shut.send_replace(true);
                false
            }
            Some(more) if is_write => {
                *left = Some(more - 1);
                true
            }
            _ => true,
        }
    }
}

impl Gate {
    /// A gate before the node of `settings` that is open.
    pub(crate) async fn before(settings: &ScyllaSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let (node, shared) = (settings.nodes[0].clone(), Arc::clone(&state));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let node = TcpStream::connect(&node).await.unwrap();
                pass_on(client, node, &shared);
            }
        });
        Self { address, state, direct: settings.clone() }
    }

    /// How a server reaches the node through it.
    pub(crate) fn settings(&self) -> ScyllaSettings {
        ScyllaSettings { nodes: vec![self.address.to_string()], ..self.direct.clone() }
    }

    /// Shuts it behind so many writes, heartbeats not counted: those and reads pass for ever.
    pub(crate) fn shut_after(&self, writes: usize) {
        self.state.is_shut.send_replace(false);
        *self.state.left.lock().unwrap() = Some(writes);
    }

    /// Resolves when it has kept a write from getting through.
    pub(crate) async fn is_shut(&self) {
        self.state.is_shut.subscribe().wait_for(|is_shut| *is_shut).await.unwrap();
    }

    /// Everything gets through.
    pub(crate) fn open(&self) {
        *self.state.left.lock().unwrap() = None;
    }
}

/// Passes the frames of one connection on, both ways, until one side closes it.
fn pass_on(client: TcpStream, node: TcpStream, state: &Arc<State>) {
    client.set_nodelay(true).unwrap();
    node.set_nodelay(true).unwrap();
    let ((from_client, to_client), (from_node, to_node)) = (client.into_split(), node.into_split());
    // What is being prepared, by the stream of its answer: whether it passes.
    let preparing = Arc::new(Mutex::new(HashMap::new()));
    let (asking, asked) = (Arc::clone(state), Arc::clone(&preparing));
    tokio::spawn(each_frame(from_client, to_node, move |stream, opcode, body| {
        if opcode == PREPARE {
            // A length of four bytes, then the text.
            let text = String::from_utf8_lossy(&body[4..]);
            let passes = text.starts_with("SELECT ") || text.starts_with("UPDATE node SET heartbeat ");
            asked.lock().unwrap().insert(stream, passes);
        }
        asking.lets_through(opcode, body)
    }));
    let answering = Arc::clone(state);
    tokio::spawn(each_frame(from_node, to_client, move |stream, opcode, body| {
        if opcode == RESULT
            && body.starts_with(&PREPARED)
            && preparing.lock().unwrap().remove(&stream) == Some(true)
        {
            answering.passing.lock().unwrap().insert(short_bytes(&body[PREPARED.len()..]).to_vec());
        }
        true
    }));
}

async fn each_frame(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passes: impl Fn([u8; 2], u8, &[u8]) -> bool,
) {
    loop {
        let mut frame = vec![0; HEAD_BYTES];
        if from.read_exact(&mut frame).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) as usize;
        frame.resize(HEAD_BYTES + length, 0);
        let is_whole = from.read_exact(&mut frame[HEAD_BYTES..]).await.is_ok();
        let passes = passes([frame[2], frame[3]], frame[4], &frame[HEAD_BYTES..]);
        if !is_whole || passes && to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// The bytes behind a length of two.
fn short_bytes(body: &[u8]) -> &[u8] {
    &body[2..][..usize::from(u16::from_be_bytes([body[0], body[1]]))]
}
