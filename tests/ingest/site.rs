//! The door on a real socket, over a real engine and store, on a clock that the test moves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use runstream::access::{Access, AccessSettings, Secrets};
use runstream::actors::feed::{Delivery, Window};
use runstream::actors::finish::FinishPipeline;
use runstream::actors::{Engine, EngineSettings};
use runstream::clock::{Clock, ManualClock};
use runstream::domain::account::{ApiKey, AuditEntry, Organization, User};
use runstream::domain::id::{ApiKeyId, AuditId, OrgId, ProjectId, TaskId, UserId};
use runstream::domain::project::Project;
use runstream::domain::role::{AccountStatus, Role};
use runstream::fs::OsFs;
use runstream::ingest::{IngestDoor, IngestSettings};
use runstream::store::contract::Store;
use runstream::store::lsm::{LsmSettings, LsmStore};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::wire::{Answer, Wire};

/// When every test begins; Unix milliseconds.
pub(super) const START: i64 = 1_774_000_000_000;

/// Nobody watches.
struct Unwatched;

impl Delivery for Unwatched {
    fn has_viewers(&self, _org: OrgId) -> bool {
        false
    }

    fn sealed(&self, _org: OrgId, _window: &Arc<Window>) {}
}

/// What a test may change before it starts.
#[derive(Default)]
pub(super) struct Setting {
    pub(super) access: AccessSettings,
    pub(super) engine: EngineSettings,
    pub(super) ingest: IngestSettings,
}

/// A door that listens.
pub(super) struct Site {
    pub(super) clock: ManualClock,
    pub(super) store: Arc<dyn Store>,
    pub(super) engine: Engine,
    pub(super) door: IngestDoor,
    access: Access,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Site {
    pub(super) async fn start() -> Self {
        Self::start_with(Setting::default()).await
    }

    pub(super) async fn start_with(setting: Setting) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(START);
        let lsm = LsmStore::open(LsmSettings::at(folder.path()), Arc::new(OsFs)).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(lsm);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let access =
            Access::new(Arc::clone(&store) as _, Arc::clone(&shared), &Secrets::generate(), setting.access);
        let pipeline = FinishPipeline::new(Vec::new());
        let engine = Engine::start(
            Arc::clone(&store),
            Arc::clone(&shared),
            Arc::new(Unwatched),
            pipeline,
            setting.engine,
        )
        .await
        .unwrap();
        let door = IngestDoor::new(engine.clone(), access.clone(), shared, setting.ingest);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, door.clone()));
        Self { clock, store, engine, door, access, address, accepting, _folder: folder }
    }

    pub(super) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// A new organization with one member of this role, a project and a key.
    pub(super) async fn reporter(&self, role: Role) -> Reporter {
        let (org, user) = (OrgId::generate(START), UserId::generate(START));
        let name = user.to_string();
        let organization = Organization {
            id: org,
            name: name.clone(),
            slug: name.clone(),
            ai_analysis_enabled: false,
            created_ms: START,
            updated_ms: START,
        };
        let user = User {
            id: user,
            org,
            email: format!("{name}@runstream.test"),
            name,
            password_hash: String::new(),
            role,
            status: AccountStatus::Active,
            credentials_valid_from_ms: 0,
            last_login_ms: None,
            created_ms: START,
            updated_ms: START,
        };
        let stored = self
            .store
            .sign_up(organization, "fallback".to_owned(), user.clone(), audit(org, user.id), None)
            .await;
        stored.unwrap();
        let project = Project {
            id: ProjectId::generate(START),
            org,
            name: "Web Shop".to_owned(),
            slug: "web-shop".to_owned(),
            auto_quarantine: false,
            created_ms: START,
            updated_ms: START,
        };
        let id = project.id;
        self.store.create_project(project, 10, audit(org, user.id)).await.unwrap();
        let token = self.access.issue_token(&user).unwrap().token;
        let key = self.key(org, user.id).await;
        Reporter { org, user, project: id, key, token }
    }

    /// One more key of a member.
    pub(super) async fn key(&self, org: OrgId, owner: UserId) -> String {
        let new = self.access.generate_key();
        let key = ApiKey {
            id: ApiKeyId::generate(START),
            org,
            owner,
            name: "ci".to_owned(),
            prefix: new.prefix.clone(),
            hash: new.hash,
            created_ms: START,
            last_used_ms: None,
        };
        self.store.create_key(key, 50, audit(org, owner)).await.unwrap();
        new.text
    }

    /// Changes the account behind a reporter.
    pub(super) async fn suspend(&self, reporter: &Reporter) {
        let user = User { status: AccountStatus::Suspended, ..reporter.user.clone() };
        let (id, suspending) = (user.id, self.store.update_user(user, None));
        assert!(self.access.voiding(id, suspending).await.unwrap());
    }

    /// Sends a JSON body with a reporter's key.
    pub(super) async fn post(&self, reporter: &Reporter, endpoint: &str, body: &Value) -> Answer {
        self.post_text(&reporter.key, endpoint, &body.to_string()).await
    }

    /// Sends a body as it is.
    pub(super) async fn post_text(&self, key: &str, endpoint: &str, body: &str) -> Answer {
        self.post_bytes(key, endpoint, &[], body.as_bytes()).await
    }

    /// Sends a body with further headers.
    pub(super) async fn post_bytes(
        &self,
        key: &str,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut wire = self.connect().await;
        let mut head = format!(
            "POST /api/ingest/{endpoint} HTTP/1.1\r\nhost: ci.test\r\nx-api-key: {key}\r\ncontent-length: {}\r\n",
            body.len()
        );
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            head.push_str("content-type: application/json\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        wire.send(&[head.as_bytes(), b"\r\n", body].concat()).await;
        wire.answer().await
    }

    /// Opens a run.
    pub(super) async fn set_up(&self, reporter: &Reporter) -> Run {
        let answer = self.post(reporter, "setup", &reporter.setup()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let data = &answer.body["data"];
        Run {
            session: data["sessionId"].as_str().unwrap().to_owned(),
            task: TaskId::from(data["taskId"].as_str().unwrap()),
        }
    }

    /// Sends events to a run.
    pub(super) async fn events(&self, reporter: &Reporter, run: &Run, events: &[Value]) -> Answer {
        self.post(reporter, "event", &json!({ "sessionId": run.session, "events": events })).await
    }

    /// The whole log of a run.
    pub(super) async fn log(&self, reporter: &Reporter, run: &Run) -> String {
        let execution = self.store.execution_by_task(reporter.org, &run.task).await.unwrap().unwrap();
        self.store.whole_text(reporter.org, execution.id).await.unwrap().unwrap().text
    }

    /// What a run knows of what it lacks.
    pub(super) async fn completeness(
        &self,
        reporter: &Reporter,
        run: &Run,
    ) -> runstream::domain::execution::Completeness {
        let execution = self.store.execution_by_task(reporter.org, &run.task).await.unwrap().unwrap();
        self.engine.completeness(reporter.org, execution.id).await.unwrap().unwrap()
    }

    /// How many runs the organization has.
    pub(super) async fn runs(&self, reporter: &Reporter) -> u64 {
        let filter = runstream::store::contract::ExecutionFilter::default();
        self.store.executions(reporter.org, &filter, 1, 0).await.unwrap().total
    }

    /// Moves the clock.
    pub(super) fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
    }
}

