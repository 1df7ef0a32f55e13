//! How the cluster is reached.

use std::fmt;
use std::path::PathBuf;

/// How the cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScyllaSettings {
    /// Contact points as `host` or `host:port`; the other nodes are learned from the first that answers.
    pub nodes: Vec<String>,
    /// Where everything is kept: letters, digits and underscores.
    pub keyspace: String,
    /// The datacenter whose nodes are asked and whose quorum acknowledges; may be left out if the cluster has just one.
    pub datacenter: Option<String>,
    /// Who signs in, for a cluster that asks.
    pub login: Option<Login>,
    /// How the nodes are trusted; `None` speaks without TLS.
    pub tls: Option<TlsFiles>,
}

impl ScyllaSettings {
    /// Port of a contact point that names none.
    pub const PORT: u16 = 9_042;

    /// Plain connections to these contact points, without signing in.
    #[must_use]
    pub fn at(nodes: &[&str], keyspace: &str) -> Self {
        Self {
            nodes: nodes.iter().map(ToString::to_string).collect(),
            keyspace: keyspace.to_owned(),
            datacenter: None,
            login: None,
            tls: None,
        }
    }
}

/// Who signs in at the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Role name.
    pub user: String,
    /// Its password.
    pub password: Password,
}

/// A password that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// PEM files of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that sign the nodes' certificates.
    pub authorities: PathBuf,
    /// This client's certificates and key, for a cluster that asks for them.
    pub client: Option<(PathBuf, PathBuf)>,
}
