//! The loop: judge, append, answer, publish. At most one append of a run is in flight; it runs in a task of its own
//! so that the mailbox stays open, and what collects meanwhile goes out with the next one.

use std::collections::VecDeque;
use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{oneshot, watch};

use super::message::{Applied, Delivered, ExecutionMessage, Progress, Reply};
use super::state::{Recognised, RunState, answer};
use super::update;
use crate::actors::deps::Deps;
use crate::actors::error::EngineError;
use crate::actors::feed::{Ticket, Told};
use crate::clock::UnixMs;
use crate::domain::execution::Status;
use crate::domain::id::{ExecutionId, OrgId, SessionId, TaskId};
use crate::domain::segment::{Position, Refusals, Segment, SegmentBatch};
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
    pub(super) progress: watch::Sender<Progress>,
    /// Batches that are applied and wait for the next append.
    batches: Vec<SegmentBatch>,
    /// Who waits for them, in order of [`Waiting::after`].
    waiting: VecDeque<Waiting>,
    /// Batches taken in since the run was loaded.
    taken: u64,
    /// Where the next segment starts.
    segment_start: Position,
    /// The append that is under way; resolves with its outcome.
    in_flight: Option<oneshot::Receiver<Result<(), EngineError>>>,
    /// A status that the client announced and that is not durable yet.
    announced: Option<Status>,
    /// Whether something arrived after the run was closed, so that it must be closed anew.
    pub(super) late: bool,
    last_active_ms: UnixMs,
}

