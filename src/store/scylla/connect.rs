//! Reaching the cluster: one session for the whole process, checked at start, with a sentence about each thing that an
//! operator can set wrong.

use std::sync::Arc;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError,
    NewSessionError, RequestAttemptError, UseKeyspaceError,
};

use super::faults::Faults;
use super::sending::Sending;
use super::settings::ScyllaSettings;
use super::tls;
use crate::clock::Clock;
use crate::limits::{CQL_CONNECT_TIMEOUT, CQL_START_TIMEOUT};

/// A session with the cluster, and how statements are sent over it.
pub struct Cql {
    pub(super) session: Session,
    /// Where everything is kept.
    pub(super) keyspace: String,
    /// The datacenter whose quorum acknowledges.
    pub(super) datacenter: String,
    clock: Arc<dyn Clock>,
    pub(super) faults: Faults,
    pub(super) sending: Sending,
}

/// Why the cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No contact point answered.
    #[error(
        "no node of the cluster answered at {nodes} ({reason}); \
         check `scylla.nodes` and that the nodes accept CQL clients from here"
    )]
    Unreachable {
        /// As configured.
        nodes: String,
        /// The last failure.
        reason: String,
    },
    /// The cluster refused user and password, or asks for some.
    #[error("the cluster refused to sign in {who} ({reason}); check `scylla.user` and `scylla.password`")]
    Credentials {
        /// The configured user.
        who: String,
        /// What the cluster said.
        reason: String,
    },
    /// The files of `scylla.tls_*` are unusable.
    #[error(
        "TLS towards the cluster cannot be set up ({0}); check `scylla.tls_authorities` and its neighbours"
    )]
    Tls(String),
    /// The cluster has no such datacenter.
    #[error("the cluster has no datacenter {wanted:?}, it has {known}; correct `scylla.datacenter`")]
    NoDatacenter {
        /// As configured.
        wanted: String,
        /// Those it has.
        known: String,
    },
    /// The cluster has several datacenters and none was chosen.
    #[error("the cluster has the datacenters {known}; name the nearest in `scylla.datacenter`")]
    WhichDatacenter {
        /// Those it has.
        known: String,
    },
    /// The keyspace does not exist.
    #[error("the cluster has no keyspace {keyspace:?}; create it with `runstream schema apply`")]
    NoKeyspace {
        /// As configured.
        keyspace: String,
    },
    /// The user may not do what a server needs.
    #[error("the cluster refused {doing} ({reason}); grant ALL on keyspace {keyspace:?} to {who}")]
    NotAllowed {
        /// What was tried.
        doing: &'static str,
        /// What the cluster said.
        reason: String,
        /// As configured.
        keyspace: String,
        /// The configured user.
        who: String,
    },
    /// The keyspace's name cannot be one.
    #[error("{0:?} cannot name a keyspace; `scylla.keyspace` takes 1 to 48 letters, digits and underscores")]
    KeyspaceName(String),
    /// Anything else the cluster answered.
    #[error("the cluster cannot be used: {0}")]
    Failed(String),
}

impl Cql {
    /// Connects to the cluster and uses its keyspace, which has to exist.
    ///
    /// # Errors
    /// See [`ConnectError`]; within [`CQL_START_TIMEOUT`].
    pub async fn connect(settings: &ScyllaSettings, clock: Arc<dyn Clock>) -> Result<Self, ConnectError> {
        let cql = Self::connect_without_keyspace(settings, clock).await?;
        match cql.session.use_keyspace(&cql.keyspace, true).await {
            Ok(()) => Ok(cql),
            Err(UseKeyspaceError::RequestError(RequestAttemptError::DbError(error, reason))) => {
                let keyspace = cql.keyspace.clone();
                Err(match error {
                    DbError::Unauthorized => ConnectError::NotAllowed {
                        doing: "the keyspace",
                        reason,
                        keyspace,
                        who: who(settings),
                    },
                    DbError::Invalid => ConnectError::NoKeyspace { keyspace },
                    _ => ConnectError::Failed(reason),
                })
            }
            Err(error) => Err(ConnectError::Failed(error.to_string())),
        }
    }

