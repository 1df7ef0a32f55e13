//! The schema: numbered [`steps`], applied in order by whichever process holds the lock, so that several nodes may start
//! at once. A binary refuses a schema that is newer than itself. A server brings up an older one ([`connect_and_apply`]) in
//! a keyspace that is there; commands that work on a store leave it as it is.

mod keyspace;
mod lock;
mod steps;

use std::sync::Arc;
use std::time::Instant;

use backon::{ConstantBuilder, Retryable};
pub use keyspace::{Durability, KeyspaceSettings, Replication, Tablets};
use scylla::statement::Statement;
pub use steps::{STEPS, Step};

use self::lock::Lock;
use super::connect::{ConnectError, Cql};
use super::settings::ScyllaSettings;
use super::statement::{Purpose, Spec, failed};
use crate::clock::Clock;
use crate::limits::{CQL_LEARN_PATIENCE, CQL_LOCK_LAPSE, CQL_LOCK_LOOK_AGAIN, CQL_LOCK_WAIT};
use crate::store::contract::{StoreError, StoreResult};

/// The schema's own tables. Several processes may create them at once: they are asked for first.
const OWN_TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS schema_steps (part text, number int, name text, checksum bigint, \
     PRIMARY KEY (part, number))",
    "CREATE TABLE IF NOT EXISTS schema_lock (name text PRIMARY KEY, holder uuid)",
];
/// The one partition of `schema_steps`.
const PART: &str = "runstream";

/// Why the schema is not what this binary needs.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The cluster cannot be used at all.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster failed in between; what was applied is noted and not applied again.
    #[error("the schema cannot be read or changed: {0}")]
    Store(#[from] StoreError),
    /// A newer binary was here.
    #[error(
        "the schema is at step {found}, this binary knows {known}: start a newer one, or use another keyspace"
    )]
    Newer {
        /// The cluster's last step.
        found: i32,
        /// This binary's last step.
        known: i32,
    },
    /// Steps are missing.
    #[error("the schema is at step {found}, this binary needs {known}: run `runstream schema apply`")]
    Older {
        /// The cluster's last step.
        found: i32,
        /// This binary's last step.
        known: i32,
    },
    /// A step was applied with another text.
    #[error(
        "step {number} of the schema was applied as something else: this keyspace belongs to another program or build"
    )]
    Other {
        /// The step.
        number: i32,
    },
    /// The user may not change tables.
    #[error(
        "the schema has to be changed and the cluster refused that ({0}); grant ALL on the keyspace to the role of \
         `scylla.user`, or have `runstream schema apply` run by a role that may"
    )]
    NotAllowed(String),
    /// Another process is applying and does not come to an end.
    #[error("another process holds the schema's lock for more than {} s; see what it does, then try again", .0.as_secs())]
    Locked(std::time::Duration),
}

/// What a cluster has of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Whether the keyspace is there.
    pub has_keyspace: bool,
    /// Number and name of what was applied, in order.
    pub applied: Vec<(i32, String)>,
    /// What this binary knows beyond that.
    pub pending: Vec<(i32, &'static str)>,
    /// What the keyspace's replication means, if it is there.
    pub durability: Option<Durability>,
}

/// Creates what is missing of keyspace and schema, and returns the numbers of the steps that were applied now.
///
/// # Errors
/// See [`SchemaError`].
pub async fn apply(
    settings: &ScyllaSettings,
    keyspace: &KeyspaceSettings,
    clock: Arc<dyn Clock>,
) -> Result<Vec<i32>, SchemaError> {
    let cql = Cql::connect_without_keyspace(settings, Arc::clone(&clock)).await?;
    if !cql.has_keyspace().await? {
        cql.create_keyspace(keyspace).await?;
    }
    connect_to_existing(settings, clock).await?.bring_up_schema().await
}

/// Connects to a keyspace that is there and, if `settings` say so, applies the steps that it does not have yet.
///
/// # Errors
/// See [`SchemaError`]; `Older` only if nothing is to be applied.
pub async fn connect_and_apply(settings: &ScyllaSettings, clock: Arc<dyn Clock>) -> Result<Cql, SchemaError> {
    let cql = Cql::connect(settings, clock).await?;
    if settings.apply_schema {
        cql.bring_up_schema().await?;
    } else {
        cql.check_schema().await?;
    }
    Ok(cql)
}

/// Connects to a keyspace that one node at least has: another one may learn of it a moment later.
async fn connect_to_existing(settings: &ScyllaSettings, clock: Arc<dyn Clock>) -> Result<Cql, ConnectError> {
    let begun = Instant::now();
    (|| Cql::connect(settings, Arc::clone(&clock)))
        .retry(AGAIN)
        .when(|error| {
            matches!(error, ConnectError::NoKeyspace { .. }) && begun.elapsed() < CQL_LEARN_PATIENCE
        })
        .await
}

