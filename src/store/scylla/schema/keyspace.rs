//! The keyspace: where its replicas are, and what that means for what is acknowledged.

use std::collections::HashMap;

use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::Statement;

use super::super::connect::Cql;
use super::super::statement::failed;
use super::SchemaError;
use crate::store::contract::{StoreError, StoreResult};

/// Replicas in a datacenter when nothing is configured, if it has as many nodes.
const REPLICAS: usize = 3;

/// How many replicas a datacenter has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// The datacenter's name.
    pub datacenter: String,
    /// Number of replicas, at least 1.
    pub replicas: usize,
}

/// Whether ScyllaDB keeps the keyspace in tablets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tablets {
    /// As the server does by itself; the only choice on servers without tablets.
    #[default]
    Auto,
    /// In tablets.
    On,
    /// Not in tablets: for versions whose tablets cannot do conditional writes.
    Off,
}

/// How the keyspace is created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyspaceSettings {
    /// Replicas by datacenter; empty takes the local one with three, or as many as it has nodes.
    pub replication: Vec<Replication>,
    /// Whether it is kept in tablets.
    pub tablets: Tablets,
}

/// What acknowledging a write relies on, as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// The datacenter whose quorum acknowledges.
    pub datacenter: String,
    /// Replicas in that datacenter.
    pub replicas: usize,
    /// Whether writes go to the commit log.
    pub durable_writes: bool,
}

impl Durability {
    /// What could be lost although it was acknowledged; a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.replicas == 0 {
            found.push(format!(
                "the keyspace has no replica in datacenter {:?}: nothing can be acknowledged; alter its replication",
                self.datacenter
            ));
        }
        if (1..=2).contains(&self.replicas) {
            found.push(format!(
                "the keyspace has {} in datacenter {:?}: what is acknowledged is lost with one node's disk, and up to \
                 its sync interval with one node's power unless the nodes run with commitlog_sync batch or group; \
                 three replicas hold it",
                if self.replicas == 1 { "one replica" } else { "two replicas, of which a quorum is both," },
                self.datacenter
            ));
        }
        if !self.durable_writes {
            found.push(
                "the keyspace has durable_writes = false: what is acknowledged is lost when nodes stop; \
                 alter it to true"
                    .to_owned(),
            );
        }
        found
    }
}

impl Cql {
    /// Creates the keyspace if it is not there.
    pub(super) async fn create_keyspace(&self, settings: &KeyspaceSettings) -> Result<(), SchemaError> {
        let is_scylla = self.is_scylla();
        let tablets = match settings.tablets {
            Tablets::Auto => "",
            Tablets::On if is_scylla => " AND tablets = {'enabled': true}",
            Tablets::Off if is_scylla => " AND tablets = {'enabled': false}",
            // Other servers have none, and do not know the word.
            Tablets::On | Tablets::Off => "",
        };
        let replicas: Vec<_> = self
            .replication(settings)
            .iter()
            .map(|Replication { datacenter, replicas }| {
                format!("'{}': {replicas}", datacenter.replace('\'', "''"))
            })
            .collect();
        let text = format!(
            "CREATE KEYSPACE IF NOT EXISTS \"{}\" WITH replication = {{'class': 'NetworkTopologyStrategy', {}}}{tablets}",
            self.keyspace,
            replicas.join(", "),
        );
        self.alter_schema(&text).await
    }

    /// The configured replicas, or three in the local datacenter.
    fn replication(&self, settings: &KeyspaceSettings) -> Vec<Replication> {
        if !settings.replication.is_empty() {
            return settings.replication.clone();
        }
        let cluster = self.session.get_cluster_state();
        let is_local = |name: &Option<String>| name.as_ref() == Some(&self.datacenter);
        let nodes = cluster.get_nodes_info().iter().filter(|node| is_local(&node.datacenter)).count();
        vec![Replication { datacenter: self.datacenter.clone(), replicas: nodes.clamp(1, REPLICAS) }]
    }

    /// Whether the server is ScyllaDB: only it tells its shards in the handshake.
    fn is_scylla(&self) -> bool {
        self.session.get_cluster_state().get_nodes_info().iter().any(|node| node.sharder().is_some())
    }

    /// Whether the keyspace exists.
    pub(super) async fn has_keyspace(&self) -> StoreResult<bool> {
        Ok(self.keyspace_row().await?.is_some())
    }

    /// What acknowledging relies on, as the cluster has it now.
    ///
    /// # Errors
    /// `Unavailable`, also if the keyspace is not there.
    pub async fn durability(&self) -> StoreResult<Durability> {
        let Some((replication, durable_writes)) = self.keyspace_row().await? else {
            return Err(StoreError::Unavailable(format!("there is no keyspace {:?}", self.keyspace)));
        };
        let replicas = replication.get(&self.datacenter).and_then(|number| number.parse().ok());
        Ok(Durability {
            datacenter: self.datacenter.clone(),
            replicas: replicas.unwrap_or(0),
            durable_writes,
        })
    }

    async fn keyspace_row(&self) -> StoreResult<Option<(HashMap<String, String>, bool)>> {
        let statement = Statement::new(
            "SELECT replication, durable_writes FROM system_schema.keyspaces WHERE keyspace_name = ?",
        );
        let found = self.session.query_unpaged(statement, (&self.keyspace,)).await.map_err(failed)?;
        let damaged = |error: String| StoreError::Damaged(error);
        let rows = found.into_rows_result().map_err(|error| damaged(error.to_string()))?;
        rows.maybe_first_row().map_err(|error| damaged(error.to_string()))
    }

    /// Sends a statement that changes the schema, and waits until all nodes agree on it.
    pub(super) async fn alter_schema(&self, text: &str) -> Result<(), SchemaError> {
        let mut statement = Statement::new(text);
        statement.set_request_timeout(Some(crate::limits::CQL_SCHEMA_TIMEOUT));
        match self.session.query_unpaged(statement, ()).await {
            Ok(_) => {}
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
                DbError::Unauthorized,
                reason,
            ))) => return Err(SchemaError::NotAllowed(reason)),
            Err(error) => return Err(failed(error).into()),
        }
        let agreed = self.session.await_schema_agreement().await;
        agreed.map(drop).map_err(|error| StoreError::Unavailable(error.to_string()).into())
    }
}
