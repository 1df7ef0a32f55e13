//! The handle: what the doors ask of the actors. Cheap to clone. Every call waits for a bounded time; a call that meets
//! an actor that is just leaving, or that dies over it, is made again.

use std::sync::{Arc, OnceLock};

use ractor::{Actor, ActorRef};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::buckets::{IpBuckets, OrgBuckets};
use super::deps::{Deps, Directory, EngineSettings, Organization, SessionEntry};
use super::error::EngineError;
use super::execution::message::{Applied, Delivered, ExecutionMessage, Progress, Refusal, Reply, TornDown};
use super::feed::{Delivery, Told};
use super::finish::FinishPipeline;
use super::housekeeping::{self, Housekeeper};
use super::organization::give_back;
use super::organization::message::{Opened, OrgMessage};
use super::root::{RootActor, RootMessage};
use crate::clock::Clock;
use crate::domain::execution::{Completeness, Execution, Session, SessionStatus, Status};
use crate::domain::id::{ExecutionId, OrgId, SessionId, UserId};
use crate::domain::setup::SetupRequest;
use crate::domain::teardown::TeardownRequest;
use crate::limits;
use crate::store::contract::Store;

/// The actors of one server.
#[derive(Clone)]
pub struct Engine {
    pub(super) deps: Arc<Deps>,
    root: ActorRef<RootMessage>,
    addresses: Arc<IpBuckets>,
    pub(super) housekeeper: Arc<Housekeeper>,
}

/// How much is alive, for gauges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineStats {
    /// Organizations in memory.
    pub organizations: usize,
    /// Execution actors in memory.
    pub executions: usize,
    /// Sessions whose run is known without asking the store.
    pub sessions: usize,
}

