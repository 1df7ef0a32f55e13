//! A bad line: carries TCP connections to a server, and cuts, delays and refuses them as the weather says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// See the module. Ends when it is dropped.
pub(crate) struct Line {
    /// Where clients connect to.
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    target: u16,
    stormy: AtomicBool,
    refusing: AtomicBool,
    seed: AtomicU64,
    cuts: AtomicUsize,
    /// Bytes from the server after which the next connections are cut, one each; zero: not at all.
    cut_after: AtomicU64,
    cut_all: watch::Sender<u64>,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// It is cut after this time,
    life: Duration,
    /// or after so many bytes from the server,
    bytes: u64,
    /// with a reset, or in good order.
    reset: bool,
    /// Each piece waits that long.
    delay: Duration,
}

const CALM: Fate =
    Fate { life: Duration::from_secs(3_600), bytes: u64::MAX, reset: false, delay: Duration::ZERO };

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    /// A calm line to a port of this machine; `seed` decides what storms do.
    pub(crate) async fn to(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            target: port,
            stormy: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            seed: AtomicU64::new(seed),
            cuts: AtomicUsize::new(0),
            cut_after: AtomicU64::new(0),
            cut_all: watch::Sender::new(0),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { url, shared, task }
    }

    /// Whether connections have accidents from now on.
    pub(crate) fn storm(&self, stormy: bool) {
        self.shared.stormy.store(stormy, Ordering::SeqCst);
        if !stormy {
            self.cut();
        }
    }

    /// Whether connections are refused from now on.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Cuts every connection that begins from now on after so many bytes from the server; zero: no more.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.shared.cut_after.store(bytes, Ordering::SeqCst);
    }

    /// Cuts all connections now.
    pub(crate) fn cut(&self) {
        self.shared.cut_all.send_modify(|times| *times += 1);
    }

    /// How many connections had an accident.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// The next pseudo-random number below `bound` (SplitMix64).
    fn random(&self, bound: u64) -> u64 {
        let mut mixed = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn fate(&self) -> Fate {
        let reset = self.random(2) == 0;
        let cut_after = self.cut_after.load(Ordering::SeqCst);
        if cut_after > 0 {
            return Fate { bytes: cut_after, reset, ..CALM };
        }
        if !self.stormy.load(Ordering::SeqCst) {
            return CALM;
        }
        let life = Duration::from_millis(60 + self.random(400));
        match self.random(4) {
            0 => Fate { bytes: self.random(8_000), reset, life, ..CALM },
            1 => Fate { delay: Duration::from_millis(1 + self.random(30)), reset, life, ..CALM },
            _ => Fate { life, reset, ..CALM },
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let refused = shared.refusing.load(Ordering::SeqCst)
            || (shared.stormy.load(Ordering::SeqCst) && shared.random(6) == 0);
        if refused {
            shared.cuts.fetch_add(1, Ordering::SeqCst);
            reset(&client);
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut cut_all = shared.cut_all.subscribe();
            let fate = shared.fate();
            let target = SocketAddr::from(([127, 0, 0, 1], shared.target));
            let Ok(server) = TcpStream::connect(target).await else { return reset(&client) };
            // Small pieces must not be collected: what is measured is cut at any byte.
            drop((client.set_nodelay(true), server.set_nodelay(true)));
            tokio::select! {
                ended = carry(&client, &server, fate) => if ended { return },
                () = tokio::time::sleep(fate.life) => {}
                _ = cut_all.changed() => {}
            }
            shared.cuts.fetch_add(1, Ordering::SeqCst);
            if fate.reset {
                reset(&client);
                reset(&server);
            }
        });
    }
}

/// Makes the connection end in a reset instead of an orderly close.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// Carries both ways until either side ends (true) or the fate's bytes are through.
async fn carry(client: &TcpStream, server: &TcpStream, fate: Fate) -> bool {
    tokio::select! {
        _ = pass(client, server, u64::MAX, fate.delay) => true,
        spent = pass(server, client, fate.bytes, fate.delay) => !spent,
    }
}

/// Returns whether `bytes` were spent before the source ended.
async fn pass(from: &TcpStream, to: &TcpStream, mut bytes: u64, delay: Duration) -> bool {
    let mut buffer = vec![0; 8 << 10];
    while bytes > 0 {
        let room = buffer.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        let read = loop {
            if from.readable().await.is_err() {
                return false;
            }
            match from.try_read(&mut buffer[..room]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(read) => break read,
                Err(_) => return false,
            }
        };
        if read == 0 {
            return false;
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            if to.writable().await.is_err() {
                return false;
            }
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        bytes -= read as u64;
    }
    true
}
