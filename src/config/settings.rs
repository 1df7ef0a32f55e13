//! The typed settings. What belongs to a room above this one is that room's own type.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;
use crate::telemetry::LogSettings;

/// Everything an operator can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How the server is reached.
    pub server: ServerSettings,
    /// What a connection may cost.
    pub connections: ConnectionSettings,
    /// Where everything is kept.
    pub data_folder: PathBuf,
    /// What is logged and how.
    pub log: LogSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: ServerSettings::default(),
            connections: ConnectionSettings::default(),
            data_folder: PathBuf::from("runstream-data"),
            log: LogSettings::default(),
        }
    }
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
