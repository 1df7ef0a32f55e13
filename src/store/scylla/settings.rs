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
    /// Role that signs in, for a cluster that asks.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// PEM file of the authorities that sign the nodes' certificates; `None` speaks without TLS.
    pub tls_authorities: Option<PathBuf>,
    /// PEM file of this client's certificates, for a cluster that asks for one.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub tls_key: Option<PathBuf>,
    /// Whether a server that starts brings older tables up to its own schema.
    pub apply_schema: bool,
}

impl Default for ScyllaSettings {
    /// A node on this machine, and the keyspace `runstream`.
    fn default() -> Self {
        Self::at(&["127.0.0.1"], "runstream")
    }
}

impl ScyllaSettings {
    /// Port of a contact point that names none.
    pub const PORT: u16 = 9_042;

    /// Plain connections to these contact points, without signing in; the schema is brought up.
    #[must_use]
    pub fn at(nodes: &[&str], keyspace: &str) -> Self {
        Self {
            nodes: nodes.iter().map(ToString::to_string).collect(),
            keyspace: keyspace.to_owned(),
            datacenter: None,
            user: None,
            password: None,
            tls_authorities: None,
            tls_certificate: None,
            tls_key: None,
            apply_schema: true,
        }
    }
}

/// A password that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}
