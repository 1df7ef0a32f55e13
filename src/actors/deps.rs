//! What every actor of an engine shares.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use ractor::ActorRef;
use tokio::sync::OnceCell;
use tokio::sync::mpsc::UnboundedSender;

use super::buckets::OrgBuckets;
use super::execution::message::ExecutionMessage;
use super::feed::{Delivery, Feed};
use super::finish::FinishedRun;
use super::organization::message::OrgMessage;
use crate::clock::Clock;
use crate::domain::id::{ExecutionId, OrgId, SessionId};
use crate::domain::plan::Plan;
use crate::limits;
use crate::store::contract::Store;

/// What an operator may set of the engine.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The plan of every organization of this deployment.
    pub plan: Plan,
    /// A session without an accepted request for this long is over.
    pub session_lifetime: Duration,
    /// How long a finished session is remembered.
    pub session_archive: Duration,
    /// How long after its teardown a run takes late events.
    pub late_events: Duration,
    /// How often orphans are looked for.
    pub orphan_sweep_interval: Duration,
    /// An execution actor without a message for this long leaves memory.
    pub actor_idle: Duration,
    /// How long a request waits for its batch to become durable.
    pub append_wait: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            plan: Plan::Enterprise,
            session_lifetime: limits::SESSION_LIFETIME,
            session_archive: limits::SESSION_ARCHIVE,
            late_events: limits::LATE_EVENTS,
            orphan_sweep_interval: limits::ORPHAN_SWEEP_INTERVAL,
            actor_idle: limits::ACTOR_IDLE,
            append_wait: limits::APPEND_WAIT,
        }
    }
}

/// What every actor of an engine shares.
pub(super) struct Deps {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) delivery: Arc<dyn Delivery>,
    pub(super) settings: EngineSettings,
    pub(super) directory: Directory,
    /// Where closed runs go next: the finish pipeline, then folding.
    pub(super) finished: UnboundedSender<FinishedRun>,
    /// Hears of organizations that use more than before.
    pub(super) growth: OnceLock<Box<dyn Fn(OrgId) + Send + Sync>>,
}

impl Deps {
    /// The organization's feed: one and the same for everybody.
    pub(super) fn feed(&self, org: OrgId) -> Feed {
        if let Some(known) = self.directory.feeds.get(&org) {
            return known.clone();
        }
        let new = || Feed::new(org, Arc::clone(&self.store), Arc::clone(&self.delivery));
        self.directory.feeds.entry(org).or_insert_with(new).clone()
    }

    /// Says that an organization uses more than before.
    pub(super) fn grown(&self, org: OrgId) {
        if let Some(hear) = self.growth.get() {
            hear(org);
        }
    }

    /// Hands a run that was just closed to the finish pipeline.
    pub(super) fn finished(&self, run: FinishedRun) {
        // The receiver is gone only when the engine is: the next process finds the run closed and not folded.
        let _gone = self.finished.send(run);
    }
}

/// Who is where. Belongs to one engine, so that two servers can live in one process.
#[derive(Default)]
pub(super) struct Directory {
    /// Sessions that may still be fed; a miss is looked up in the store.
    pub(super) sessions: DashMap<SessionId, SessionEntry, RandomState>,
    /// Execution actors that are in memory.
    pub(super) executions: DashMap<ExecutionId, ActorRef<ExecutionMessage>, RandomState>,
    /// Organizations that are in memory.
    pub(super) organizations: DashMap<OrgId, Arc<Organization>, RandomState>,
    /// Feeds that are in memory. Apart from their organizations: what is being stored may outlive these.
    pub(super) feeds: DashMap<OrgId, Feed, RandomState>,
}

impl Directory {
    /// Takes an actor out of the map, unless another one of the same run has taken its place.
    pub(super) fn forget(&self, execution: ExecutionId, actor: &ActorRef<ExecutionMessage>) {
        self.executions.remove_if(&execution, |_, known| known.get_id() == actor.get_id());
    }

    /// Takes an organization out of the map, unless another actor has taken this one's place.
    pub(super) fn forget_organization(&self, org: OrgId, actor: &ActorRef<OrgMessage>) {
        let is_it = |known: &ActorRef<OrgMessage>| known.get_id() == actor.get_id();
        self.organizations.remove_if(&org, |_, known| known.actor.get().is_some_and(is_it));
    }
}

/// Where a session's events go.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionEntry {
    pub(super) org: OrgId,
    pub(super) execution: ExecutionId,
}

/// What an organization's actor owns and others may hold.
pub(super) struct Organization {
    pub(super) buckets: Arc<OrgBuckets>,
    /// Started when first needed: counting requests needs none.
    pub(super) actor: OnceCell<ActorRef<OrgMessage>>,
}