/// A caller who waits until the first `after` batches are durable: its own is the last of them, or, if it was
/// recognised, the one it repeats is among them.
struct Waiting {
    after: u64,
    reply: Reply<Applied>,
    applied: Applied,
    /// Keeps the byte permit until the batch is stored.
    _delivered: Arc<Delivered>,
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
        let progress = Progress { units: 0, results: 0, status: Status::Running, settled: false };
        Ok(Run {
            last_active_ms: deps.clock.now_ms(),
            deps,
            org,
            id: execution,
            me,
            loaded: Err(EngineError::NotFound),
            progress: watch::Sender::new(progress),
            batches: Vec::new(),
            waiting: VecDeque::new(),
            taken: 0,
            segment_start: Position::default(),
            in_flight: None,
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
        run.loaded = run.load().await.map(Box::new);
        run.segment_start = run.loaded.as_ref().map_or_else(|_| Position::default(), |state| state.position);
        run.tell_progress();
        Ok(())
    }

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
            ExecutionMessage::Appended => run.appended().await,
            ExecutionMessage::Refused { refusal } => {
                if let Ok(state) = &mut run.loaded {
                    state.refuse(refusal);
                }
            }
            ExecutionMessage::TearDown { request, reply } => {
                send(reply, run.tear_down(request, now_ms).await)
            }
            ExecutionMessage::Expire => run.expire(now_ms).await,
            ExecutionMessage::Completeness { reply } => send(reply, run.completeness()),
            ExecutionMessage::Watch { reply } => {
                let watching = run.loaded.as_ref().map(|_| run.progress.subscribe()).map_err(Clone::clone);
                send(reply, watching);
            }
            ExecutionMessage::Settle { reply } => {
                send(reply, run.settle().await);
                run.leave();
            }
            ExecutionMessage::LeaveIfIdle { since_ms } => run.leave_if_idle(since_ms).await,
            ExecutionMessage::Drain { reply } => {
                run.quiesce().await;
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
    async fn load(&self) -> Result<RunState, EngineError> {
        let store = &self.deps.store;
        // A settled run takes nothing any more and has nothing to tell that its documents do not.
        store.run_state(self.org, self.id).await?.ok_or(EngineError::NotFound)?;
        let execution = store.execution(self.org, self.id).await?.ok_or(EngineError::NotFound)?;
        let closure = store.closure(self.org, self.id).await?;
        let mut state = RunState::new(execution, closure, limits::EPOCH);
        let mut after = (0, 0);
        loop {
            let page = store.segments(self.org, self.id, after, limits::LOAD_PAGE_BYTES).await?;
            let Some(last) = page.last() else { return Ok(state) };
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
        let Ok(state) = &mut self.loaded else { return send(reply, verdict) };
        let applied = match verdict {
            Ok(applied) => applied,
            Err(error) => return send(reply, Err(error)),
        };
        if applied.replayed {
            state.replayed();
        }
        // A second try finds its batch applied: its events count as accepted, once.
        let recognised = state.recognise(session, &delivered.receipt) != Recognised::New;
        if !recognised {
            let batch = delivered.batch.clone();
            let mut taken = SegmentBatch { session, receipt: delivered.receipt, batch };
            let before = state.execution.status;
            state.apply(&mut taken);
            if state.execution.status != before {
                self.announced = Some(state.execution.status);
            }
            self.late |= state.closure.is_some();
            self.batches.push(taken);
            self.taken += 1;
        }
        self.waiting.push_back(Waiting { after: self.taken, reply, applied, _delivered: delivered });
        self.flush();
    }

    fn judge(
        &self,
        session: SessionId,
        delivered: &Delivered,
        now_ms: UnixMs,
    ) -> Result<Applied, EngineError> {
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
            Recognised::New if delivered.receipt.number.is_some() && !state.has_room_for_numbers(session) => {
                Err(EngineError::TooManyGaps)
            }
            Recognised::New | Recognised::SecondTry => Ok(answer(&delivered.batch, false)),
            Recognised::Replay => Ok(answer(&delivered.batch, true)),
        }
    }

    /// Starts an append of what is waiting, unless one is under way.
    fn flush(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        if self.batches.is_empty() {
            // Whoever waits only waited for what is durable by now.
            self.waiting.drain(..).for_each(Waiting::answer);
            return;
        }
        let Some(segment) = self.next_segment() else { return };
        self.append(segment);
    }

    /// The next segment: as many of the waiting batches as fit, and the refusals so far.
    fn next_segment(&mut self) -> Option<Segment> {
        let state = self.loaded.as_mut().ok()?;
        let mut bytes = 0;
        let fits = self.batches.iter().take_while(|taken| {
            bytes += taken.batch.bytes();
            bytes <= limits::SEGMENT_BYTES_MAX
        });
        let count = fits.count().max(1).min(self.batches.len());
        let segment = Segment {
            org: self.org,
            execution: self.id,
            epoch: state.epoch,
            seq: state.next_seq,
            start: self.segment_start,
            batches: self.batches.drain(..count).collect(),
            refusals: std::mem::take(&mut state.unsaved_refusals),
            // Given when it is stored.
            feed_seq: 0,
            is_update: false,
        };
        state.next_seq += 1;
        self.segment_start = segment.end();
        Some(segment)
    }

    /// Appends in a task, which answers and publishes as soon as the segment is durable.
    fn append(&mut self, mut segment: Segment) {
        let durable = self.taken - self.batches.len() as u64;
        let answered = self.waiting.iter().take_while(|one| one.after <= durable).count();
        let waiting: Vec<Waiting> = self.waiting.drain(..answered).collect();
        let announced = if self.batches.is_empty() { self.announced.take() } else { None };
        segment.is_update = announced.is_some();
        let (deps, me, progress) = (Arc::clone(&self.deps), self.me.clone(), self.progress.clone());
        let Ok(state) = &self.loaded else { return };
        let task = state.execution.task_id.clone();
        let (outcome, in_flight) = oneshot::channel();
        self.in_flight = Some(in_flight);
        tokio::spawn(async move {
            let result = match store_segment(&deps, &mut segment).await {
                Ok(ticket) => {
                    let end = segment.end();
                    progress.send_modify(|progress| {
                        progress.units = end.units;
                        progress.results = end.results;
                        progress.status = announced.unwrap_or(progress.status);
                    });
                    waiting.into_iter().for_each(Waiting::answer);
                    ticket.durable(told(segment, task, announced));
                    Ok(())
                }
                Err(error) => {
                    waiting.into_iter().for_each(|one| one.refuse(&error));
                    Err(error)
                }
            };
            // The actor may have left; what is durable is durable without it.
            let _gone = outcome.send(result);
            let _gone = me.cast(ExecutionMessage::Appended);
        });
    }

    /// Looks at the append that was under way, if it is over.
    async fn appended(&mut self) {
        let Some(mut in_flight) = self.in_flight.take() else { return };
        match in_flight.try_recv() {
            Ok(result) => self.after_append(result).await,
            // The message belonged to an append that was waited for already.
            Err(oneshot::error::TryRecvError::Empty) => self.in_flight = Some(in_flight),
            Err(oneshot::error::TryRecvError::Closed) => self.after_append(Err(LOST_APPEND)).await,
        }
    }

    async fn after_append(&mut self, result: Result<(), EngineError>) {
        if let Err(error) = result {
            // The state has run ahead of the store: it is dropped and loaded anew by the next message.
            tracing::warn!(execution.id = %self.id, %error, "append failed");
            self.batches.clear();
            self.waiting.drain(..).for_each(|one| one.refuse(&error));
            self.loaded = Err(error);
            return;
        }
        self.flush();
        if self.late && self.in_flight.is_none() {
            self.close_again().await;
        }
    }

    /// Waits until nothing is in flight and nothing is waiting, refusals included.
    pub(super) async fn quiesce(&mut self) {
        loop {
            while let Some(in_flight) = self.in_flight.take() {
                let result = in_flight.await.unwrap_or(Err(LOST_APPEND));
                self.after_append(result).await;
            }
            let unsaved =
                self.loaded.as_ref().is_ok_and(|state| state.unsaved_refusals != Refusals::default());
            match unsaved.then(|| self.next_segment()).flatten() {
                Some(segment) => self.append(segment),
                None => return,
            }
        }
    }

    async fn leave_if_idle(&mut self, since_ms: UnixMs) {
        let busy = self.in_flight.is_some() || !self.batches.is_empty() || self.late;
        if busy || self.last_active_ms > since_ms || self.progress.receiver_count() > 0 {
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
        let progress = Progress {
            units: self.segment_start.units,
            results: self.segment_start.results,
            status: state.status(),
            settled: false,
        };
        self.progress.send_replace(progress);
    }
}

/// An append whose task died: whether it is stored will be seen on loading.
pub(super) const LOST_APPEND: EngineError = EngineError::Busy { retry_after_s: 1 };

impl Waiting {
    fn answer(self) {
        send(self.reply, Ok(self.applied));
    }

    /// Answers with the error, unless the caller is better off with another actor: it is not answered then, and comes
    /// again.
    fn refuse(self, error: &EngineError) {
        if !error.is_outpaced() {
            send(self.reply, Err(error.clone()));
        }
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

/// Gives the segment its number in the feed and makes it durable.
async fn store_segment(deps: &Deps, segment: &mut Segment) -> Result<Ticket, EngineError> {
    let ticket = deps.feed(segment.org).reserve().await?;
    segment.feed_seq = ticket.seq();
    match deps.store.append(segment).await {
        Ok(()) => Ok(ticket),
        Err(error) => {
            ticket.failed(&error);
            Err(error.into())
        }
    }
}

/// What viewers are told of a durable segment: its text, and the status it announced.
fn told(segment: Segment, task: TaskId, announced: Option<Status>) -> Told {
    let (start, end) = (segment.start, segment.end());
    let body = announced.map(|status| update::status(segment.org, &task, status).into());
    Told {
        execution: segment.execution,
        task,
        start: (start.units, start.bytes),
        end: (end.units, end.bytes),
        text: segment.batches.into_iter().map(|entry| entry.batch.text).collect(),
        updated: announced.is_some(),
        body,
    }
}
