//! The loop of an organization: count and open runs, start and supervise their actors.

use std::collections::HashMap;
use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::message::{Opened, OrgMessage};
use super::setup;
use crate::actors::deps::{Deps, SessionEntry};
use crate::actors::error::{EngineError, LimitedResource, PlanLimitHit};
use crate::actors::execution::message::{ExecutionMessage, Reply};
use crate::actors::execution::{ExecutionActor, ExecutionArgs, update};
use crate::actors::feed::Told;
use crate::clock::UnixMs;
use crate::domain::id::{ExecutionId, OrgId, UserId};
use crate::domain::plan::UNLIMITED;
use crate::domain::setup::SetupRequest;
use crate::domain::usage::Period;
use crate::limits::RUN_PLACE_PATIENCE;
use crate::store::contract::{Conflict, StoreError, StoreResult};

/// The behaviour; the state is [`OrgState`].
pub(in crate::actors) struct OrgActor;

/// What an organization actor starts with.
pub(in crate::actors) struct OrgArgs {
    pub(in crate::actors) deps: Arc<Deps>,
    pub(in crate::actors) org: OrgId,
}

/// An organization in memory.
pub(in crate::actors) struct OrgState {
    deps: Arc<Deps>,
    org: OrgId,
    runs: HashMap<ActorId, (ExecutionId, ActorRef<ExecutionMessage>)>,
    /// The period whose stored runs this actor has counted.
    counted: Option<Period>,
}

impl Actor for OrgActor {
    type Msg = OrgMessage;
    type State = OrgState;
    type Arguments = OrgArgs;

    async fn pre_start(
        &self,
        _me: ActorRef<OrgMessage>,
        args: OrgArgs,
    ) -> Result<OrgState, ActorProcessingErr> {
        Ok(OrgState { deps: args.deps, org: args.org, runs: HashMap::new(), counted: None })
    }

    async fn handle(
        &self,
        me: ActorRef<OrgMessage>,
        message: OrgMessage,
        state: &mut OrgState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            OrgMessage::SetUp { user, request, reply } => state.set_up(user, request, reply).await,
            OrgMessage::Wake { execution, reply } => {
                let actor = state.wake(&me, execution).await?;
                // Whoever asked has given up if this cannot be sent.
                let _gone = reply.send(actor);
            }
            OrgMessage::LeaveIfIdle => state.leave_if_idle(&me),
        }
        Ok(())
    }

    /// A run's actor that is gone, by leaving or by a panic, is taken off the list; the next message for the run starts
    /// a new one from the store. The organization and the other runs go on.
    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<OrgMessage>,
        event: SupervisionEvent,
        state: &mut OrgState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(who, ..) => state.gone(who.get_id()),
            SupervisionEvent::ActorFailed(who, error) => {
                let execution = state.runs.get(&who.get_id()).map(|(execution, _)| execution.to_string());
                tracing::error!(execution.id = execution, %error, "execution actor failed");
                metrics::counter!(crate::telemetry::name::ACTOR_FAILURES, "kind" => "execution").increment(1);
                state.gone(who.get_id());
            }
            _ => {}
        }
        Ok(())
    }
}

impl OrgState {
    /// Checks the limits and opens the run. The run has taken its place before it is stored; storing goes on in a task, so
    /// that setups of one organization share syncs.
    async fn set_up(&mut self, user: UserId, request: Box<SetupRequest>, reply: Reply<Opened>) {
        let now_ms = self.deps.clock.now_ms();
        if let Err(error) = self.check_limits(now_ms).await {
            let _gone = reply.send(Err(error));
            return;
        }
        let (deps, org) = (Arc::clone(&self.deps), self.org);
        tokio::spawn(async move {
            // Whoever gets no answer asks again: there is one even if this ends early, when the run may be stored.
            let opening = tokio::spawn(open_run(Arc::clone(&deps), org, user, *request, now_ms));
            let result = opening.await.unwrap_or(Err(EngineError::Busy { retry_after_s: 1 }));
            // After `Busy` nobody knows whether the run is stored: its place is looked for when places run out.
            if !matches!(result, Ok(_) | Err(EngineError::Busy { .. })) {
                give_back(&deps, org, now_ms).await;
            }
            if result.is_ok() {
                deps.grown(org);
            }
            let _gone = reply.send(result);
        });
    }

    async fn check_limits(&mut self, now_ms: UnixMs) -> Result<(), EngineError> {
        let limits = self.deps.settings.plan.limits();
        let stored = self.deps.store.storage_used(self.org).await?;
        self.take_place(limits.max_test_runs, now_ms).await?;
        if stored >= limits.max_storage_bytes {
            give_back(&self.deps, self.org, now_ms).await;
            return Err(limit(LimitedResource::Storage, stored, limits.max_storage_bytes));
        }
        Ok(())
    }

