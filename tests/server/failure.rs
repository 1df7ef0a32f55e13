//! A disk that breaks: from the first sync that fails nothing is acknowledged any more, the process is told to end, and
//! what was acknowledged before is there after a restart.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use runstream::config::Settings;
use runstream::server::{Seams, Server};
use serde_json::json;

use crate::support::account::Account;
use crate::support::disk::Disk;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_nothing_is_acknowledged_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings { data_folder: folder.path().to_owned(), ..Settings::default() };
    settings.server.port = 0;
    settings.server.drain_timeout = Duration::from_millis(100);
    settings.engine.append_wait = Duration::from_secs(2);
    let disk = Disk::default();
    let seams = Seams { fs: Arc::new(disk.clone()), ..Seams::default() };
    let server = Server::start(settings.clone(), seams).await.unwrap();
    let account = Account::sign_up(&server.base_url()).await;
    let (session, task) = account.open_run().await;
    let line = |chunk: &str| json!({ "sessionId": session, "events": [{ "type": "log", "chunk": chunk, "timestamp": 0 }] });
    let send = async |chunk: &str| {
        account.reporter.call(Method::POST, "/api/ingest/event", Some(&line(chunk))).await.unwrap()
    };
    assert_eq!(send("before").await.status, 200);

    disk.break_down();
    let refused = send("after").await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    let reason = tokio::time::timeout(Duration::from_secs(10), server.failed()).await.unwrap();
    assert!(reason.contains("the disk is broken"), "{reason}");
    assert_eq!(send("later").await.status, 503, "a store that failed stays failed");
    let health = account.reporter.call(Method::GET, "/health", None).await.unwrap();
    assert_eq!((health.status.as_u16(), &health.body["status"]), (503, &"degraded".into()));
    // It cannot be closed in order, and says so.
    assert!(server.shut_down().await.is_err());

    let again = Server::start(settings, Seams::default()).await.unwrap();
    let reader = account.reporter.at(&Account::client_of(&again.base_url()));
    let logs = reader.call(Method::GET, &format!("/api/executions/{task}/logs"), None).await.unwrap();
    let output = logs.body["data"]["output"].as_str().unwrap();
    assert_eq!(output.matches("before\n").count(), 1, "{output}");
    again.shut_down().await.unwrap();
}
