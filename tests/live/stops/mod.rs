//! `kill -9` between append and delivery, at each step: whatever of a batch was done by then, its reporter gets it
//! accepted once, and stock viewers end with what `/logs` returns.

mod server;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::channel::transports;
use super::restarts::insist;
use crate::crash::process::{Account, Deployment};
use crate::support::line::Line;
use crate::support::viewers::StockViewers;
use server::Stop;

/// A run that is being reported.
struct Run<'a> {
    account: &'a Account,
    session: Value,
    task: String,
    printed: i64,
}

impl<'a> Run<'a> {
    async fn open(account: &'a Account) -> Self {
        let setup = json!({
            "projectId": account.project, "framework": "playwright", "reporterVersion": "1", "totalTests": 0,
        });
        let mut opened = insist(&account.client, "/api/ingest/setup", &setup, StatusCode::CREATED).await;
        let task = opened["data"]["taskId"].as_str().unwrap().to_owned();
        Self { account, session: opened["data"]["sessionId"].take(), task, printed: 0 }
    }

    fn batch(&mut self, chunks: &[String]) -> Value {
        self.printed += 1;
        let timestamp = 1_774_000_000_000 + self.printed;
        let event = |chunk| json!({ "type": "log", "chunk": chunk, "timestamp": timestamp });
        // Numbered, so that it may be sent again at once.
        let batch = format!("{:08x}:{}", 1, self.printed);
        let events: Vec<_> = chunks.iter().map(event).collect();
        json!({ "sessionId": self.session, "batch": batch, "events": events })
    }

    async fn print(&mut self, chunk: &str) {
        let batch = self.batch(&[chunk.to_owned()]);
        insist(&self.account.client, "/api/ingest/event", &batch, StatusCode::OK).await;
    }

    async fn text(&self) -> String {
        let logs = self.account.get(&format!("/api/executions/{}/logs", self.task)).await;
        logs["data"]["output"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_step_between_append_and_delivery_costs_viewers_nothing() {
    let start = |stop: Stop| move |data: &Path, port| server::spawn(stop, data, port);
    let mut deployment = Deployment::start_as(start(Stop::ALL[0])).await;
    let account = deployment.sign_up().await;
    let line = Line::to(deployment.port(), 1).await;
    let mut wanted = Vec::new();
    for client in ["4.6", "4.8"] {
        for transports in transports() {
            wanted.push(json!({ "client": client, "transports": transports, "token": account.token }));
        }
    }
    let mut viewers = StockViewers::start(&line.url, &wanted);
    viewers.until_welcome().await;
    let mut texts = BTreeMap::new();
    for (n, stop) in Stop::ALL.into_iter().enumerate() {
        let mut run = Run::open(&account).await;
        run.print(&format!("before {stop:?} 👩‍👩‍👧‍👦")).await;
        texts.insert(run.task.clone(), run.text().await);
        let all: Vec<_> = (0..wanted.len()).map(|viewer| (viewer, &texts)).collect();
        viewers.until_complete(&all).await;

        // More than any buffer between the two takes at once, where a part of a frame is wanted.
        let size = if stop == Stop::Begun { 1_000_000 } else { 50 };
        let mark = stop.mark();
        let chunks: Vec<_> = (0..6).map(|n| format!("{n} {mark} é {}", "z".repeat(size))).collect();
        let batch = run.batch(&chunks);
        let sent = account.client.call(Method::POST, "/api/ingest/event", Some(&batch));
        let (answer, status) = tokio::join!(sent, deployment.until_dead());
        assert_eq!(status.signal(), Some(9), "{stop:?}");
        assert_eq!(
            answer.is_ok_and(|answer| answer.status == StatusCode::OK),
            stop.is_answered(),
            "{stop:?}"
        );
        if stop != Stop::Begun {
            for one in viewers.seen().await {
                let text = one.outputs[&run.task].as_str().unwrap();
                assert!(!text.contains(&mark), "{stop:?}: it was delivered before");
            }
        }

        match Stop::ALL.get(n + 1) {
            Some(next) => deployment.restart_as(start(*next)),
            None => deployment.restart().await,
        }
        deployment.until_healthy().await;
        // The reporter tries again if it was not answered, and goes on.
        insist(&account.client, "/api/ingest/event", &batch, StatusCode::OK).await;
        run.print("after").await;
        let text = run.text().await;
        assert_eq!(text.matches(&mark).count(), 6, "{stop:?}: the batch is stored once");
        texts.insert(run.task.clone(), text);
        let all: Vec<_> = (0..wanted.len()).map(|viewer| (viewer, &texts)).collect();
        for one in viewers.until_complete(&all).await {
            one.must_have(&texts);
            assert_eq!(one.recovered + 1, one.connects, "{stop:?}: {:?}", one.reasons);
        }
    }
    deployment.terminate().await;
}
