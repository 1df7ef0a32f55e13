//! The real binary on a data folder and a port of its own, to be killed and started again.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use runstream::cli::client::{Answer, Client};
use runstream::dial::TcpDial;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::support::beneath::Beneath;

/// How long a start may take before the test gives up.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server that survives its own death.
pub(crate) struct Deployment {
    data: tempfile::TempDir,
    port: u16,
    child: Child,
    client: Client,
}

/// What a reporter needs.
#[derive(Clone)]
pub(crate) struct Account {
    /// Sends the API key.
    pub(crate) client: Client,
    pub(crate) project: String,
    /// The key, for clients of another make.
    pub(crate) key: HeaderValue,
    /// The person's, for dashboards.
    pub(crate) token: String,
}

/// Somebody who sets a deployment up.
pub(crate) struct Person;

impl Person {
    /// Signs up at the server, makes a project and a key.
    pub(crate) async fn sign_up(base_url: &str) -> Account {
        Self::sign_up_as(base_url, "ada").await
    }

    /// The same as somebody with an organization of their own.
    pub(crate) async fn sign_up_as(base_url: &str, name: &str) -> Account {
        let client = Client::new(Arc::new(TcpDial { timeout: START_TIMEOUT }), base_url).unwrap();
        let body = json!({
            "email": format!("{name}@crash.test"), "password": "Correct-Horse-9!", "name": name,
            "organizationName": name,
        });
        let token = created(&client, "/api/auth/signup", body).await["token"].as_str().unwrap().to_owned();
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        let person = client.clone().with_header(http::header::AUTHORIZATION, bearer);
        let project =
            created(&person, "/api/projects", json!({ "name": "Crash" })).await["project"]["id"].clone();
        let key = created(&person, "/api/auth/api-keys", json!({})).await["apiKey"].clone();
        let key = HeaderValue::from_str(key.as_str().unwrap()).unwrap();
        let client = client.with_header("x-api-key".parse().unwrap(), key.clone());
        Account { client, project: project.as_str().unwrap().to_owned(), key, token }
    }
}

async fn created(client: &Client, path: &str, body: Value) -> Value {
    let Answer { status, body, .. } = client.call(Method::POST, path, Some(&body)).await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{path}: {body}");
    body
}

impl Account {
    /// The body of a 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.client.call(Method::GET, path, None).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.body
    }
}

/// What the server's metrics say of its journal.
pub(crate) struct Journal {
    /// Syncs since its start.
    pub(crate) syncs: f64,
}

impl Deployment {
    /// Starts a server on an empty data folder and waits until it is healthy.
    pub(crate) async fn start() -> Self {
        Self::start_as(spawn).await
    }

    /// The same with this in its configuration file.
    pub(crate) async fn configured(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("runstream.toml"), configuration).unwrap();
        Self::start_in(folder, spawn).await
    }

    /// The same over one of the stores.
    pub(crate) async fn over(beneath: &Beneath) -> Self {
        let folder = tempfile::tempdir().unwrap();
        beneath.configure(folder.path());
        Self::start_in(folder, spawn).await
    }

    /// The same as [`Deployment::start`] with another program.
    pub(crate) async fn start_as(spawn: impl FnOnce(&std::path::Path, u16) -> Child) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), spawn).await
    }

    async fn start_in(data: tempfile::TempDir, spawn: impl FnOnce(&std::path::Path, u16) -> Child) -> Self {
        let port = lasting_port();
        let child = spawn(data.path(), port);
        let client =
            Client::new(Arc::new(TcpDial { timeout: START_TIMEOUT }), &format!("http://127.0.0.1:{port}"))
                .unwrap();
        let mut deployment = Self { data, port, child, client };
        deployment.until_healthy().await;
        deployment
    }

    /// Signs up and makes a project and a key.
    pub(crate) async fn sign_up(&self) -> Account {
        self.sign_up_as("ada").await
    }

    /// The same as somebody with an organization of their own.
    pub(crate) async fn sign_up_as(&self, name: &str) -> Account {
        Person::sign_up_as(&format!("http://127.0.0.1:{}", self.port), name).await
    }

    /// Somebody who signed up at another server of the same cluster, at this one.
    pub(crate) fn known_to(&self, account: &Account) -> Account {
        Account { client: account.client.at(&self.client), ..account.clone() }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Resident memory of the process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    /// The most it ever had.
    pub(crate) fn most_resident_bytes(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    fn memory_bytes(&self, of: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with(of)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Bytes of the journal's files, preallocated space included.
    pub(crate) fn journal_file_bytes(&self) -> u64 {
        self.journal_files().iter().map(|file| file.metadata().unwrap().len()).sum()
    }

    /// Reads and checksums every journal file; returns the bytes.
    pub(crate) fn read_journal(&self) -> usize {
        let read = |file: &std::path::PathBuf| {
            let bytes = std::fs::read(file).unwrap();
            std::hint::black_box(crc32fast::hash(&bytes));
            bytes.len()
        };
        self.journal_files().iter().map(read).sum()
    }

    fn journal_files(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.data.path().join("journal")).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    }

    /// The journal's metrics.
    pub(crate) async fn journal(&self) -> Journal {
        let answer = self.client.stream("/metrics", http::HeaderMap::new()).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        Journal { syncs: value("runstream_journal_sync_seconds_count") }
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts the binary again on the same data folder and port, without waiting for it.
    pub(crate) async fn restart(&mut self) {
        self.restart_as(spawn);
    }

    /// The same with another program.
    pub(crate) fn restart_as(&mut self, spawn: impl FnOnce(&std::path::Path, u16) -> Child) {
        self.child = spawn(self.data.path(), self.port);
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn until_dead(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(START_TIMEOUT, self.child.wait()).await.expect("it ends").unwrap()
    }

    /// Waits until `/health` answers 200.
    pub(crate) async fn until_healthy(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended by itself: {status}");
            }
            if self
                .client
                .call(Method::GET, "/health", None)
                .await
                .is_ok_and(|answer| answer.status == StatusCode::OK)
            {
                return;
            }
            assert!(Instant::now() < deadline, "the server did not become healthy");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the server in good order and checks that it says so; returns its data folder.
    pub(crate) async fn terminate(mut self) -> tempfile::TempDir {
        self.end().await;
        self.data
    }

    /// The same, and it may be started again.
    pub(crate) async fn end(&mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

/// A port that nobody takes while the server is dead: a free one below those that the system hands out by itself, to
/// listeners of other tests and to every client.
fn lasting_port() -> u16 {
    let mut candidates = std::iter::repeat_with(|| rand::random_range(10_000..32_000));
    candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn spawn(data: &std::path::Path, port: u16) -> Child {
    Command::new(env!("CARGO_BIN_EXE_runstream"))
        .arg("serve")
        .current_dir(data)
        .env("RUNSTREAM_DATA_FOLDER", data)
        .env("RUNSTREAM_SERVER_PORT", port.to_string())
        // Tiers are tested elsewhere; here they would only slow the load down.
        .env("RUNSTREAM_RATES_INGEST_EVENT_PER_MINUTE", "1000000")
        .env("RUNSTREAM_RATES_INGEST_LIFECYCLE_PER_MINUTE", "1000000")
        .env("RUNSTREAM_RATES_API_PER_MINUTE", "1000000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
