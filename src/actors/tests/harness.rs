//! An engine to be driven step by step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::disk::Disk;
use crate::actors::feed::{Delivery, Frame, Window};
use crate::actors::finish::FinishPipeline;
use crate::actors::{Applied, Delivered, Engine, EngineError, EngineSettings, Opened, TornDown};
use crate::clock::{Clock, ManualClock, UnixMs};
use crate::domain::account::{AuditEntry, Organization, User};
use crate::domain::batch::{Batch, BatchNumber, Item, Receipt, Span, TestStatus};
use crate::domain::execution::{Execution, Summary};
use crate::domain::id::{AuditId, OrgId, ProjectId, UserId};
use crate::domain::project::Project;
use crate::domain::role::{AccountStatus, Role};
use crate::domain::setup::SetupRequest;
use crate::domain::teardown::TeardownRequest;
use crate::store::contract::{Accounts, Projects, Store};
use crate::store::lsm::{LsmSettings, LsmStore};

/// 20 March 2026.
pub(super) const START_MS: UnixMs = 1_774_000_000_000;

/// Keeps every window.
#[derive(Default)]
pub(super) struct Viewer {
    windows: Mutex<Vec<Arc<Window>>>,
    /// Whether nobody is watching.
    pub(super) is_away: AtomicBool,
}

impl Delivery for Viewer {
    fn has_viewers(&self, _org: OrgId) -> bool {
        !self.is_away.load(Ordering::Acquire)
    }

    fn sealed(&self, _org: OrgId, window: &Arc<Window>) {
        self.windows.lock().unwrap().push(Arc::clone(window));
    }
}

/// An engine, what is below it, and one organization with a project.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: ManualClock,
    pub(super) disk: Disk,
    pub(super) viewer: Arc<Viewer>,
    pub(super) org: OrgId,
    pub(super) user: UserId,
    pub(super) project: ProjectId,
    settings: EngineSettings,
    data: Arc<tempfile::TempDir>,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(EngineSettings::default()).await
    }

    pub(super) async fn with(settings: EngineSettings) -> Self {
        Self::over(settings, |store| store).await
    }

    /// A rig whose engine sees its store as `wrap` shows it; after a restart it sees it as it is.
    pub(super) async fn over(
        settings: EngineSettings,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let data = Arc::new(tempfile::tempdir().unwrap());
        let (disk, clock) = (Disk::default(), ManualClock::at(START_MS));
        let store = LsmStore::open(LsmSettings::at(data.path()), Arc::new(disk.clone())).await.unwrap();
        let (org, user, project) = people(&store).await;
        let store: Arc<dyn Store> = Arc::new(store);
        let viewer = Arc::new(Viewer::default());
        let engine = start(&wrap(Arc::clone(&store)), &clock, &viewer, &settings).await;
        Self { engine, store, clock, disk, viewer, org, user, project, settings, data }
    }

    /// Takes the engine down and starts another one on the same store files.
    pub(super) async fn restart(self) -> Self {
        let Self { engine, store, clock, disk, viewer, org, user, project, settings, data } = self;
        engine.drain().await;
        drop(engine);
        store.shut_down().await.unwrap();
        assert_eq!(Arc::strong_count(&store), 1, "a drained engine lets go of its store");
        drop(store);
        let store = LsmStore::open(LsmSettings::at(data.path()), Arc::new(disk.clone())).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let engine = start(&store, &clock, &viewer, &settings).await;
        Self { engine, store, clock, disk, viewer, org, user, project, settings, data }
    }

    /// Opens a run; viewers are told at once.
    pub(super) async fn open(&self) -> Opened {
        let opened = self.engine.set_up(self.org, self.user, self.setup()).await.unwrap();
        self.engine.deps.feed(self.org).flush().await;
        opened
    }

    pub(super) fn setup(&self) -> SetupRequest {
        SetupRequest {
            project: self.project,
            run_name: None,
            framework: "playwright".into(),
            reporter_version: "1".into(),
            total_tests: 2,
            environment: "production".into(),
            ci_context: None,
            group_name: None,
        }
    }

    pub(super) async fn send(&self, run: &Opened, delivered: Delivered) -> Result<Applied, EngineError> {
        self.engine.ingest(self.org, run.session, delivered).await
    }

    pub(super) async fn tear_down(&self, run: &Opened, passed: bool) -> Result<TornDown, EngineError> {
        let summary = Summary { total: 2, passed: 1, failed: 1, skipped: 0, duration: 9 };
        let request = TeardownRequest { session: run.session, passed, summary, delivery: None };
        self.engine.tear_down(self.org, request).await
    }

    pub(super) async fn text(&self, run: &Opened) -> String {
        self.store.whole_text(self.org, run.execution).await.unwrap().unwrap().text
    }

    pub(super) async fn execution(&self, run: &Opened) -> Execution {
        self.store.execution(self.org, run.execution).await.unwrap().unwrap()
    }

    /// A batch that appends `line`; other bytes with each `digest`.
    pub(super) fn line(&self, digest: u128, line: &str) -> Delivered {
        let text = format!("{line}\n");
        let item = Item::Log { test: None, stream: None, text_end: u32::try_from(text.len()).unwrap() };
        self.delivered(digest, text, "", vec![item])
    }

    /// A batch in which the test `id` ends.
    pub(super) fn end(&self, digest: u128, id: &str, status: TestStatus) -> Delivered {
        let text = format!("{id} {status:?}\n");
        let item = Item::End {
            test: Span { start: 0, len: u32::try_from(id.len()).unwrap() },
            status,
            duration_ms: 1,
            error: None,
            timestamp_ms: 1,
            runtime_context: None,
            extra: None,
            attempt_count: 0,
            recorded: false,
            text_end: u32::try_from(text.len()).unwrap(),
        };
        self.delivered(digest, text, id, vec![item])
    }

    pub(super) fn delivered(&self, digest: u128, text: String, strings: &str, items: Vec<Item>) -> Delivered {
        let received = u32::try_from(items.len()).unwrap();
        let text_units = text.encode_utf16().count() as u64;
        let (strings, items) = (strings.to_owned().into(), items.into());
        let batch = Batch { text: text.into(), text_units, strings, items, received, ..Batch::default() };
        let received_ms = self.clock.now_ms();
        let receipt = Receipt { received_ms, digest, nonce: rand::random(), body_bytes: 1, number: None };
        Delivered { receipt, batch, permit: None }
    }

    /// The same batch under a number of the client's.
    pub(super) fn numbered(&self, n: u64, line: &str) -> Delivered {
        let mut delivered = self.line(u128::from(n), line);
        delivered.receipt.number = Some(BatchNumber { writer: 1, n });
        delivered
    }

    /// Moves the clock and lets everything that it wakes have its turn.
    pub(super) async fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Moves the clock second by second until `done`.
    pub(super) async fn until<F: Future<Output = bool>>(&self, done: impl Fn() -> F) {
        for _ in 0..500 {
            if done().await {
                return;
            }
            self.pass(Duration::from_secs(1)).await;
        }
        panic!("it did not happen");
    }

    /// What viewers were sent of everything that was acknowledged: whoever sent something has the answer a moment before
    /// the feed knows, which on a busy machine is a long moment.
    pub(super) async fn windows(&self) -> Vec<Arc<Window>> {
        let feed = self.engine.deps.feed(self.org);
        let decided = async {
            while feed.is_undecided() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), decided)
            .await
            .expect("the feed learns what became of it");
        self.windows_so_far().await
    }

    /// What viewers were sent until now.
    pub(super) async fn windows_so_far(&self) -> Vec<Arc<Window>> {
        self.engine.deps.feed(self.org).flush().await;
        self.viewer.windows.lock().unwrap().clone()
    }

    /// The frames of that.
    pub(super) async fn frames(&self) -> Vec<Frame> {
        self.windows().await.iter().flat_map(|window| window.frames.clone()).collect()
    }

    /// What viewers were told of updates so far, as JSON.
    pub(super) async fn updates(&self, run: &Opened) -> Vec<serde_json::Value> {
        let frames = self.frames().await;
        let bodies = frames.iter().filter_map(|frame| match frame {
            Frame::Updated { task, body } if *task == run.task => Some(serde_json::from_slice(body).unwrap()),
            _ => None,
        });
        bodies.collect()
    }

    /// What viewers have seen of the run's log.
    pub(super) async fn seen(&self, run: &Opened) -> String {
        let frames = self.frames().await;
        let mut seen = String::new();
        for frame in frames {
            if let Frame::Log { task, offset, text } = frame
                && task == run.task
            {
                assert_eq!(offset, seen.encode_utf16().count() as u64, "frames join without gap or overlap");
                seen.push_str(std::str::from_utf8(&text).unwrap());
            }
        }
        seen
    }
}

