//! A server in this process with a data folder of its own, and a client that speaks HTTP over real sockets.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runstream::access::{PasswordSettings, Secret, Tiers};
use runstream::actors::bucket::Quota;
use runstream::clock::ManualClock;
use runstream::config::Settings;
use runstream::dial::Resolve;
use runstream::domain::account::{AuditEntry, User};
use runstream::domain::role::Role;
use runstream::server::{RunningServer, Seams, Server};
use runstream::store::contract::Store;
use serde_json::{Value, json};

use super::beneath::Beneath;

/// Where the hand of a manual clock stands at first.
pub(crate) const NOW_MS: i64 = 1_774_000_000_123;
/// Everybody's password.
pub(crate) const PASSWORD: &str = "Abcdef1!";
/// Longer than any answer should take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server whose clock stands still until a test moves it.
pub(crate) struct Site {
    pub(crate) server: RunningServer,
    pub(crate) clock: ManualClock,
    http: Client<HttpConnector, Full<Bytes>>,
    clients: AtomicU32,
    _folder: tempfile::TempDir,
}

/// What signs tokens where a test knows it.
pub(crate) const SIGNING: [u8; 32] = [7; 32];

/// Secrets that a test knows, so that it can make tokens, or that several servers share.
pub(crate) fn known_secrets(settings: &mut Settings) {
    settings.secrets.token = Some(Secret::new(SIGNING).unwrap());
    settings.secrets.key_hash = Some(Secret::new([8; 32]).unwrap());
    settings.secrets.sealing = vec![Secret::new([9; 32]).unwrap()];
}

/// Nobody asks too often.
pub(crate) fn unlimited(settings: &mut Settings) {
    let often = Quota { capacity: Quota::CAPACITY_MAX, window_ms: 60_000 };
    settings.access.tiers = Tiers {
        auth: often,
        api: often,
        strict: often,
        monitor: often,
        ingest_event: often,
        ingest_lifecycle: often,
        failed_credentials: often,
    };
}

/// The names that there are; nothing asks a network.
struct Names;

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = match host {
            "hooks.pinewood.test" => vec!["93.184.215.14", "2606:4700::1111"],
            "inward.pinewood.test" => vec!["10.0.0.7"],
            "both.pinewood.test" => vec!["93.184.215.14", "::ffff:127.0.0.1"],
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(addresses.into_iter().map(|address| address.parse().unwrap()).collect())
    }
}

