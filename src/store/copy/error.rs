//! Why a copy was not made.

use crate::store::contract::StoreError;
use crate::store::scylla::schema::SchemaError;

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A server uses one of the stores.
    #[error("{0} is used by a server; stop every server that uses it, then copy again")]
    InUse(String),
    /// The target holds something that is not from this copy.
    #[error("{0} is not empty; copy into a new folder or an empty keyspace")]
    NotEmpty(String),
    /// The target holds a part of another store.
    #[error("{0} holds an unfinished copy of another store; remove it, or go on with that store")]
    OtherCopy(String),
    /// There is no such store.
    #[error("there is no store in {0}")]
    NoStore(String),
    /// The stores are read whole and differ.
    #[error("{target} differs from {origin}: {differences}; remove {target} and copy again")]
    Differs {
        /// What was read from.
        origin: String,
        /// What was written to.
        target: String,
        /// Each kind that differs, with both counts.
        differences: String,
    },
    /// The cluster cannot be reached, or has not got the tables.
    #[error(transparent)]
    Cluster(#[from] SchemaError),
    /// A store failed; what was copied stays, and the next try goes on from there.
    #[error("{0}; copy again to go on from here")]
    Store(#[from] StoreError),
}
