//! The two sides of a connection over real TCP: what the library writes, what the delivery puts in between, and what
//! the peer gets.

mod sharing;
mod stalling;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpSocket, TcpStream};

use super::bell::Bell;
use super::edge::{Edge, Owner};
use super::encoding::Encoded;
use super::scissors::Scissors;
use super::wire::{StallLimit, Taken, Wire};
use crate::actors::feed::{Frame, Window};

/// Small, so that a peer that does not read is noticed after a few KiB.
const BUFFER: u32 = 4 << 10;

/// What the edge told its owner.
#[derive(Default)]
struct Heard {
    bells: Vec<Bell>,
    wire: Option<Arc<Wire>>,
    probed: bool,
    gone: bool,
}

struct Recorder(Arc<Mutex<Heard>>);

impl Owner for Recorder {
    fn pid(&self) -> Option<String> {
        Some("1-2".to_owned())
    }

    fn probed(&self) {
        self.0.lock().unwrap().probed = true;
    }

    fn heard(&self, bell: Bell, wire: &Arc<Wire>) {
        let mut heard = self.0.lock().unwrap();
        heard.bells.push(bell);
        heard.wire = Some(Arc::clone(wire));
    }

    fn gone(&self, _: &Arc<Wire>) {
        self.0.lock().unwrap().gone = true;
    }
}

/// A connection: the server's edge, what it tells, its scissors, and the peer.
struct Pair {
    edge: Edge,
    heard: Arc<Mutex<Heard>>,
    scissors: Arc<Scissors>,
    peer: TcpStream,
}

async fn pair(window: Duration, bytes_min: usize) -> Pair {
    let listening = TcpSocket::new_v4().unwrap();
    listening.set_send_buffer_size(BUFFER).unwrap();
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listening.listen(1).unwrap();
    let calling = TcpSocket::new_v4().unwrap();
    calling.set_recv_buffer_size(BUFFER).unwrap();
    let address = listener.local_addr().unwrap();
    let (peer, accepted) = tokio::join!(calling.connect(address), listener.accept());
    let taken = Taken { stream: accepted.unwrap().0, read: Bytes::from_static(b"seen"), held: Box::new(()) };
    let (heard, scissors) = (Arc::<Mutex<Heard>>::default(), Arc::<Scissors>::default());
    let owner = Box::new(Recorder(heard.clone()));
    let edge = Edge::new(taken, StallLimit { window, bytes_min }, scissors.clone(), owner);
    Pair { edge, heard, scissors, peer: peer.unwrap() }
}

/// A window of one frame per size.
fn window(from: u64, sizes: &[usize]) -> Encoded {
    let frame = |size: &usize| Frame::Log { task: "a".into(), offset: from, text: vec![b'x'; *size].into() };
    Encoded::of(&Window { from, upto: from + 1, frames: sizes.iter().map(frame).collect() })
}