impl Engine {
    /// Starts the actors over `store`. Runs that were closed but not folded when the process before ended are folded
    /// in the background; open ones are loaded when something arrives for them.
    ///
    /// # Errors
    /// If the store cannot tell which runs are open.
    pub async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        delivery: Arc<dyn Delivery>,
        pipeline: FinishPipeline,
        settings: EngineSettings,
    ) -> Result<Self, EngineError> {
        let (finished, inbox) = tokio::sync::mpsc::unbounded_channel();
        let (directory, growth) = (Directory::default(), OnceLock::new());
        let deps = Arc::new(Deps { store, clock, delivery, settings, directory, finished, growth });
        let started = RootActor::spawn(None, RootActor, Arc::clone(&deps)).await;
        let (root, _task) = started.map_err(|_| EngineError::Busy { retry_after_s: 1 })?;
        let addresses = Arc::new(IpBuckets::default());
        let engine = Self { deps, root, addresses, housekeeper: Arc::default() };
        housekeeping::start(&engine, pipeline, inbox).await?;
        Ok(engine)
    }

    /// Has `hear` told of every organization that has just started a run, or keeps more bytes than before. It is called in
    /// actors, so it must be short. Only the first `hear` is.
    pub fn on_growth(&self, hear: impl Fn(OrgId) + Send + Sync + 'static) {
        let _heard_by_another = self.deps.growth.set(Box::new(hear));
    }

    /// Opens a run on behalf of `user`. Execution, cycle and session are durable when it returns.
    ///
    /// # Errors
    /// `Limit` if the plan allows no further run, `ProjectNotFound` if the organization has no such project, `Busy` if
    /// the store takes nothing now.
    pub async fn set_up(
        &self,
        org: OrgId,
        user: UserId,
        request: SetupRequest,
    ) -> Result<Opened, EngineError> {
        let request = Box::new(request);
        let ask = |reply| OrgMessage::SetUp { user, request: request.clone(), reply };
        self.ask_organization(org, ask).await?
    }

    /// Takes back a run whose setup nobody was told of.
    ///
    /// # Errors
    /// `Busy` if the store takes nothing now; the run then stays open until it is swept as an orphan.
    pub async fn abandon(&self, org: OrgId, opened: &Opened) -> Result<(), EngineError> {
        let Some(execution) = self.deps.store.execution(org, opened.execution).await? else { return Ok(()) };
        self.deps.directory.sessions.remove(&opened.session);
        let counted_ms = execution.start_ms;
        // Goes to its end even if nobody waits for it any more: a number of the feed hangs on it.
        let taken_back = tokio::spawn(take_back(Arc::clone(&self.deps), execution));
        taken_back.await.unwrap_or(Err(BUSY))?;
        give_back(&self.deps, org, counted_ms).await;
        Ok(())
    }

    /// Applies a batch to the run that `session` feeds, or recognises it. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// `SessionNotFound` if there is no such session in `org` or it is over; `TooManyGaps` if its batch number cannot
    /// be remembered; `Busy` if it could not be made durable in time: the same bytes may be sent again, and are
    /// recognised if they were stored after all.
    pub async fn ingest(
        &self,
        org: OrgId,
        session: SessionId,
        delivered: Delivered,
    ) -> Result<Applied, EngineError> {
        self.ingest_until(self.deadline(), org, session, delivered).await
    }

    /// The same by `deadline`, for a request that has waited already.
    ///
    /// # Errors
    /// As [`Engine::ingest`].
    pub async fn ingest_until(
        &self,
        deadline: Instant,
        org: OrgId,
        session: SessionId,
        delivered: Delivered,
    ) -> Result<Applied, EngineError> {
        let entry = self.session_entry(org, session).await?;
        let delivered = Arc::new(delivered);
        let ask = |reply| ExecutionMessage::Deliver { session, delivered: Arc::clone(&delivered), reply };
        match self.ask_until(deadline, org, entry.execution, ask).await {
            Err(EngineError::NotFound) => Err(EngineError::SessionNotFound),
            answer => answer,
        }
    }

    /// Finishes a session and with it its run. A teardown that was answered before is answered alike.
    ///
    /// # Errors
    /// `SessionNotFound` if there is no such session in `org`, or it expired, or was finished longer ago than finished
    /// sessions are remembered; `Busy` if the store takes nothing now: the session stays open.
    pub async fn tear_down(&self, org: OrgId, request: TeardownRequest) -> Result<TornDown, EngineError> {
        let entry = match self.session_entry(org, request.session).await {
            Ok(entry) => entry,
            Err(EngineError::SessionNotFound) => return self.archived(org, request.session).await,
            Err(error) => return Err(error),
        };
        match self
            .ask(org, entry.execution, |reply| ExecutionMessage::TearDown {
                request: Box::new(request),
                reply,
            })
            .await
        {
            // Settled meanwhile.
            Err(EngineError::NotFound) => self.archived(org, request.session).await,
            answer => answer,
        }
    }

    /// Lets pass what is for a session of `org` that may still be fed, as far as that is known without its run.
    ///
    /// # Errors
    /// `SessionNotFound` if there is no such session in `org`, or it was finished; those of the store.
    pub async fn check_session(&self, org: OrgId, session: SessionId) -> Result<(), EngineError> {
        self.session_entry(org, session).await.map(drop)
    }

    /// Counts a request of `session` that did not reach its run. Unknown sessions are passed over.
    pub async fn note_refused(&self, org: OrgId, session: SessionId, refusal: Refusal) {
        let Ok(entry) = self.session_entry(org, session).await else { return };
        if let Ok(actor) = self.execution_actor(org, entry.execution).await {
            // An actor that is just leaving has written its counters; this one refusal is then lost.
            let _gone = actor.cast(ExecutionMessage::Refused { refusal });
        }
    }

    /// What a run sent and what became of it, or `None` if `org` has no such run.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn completeness(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> Result<Option<Completeness>, EngineError> {
        match self.ask(org, execution, |reply| ExecutionMessage::Completeness { reply }).await {
            // Settled, or none of this organization's.
            Err(EngineError::NotFound) => {
                let stored = self.deps.store.execution(org, execution).await?;
                Ok(stored.and_then(|stored| stored.completeness))
            }
            answer => answer.map(Some),
        }
    }

    /// The progress of a run that can still change, or `None` for one that cannot, or that `org` does not have.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn progress(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> Result<Option<watch::Receiver<Progress>>, EngineError> {
        match self.ask(org, execution, |reply| ExecutionMessage::Watch { reply }).await {
            Err(EngineError::NotFound) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The counters of an organization.
    #[must_use]
    pub fn buckets(&self, org: OrgId) -> Arc<OrgBuckets> {
        Arc::clone(&self.organization(org).buckets)
    }

    /// The counters of client addresses.
    #[must_use]
    pub fn public_buckets(&self) -> &IpBuckets {
        &self.addresses
    }

    /// Does a real round trip to the root of the actors.
    ///
    /// # Errors
    /// `Busy` if it does not answer in time, or is gone.
    pub async fn probe(&self) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        self.root.cast(RootMessage::Probe { reply }).map_err(|_| BUSY)?;
        until(self.deadline(), answer).await?.map_err(|_| BUSY)
    }

    /// How much is alive.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let directory = &self.deps.directory;
        EngineStats {
            organizations: directory.organizations.len(),
            executions: directory.executions.len(),
            sessions: directory.sessions.len(),
        }
    }

    /// Ends every run's time in memory, with everything acknowledged stored. Call it when the doors are closed.
    pub async fn drain(&self) {
        self.housekeeper.stop().await;
        let actors: Vec<_> =
            self.deps.directory.executions.iter().map(|entry| entry.value().clone()).collect();
        let mut drained = Vec::new();
        for actor in actors {
            let (reply, done) = oneshot::channel();
            if actor.cast(ExecutionMessage::Drain { reply }).is_ok() {
                drained.push(done);
            }
        }
        for done in drained {
            // An error means that the actor has left by itself.
            let _left = done.await;
        }
        let organizations: Vec<_> =
            self.deps.directory.organizations.iter().map(|entry| Arc::clone(entry.value())).collect();
        for organization in organizations {
            if let Some(actor) = organization.actor.get() {
                let _left = actor.stop_and_wait(None, None).await;
            }
        }
        let _left = self.root.stop_and_wait(None, None).await;
        let feeds: Vec<_> = self.deps.directory.feeds.iter().map(|entry| entry.value().clone()).collect();
        for feed in feeds {
            feed.flush().await;
        }
    }

    /// Until when a request that comes now may wait for what it asks for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.deps.settings.append_wait
    }

    /// Sends a message to a run's actor and waits for the answer; an actor that leaves or dies before it answers is
    /// replaced and asked again.
    pub(super) async fn ask<T>(
        &self,
        org: OrgId,
        execution: ExecutionId,
        message: impl Fn(Reply<T>) -> ExecutionMessage,
    ) -> Result<T, EngineError> {
        self.ask_until(self.deadline(), org, execution, message).await
    }

    async fn ask_until<T>(
        &self,
        deadline: Instant,
        org: OrgId,
        execution: ExecutionId,
        message: impl Fn(Reply<T>) -> ExecutionMessage,
    ) -> Result<T, EngineError> {
        for attempt in 0..limits::DELIVERY_TRIES {
            // The first actor may have left an append in flight: the second try is made at once, later ones leave it time.
            if attempt > 1 {
                tokio::time::sleep(limits::DELIVERY_PAUSE * attempt).await;
            }
            let actor = self.execution_actor(org, execution).await?;
            let (reply, answer) = oneshot::channel();
            if actor.cast(message(reply)).is_err() {
                self.deps.directory.forget(execution, &actor);
                continue;
            }
            match until(deadline, answer).await? {
                Ok(result) => return result,
                Err(_dropped) => self.deps.directory.forget(execution, &actor),
            }
        }
        Err(BUSY)
    }

    pub(super) async fn execution_actor(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> Result<ActorRef<ExecutionMessage>, EngineError> {
        if let Some(known) = self.deps.directory.executions.get(&execution) {
            return Ok(known.clone());
        }
        // In a box: mostly it is there, and its request need not carry the place for this.
        Box::pin(self.ask_organization(org, |reply| OrgMessage::Wake { execution, reply })).await
    }

    /// Sends a message to an organization's actor and waits for the answer; an actor that leaves or dies before it answers
    /// is replaced and asked again.
    async fn ask_organization<T>(
        &self,
        org: OrgId,
        message: impl Fn(oneshot::Sender<T>) -> OrgMessage,
    ) -> Result<T, EngineError> {
        let deadline = self.deadline();
        for attempt in 0..limits::DELIVERY_TRIES {
            if attempt > 1 {
                tokio::time::sleep(limits::DELIVERY_PAUSE * attempt).await;
            }
            let actor = self.organization_actor(org).await?;
            let (reply, answer) = oneshot::channel();
            if actor.cast(message(reply)).is_ok()
                && let Ok(answer) = until(deadline, answer).await?
            {
                return Ok(answer);
            }
            self.deps.directory.forget_organization(org, &actor);
        }
        Err(BUSY)
    }

    async fn organization_actor(&self, org: OrgId) -> Result<ActorRef<OrgMessage>, EngineError> {
        let organization = self.organization(org);
        let start = || async {
            let (reply, answer) = oneshot::channel();
            self.root.cast(RootMessage::Start { org, reply }).map_err(|_| BUSY)?;
            answer.await.map_err(|_| BUSY)
        };
        organization.actor.get_or_try_init(start).await.cloned()
    }

    fn organization(&self, org: OrgId) -> Arc<Organization> {
        if let Some(known) = self.deps.directory.organizations.get(&org) {
            return Arc::clone(&known);
        }
        let new = || Arc::new(Organization { buckets: Arc::default(), actor: tokio::sync::OnceCell::new() });
        Arc::clone(&self.deps.directory.organizations.entry(org).or_insert_with(new))
    }

    async fn session_entry(&self, org: OrgId, session: SessionId) -> Result<SessionEntry, EngineError> {
        match self.deps.directory.sessions.get(&session).map(|entry| *entry) {
            Some(entry) if entry.org == org => Ok(entry),
            // Another organization's is looked for like one that nobody has: time does not tell that it is here.
            _ => Box::pin(self.stored_session_entry(org, session)).await,
        }
    }

    async fn stored_session_entry(
        &self,
        org: OrgId,
        session: SessionId,
    ) -> Result<SessionEntry, EngineError> {
        let stored = self.deps.store.session(session).await?.filter(|stored| stored.org == org);
        let Session { execution, status, .. } = stored.ok_or(EngineError::SessionNotFound)?;
        // A finished one still takes late events until its run is settled; its actor knows for how long.
        let is_over =
            status != SessionStatus::Running && self.deps.store.run_state(org, execution).await?.is_none();
        if is_over {
            return Err(EngineError::SessionNotFound);
        }
        let entry = SessionEntry { org, execution };
        self.deps.directory.sessions.insert(session, entry);
        Ok(entry)
    }

    /// The answer of a session that was finished, as long as it is remembered.
    async fn archived(&self, org: OrgId, session: SessionId) -> Result<TornDown, EngineError> {
        let stored = self.deps.store.session(session).await?.filter(|stored| stored.org == org);
        let stored = stored.ok_or(EngineError::SessionNotFound)?;
        let remembered = stored.expires_ms > self.deps.clock.now_ms() && stored.final_summary.is_some();
        match stored.answered {
            Some(status) if remembered => Ok(TornDown { task: stored.task_id, status }),
            _ => Err(EngineError::SessionNotFound),
        }
    }
}

async fn until<T>(
    deadline: Instant,
    answer: oneshot::Receiver<T>,
) -> Result<Result<T, oneshot::error::RecvError>, EngineError> {
    tokio::time::timeout_at(deadline, answer).await.map_err(|_| BUSY)
}

async fn take_back(deps: Arc<Deps>, execution: Execution) -> Result<(), EngineError> {
    let Execution { org, id, task_id, .. } = execution;
    let ticket = deps.feed(org).reserve().await?;
    match deps.store.abandon_run(org, id, ticket.seq()).await {
        Ok(true) => {
            let body = super::execution::update::status(org, &task_id, Status::Cancelled);
            ticket.durable(Told { execution: id, task: task_id, at: (0, 0), body: Some(body) });
            Ok(())
        }
        Ok(false) => {
            ticket.void();
            Ok(())
        }
        Err(error) => {
            ticket.failed(&error);
            Err(error.into())
        }
    }
}

const BUSY: EngineError = EngineError::Busy { retry_after_s: 1 };
