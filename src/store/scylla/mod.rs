//! The distributed store: the same contract on ScyllaDB, or anything else that speaks CQL.
//!
//! [`connect`] reaches the cluster, [`statement`] is the only way to ask it something, [`sending`] how that is done, [`schema`] makes and
//! checks the tables, [`cold`] keeps accounts and projects. What is acknowledged is with a
//! quorum of the local datacenter.
//! [`runs`] keeps runs and the feed; which node may acknowledge for a run is decided by [`claims`].

mod claims;
mod cold;
pub mod connect;
pub mod faults;
pub mod runs;
pub mod schema;
mod sending;
pub mod settings;
pub mod statement;
mod store;
mod tls;
mod transfer;

use std::sync::Arc;

pub use claims::LeaseSettings;
pub use cold::{Cold, copied_kinds};
pub use connect::{ConnectError, Cql, is_keyspace_name};
pub use settings::{Password, ScyllaSettings};
pub use store::ScyllaStore;
pub(in crate::store) use transfer::ScyllaTransfer;
pub use transfer::copied_tables;

use crate::store::contract::StoreResult;

/// How many servers are at work on the keyspace. Takes [`LeaseSettings::dead_after`] if one has died without saying so.
///
/// # Errors
/// `Unavailable` if the cluster does not answer.
pub async fn servers_at_work(cql: Arc<Cql>) -> StoreResult<usize> {
    let runs::RunSettings { lease, uptime } = runs::RunSettings::default();
    Ok(claims::Nodes::prepare(cql, lease, uptime).await?.living().await?.len())
}
