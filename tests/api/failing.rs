//! What clients hear when the store fails: the endpoint's own 500, without a word about why; 503 where the store is not
//! reached or has no room. The door alone, over a store with a switch.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use runstream::access::{Access, AccessSettings, PasswordSettings, Passwords, Secret, Secrets};
use runstream::actors::feed::{Delivery, Window};
use runstream::actors::finish::FinishPipeline;
use runstream::actors::{Engine, EngineSettings};
use runstream::api::{ApiSettings, App, Parts, router};
use runstream::clock::{Clock, ManualClock};
use runstream::dial::SystemResolve;
use runstream::domain::account::User;
use runstream::domain::id::OrgId;
use runstream::domain::plan::Plan;
use runstream::fs::OsFs;
use runstream::http::{Body, Peer, full};
use runstream::jobs::mail::{Mail, MailParts};
use runstream::jobs::watch::{UsageWatch, WatchParts};
use runstream::outbound::mail::Links;
use runstream::store::contract::{Accounts as _, Store, StoreError, StoreResult};
use runstream::store::lsm::{LsmSettings, LsmStore};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::site::{NOW_MS, PASSWORD};

/// What the store says when it fails; nobody outside may read it.
const INTERNALS: &str = "disk sda1 at 10.0.0.7 is gone";

/// What the monitor presents.
const MONITOR: [u8; 32] = *b"0123456789abcdef0123456789abcdef";

/// A store one of whose methods may fail.
struct Switched<S: ?Sized> {
    inner: Arc<S>,
    failing: Mutex<Option<(&'static str, StoreError)>>,
}

impl<S: ?Sized> Switched<S> {
    fn inner(&self) -> &S {
        &self.inner
    }

    async fn around<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let failing = self.failing.lock().unwrap().clone();
        match failing {
            Some((failing, error)) if failing == method => Err(error),
            _ => call.await,
        }
    }
}

runstream::decorate_store!(Switched);

struct Nobody;

impl Delivery for Nobody {
    fn has_viewers(&self, _org: OrgId) -> bool {
        false
    }

    fn sealed(&self, _org: OrgId, _window: &Arc<Window>) {}
}

/// The door over a store that does what it is told.
struct Door {
    router: axum::Router,
    store: Arc<Switched<LsmStore>>,
    clock: ManualClock,
    _folder: tempfile::TempDir,
}

impl Door {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(NOW_MS);
        let lsm = LsmStore::open(LsmSettings::at(folder.path()), Arc::new(OsFs)).await.unwrap();
        let store = Arc::new(Switched { inner: Arc::new(lsm), failing: Mutex::default() });
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let time: Arc<dyn Clock> = Arc::new(clock.clone());
        let pipeline = FinishPipeline::new(Vec::new());
        let settings = EngineSettings::default();
        let engine =
            Engine::start(Arc::clone(&shared), Arc::clone(&time), Arc::new(Nobody), pipeline, settings);
        let passwords = PasswordSettings { memory_kib: 64, passes: 1, ..PasswordSettings::default() };
        let access = Access::new(
            Arc::clone(&store) as _,
            Arc::clone(&time),
            &Secrets::generate(),
            AccessSettings::default(),
        );
        let sealer = Secrets::generate().sealer();
        let mail = Mail::new(MailParts {
            outbox: Arc::clone(&store) as _,
            clock: Arc::clone(&time),
            sealer: sealer.clone(),
            links: Links::new("http://localhost:3000"),
            postman: None,
        });
        let usage = UsageWatch::new(WatchParts {
            store: Arc::clone(&shared),
            clock: Arc::clone(&time),
            mail: mail.clone(),
            plan: Plan::Enterprise,
        });
        let app = App::new(Parts {
            store: shared,
            clock: time,
            mail,
            usage,
            engine: engine.await.unwrap(),
            access,
            passwords: Passwords::new(passwords).unwrap(),
            resolver: Arc::new(SystemResolve { timeout: Duration::from_secs(1) }),
            sealer,
            settings: ApiSettings {
                monitor_secret: Some(Secret::new(MONITOR).unwrap()),
                ..ApiSettings::default()
            },
            metrics: Box::new(String::new),
            document: Bytes::new(),
        });
        Self { router: router(app), store, clock, _folder: folder }
    }

    fn fail(&self, method: &'static str, error: StoreError) {
        *self.store.failing.lock().unwrap() = Some((method, error));
    }

    fn mend(&self) {
        *self.store.failing.lock().unwrap() = None;
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        // Fresh tiers and caches for each request.
        self.clock.advance(std::time::Duration::from_secs(61));
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("x-agnox-monitor-secret", str::from_utf8(&MONITOR).unwrap());
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(full(body.to_string())),
            None => request.body(Body::empty()),
        };
        let mut request = request.unwrap();
        request.extensions_mut().insert(Peer(SocketAddr::from(([127, 0, 0, 1], 4711))));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("sda1"), "internals are told: {body:?}");
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn sign_up(&self, name: &str) -> (u16, Value) {
        let form = json!({
            "email": format!("{name}@pinewood.test"), "password": PASSWORD, "name": name, "organizationName": "Pinewood",
        });
        self.ask(Method::POST, "/api/auth/signup", "", Some(&form)).await
    }

    async fn log_in(&self, password: &str) -> (u16, Value) {
        let body = json!({ "email": "rosa@pinewood.test", "password": password });
        self.ask(Method::POST, "/api/auth/login", "", Some(&body)).await
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable(INTERNALS.to_owned())
}

