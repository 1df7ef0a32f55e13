//! A server on the machine's clock that can be restarted, with organizations that report runs and watch them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderValue, Method};
use runstream::cli::client::{Answer, Client};
use runstream::config::Settings;
use runstream::dial::TcpDial;
use runstream::server::{RunningServer, Seams, Server};
use runstream::store::contract::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::beneath::Beneath;

/// A running server with a data folder of its own.
pub(crate) struct Site {
    server: Option<RunningServer>,
    settings: Settings,
    seams: Seams,
    /// Where it is reached, base path included.
    pub(crate) url: String,
    _folder: TempDir,
}

/// An organization with one person, one project and one API key.
pub(crate) struct Org {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) project: String,
    pub(crate) key: String,
    /// Calls as the person.
    pub(crate) person: Client,
    /// Calls as a reporter.
    pub(crate) reporter: Client,
}

impl Site {
    /// A server on a free port, with rates that no test meets by accident.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| (), Seams::default()).await
    }

    /// The same, over one of the stores.
    pub(crate) async fn over(beneath: &Beneath) -> Self {
        Self::start_with(|settings| beneath.choose(settings), Seams::default()).await
    }

    /// The same, with other settings or seams.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Settings), seams: Seams) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.server.port = 0;
        settings.data_folder = folder.path().to_owned();
        for tier in [
            &mut settings.access.tiers.auth,
            &mut settings.access.tiers.api,
            &mut settings.access.tiers.ingest_event,
            &mut settings.access.tiers.ingest_lifecycle,
        ] {
            tier.capacity = 100_000;
        }
        adjust(&mut settings);
        let server = Server::start(settings.clone(), seams.clone()).await.unwrap();
        // A restart comes back where the clients look for it.
        settings.server.port = server.address().port();
        let url = server.base_url();
        Self { server: Some(server), settings, seams, url, _folder: folder }
    }

    /// Ends the server in good order.
    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().shut_down().await.unwrap();
    }

    /// Starts it again on what it kept.
    pub(crate) async fn start_again(&mut self) {
        self.server = Some(Server::start(self.settings.clone(), self.seams.clone()).await.unwrap());
    }

    /// What it remembers.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.server.as_ref().unwrap().store()
    }

    /// A client that says nothing about itself.
    pub(crate) fn stranger(&self) -> Client {
        let dial = TcpDial { timeout: Duration::from_secs(10) };
        Client::new(Arc::new(dial), &self.url).unwrap()
    }

    /// A new organization.
    pub(crate) async fn org(&self, name: &str) -> Org {
        let stranger = self.stranger();
        let account = json!({
            "email": format!("{name}@example.com"),
            "password": "Correct-horse-7!",
            "name": name,
            "organizationName": format!("{name} organization"),
        });
        let signed_in = expect(201, post(&stranger, "/api/auth/signup", account).await);
        let token = text(&signed_in["token"]);
        let person = stranger.clone().with_header(AUTHORIZATION, value(&format!("Bearer {token}")));
        let made = expect(201, post(&person, "/api/projects", json!({ "name": "Web Shop" })).await);
        let project = text(&made["project"]["id"]);
        let made = expect(201, post(&person, "/api/auth/api-keys", json!({ "name": "tests" })).await);
        let key = text(&made["apiKey"]);
        let reporter = stranger.with_header(HeaderName::from_static("x-api-key"), value(&key));
        let user = &signed_in["user"];
        Org { id: text(&user["organizationId"]), token, project, key, person, reporter }
    }
}

/// A run that is being reported by hand.
pub(crate) struct Run {
    pub(crate) session: String,
    pub(crate) task: String,
    pub(crate) cycle: String,
}

impl Org {
    /// Opens a run.
    pub(crate) async fn set_up(&self) -> Run {
        let setup = json!({
            "projectId": self.project,
            "framework": "playwright",
            "reporterVersion": "2.1.0",
            "totalTests": 3,
            "runName": "nightly",
            "ciContext": { "source": "local" },
        });
        let data = expect(201, post(&self.reporter, "/api/ingest/setup", setup).await)["data"].take();
        Run { session: text(&data["sessionId"]), task: text(&data["taskId"]), cycle: text(&data["cycleId"]) }
    }

    /// Reports events.
    pub(crate) async fn report(&self, run: &Run, events: Value) -> Value {
        let batch = json!({ "sessionId": run.session, "events": events });
        expect(200, post(&self.reporter, "/api/ingest/event", batch).await)
    }

    /// Reports a piece of output. Each call is another batch, whatever it prints: identical bytes a second apart would
    /// be taken for a batch that was sent again.
    pub(crate) async fn print(&self, run: &Run, chunk: &str) {
        static PRINTED: AtomicU64 = AtomicU64::new(1_774_000_000_000);
        let timestamp = PRINTED.fetch_add(1, Ordering::Relaxed);
        self.report(run, json!([{ "type": "log", "chunk": chunk, "timestamp": timestamp }])).await;
    }

    /// Ends a run.
    pub(crate) async fn tear_down(&self, run: &Run, status: &str) -> Value {
        let summary = json!({ "total": 3, "passed": 1, "failed": 1, "skipped": 1, "duration": 1_234 });
        let teardown = json!({ "sessionId": run.session, "status": status, "summary": summary });
        expect(200, post(&self.reporter, "/api/ingest/teardown", teardown).await)
    }

    /// The `data` of a GET.
    pub(crate) async fn get(&self, path: &str) -> Value {
        expect(200, self.person.call(Method::GET, path, None).await.unwrap())["data"].take()
    }

    /// `GET …/logs`.
    pub(crate) async fn logs(&self, task: &str) -> String {
        text(&self.get(&format!("/api/executions/{task}/logs")).await["output"])
    }
}

/// Sends a POST.
pub(crate) async fn post(client: &Client, path: &str, body: Value) -> Answer {
    client.call(Method::POST, path, Some(&body)).await.unwrap()
}

/// The body of an answer that must have this status.
pub(crate) fn expect(status: u16, answer: Answer) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    answer.body
}

/// The text of a JSON string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap()
}