    /// Takes one of the `max` places that the plan gives, if it gives a number.
    async fn take_place(&mut self, max: u64, now_ms: UnixMs) -> Result<(), EngineError> {
        if max == UNLIMITED {
            return Ok(());
        }
        let (store, org, period) = (&self.deps.store, self.org, Period::at(now_ms));
        let count = || store.count_runs(org, period.start_ms, period.next_ms);
        let take = |at_least| store.take_run_place(org, period.start_ms, max, at_least, now_ms);
        // Runs of a time without limits have taken no places.
        let at_least = if self.counted == Some(period) { 0 } else { count().await? };
        if is_taken(take(at_least).await)? {
            self.counted = Some(period);
            return Ok(());
        }
        // A place may be taken for a run that never came to be: who took it has had its time.
        let patience_ms = i64::try_from(RUN_PLACE_PATIENCE.as_millis()).unwrap_or(i64::MAX);
        let started = count().await?;
        let idle_since_ms = now_ms.saturating_sub(patience_ms);
        let corrected = store.correct_run_places(org, period.start_ms, started, idle_since_ms).await?;
        if corrected && is_taken(take(0).await)? {
            return Ok(());
        }
        Err(limit(LimitedResource::TestRuns, started.max(max), max))
    }

    async fn wake(
        &mut self,
        me: &ActorRef<OrgMessage>,
        execution: ExecutionId,
    ) -> Result<ActorRef<ExecutionMessage>, ActorProcessingErr> {
        if let Some(known) = self.deps.directory.executions.get(&execution) {
            return Ok(known.clone());
        }
        let args = ExecutionArgs { deps: Arc::clone(&self.deps), org: self.org, execution };
        let (actor, _task) = ExecutionActor::spawn_linked(None, ExecutionActor, args, me.get_cell()).await?;
        self.runs.insert(actor.get_id(), (execution, actor.clone()));
        self.deps.directory.executions.insert(execution, actor.clone());
        Ok(actor)
    }

    fn gone(&mut self, actor: ActorId) {
        if let Some((execution, actor)) = self.runs.remove(&actor) {
            self.deps.directory.forget(execution, &actor);
        }
    }

    fn leave_if_idle(&self, me: &ActorRef<OrgMessage>) {
        let organizations = &self.deps.directory.organizations;
        let now_ms = self.deps.clock.now_ms();
        let busy = !self.runs.is_empty()
            || organizations.get(&self.org).is_some_and(|known| known.buckets.forget_spent(now_ms) > 0);
        if !busy {
            self.deps.directory.forget_organization(self.org, me);
            me.stop(None);
        }
    }
}

/// Whether a place was taken; `false` if there is none.
fn is_taken(taken: StoreResult<()>) -> StoreResult<bool> {
    match taken {
        Ok(()) => Ok(true),
        Err(StoreError::Conflict(Conflict::RunLimit)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the place of a run back that was to start at `counted_ms`.
pub(in crate::actors) async fn give_back(deps: &Deps, org: OrgId, counted_ms: UnixMs) {
    if deps.settings.plan.limits().max_test_runs == UNLIMITED {
        return;
    }
    let period = Period::at(counted_ms);
    if let Err(error) = deps.store.give_run_place_back(org, period.start_ms, deps.clock.now_ms()).await {
        tracing::warn!(org.id = %org, %error, "a run's place stays taken until it is looked for");
    }
}

async fn open_run(
    deps: Arc<Deps>,
    org: OrgId,
    user: UserId,
    request: SetupRequest,
    now_ms: UnixMs,
) -> Result<Opened, EngineError> {
    let project = deps.store.project(org, request.project).await?.ok_or(EngineError::ProjectNotFound)?;
    let feed = deps.feed(org);
    let ticket = feed.reserve().await?;
    let mut opened = setup::open(request, &project, user, now_ms, &deps.settings);
    opened.feed_seq = ticket.seq();
    if let Err(error) = deps.store.open_run(opened.clone()).await {
        ticket.failed(&error);
        return Err(error.into());
    }
    let execution = opened.execution;
    deps.directory.sessions.insert(opened.session.id, SessionEntry { org, execution: execution.id });
    let body = feed.has_viewers().then(|| update::opened(&execution));
    let task = execution.task_id.clone();
    ticket.durable(Told { execution: execution.id, task, at: (0, 0), body });
    Ok(Opened {
        session: opened.session.id,
        task: execution.task_id,
        cycle: execution.cycle,
        execution: execution.id,
    })
}

fn limit(resource: LimitedResource, used: u64, limit: u64) -> EngineError {
    EngineError::Limit(PlanLimitHit { resource, used, limit })
}