fn damaged() -> StoreError {
    StoreError::Damaged(INTERNALS.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_endpoint_has_its_own_failure() {
    let door = Door::open().await;
    let token = door.sign_up("rosa").await.1["token"].as_str().unwrap().to_owned();
    let key = door.ask(Method::POST, "/api/auth/api-keys", &token, None).await.1["data"]["id"].clone();
    let key = format!("/api/auth/api-keys/{}", key.as_str().unwrap());
    let project = json!({ "name": "Web Shop" });
    let shop = door.ask(Method::POST, "/api/projects", &token, Some(&json!({ "name": "Shop" }))).await.1;
    let shop = format!("/api/projects/{}", shop["project"]["id"].as_str().unwrap());
    let (settings, env) = (format!("{shop}/settings"), format!("{shop}/env"));
    let variable = json!({ "key": "A", "value": "1" });
    let made = door.ask(Method::POST, &env, &token, Some(&variable)).await.1;
    let made = format!("{env}/{}", made["data"]["id"].as_str().unwrap());
    let image = json!({ "dockerImage": "registry.test/e2e:5" });
    let (other, renamed) = (json!({ "key": "B", "value": "1" }), json!({ "key": "C" }));
    let (put, remove) = (Method::PUT, Method::DELETE);
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let (features, switch) = ("/api/organization/features", json!({ "testCasesEnabled": false }));
    let (name, viewer) = (json!({ "name": "Rosa L." }), json!({ "role": "viewer" }));
    let passwords = json!({ "currentPassword": PASSWORD, "newPassword": "Other-horse-2!" });
    let address = json!({ "email": "rosa@pinewood.test" });
    let reset = json!({ "token": "ab".repeat(32), "password": "Other-horse-2!" });
    let user = "/api/users/690a11b2c3d4e5f607182930".to_owned();
    let (role, status) = (format!("{user}/role"), format!("{user}/status"));
    let suspended = json!({ "status": "suspended" });
    let invited = json!({ "email": "ivo@pinewood.test", "role": "viewer" });
    let invitation = door.ask(Method::POST, "/api/invitations", &token, Some(&invited)).await.1;
    let link = invitation["invitation"]["inviteUrl"].as_str().unwrap();
    let link = link.split_once("token=").unwrap().1;
    let (validate, by_link) = (format!("/api/invitations/validate/{link}"), json!({ "token": link }));
    let withdraw = format!("/api/invitations/{}", invitation["invitation"]["id"].as_str().unwrap());
    let (invite, accept) = ("/api/invitations", "/api/invitations/accept");
    let invited = json!({ "email": "una@pinewood.test", "role": "viewer" });
    for (failing, method, path, body, error) in [
        ("organization", &get, "/api/auth/me", None, "Failed to fetch user info"),
        ("member", &get, "/api/auth/me", None, "Failed to fetch user info"),
        ("member_count", &get, "/api/auth/me", None, "Failed to fetch user info"),
        ("change_member", &patch, "/api/auth/profile", Some(&name), "Failed to update profile"),
        ("member", &post, "/api/auth/change-password", Some(&passwords), "Internal Server Error"),
        ("change_member", &post, "/api/auth/change-password", Some(&passwords), "Internal Server Error"),
        ("user_by_email", &post, "/api/auth/password-reset/request", Some(&address), "Internal Server Error"),
        ("reset_of", &post, "/api/auth/password-reset/confirm", Some(&reset), "Internal Server Error"),
        ("members", &get, "/api/users", None, "Failed to fetch users"),
        ("member", &get, user.as_str(), None, "Failed to fetch user"),
        ("member", &patch, role.as_str(), Some(&viewer), "Failed to update role"),
        ("member", &patch, status.as_str(), Some(&suspended), "Failed to update status"),
        ("member", &Method::DELETE, user.as_str(), None, "Failed to remove user"),
        ("revoke_token", &post, "/api/auth/logout", None, "Logout failed"),
        ("create_key", &post, "/api/auth/api-keys", None, "Failed to create API key"),
        ("keys_of", &get, "/api/auth/api-keys", None, "Failed to list API keys"),
        ("key", &Method::DELETE, key.as_str(), None, "Failed to revoke API key"),
        ("revoke_key", &Method::DELETE, key.as_str(), None, "Failed to revoke API key"),
        ("projects", &get, "/api/projects", None, "Failed to fetch projects"),
        ("create_project", &post, "/api/projects", Some(&project), "Failed to create project"),
        ("project", &get, "/api/projects/690a11b2c3d4e5f607182930", None, "Failed to fetch project"),
        ("organization_state", &get, "/api/organization", None, "Failed to fetch organization"),
        ("member_count", &get, "/api/organization", None, "Failed to fetch organization"),
        ("storage_used", &get, "/api/organization", None, "Failed to fetch organization"),
        ("change_organization", &patch, "/api/organization", Some(&project), "Failed to update organization"),
        ("change_organization", &patch, features, Some(&switch), "Failed to update organization features"),
        ("organization", &get, "/api/organization/usage", None, "Failed to fetch usage statistics"),
        ("count_runs", &get, "/api/organization/usage", None, "Failed to fetch usage statistics"),
        ("project_count", &get, "/api/organization/usage/alerts", None, "Failed to fetch usage alerts"),
        ("audit_log", &get, "/api/organization/audit-logs", None, "Internal Server Error"),
        ("organization", &get, "/api/billing/subscription", None, "Failed to fetch subscription"),
        ("project", &get, settings.as_str(), None, "Failed to fetch project settings"),
        ("project_settings", &get, settings.as_str(), None, "Failed to fetch project settings"),
        ("project_settings", &put, settings.as_str(), Some(&image), "Failed to save project settings"),
        ("save_project_settings", &put, settings.as_str(), Some(&image), "Failed to save project settings"),
        ("oldest_project", &get, "/api/project-settings", None, "Failed to fetch project settings"),
        ("variables", &get, env.as_str(), None, "Failed to fetch environment variables"),
        ("create_variable", &post, env.as_str(), Some(&other), "Failed to create environment variable"),
        ("variable", &put, made.as_str(), Some(&renamed), "Failed to update environment variable"),
        ("update_variable", &put, made.as_str(), Some(&renamed), "Failed to update environment variable"),
        ("variable", &remove, made.as_str(), None, "Failed to delete environment variable"),
        ("delete_variable", &remove, made.as_str(), None, "Failed to delete environment variable"),
        ("organization", &post, invite, Some(&invited), "Failed to send invitation"),
        ("invite", &post, invite, Some(&invited), "Failed to send invitation"),
        ("invitations", &get, invite, None, "Failed to fetch invitations"),
        ("revoke_invitation", &remove, withdraw.as_str(), None, "Failed to revoke invitation"),
        ("invitation", &get, validate.as_str(), None, "Failed to validate invitation"),
        ("organization", &get, validate.as_str(), None, "Failed to validate invitation"),
        ("invitation", &post, accept, Some(&by_link), "Failed to accept invitation"),
    ] {
        door.fail(failing, damaged());
        let (code, answer) = door.ask(method.clone(), path, &token, body).await;
        assert_eq!((code, &answer["error"]), (500, &json!(error)), "{failing}: {answer}");
        assert_eq!(answer["success"], false);
        let is_valid = (path == validate).then_some(Value::Bool(false));
        assert_eq!(answer.get("valid").cloned(), is_valid, "{failing}: {answer}");
        for cause in [unavailable(), StoreError::Full(INTERNALS.to_owned())] {
            door.fail(failing, cause);
            let (status, answer) = door.ask(method.clone(), path, &token, body).await;
            assert_eq!((status, &answer["error"]), (503, &json!("Service unavailable")), "{failing}");
        }
    }
    door.mend();
    assert_eq!(door.ask(Method::GET, "/api/auth/me", &token, None).await.0, 200, "nothing was revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_organization_is_gone_hears_that() {
    let door = Door::open().await;
    door.sign_up("rosa").await;
    let rosa = door.store.user_by_email("rosa@pinewood.test").await.unwrap().unwrap();
    let nowhere = User { org: OrgId::generate(NOW_MS), ..rosa };
    assert!(door.store.update_user(nowhere, None).await.unwrap());
    let (status, answer) = door.log_in(PASSWORD).await;
    assert_eq!(status, 200, "{answer}");
    let token = answer["token"].as_str().unwrap();
    let (get, patch, gone) = (Method::GET, Method::PATCH, "Organization not found");
    let (name, switch) = (json!({ "name": "Pinewood QA" }), json!({ "testCasesEnabled": false }));
    let invited = json!({ "email": "ivo@pinewood.test", "role": "viewer" });
    for (method, path, body, error) in [
        (&get, "/api/auth/me", None, "User or organization not found"),
        (&get, "/api/organization", None, gone),
        (&patch, "/api/organization", Some(&name), gone),
        (&patch, "/api/organization/features", Some(&switch), gone),
        (&get, "/api/organization/usage", None, gone),
        (&Method::POST, "/api/invitations", Some(&invited), gone),
        (&get, "/api/billing/subscription", None, gone),
    ] {
        let (status, answer) = door.ask(method.clone(), path, token, body).await;
        assert_eq!((status, &answer["error"]), (404, &json!(error)), "{method} {path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_up_fails_whole_and_may_be_tried_again() {
    let door = Door::open().await;
    for failing in ["user_by_email", "sign_up"] {
        door.fail(failing, damaged());
        let (status, answer) = door.sign_up("rosa").await;
        assert_eq!((status, &answer["error"]), (500, &json!("Signup failed")), "{failing}");
    }
    door.mend();
    assert_eq!(door.sign_up("rosa").await.0, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_could_not_be_checked_is_no_failed_try() {
    let door = Door::open().await;
    door.sign_up("rosa").await;
    for failing in ["begin_login", "user_by_email", "organization", "login_succeeded"] {
        door.fail(failing, damaged());
        let (status, answer) = door.log_in(PASSWORD).await;
        assert_eq!((status, &answer["error"]), (500, &json!("Login failed")), "{failing}");
    }
    for failing in ["user_by_email", "login_succeeded"] {
        door.fail(failing, unavailable());
        for _ in 0..6 {
            assert_eq!(door.log_in(PASSWORD).await.0, 503);
        }
    }
    door.mend();
    assert_eq!(door.log_in(PASSWORD).await.0, 200, "not locked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_checked_is_not_let_in() {
    let door = Door::open().await;
    let token = door.sign_up("rosa").await.1["token"].as_str().unwrap().to_owned();
    for failing in ["is_token_revoked", "user"] {
        door.fail(failing, unavailable());
        let (status, answer) = door.ask(Method::GET, "/api/projects", &token, None).await;
        assert_eq!((status, &answer["error"]), (503, &json!("Service unavailable")), "{failing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_tells_that_the_store_is_down_and_that_it_is_back() {
    let door = Door::open().await;
    let health = async || door.ask(Method::GET, "/health", "", None).await;
    assert_eq!(health().await.0, 200);
    door.fail("probe", unavailable());
    let (status, body) = health().await;
    assert_eq!((status, &body["status"]), (503, &json!("degraded")));
    let checks = json!({ "database": "unhealthy", "redis": "healthy", "rabbitmq": "healthy" });
    assert_eq!((&body["checks"], body.get("error")), (&checks, None));
    door.mend();
    assert_eq!(health().await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_is_told_that_the_store_is_down() {
    let door = Door::open().await;
    let status = async || door.ask(Method::GET, "/api/system/monitor-status", "", None).await;
    let (code, body) = status().await;
    assert_eq!((code, &body["status"], &body["data"]["dbConnected"]), (200, &json!("ok"), &json!(true)));
    for failing in ["probe", "unsettled_runs"] {
        door.fail(failing, unavailable());
        let (code, body) = status().await;
        assert_eq!(
            (code, &body["success"], &body["status"]),
            (503, &json!(true), &json!("degraded")),
            "{body}"
        );
        let data = &body["data"];
        let told = (&data["status"], &data["dbConnected"], &data["queueDepth"], &data["activeWorkers"]);
        assert_eq!(told, (&json!("degraded"), &json!(false), &json!(0), &json!(0)));
        assert_eq!(
            (&data["version"], &data["timestamp"]),
            (&json!(env!("CARGO_PKG_VERSION")), &body["timestamp"])
        );
    }
    door.mend();
    assert_eq!(status().await.0, 200);
}
