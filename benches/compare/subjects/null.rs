//! The null server: what any server of these requests has to do. It reads a request with hyper, parses its body in full
//! with simd-json, and answers with fixed bytes. With a folder it also writes each body to a file and answers after a
//! sync, which many requests share: what any durable server of them has to do.

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use memmap2::{Advice, MmapMut};
use runstream::fs::{BLOCK_BYTES, File, Fs as _, OsFs};
use simd_json::{Buffers, Node, Tape};
use tokio::sync::oneshot;

pub(super) const ANSWER: &[u8] = br#"{"success":true,"data":{"accepted":true}}"#;
/// Bytes reserved for the file, so that a sync does not have to write its length.
const FILE_BYTES: u64 = 64 << 20;
/// More than all bodies that may be under way.
const GROUP_BYTES_MAX: usize = 16 << 20;

/// A body to keep, and whom to tell.
pub(super) type Append = (Bytes, oneshot::Sender<()>);

/// Serves until the process is killed.
pub(crate) fn serve(folder: Option<&Path>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let journal = folder.map(start_journal);
    runtime.block_on(listen(move |request| answer(request, journal.clone())));
}

/// Says where it listens, and has `answer` answer everybody's requests.
pub(super) async fn listen<A, F>(answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    println!("listens on 127.0.0.1:{}", listener.local_addr().unwrap().port());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let service = service_fn(answer.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    journal: Option<mpsc::Sender<Append>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    parse(&body);
    if let Some(journal) = journal {
        let (done, synced) = oneshot::channel();
        journal.send((body, done)).unwrap();
        synced.await.unwrap();
    }
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

#[derive(Default)]
struct Parser {
    body: Vec<u8>,
    buffers: Buffers,
    nodes: Vec<Node<'static>>,
}

/// Every value of the body, its strings unescaped, in buffers that are used again.
pub(super) fn parse(body: &[u8]) {
    thread_local!(static PARSER: RefCell<Parser> = RefCell::default());
    PARSER.with_borrow_mut(|parser| {
        parser.body.clear();
        parser.body.extend_from_slice(body);
        let mut tape = Tape(std::mem::take(&mut parser.nodes)).reset();
        simd_json::fill_tape(&mut parser.body, &mut parser.buffers, &mut tape).unwrap();
        std::hint::black_box(&tape.0);
        parser.nodes = tape.reset().0;
    });
}

/// A thread that writes what has come since the last sync, syncs, and tells. As the server it writes whole blocks, past
/// the system's cache, but begins a new one each time.
pub(super) fn start_journal(folder: &Path) -> mpsc::Sender<Append> {
    let folder = folder.to_owned();
    let (sender, appends) = mpsc::channel::<Append>();
    std::thread::spawn(move || {
        let (mut n, mut position, mut file) = (0, FILE_BYTES, None);
        let mut memory = MmapMut::map_anon(GROUP_BYTES_MAX).unwrap();
        memory.advise(Advice::HugePage).unwrap();
        while let Ok(first) = appends.recv() {
            let appends: Vec<_> = std::iter::once(first).chain(appends.try_iter()).collect();
            let mut used = 0;
            for (body, _) in &appends {
                memory[used..used + body.len()].copy_from_slice(body);
                used += body.len();
            }
            let whole = used.next_multiple_of(BLOCK_BYTES);
            memory[used..whole].fill(0);
            if position + whole as u64 > FILE_BYTES {
                file = Some(create(&folder, n));
                (n, position) = (n + 1, 0);
            }
            let file = file.as_ref().unwrap();
            file.write_all_at(&memory[..whole], position).unwrap();
            file.sync_data().unwrap();
            position += whole as u64;
            for (_, done) in appends {
                // Whoever waited may have gone.
                let _ = done.send(());
            }
        }
    });
    sender
}

fn create(folder: &Path, n: u32) -> Arc<dyn File> {
    let file = OsFs.create(&folder.join(n.to_string())).unwrap();
    file.allocate(FILE_BYTES).unwrap();
    file.sync_data().unwrap();
    file
}