    /// The datacenter whose quorum acknowledges.
    #[must_use]
    pub fn datacenter(&self) -> &str {
        &self.datacenter
    }

    /// What goes wrong on purpose.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What tells how long something is still to be kept.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Connects to the cluster, whose keyspace may be still to be created.
    ///
    /// # Errors
    /// See [`ConnectError`]; within [`CQL_START_TIMEOUT`].
    pub(super) async fn connect_without_keyspace(
        settings: &ScyllaSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConnectError> {
        if !is_keyspace_name(&settings.keyspace) {
            return Err(ConnectError::KeyspaceName(settings.keyspace.clone()));
        }
        let connecting = tokio::time::timeout(CQL_START_TIMEOUT, connect_session(settings)).await;
        let session = connecting.unwrap_or_else(|_| {
            Err(unreachable(settings, format!("nothing within {} s", CQL_START_TIMEOUT.as_secs())))
        })?;
        let datacenter = datacenter(&session, settings)?;
        let sending = Sending::to(&datacenter);
        Ok(Self {
            session,
            keyspace: settings.keyspace.clone(),
            datacenter,
            clock,
            faults: Faults::default(),
            sending,
        })
    }
}

async fn connect_session(settings: &ScyllaSettings) -> Result<Session, ConnectError> {
    let tls = tls::client_config(settings).map_err(ConnectError::Tls)?;
    let mut builder = SessionBuilder::new()
        .known_nodes(&settings.nodes)
        .connection_timeout(CQL_CONNECT_TIMEOUT)
        .keyspaces_to_fetch([&settings.keyspace])
        .tls_context(tls);
    if let Some(user) = &settings.user {
        let password = settings.password.as_ref().map_or("", |password| &password.0);
        builder = builder.user(user, password);
    }
    if let Some(datacenter) = &settings.datacenter {
        builder = builder.prefer_datacenter(datacenter.clone());
    }
    builder.build().await.map_err(|error| why_no_session(settings, error))
}

fn why_no_session(settings: &ScyllaSettings, error: NewSessionError) -> ConnectError {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error,
    })) = error
    else {
        return unreachable(settings, error.to_string());
    };
    let ConnectionError::ConnectionSetupRequestError(setup) = &last_connection_error else {
        return unreachable(settings, last_connection_error.to_string());
    };
    match &setup.error {
        ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, reason) => {
            ConnectError::Credentials { who: who(settings), reason: reason.clone() }
        }
        ConnectionSetupRequestErrorKind::MissingAuthentication => {
            ConnectError::Credentials { who: who(settings), reason: "it asks for a password".to_owned() }
        }
        other => unreachable(settings, other.to_string()),
    }
}

/// The driver says some reasons in several lines; an operator gets one.
fn unreachable(settings: &ScyllaSettings, reason: String) -> ConnectError {
    let words: Vec<_> = reason.split_whitespace().collect();
    ConnectError::Unreachable { nodes: settings.nodes.join(", "), reason: words.join(" ") }
}

fn who(settings: &ScyllaSettings) -> String {
    settings.user.as_ref().map_or_else(|| "nobody".to_owned(), |user| format!("{user:?}"))
}

/// The datacenter to ask: the configured one if the cluster has it, or its only one.
fn datacenter(session: &Session, settings: &ScyllaSettings) -> Result<String, ConnectError> {
    let cluster = session.get_cluster_state();
    let mut names: Vec<_> =
        cluster.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    names.sort();
    names.dedup();
    let known = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    match (&settings.datacenter, names.as_slice()) {
        (Some(wanted), _) if names.contains(wanted) => Ok(wanted.clone()),
        (Some(wanted), _) => Err(ConnectError::NoDatacenter { wanted: wanted.clone(), known }),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(ConnectError::WhichDatacenter { known }),
    }
}

/// Whether a keyspace may have this name.
#[must_use]
pub fn is_keyspace_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=48).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_several_lines_is_said_in_one() {
        let settings = ScyllaSettings::at(&["node-1:9042"], "runstream");
        let said = unreachable(&settings, "broken:\n    the other half\n    is gone".to_owned()).to_string();
        assert!(said.contains("at node-1:9042 (broken: the other half is gone); check"), "{said}");
    }
}
