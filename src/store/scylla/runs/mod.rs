//! Runs and the feed on CQL.
//!
//! - [`row`]: the one row of a run that decides; [`tables`], [`statements`]: what is asked of the database; [`index`]: where a run's segments are.
//! - [`claim`]: taking a run over; [`owned`]: the runs of this node, each with one change at a time; [`append`]: the path of
//!   what is acknowledged, one statement a segment.
//! - [`open`], [`close`], [`settle`]: the steps of a run's life. Each is one conditional write of the row; what is derived
//!   from it ([`derived`]) is written after it, and again by whoever claims the run.
//! - [`read`], [`text`], [`results`], [`lists`], [`sessions`]: what is asked for. Reads need no owner.
//! - [`lane`], [`feed`]: the numbers of the feed, one numbering a node; [`recover`]: what a start does.

mod append;
mod claim;
mod close;
mod derived;
mod feed;
mod feed_tables;
#[cfg(test)]
mod golden;
mod index;
mod lane;
mod lists;
mod open;
mod owned;
mod read;
mod recover;
mod results;
mod row;
mod sessions;
mod settle;
mod statements;
mod store;
mod tables;
mod text;
mod transfer;

use std::sync::Arc;

use dashmap::DashMap;

use super::Cql;
use super::claims::{Lease, LeaseSettings, Nodes, Term};
use crate::clock::Uptime;
use crate::domain::id::{ExecutionId, OrgId};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::failure::FailureLatch;
use crate::store::fold::results::Collapsed;
use lane::Lanes;
use owned::{Claiming, OwnedRun};
use tables::Tables;
pub(super) use transfer::RunsTransfer;

/// How runs are kept.
#[derive(Clone)]
pub struct RunSettings {
    /// How this node's lease is held.
    pub lease: LeaseSettings,
    /// The clock of leases.
    pub uptime: Arc<dyn Uptime>,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self { lease: LeaseSettings::default(), uptime: Arc::new(crate::clock::BootClock) }
    }
}

/// The store of runs and of the feed.
pub struct ScyllaRuns {
    core: Arc<Core>,
    following: tokio::task::JoinHandle<()>,
}

/// What every part uses.
struct Core {
    tables: Tables,
    nodes: Arc<Nodes>,
    lease: Arc<Lease>,
    owned: DashMap<ExecutionId, Arc<OwnedRun>>,
    claiming: Claiming,
    lanes: Lanes,
    collapsed: Collapsed,
    storage: lists::StorageUsed,
    /// Why this process cannot go on.
    failure: FailureLatch,
    /// The life of this node that has begun: whose numbering and runs are known.
    begun: std::sync::Mutex<Option<uuid::Uuid>>,
}

impl ScyllaRuns {
    /// Registers this node, takes a numbering of the feed and takes over the runs that nobody alive owns. Takes longer
    /// than [`LeaseSettings::dead_after`] if a node before did not let go.
    ///
    /// # Errors
    /// `Unavailable` if the cluster does not answer, `Damaged` if it holds what this build cannot read.
    pub async fn open(cql: Arc<Cql>, settings: RunSettings) -> StoreResult<Self> {
        let RunSettings { lease, uptime } = settings;
        let tables = Tables::prepare(Arc::clone(&cql)).await?;
        let nodes = Arc::new(Nodes::prepare(cql, lease, Arc::clone(&uptime)).await?);
        let lease = Lease::start(Arc::clone(&nodes), lease, uptime).await?;
        let core = Arc::new(Core {
            tables,
            nodes,
            lease,
            owned: DashMap::new(),
            claiming: Claiming::default(),
            lanes: Lanes::default(),
            collapsed: Collapsed::default(),
            storage: lists::StorageUsed::default(),
            failure: FailureLatch::new(),
            begun: std::sync::Mutex::default(),
        });
        let term = core.lease.term()?;
        core.begin_term(&term, std::future::pending()).await?;
        let following =
            tokio::spawn(recover::follow_terms(Arc::downgrade(&core), core.lease.terms(), term.incarnation));
        Ok(Self { core, following })
    }

    /// Finishes what is under way, lets go of every run and of the feed's numbering, and says so: the next owner does not
    /// have to wait.
    ///
    /// # Errors
    /// `Unavailable` if that could not be said; others then find out by this node's silence.
    pub async fn shut_down(&self) -> StoreResult<()> {
        self.following.abort();
        self.core.let_go().await
    }

    /// Whether this node may acknowledge now.
    ///
    /// # Errors
    /// `Unavailable` if its lease is over and it is not back yet.
    pub fn probe(&self) -> StoreResult<()> {
        self.core.begun().map(drop)
    }

    /// Resolves with the reason once this process cannot go on.
    pub async fn failed(&self) -> String {
        self.core.failure.failed().await
    }

    /// Runs `work` to its end even if nobody waits for it any more.
    async fn to_end<T, F>(&self, work: impl FnOnce(Arc<Core>) -> F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Future<Output = StoreResult<T>> + Send + 'static,
    {
        let work = tokio::spawn(work(Arc::clone(&self.core)));
        work.await.map_err(|error| StoreError::Unavailable(format!("a store call ended early: {error}")))?
    }
}

impl Drop for ScyllaRuns {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Core {
    /// The run if this node owns it in its present life.
    fn mine(&self, org: OrgId, execution: ExecutionId) -> Option<Arc<OwnedRun>> {
        let owned = self.owned.get(&execution).map(|owned| Arc::clone(&owned))?;
        (owned.org == org && owned.term.is_fresh()).then_some(owned)
    }

    /// Does not know a run any more whose row was changed by somebody else, or of which a write's outcome is unknown.
    fn drop_run(&self, owned: &Arc<OwnedRun>) {
        self.owned.remove_if(&owned.execution, |_, known| Arc::ptr_eq(known, owned));
    }

    fn term(&self) -> StoreResult<Arc<Term>> {
        self.lease.term()
    }

    /// The life that this node has now, if it has begun.
    fn begun(&self) -> StoreResult<Arc<Term>> {
        let term = self.term()?;
        let begun = *self.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if begun == Some(term.incarnation) {
            return Ok(term);
        }
        Err(StoreError::Unavailable("this node is just coming back".into()))
    }
}
