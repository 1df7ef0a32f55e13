//! The loop: judge a batch, take it in, hand it to the next append.

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::append::Waiting;
use super::flight::Flight;
use super::message::{Applied, Delivered, ExecutionMessage, Reply};
use super::state::{Recognised, RunState, answer};
use crate::actors::deps::Deps;
use crate::actors::error::EngineError;
use crate::actors::feed::Numbering;
use crate::clock::UnixMs;
use crate::domain::execution::Status;
use crate::domain::id::{ExecutionId, OrgId, SessionId};
use crate::domain::segment::{Position, SegmentBatch};
use crate::limits;

/// The behaviour; the state is [`Run`].
pub(in crate::actors) struct ExecutionActor;

/// What an execution actor starts with.
pub(in crate::actors) struct ExecutionArgs {
    pub(in crate::actors) deps: Arc<Deps>,
    pub(in crate::actors) org: OrgId,
    pub(in crate::actors) execution: ExecutionId,
}

/// A run in memory.
pub(in crate::actors) struct Run {
    pub(super) deps: Arc<Deps>,
    pub(super) org: OrgId,
    pub(super) id: ExecutionId,
    pub(super) me: ActorRef<ExecutionMessage>,
    /// The run, or why it could not be loaded; nothing but loading replaces it.
    pub(super) loaded: Result<Box<RunState>, EngineError>,
    /// Batches that are applied and wait for the next append.
    pub(super) batches: Vec<SegmentBatch>,
    /// Who waits for them, in order of [`Waiting::after`].
    pub(super) waiting: VecDeque<Waiting>,
    /// Batches taken in since the run was loaded.
    pub(super) taken: u64,
    /// Where the next segment starts.
    pub(super) segment_start: Position,
    /// Gives out numbers of the organization's feed; there once the run is loaded.
    pub(super) numbering: Option<Numbering>,
    /// The append that is under way, if there is one, and how far the durable run has come.
    pub(super) flight: Arc<Flight>,
    /// A status that the client announced and that is not durable yet.
    pub(super) announced: Option<Status>,
    /// Whether something arrived after the run was closed, so that it must be closed anew.
    pub(super) late: bool,
    last_active_ms: UnixMs,
}

impl Actor for ExecutionActor {
    type Msg = ExecutionMessage;
    type State = Run;
    type Arguments = ExecutionArgs;

    async fn pre_start(
        &self,
        me: ActorRef<ExecutionMessage>,
        args: ExecutionArgs,
    ) -> Result<Run, ActorProcessingErr> {
        let ExecutionArgs { deps, org, execution } = args;
        Ok(Run {
            last_active_ms: deps.clock.now_ms(),
            deps,
            org,
            id: execution,
            loaded: Err(EngineError::NotFound),
            batches: Vec::new(),
            waiting: VecDeque::new(),
            taken: 0,
            segment_start: Position::default(),
            numbering: None,
            flight: Arc::new(Flight::new(me.clone())),
            me,
            announced: None,
            late: false,
        })
    }

    /// Loads the run in the actor's own task, so that a long run does not hold up its organization.
    async fn post_start(
        &self,
        _me: ActorRef<ExecutionMessage>,
        run: &mut Run,
    ) -> Result<(), ActorProcessingErr> {
        run.loaded = match run.load().await {
            Ok((state, numbering)) => {
                run.numbering = Some(numbering);
                run.flight.name(&state.execution.task_id);
                Ok(Box::new(state))
            }
            Err(error) => Err(error),
        };
        run.segment_start = run.loaded.as_ref().map_or_else(|_| Position::default(), |state| state.position);
        run.tell_progress();
        Ok(())
    }

    /// Every actor holds the place that this takes for as long as it lives: what is rare is in boxes.
    async fn handle(
        &self,
        _me: ActorRef<ExecutionMessage>,
        message: ExecutionMessage,
        run: &mut Run,
    ) -> Result<(), ActorProcessingErr> {
        let now_ms = run.deps.clock.now_ms();
        if !matches!(message, ExecutionMessage::LeaveIfIdle { .. } | ExecutionMessage::Appended) {
            run.last_active_ms = now_ms;
        }
        match message {
            ExecutionMessage::Deliver { session, delivered, reply } => {
                run.deliver(session, delivered, reply, now_ms);
            }
            ExecutionMessage::Appended => {
                run.flush();
                if run.is_to_be_closed_again() {
                    Box::pin(run.close_again()).await;
                }
            }
            ExecutionMessage::Refused { refusal } => {
                if let Ok(state) = &mut run.loaded {
                    state.refuse(refusal);
                }
            }
            ExecutionMessage::TearDown { request, reply } => {
                send(reply, Box::pin(run.tear_down(*request, now_ms)).await)
            }
            ExecutionMessage::Expire => Box::pin(run.expire(now_ms)).await,
            ExecutionMessage::Completeness { reply } => send(reply, run.completeness()),
            ExecutionMessage::Watch { reply } => {
                let watching = run.loaded.as_ref().map(|_| run.flight.watch()).map_err(Clone::clone);
                send(reply, watching);
            }
            ExecutionMessage::Settle { reply } => {
                send(reply, Box::pin(run.settle()).await);
                run.leave();
            }
            ExecutionMessage::LeaveIfIdle { since_ms } => Box::pin(run.leave_if_idle(since_ms)).await,
            ExecutionMessage::Drain { reply } => {
                Box::pin(run.quiesce()).await;
                // Whoever asked has gone if this cannot be sent.
                let _gone = reply.send(());
                run.leave();
            }
            #[cfg(test)]
            ExecutionMessage::Panic => panic!("asked to"),
        }
        // A run that could not be loaded is of no use to the next message; the next one loads anew.
        if run.loaded.is_err() {
            run.leave();
        }
        Ok(())
    }
}