/// Somebody who may or may not send runs.
pub(super) struct Reporter {
    pub(super) org: OrgId,
    pub(super) user: User,
    pub(super) project: ProjectId,
    pub(super) key: String,
    pub(super) token: String,
}

impl Reporter {
    /// A setup as the public reporter sends it.
    pub(super) fn setup(&self) -> Value {
        json!({
            "projectId": self.project.to_string(), "framework": "playwright", "reporterVersion": "2.0.1",
            "totalTests": 3, "environment": "staging", "runName": "nightly checkout",
            "ciContext": { "source": "gitlab", "repository": "shop/web", "branch": "main" },
        })
    }
}

/// A run that was opened.
pub(super) struct Run {
    pub(super) session: String,
    pub(super) task: TaskId,
}

/// A teardown as the public reporter sends it.
pub(super) fn teardown(run: &Run, status: &str) -> Value {
    let summary = json!({ "total": 3, "passed": 2, "failed": 1, "skipped": 0, "duration": 4211 });
    json!({ "sessionId": run.session, "status": status, "summary": summary })
}

/// A `log` event.
pub(super) fn log(chunk: &str) -> Value {
    json!({ "type": "log", "chunk": chunk, "timestamp": START })
}

/// A `test-end` event.
pub(super) fn end(test: &str, status: &str) -> Value {
    json!({ "type": "test-end", "testId": test, "status": status, "duration": 7, "timestamp": START })
}

fn audit(org: OrgId, user: UserId) -> AuditEntry {
    AuditEntry {
        id: AuditId::generate(START),
        org,
        user,
        action: "test.prepared".to_owned(),
        target_type: "user".to_owned(),
        target_id: user.to_string(),
        details: "{}".to_owned(),
        ip: "127.0.0.1".to_owned(),
        timestamp_ms: START,
    }
}

async fn accept(listener: TcpListener, door: IngestDoor) {
    while let Ok((stream, peer)) = listener.accept().await {
        let door = door.clone();
        let service = hyper::service::service_fn(move |request| {
            let door = door.clone();
            async move { Ok::<_, std::convert::Infallible>(door.answer(request, peer.ip()).await) }
        });
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // An error is a client that went away or spoke nonsense: some tests do just that.
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
