//! A whole server in this process that can be restarted, and organizations whose reporters feed runs into it. Everything
//! goes over sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use runstream::access::PasswordSettings;
use runstream::cli::client::{Answer, Client};
use runstream::clock::{Clock, SystemClock};
use runstream::config::Settings;
use runstream::dial::TcpDial;
use runstream::server::{RunningServer, Seams, Server};
use runstream::store::contract::Store;
use serde_json::{Value, json};

use super::beneath::Beneath;

/// A server and its folder.
pub(crate) struct Stage {
    server: Option<RunningServer>,
    settings: Settings,
    seams: Seams,
    folder: tempfile::TempDir,
}

impl Stage {
    /// A server on the machine's clock.
    pub(crate) async fn start() -> Self {
        Self::start_with(Arc::new(SystemClock), |_| {}).await
    }

    /// A server on `clock` and one of the stores.
    pub(crate) async fn over(beneath: &Beneath, clock: Arc<dyn Clock>) -> Self {
        Self::start_with(clock, |settings| beneath.choose(settings)).await
    }

    /// A server on `clock`, with its settings changed by `change`.
    pub(crate) async fn start_with(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_on(Seams { clock, ..Seams::default() }, change).await
    }

    /// A server in a world of its own. Rates are raised out of the way before `change` sees the settings.
    pub(crate) async fn start_on(seams: Seams, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings { data_folder: folder.path().to_owned(), ..Settings::default() };
        settings.server.port = 0;
        settings.access.passwords =
            PasswordSettings { memory_kib: 64, passes: 1, ..PasswordSettings::default() };
        unlimited(&mut settings);
        change(&mut settings);
        let mut stage = Self { server: None, settings, seams, folder };
        stage.boot().await;
        stage
    }

    async fn boot(&mut self) {
        let server = Server::start(self.settings.clone(), self.seams.clone()).await.unwrap();
        // The next server listens where this one did, so that clients find it again.
        self.settings.server.port = server.address().port();
        self.server = Some(server);
    }

    /// Ends the server in order and starts the next one on the same folder and port.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    /// Ends the server in order.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shut_down().await.unwrap();
        }
    }

    /// Starts the next server.
    pub(crate) async fn resume(&mut self) {
        self.boot().await;
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.settings.server.port)
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the server keeps everything in.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.server.as_ref().unwrap().store()
    }

    /// A client without a credential.
    pub(crate) fn client(&self) -> Client {
        let dial = Arc::new(TcpDial { timeout: Duration::from_secs(5) });
        Client::new(dial, &self.url()).unwrap()
    }

    /// Signs up an organization with its first member, a project and a key.
    pub(crate) async fn organization(&self, name: &str) -> Organization {
        let client = self.client();
        let body = json!({
            "email": format!("{name}@pinewood.test"), "password": "Correct-horse-1!", "name": name,
            "organizationName": name,
        });
        let token = text(&ok(client.call(Method::POST, "/api/auth/signup", Some(&body)).await), "/token");
        let member = with_header(&client, AUTHORIZATION, &format!("Bearer {token}"));
        let project = post(&member, "/api/projects", &json!({ "name": "Web shop" })).await;
        let key = post(&member, "/api/auth/api-keys", &json!({})).await;
        let key = text(&key, "/apiKey");
        let reporter = with_header(&client, HeaderName::from_static("x-api-key"), &key);
        Organization { project: text(&project, "/project/id"), key, member, reporter }
    }
}

/// Lifts the rate tiers that a test of something else would run into.
fn unlimited(settings: &mut Settings) {
    let tiers = &mut settings.access.tiers;
    for quota in [&mut tiers.auth, &mut tiers.api, &mut tiers.ingest_event, &mut tiers.ingest_lifecycle] {
        quota.capacity = 1_000_000;
    }
}

/// An organization with everything a reporter needs.
pub(crate) struct Organization {
    /// Its project.
    pub(crate) project: String,
    /// Its member's key.
    pub(crate) key: String,
    /// Speaks with the token.
    pub(crate) member: Client,
    /// Speaks with the key.
    pub(crate) reporter: Client,
}

/// A run that is being fed.
pub(crate) struct Run {
    /// Its session.
    pub(crate) session: String,
    /// Its name.
    pub(crate) task: String,
    reporter: Client,
}

impl Organization {
    /// Opens a run.
    pub(crate) async fn open(&self) -> Run {
        self.open_with(json!({})).await
    }

    /// Opens a run with further members in the setup.
    pub(crate) async fn open_with(&self, more: Value) -> Run {
        let mut body = json!({
            "projectId": self.project, "framework": "playwright", "reporterVersion": "1.0.0", "totalTests": 3,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let opened = post(&self.reporter, "/api/ingest/setup", &body).await;
        assert_eq!(opened.status, 201, "{}", opened.body);
        Run {
            session: text(&opened, "/data/sessionId"),
            task: text(&opened, "/data/taskId"),
            reporter: self.reporter.clone(),
        }
    }
}

impl Run {
    /// Where it is read.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/executions/{}{rest}", self.task)
    }

    /// Sends events; they must be accepted.
    pub(crate) async fn send(&self, events: Value) -> Answer {
        let body = json!({ "sessionId": self.session, "events": events });
        post(&self.reporter, "/api/ingest/event", &body).await
    }

    /// Sends log text, one chunk.
    pub(crate) async fn log(&self, chunk: &str) {
        self.send(json!([log(chunk)])).await;
    }

    /// Ends the run.
    pub(crate) async fn end(&self, status: &str) -> Answer {
        let summary = json!({ "total": 3, "passed": 1, "failed": 1, "skipped": 1, "duration": 1200 });
        let body = json!({ "sessionId": self.session, "status": status, "summary": summary });
        post(&self.reporter, "/api/ingest/teardown", &body).await
    }
}

/// A `log` event.
pub(crate) fn log(chunk: &str) -> Value {
    json!({ "type": "log", "chunk": chunk, "timestamp": 1_774_000_000_000_i64 })
}

/// A `test-begin` event.
pub(crate) fn begin(test: &str, title: &str) -> Value {
    json!({ "type": "test-begin", "testId": test, "title": title, "file": "a.spec.ts", "timestamp": 1_774_000_000_000_i64 })
}

/// A `test-end` event.
pub(crate) fn end(test: &str, status: &str) -> Value {
    json!({ "type": "test-end", "testId": test, "status": status, "duration": 12, "timestamp": 1_774_000_000_500_i64 })
}

/// A client that sends one more header.
pub(crate) fn with_header(client: &Client, name: HeaderName, value: &str) -> Client {
    client.clone().with_header(name, HeaderValue::try_from(value).unwrap())
}

fn ok(answer: Result<Answer, runstream::cli::client::ClientError>) -> Answer {
    let answer = answer.unwrap();
    assert!(answer.status.is_success(), "{} {}", answer.status, answer.body);
    answer
}

/// Sends a request that must succeed.
pub(crate) async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    ok(client.call(Method::POST, path, Some(body)).await)
}

/// Reads what must be there.
pub(crate) async fn get(client: &Client, path: &str) -> Value {
    ok(client.call(Method::GET, path, None).await).body
}

/// Reads what may be refused.
pub(crate) async fn try_get(client: &Client, path: &str) -> Answer {
    client.call(Method::GET, path, None).await.unwrap()
}

/// The text at `pointer`.
pub(crate) fn text(answer: &Answer, pointer: &str) -> String {
    let found = answer.body.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {}", answer.body)).to_owned()
}

/// No headers.
pub(crate) fn no_headers() -> HeaderMap {
    HeaderMap::new()
}
