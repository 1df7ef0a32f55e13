//! The shape without what it is for: the null server with a journal, in which each body passes through the actor of its
//! run, and each answer has the headers that the API demands of every answer. It knows no callers, counts no rates, checks no
//! events, recognises nothing that is sent again and tells nobody: what it costs beside null is what hyper, tokio and ractor
//! cost when a request goes to the actor of one of many runs, and to the disk.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use dashmap::DashMap;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use super::null::{ANSWER, Append, listen, parse, start_journal};

/// As an answer of the server has them: what is the same in each, and the rates, which it writes for each.
const HEADERS: [(&str, &str); 9] = [
    ("content-type", "application/json; charset=utf-8"),
    ("x-ratelimit-limit", "4194303"),
    ("x-ratelimit-remaining", "4194302"),
    ("x-ratelimit-reset", "2026-11-30T20:53:01.023Z"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    ("vary", "Origin"),
];
/// Where the bodies of this comparison have the session's id.
const SESSION: &[u8] = b"\"sessionId\":\"";
const SESSION_BYTES: usize = 36;

/// A run: it counts what it passes on.
struct Run;

impl Actor for Run {
    type Msg = Append;
    type State = (u64, mpsc::Sender<Append>);
    type Arguments = mpsc::Sender<Append>;

    async fn pre_start(
        &self,
        _me: ActorRef<Append>,
        journal: mpsc::Sender<Append>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok((0, journal))
    }

    async fn handle(
        &self,
        _me: ActorRef<Append>,
        append: Append,
        (passed, journal): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        *passed += 1;
        journal.send(append)?;
        Ok(())
    }
}

struct Shared {
    runs: DashMap<[u8; SESSION_BYTES], ActorRef<Append>>,
    journal: mpsc::Sender<Append>,
    headers: HeaderMap,
}

/// Serves until the process is killed.
pub(crate) fn serve(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let headers =
        HEADERS.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let shared = Arc::new(Shared {
        runs: DashMap::new(),
        journal: start_journal(folder),
        headers: headers.into_iter().collect(),
    });
    runtime.block_on(listen(move |request| answer(request, Arc::clone(&shared))));
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    parse(&body);
    // It stands behind the events.
    let at = body.windows(SESSION.len()).rposition(|window| window == SESSION).unwrap() + SESSION.len();
    let session = body[at..].first_chunk().unwrap();
    let known = shared.runs.get(session).map(|run| run.clone());
    let run = match known {
        Some(run) => run,
        None => {
            let (run, _task) = Run::spawn(None, Run, shared.journal.clone()).await.unwrap();
            shared.runs.entry(*session).or_insert(run).clone()
        }
    };
    let (done, synced) = oneshot::channel();
    run.cast((body, done)).unwrap();
    synced.await.unwrap();
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    let headers = shared.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    response.headers_mut().extend(headers);
    Ok(response)
}
