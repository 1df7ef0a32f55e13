//! What a team would build on the same library: socketioxide as its guide has it, a room, and a broadcast for each log
//! line of a request. Nothing is kept.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde::{Deserialize, Serialize};
use socketioxide::SocketIo;
use socketioxide::extract::{Data, SocketRef};

const ANSWER: &[u8] = br#"{"success":true,"data":{"accepted":true}}"#;

/// What of an event request matters to viewers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    session_id: String,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    chunk: Option<String>,
}

/// `execution-log`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log<'a> {
    task_id: &'a str,
    log: &'a str,
    offset: u64,
}

/// Units told so far, by run.
type Offsets = Arc<Mutex<HashMap<String, u64>>>;

/// Serves until the process is killed.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (service, io) = SocketIo::builder().build_svc();
        io.ns("/", async |socket: SocketRef| {
            socket.join("org");
            socket.on("echo", async |socket: SocketRef, Data(said): Data<serde_json::Value>| {
                socket.emit("echo", &said).unwrap();
            });
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!("listens on 127.0.0.1:{}", listener.local_addr().unwrap().port());
        let offsets = Offsets::default();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (library, io, offsets) = (service.clone(), io.clone(), Arc::clone(&offsets));
            let service = service_fn(move |request: Request<Incoming>| {
                let (library, io, offsets) = (library.clone(), io.clone(), Arc::clone(&offsets));
                async move {
                    if request.uri().path().starts_with("/socket.io/") {
                        let answer = library.call(request).await.unwrap();
                        Ok::<_, Infallible>(answer.map(|body| body.boxed_unsync()))
                    } else {
                        let never = |never: Infallible| match never {};
                        Ok(take(request, &io, &offsets).await.map(|body| body.map_err(never).boxed_unsync()))
                    }
                }
            });
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                // A viewer that goes away in the middle is no fault.
                drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await);
            });
        }
    });
}

async fn take(request: Request<Incoming>, io: &SocketIo, offsets: &Offsets) -> Response<Full<Bytes>> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let batch: Batch = serde_json::from_slice(&body).unwrap();
    for Event { kind, chunk } in batch.events {
        let Some(log) = chunk.filter(|_| kind == "log") else { continue };
        let offset = {
            let mut offsets = offsets.lock().unwrap();
            let end = offsets.entry(batch.session_id.clone()).or_default();
            let offset = *end;
            *end += log.encode_utf16().count() as u64;
            offset
        };
        let event = Log { task_id: &batch.session_id, log: &log, offset };
        // Sockets whose queue is full miss it: nothing else is offered.
        drop(io.to("org").emit("execution-log", &event).await);
    }
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
