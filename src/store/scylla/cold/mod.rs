//! The cold nouns on a cluster: accounts, keys, projects, revoked tokens, login tries, the audit log, letters.
//!
//! Everything an organization must agree on is one partition, and [`change`] is how it changes: read, check, then one
//! conditional batch that counts `rev` up. The entry of an audited change is part of that batch; the next audited change
//! moves it into the audit log before it overwrites it, so no entry is lost between two writes ([`audit`]). What is unique
//! over all organizations is claimed first ([`claims`]), and a claim counts only if the record it names is there. An
//! account that changes its organization does so in steps that readers complete ([`members`]).

mod accounts;
mod audit;
mod change;
mod claims;
mod invitations;
mod keys;
mod logins;
mod members;
mod organizations;
mod outbox;
mod people;
mod projects;
mod resets;
mod rows;
mod sealed;
mod statements;
mod take_in;
mod tokens;
mod transfer;
mod usage;
mod variables;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use self::change::Heads;
use self::statements::Statements;
pub use self::transfer::copied_kinds;
use super::connect::Cql;
use crate::store::contract::StoreResult;

/// Accounts, keys, projects, revoked tokens, login tries and the audit log.
pub struct Cold {
    cql: Arc<Cql>,
    statements: Statements,
    heads: Heads,
    /// Letters that waited when all were looked at last.
    letters_seen: AtomicU64,
}

impl Cold {
    /// Prepares every statement; the schema has to be there.
    ///
    /// # Errors
    /// `Unavailable` if the cluster fails, or lacks a table.
    pub async fn open(cql: Arc<Cql>) -> StoreResult<Self> {
        let statements = Statements::prepare(&cql).await?;
        Ok(Self { cql, statements, heads: Heads::default(), letters_seen: AtomicU64::new(0) })
    }

    /// Writes a row to a quorum and reads it back.
    ///
    /// # Errors
    /// `Unavailable` if a write would not be accepted now.
    pub async fn probe(&self) -> StoreResult<()> {
        let name = self.cql.datacenter().as_bytes();
        self.cql.run(&self.statements.put_lookup_for, ("probe", name, name, name, PROBE_KEPT_S)).await?;
        let read: Option<(Vec<u8>, Vec<u8>)> =
            self.cql.first(&self.statements.lookup, ("probe", name)).await?;
        read.map(drop).ok_or_else(|| {
            crate::store::contract::StoreError::Damaged("the probe's row cannot be read back".into())
        })
    }
}

/// How long the row of a probe is kept, in seconds.
const PROBE_KEPT_S: i32 = 60;