async fn start(
    store: &Arc<dyn Store>,
    clock: &ManualClock,
    viewer: &Arc<Viewer>,
    settings: &EngineSettings,
) -> Engine {
    let (store, clock, viewer) = (Arc::clone(store), Arc::new(clock.clone()), Arc::clone(viewer));
    Engine::start(store, clock, viewer, FinishPipeline::default(), settings.clone()).await.unwrap()
}

async fn people(store: &LsmStore) -> (OrgId, UserId, ProjectId) {
    let (org, user, project) =
        (OrgId::generate(START_MS), UserId::generate(START_MS), ProjectId::generate(START_MS));
    let audit = || AuditEntry {
        id: AuditId::generate(START_MS),
        org,
        user,
        action: "test".into(),
        target_type: "test".into(),
        target_id: String::new(),
        details: "{}".into(),
        ip: String::new(),
        timestamp_ms: START_MS,
    };
    let organization = Organization {
        id: org,
        name: "Pinewood".into(),
        slug: "pinewood".into(),
        ai_analysis_enabled: true,
        created_ms: START_MS,
        updated_ms: START_MS,
    };
    let person = User {
        id: user,
        org,
        email: "rosa@pinewood.test".into(),
        name: "Rosa".into(),
        password_hash: String::new(),
        role: Role::Admin,
        status: AccountStatus::Active,
        credentials_valid_from_ms: 0,
        last_login_ms: None,
        created_ms: START_MS,
        updated_ms: START_MS,
    };
    store.sign_up(organization, "pinewood-1".into(), person, audit(), None).await.unwrap();
    let shop = Project {
        id: project,
        org,
        name: "Shop".into(),
        slug: "shop".into(),
        auto_quarantine: false,
        created_ms: START_MS,
        updated_ms: START_MS,
    };
    store.create_project(shop, 10, audit()).await.unwrap();
    (org, user, project)
}