/// Somebody with an account.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) user: Value,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_settings| {}).await
    }

    /// Over one of the stores.
    pub(crate) async fn over(beneath: &Beneath) -> Self {
        Self::start_with(|settings| beneath.choose(settings)).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(NOW_MS);
        let mut settings = Settings { data_folder: folder.path().join("data"), ..Settings::default() };
        settings.server.port = 0;
        settings.access.passwords =
            PasswordSettings { memory_kib: 64, passes: 1, ..PasswordSettings::default() };
        // Each person of a test may come from an address of its own.
        settings.access.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        change(&mut settings);
        let seams = Seams { clock: Arc::new(clock.clone()), resolver: Arc::new(Names), ..Seams::default() };
        let server = Server::start(settings, seams).await.unwrap();
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { server, clock, http, clients: AtomicU32::new(0), _folder: folder }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.server.store()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        Ask { site: self, method, path: path.to_owned(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Ask<'_> {
        self.ask(Method::PATCH, path)
    }

    pub(crate) fn put(&self, path: &str) -> Ask<'_> {
        self.ask(Method::PUT, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Ask<'_> {
        self.ask(Method::DELETE, path)
    }

    /// An address that nobody came from yet.
    pub(crate) fn new_address(&self) -> String {
        let count = self.clients.fetch_add(1, Ordering::Relaxed);
        Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + count).to_string()
    }

    /// Signs up `name@pinewood.test` with an organization of that name.
    pub(crate) async fn sign_up(&self, name: &str) -> Person {
        let email = format!("{name}@pinewood.test");
        let body = json!({
            "email": email, "password": PASSWORD, "name": name, "organizationName": format!("{name} labs"),
        });
        let answer = self.post("/api/auth/signup").from(&self.new_address()).json(&body).send().await;
        person(email, &answer.expect(201))
    }

    pub(crate) async fn log_in(&self, email: &str) -> Person {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = self.post("/api/auth/login").from(&self.new_address()).json(&body).send().await;
        person(email.to_owned(), &answer.expect(200))
    }

    /// A member of `admin`'s organization with `role`, by an invitation.
    pub(crate) async fn member(&self, admin: &Person, name: &str, role: Role) -> Person {
        let email = format!("{name}@pinewood.test");
        let invited = json!({ "email": email, "role": role });
        let answer =
            self.post("/api/invitations").token(&admin.token).json(&invited).send().await.expect(201);
        let link = answer["invitation"]["inviteUrl"].as_str().unwrap();
        let token = link.split_once("token=").unwrap().1;
        let body = json!({ "email": email, "password": PASSWORD, "name": name, "inviteToken": token });
        let answer = self.post("/api/auth/signup").from(&self.new_address()).json(&body).send().await;
        person(email, &answer.expect(201))
    }

    /// An API key of `person`.
    pub(crate) async fn key(&self, person: &Person) -> String {
        let answer = self.post("/api/auth/api-keys").token(&person.token).send().await.expect(201);
        answer["apiKey"].as_str().unwrap().to_owned()
    }

    /// The id of a new project.
    pub(crate) async fn project(&self, person: &Person, name: &str) -> String {
        let body = json!({ "name": name });
        let answer = self.post("/api/projects").token(&person.token).json(&body).send().await.expect(201);
        answer["project"]["id"].as_str().unwrap().to_owned()
    }

    /// The account behind an address, as it is stored.
    pub(crate) async fn stored(&self, person: &Person) -> User {
        self.store().user_by_email(&person.email).await.unwrap().unwrap()
    }

    /// The audit log of a person's organization, newest first.
    pub(crate) async fn audit(&self, person: &Person) -> Vec<AuditEntry> {
        let org = self.stored(person).await.org;
        self.store().audit_entries(org, 1_000, 0).await.unwrap().0
    }
}

fn person(email: String, body: &Value) -> Person {
    Person { email, token: body["token"].as_str().unwrap().to_owned(), user: body["user"].clone() }
}

/// A request under way.
#[derive(Clone)]
pub(crate) struct Ask<'s> {
    site: &'s Site,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    /// As if through a proxy, from this address.
    pub(crate) fn from(self, address: &str) -> Self {
        self.header("x-forwarded-for", address)
    }

    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header("content-type", media_type)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) async fn send(self) -> Answer {
        let uri = format!("{}{}", self.site.server.base_url(), self.path);
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri.parse().unwrap();
        *request.headers_mut() = self.headers;
        let exchange = async {
            let response = self.site.http.request(request).await.unwrap();
            let (head, body) = response.into_parts();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await.unwrap().to_bytes(),
            }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("the server answers")
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer that has this status.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// Status and `error` of a failure, whose envelope is checked.
    pub(crate) fn failure(&self) -> (u16, String) {
        let body = self.json();
        assert!(self.status >= 400 && body["success"] == false, "{self:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        (self.status, body["error"].as_str().unwrap().to_owned())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// All that a client can see of it and compare, but how often it has asked.
    pub(crate) fn told(&self) -> (u16, BTreeMap<String, String>, String) {
        let headers = self.headers.iter().filter(|(name, _)| {
            let name = name.as_str();
            name != "date" && !name.starts_with("x-ratelimit-")
        });
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (self.status, headers.collect(), String::from_utf8_lossy(&self.body).into_owned())
    }

    /// `X-RateLimit-Limit` and `-Remaining`.
    pub(crate) fn rate(&self) -> Option<(u32, u32)> {
        let number = |name| self.header(name).map(|text| text.parse().unwrap());
        Some((number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?))
    }
}