/// A node that does not know yet what others do is asked again.
const AGAIN: ConstantBuilder = ConstantBuilder::new().with_delay(CQL_LOCK_LOOK_AGAIN).without_max_times();

/// What the cluster has of the schema, and what of it is missing.
///
/// # Errors
/// See [`SchemaError`].
pub async fn status(settings: &ScyllaSettings, clock: Arc<dyn Clock>) -> Result<SchemaStatus, SchemaError> {
    let cql = Cql::connect_without_keyspace(settings, Arc::clone(&clock)).await?;
    if !cql.has_keyspace().await? {
        let pending = STEPS.iter().map(|step| (step.number, step.name)).collect();
        return Ok(SchemaStatus { has_keyspace: false, applied: Vec::new(), pending, durability: None });
    }
    let cql = connect_to_existing(settings, clock).await?;
    let applied = cql.applied_steps().await?;
    let last = applied.last().map_or(0, |(number, ..)| *number);
    let pending =
        STEPS.iter().filter(|step| step.number > last).map(|step| (step.number, step.name)).collect();
    let applied = applied.into_iter().map(|(number, name, _)| (number, name)).collect();
    Ok(SchemaStatus { has_keyspace: true, applied, pending, durability: Some(cql.durability().await?) })
}

impl Cql {
    /// Applies the steps that the keyspace does not have yet; returns their numbers.
    ///
    /// # Errors
    /// See [`SchemaError`].
    pub async fn bring_up_schema(&self) -> Result<Vec<i32>, SchemaError> {
        match self.check_schema().await {
            Err(SchemaError::Older { .. }) => {}
            other => return other.map(|()| Vec::new()),
        }
        for text in OWN_TABLES {
            self.alter_schema(text).await?;
        }
        let lock = Lock::take(self, CQL_LOCK_LAPSE, CQL_LOCK_WAIT).await?;
        let applied = self.apply_steps(&lock).await;
        lock.release().await;
        applied
    }

    /// Whether the keyspace has exactly the schema that this binary needs.
    ///
    /// # Errors
    /// See [`SchemaError`].
    pub async fn check_schema(&self) -> Result<(), SchemaError> {
        let (found, known) = (self.checked_steps().await?, last(STEPS));
        if found < known { Err(SchemaError::Older { found, known }) } else { Ok(()) }
    }

    async fn apply_steps(&self, lock: &Lock<'_>) -> Result<Vec<i32>, SchemaError> {
        // Looked at again: who held the lock before may have applied them.
        let found = self.checked_steps().await?;
        let note = Spec {
            text: "INSERT INTO schema_steps (part, number, name, checksum) VALUES (?, ?, ?, ?)",
            purpose: Purpose::Write,
        };
        let note = self.prepare(note).await?;
        let mut applied = Vec::new();
        for step in STEPS.iter().filter(|step| step.number > found) {
            for statement in step.statements() {
                lock.keep().await?;
                self.alter_schema(&statement).await?;
            }
            self.run(&note, (PART, step.number, step.name, step.checksum())).await?;
            tracing::info!(step = step.number, name = step.name, "applied to the schema");
            applied.push(step.number);
        }
        Ok(applied)
    }

    /// The number of the last applied step, all of which this binary knows as they were applied.
    async fn checked_steps(&self) -> Result<i32, SchemaError> {
        let applied = self.applied_steps().await?;
        let found = applied.last().map_or(0, |(number, ..)| *number);
        if found > last(STEPS) {
            return Err(SchemaError::Newer { found, known: last(STEPS) });
        }
        let is_other = |(number, _, checksum): &&(i32, String, i64)| {
            !STEPS.iter().any(|step| step.number == *number && step.checksum() == *checksum)
        };
        match applied.iter().find(is_other) {
            Some((number, ..)) => Err(SchemaError::Other { number: *number }),
            None => Ok(found),
        }
    }

    /// Number, name and checksum of the applied steps, in order.
    async fn applied_steps(&self) -> StoreResult<Vec<(i32, String, i64)>> {
        let known = Statement::new(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_steps'",
        );
        let found = self.session.query_unpaged(known, (&self.keyspace,)).await.map_err(failed)?;
        if found.into_rows_result().map_or(true, |rows| rows.rows_num() == 0) {
            return Ok(Vec::new());
        }
        let read = Spec {
            text: "SELECT number, name, checksum FROM schema_steps WHERE part = ?",
            purpose: Purpose::SerialRead,
        };
        // A node lists a new table a moment before it knows it.
        let begun = Instant::now();
        let prepare = || self.prepare(read);
        let read = prepare.retry(AGAIN).when(|_| begun.elapsed() < CQL_LEARN_PATIENCE).await?;
        self.first_rows(&read, (PART,), usize::MAX).await
    }
}

fn last(steps: &[Step]) -> i32 {
    steps.last().map_or(0, |step| step.number)
}
