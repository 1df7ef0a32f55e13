//! The typed settings. What belongs to a room above this one is that room's own type.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::access::{AccessSettings, ConfiguredSecrets};
use crate::actors::EngineSettings;
use crate::api::ApiSettings;
use crate::http::headers::HeaderSettings;
use crate::ingest::IngestSettings;
use crate::limits;
use crate::live::LiveSettings;
use crate::outbound::mail::MailSettings;
use crate::store::scylla::ScyllaSettings;
use crate::store::scylla::schema::KeyspaceSettings;
use crate::telemetry::LogSettings;

/// Everything an operator can set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the server is reached.
    pub server: ServerSettings,
    /// What every answer carries.
    pub headers: HeaderSettings,
    /// What a connection may cost.
    pub connections: ConnectionSettings,
    /// Where everything is kept.
    pub data_folder: PathBuf,
    /// Bytes of rows that the store keeps in memory.
    pub cache_bytes: u64,
    /// Bytes that are reserved for a file of the journal.
    pub journal_file_bytes: u64,
    /// Bytes of the disk that are left free for folding what was accepted: below it nothing more is.
    pub reserve_bytes: u64,
    /// Which store keeps everything.
    pub store: StoreKind,
    /// How the cluster is reached.
    pub scylla: ScyllaSettings,
    /// How `runstream schema apply` creates the keyspace.
    pub keyspace: KeyspaceSettings,
    /// Tokens, rates and trusted proxies.
    pub access: AccessSettings,
    /// Secrets that are given; the others are generated.
    pub secrets: ConfiguredSecrets,
    /// Sessions and plans.
    pub engine: EngineSettings,
    /// The reporters' door.
    pub ingest: IngestSettings,
    /// The REST door.
    pub api: ApiSettings,
    /// The live channel.
    pub live: LiveSettings,
    /// How mail is sent.
    pub mail: MailSettings,
    /// What is logged and how.
    pub log: LogSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: ServerSettings::default(),
            headers: HeaderSettings::default(),
            connections: ConnectionSettings::default(),
            data_folder: PathBuf::from("runstream-data"),
            cache_bytes: limits::STORE_CACHE_BYTES,
            journal_file_bytes: limits::JOURNAL_FILE_BYTES,
            reserve_bytes: limits::DISK_RESERVE_BYTES,
            store: StoreKind::default(),
            scylla: ScyllaSettings::default(),
            keyspace: KeyspaceSettings::default(),
            access: AccessSettings::default(),
            secrets: ConfiguredSecrets::default(),
            engine: EngineSettings::default(),
            ingest: IngestSettings::default(),
            api: ApiSettings::default(),
            live: LiveSettings::default(),
            mail: MailSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Settings {
    /// Values that are each allowed and do not fit together: the key to change, and why.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = self.mail.contradictions(self.ingest.public_url.is_some());
        if self.connections.head_timeout > self.connections.idle_timeout {
            let why = "must not be longer than connections.idle_timeout_s, which would end it".to_owned();
            found.push(("connections.head_timeout_s", why));
        }
        if self.engine.late_events > self.engine.session_archive {
            let why = "must not be longer than sessions.archive_s".to_owned();
            found.push(("sessions.late_events_s", why));
        }
        if self.scylla.password.is_some() && self.scylla.user.is_none() {
            found.push(("scylla.password", "needs scylla.user".to_owned()));
        }
        if self.scylla.tls_certificate.is_some() != self.scylla.tls_key.is_some() {
            found.push(("scylla.tls_certificate", "and scylla.tls_key need each other".to_owned()));
        }
        if self.scylla.tls_certificate.is_some() && self.scylla.tls_authorities.is_none() {
            found.push(("scylla.tls_certificate", "needs scylla.tls_authorities".to_owned()));
        }
        found
    }
}

/// Which store keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreKind {
    /// The one in the data folder.
    #[default]
    Embedded,
    /// A cluster.
    Scylla,
}

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Address to listen on.
    pub address: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Path that all others stand under: empty, or `/name` without a slash at the end.
    pub base_path: String,
    /// A request that took longer is logged.
    pub slow_request: Duration,
    /// How long requests in flight may take to finish when the server ends.
    pub drain_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 3000,
            base_path: String::new(),
            slow_request: limits::SLOW_REQUEST,
            drain_timeout: limits::DRAIN_TIMEOUT,
        }
    }
}

/// What a connection may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Connections at the same time.
    pub max: usize,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// How long sent bytes may stay unacknowledged before the peer counts as gone.
    pub stalled_timeout: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            max: limits::CONNECTIONS_MAX,
            head_timeout: limits::HEAD_TIMEOUT,
            idle_timeout: limits::IDLE_TIMEOUT,
            stalled_timeout: limits::STALLED_PEER_TIMEOUT,
        }
    }
}