impl Run {
    async fn load(&self) -> Result<(RunState, Numbering), EngineError> {
        let store = &self.deps.store;
        // A settled run takes nothing any more and has nothing to tell that its documents do not.
        let epoch = store.claim(self.org, self.id).await?.ok_or(EngineError::NotFound)?;
        let execution = store.execution(self.org, self.id).await?.ok_or(EngineError::NotFound)?;
        let closure = store.closure(self.org, self.id).await?;
        let mut state = RunState::new(execution, closure, epoch);
        let mut after = (0, 0);
        loop {
            let page = store.segments(self.org, self.id, after, limits::LOAD_PAGE_BYTES).await?;
            let Some(last) = page.last() else {
                return Ok((state, self.deps.feed(self.org).numbering().await?));
            };
            after = (last.epoch, last.seq);
            for segment in page {
                state.restore(segment);
            }
        }
    }

    /// Judges a batch and takes it in. Nothing here waits.
    fn deliver(
        &mut self,
        session: SessionId,
        delivered: Arc<Delivered>,
        reply: Reply<Applied>,
        now_ms: UnixMs,
    ) {
        let verdict = self.judge(session, &delivered, now_ms);
        let (state, recognised) = match (&mut self.loaded, verdict) {
            (Ok(state), Ok(recognised)) => (state, recognised),
            (_, Err(error)) => return send(reply, Err(error)),
            (Err(error), _) => return send(reply, Err(error.clone())),
        };
        let applied = answer(&delivered.batch, recognised == Recognised::Replay);
        if applied.replayed {
            state.replayed();
        }
        // A second try finds its batch applied: its events count as accepted, once.
        if recognised == Recognised::New {
            let batch = delivered.batch.clone();
            let mut taken = SegmentBatch { session, receipt: delivered.receipt, batch };
            let before = state.execution.status;
            state.apply(&mut taken);
            if state.execution.status != before {
                self.announced = Some(state.execution.status);
            }
            self.late |= state.closure.is_some();
            if self.batches.is_empty() {
                // Mostly it goes at once and alone.
                self.batches.reserve_exact(1);
            }
            self.batches.push(taken);
            self.taken += 1;
        }
        self.waiting.push_back(Waiting::new(self.taken, reply, applied, delivered));
        self.flush();
    }

    fn judge(
        &self,
        session: SessionId,
        delivered: &Delivered,
        now_ms: UnixMs,
    ) -> Result<Recognised, EngineError> {
        let state = self.loaded.as_ref().map_err(Clone::clone)?;
        let settings = &self.deps.settings;
        let heard_ms = state.last_heard_ms(session).ok_or(EngineError::SessionNotFound)?;
        let over = match &state.closure {
            Some(closed) => {
                closed.completeness.orphaned || passed(closed.end_ms, settings.late_events, now_ms)
            }
            None => passed(heard_ms, settings.session_lifetime, now_ms),
        };
        if over {
            return Err(EngineError::SessionNotFound);
        }
        match state.recognise(session, &delivered.receipt) {
            Recognised::New if delivered.receipt.number.is_some() && !state.has_room_for_numbers() => {
                Err(EngineError::TooManyGaps)
            }
            recognised => Ok(recognised),
        }
    }

    async fn leave_if_idle(&mut self, since_ms: UnixMs) {
        self.appended().await;
        let busy = self.flight.is_up() || !self.batches.is_empty() || self.late;
        if busy || self.last_active_ms > since_ms || self.flight.is_watched() {
            return;
        }
        self.quiesce().await;
        self.leave();
    }

    /// Leaves memory. A message that is already in the mailbox is lost with its answer, and its sender sends it again
    /// to the actor that takes this one's place.
    fn leave(&self) {
        self.deps.directory.forget(self.id, &self.me);
        self.me.stop(None);
    }

    pub(super) fn tell_progress(&self) {
        let Ok(state) = &self.loaded else { return };
        let (at, status) = (self.segment_start, state.status());
        self.flight.advance(|progress| {
            progress.units = at.units;
            progress.results = at.results;
            progress.status = status;
        });
    }
}

/// Sends an answer; a caller who has gone away does not need it.
pub(super) fn send<T>(reply: Reply<T>, result: Result<T, EngineError>) {
    let _gone = reply.send(result);
}

/// Whether `lifetime` has passed since `since_ms`.
pub(super) fn passed(since_ms: UnixMs, lifetime: std::time::Duration, now_ms: UnixMs) -> bool {
    now_ms.saturating_sub(since_ms) >= i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)
}
