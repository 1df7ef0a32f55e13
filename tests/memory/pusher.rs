//! The clients, in a process of their own: this test binary again, told by a variable whom to push.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::crash::process::Account;

/// The variable that carries [`target`].
pub(super) const TARGET: &str = "RUNSTREAM_TEST_PUSH";
/// Bytes of log text in a batch.
const TEXT_BYTES: usize = 256 << 10;
/// Batches of one run at most, so that its whole log stays below the cap and can be compared.
const BATCHES_MAX: usize = 36;

/// Whom to push, and how.
pub(super) fn target(url: &str, account: &Account, clients: usize, pushing: Duration) -> String {
    let key = account.key.to_str().unwrap();
    json!({ "url": url, "project": account.project, "key": key, "clients": clients, "ms": pushing.as_millis() as u64 })
        .to_string()
}

#[derive(Default)]
struct Pushed {
    refused: u64,
    refused_without_retry_after: u64,
    other: u64,
    runs: Vec<(String, Vec<usize>)>,
}

#[tokio::test]
#[ignore = "the client process of the memory test"]
#[expect(clippy::disallowed_methods, reason = "how the test tells its client process whom to push")]
async fn push() {
    let Ok(target) = std::env::var(TARGET) else { return };
    let target: Arc<Value> = Arc::new(serde_json::from_str(&target).unwrap());
    let clients = (0..target["clients"].as_u64().unwrap()).map(|_| tokio::spawn(client(Arc::clone(&target))));
    let mut all = Pushed::default();
    for client in clients.collect::<Vec<_>>() {
        let pushed = client.await.unwrap();
        all.refused += pushed.refused;
        all.refused_without_retry_after += pushed.refused_without_retry_after;
        all.other += pushed.other;
        all.runs.extend(pushed.runs);
    }
    let acknowledged: usize = all.runs.iter().map(|(_, numbers)| numbers.len()).sum();
    let runs = all.runs.iter().map(|(task, numbers)| json!({ "task": task, "acknowledged": numbers }));
    println!(
        "{}",
        json!({
            "acknowledged": acknowledged, "refused": all.refused, "other": all.other,
            "refusedWithoutRetryAfter": all.refused_without_retry_after, "runs": runs.collect::<Vec<_>>()
        })
    );
}

/// Pushes without any pause; a refused batch is dropped, as the public reporter does.
async fn client(target: Arc<Value>) -> Pushed {
    let deadline = Instant::now() + Duration::from_millis(target["ms"].as_u64().unwrap());
    let address = target["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut post = async |path: &str, body: Bytes| {
        let request = Request::post(path)
            .header(header::HOST, address)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-api-key", target["key"].as_str().unwrap())
            .body(Full::new(body))
            .unwrap();
        sender.ready().await.unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    };
    let mut pushed = Pushed::default();
    let filling = "x".repeat(TEXT_BYTES);
    while Instant::now() < deadline {
        let setup = json!({
            "projectId": target["project"], "framework": "push", "reporterVersion": "1", "totalTests": 1
        });
        let (parts, body) = post("/api/ingest/setup", setup.to_string().into()).await;
        if parts.status == StatusCode::SERVICE_UNAVAILABLE || parts.status == StatusCode::TOO_MANY_REQUESTS {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let body: Value = serde_json::from_slice(&body).unwrap();
        let session = body["data"]["sessionId"].as_str().unwrap().to_owned();
        let task = body["data"]["taskId"].as_str().unwrap().to_owned();
        let mut acknowledged = Vec::new();
        for number in 0..BATCHES_MAX {
            if Instant::now() >= deadline {
                break;
            }
            let chunk = format!("{filling}\nbatch {number} of {task}\n");
            let events = json!([{ "type": "log", "chunk": chunk, "timestamp": 1 }]);
            let body = json!({ "sessionId": session, "events": events }).to_string();
            let (parts, _) = post("/api/ingest/event", body.into()).await;
            match parts.status {
                StatusCode::OK => acknowledged.push(number),
                StatusCode::SERVICE_UNAVAILABLE => {
                    pushed.refused += 1;
                    let retry_after = parts.headers.contains_key(header::RETRY_AFTER);
                    pushed.refused_without_retry_after += u64::from(!retry_after);
                }
                _ => pushed.other += 1,
            }
        }
        pushed.runs.push((task, acknowledged));
    }
    pushed
}
