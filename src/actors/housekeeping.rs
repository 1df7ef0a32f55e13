//! What nobody waits for: idle actors leave, spent buckets go, orphans are closed, the archive is purged, and finished
//! runs go through the finish pipeline and are folded when the time for late events is over. Paced by the clock, so
//! that tests move the hand instead of waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::deps::Deps;
use super::engine::Engine;
use super::error::EngineError;
use super::execution::message::ExecutionMessage;
use super::finish::{FinishPipeline, FinishedRun};
use super::organization::message::OrgMessage;
use crate::clock::UnixMs;
use crate::domain::id::{ExecutionId, OrgId};
use crate::limits;
use crate::store::contract::{OpenRun, RunState};

/// Ends the background work.
#[derive(Default)]
pub(super) struct Housekeeper {
    stopped: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Housekeeper {
    /// Ends it and waits for the steps and foldings that are under way. What is still due is done by the next process.
    pub(super) async fn stop(&self) {
        self.stopped.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "housekeeping ended early");
        }
    }
}

/// A closed run that is to be folded at `due_ms` (Unix milliseconds).
struct Due {
    due_ms: UnixMs,
    org: OrgId,
    execution: ExecutionId,
}

/// Something that was under way has ended.
enum Done {
    /// The finish pipeline of a run, or the recount of a day.
    Finished,
    /// A folding; `Some` if it failed and is to be tried again.
    Folded(Option<Due>),
}

/// Starts the background work of `engine`; closed runs that the process before did not fold are due when
/// the time for late events is over, counted from now.
pub(super) async fn start(
    engine: &Engine,
    pipeline: FinishPipeline,
    inbox: UnboundedReceiver<FinishedRun>,
) -> Result<(), EngineError> {
    let closed = unsettled(&engine.deps).await?.into_iter().filter(|run| run.state == RunState::Closed);
    let due_ms = engine.deps.clock.now_ms().saturating_add(millis(engine.deps.settings.late_events));
    let due = closed.map(|run| Due { due_ms, org: run.org, execution: run.execution }).collect();
    let stopped = engine.housekeeper.stopped.subscribe();
    let keeping = Keeping {
        engine: engine.clone(),
        pipeline,
        due,
        under_way: JoinSet::new(),
        folding: 0,
        share: 0,
        next_sweep_ms: 0,
        next_recount_ms: next_recount(engine.deps.clock.now_ms()),
    };
    let task = tokio::spawn(keeping.run(inbox, stopped));
    *engine.housekeeper.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    Ok(())
}

struct Keeping {
    engine: Engine,
    pipeline: FinishPipeline,
    due: VecDeque<Due>,
    under_way: JoinSet<Done>,
    folding: usize,
    /// Which of [`limits::IDLE_SHARES`] is asked next.
    share: u8,
    next_sweep_ms: UnixMs,
    next_recount_ms: UnixMs,
}

impl Keeping {
    async fn run(mut self, mut inbox: UnboundedReceiver<FinishedRun>, mut stopped: watch::Receiver<bool>) {
        let clock = Arc::clone(&self.engine.deps.clock);
        let mut tick = clock.sleep(limits::HOUSEKEEPING_INTERVAL);
        loop {
            tokio::select! {
                // It changes once, from running to stopped; an error means that the engine is gone.
                _ = stopped.changed() => break,
                Some(finished) = inbox.recv() => self.finish(finished),
                Some(done) = self.under_way.join_next() => self.done(done),
                () = &mut tick => {
                    tick = clock.sleep(limits::HOUSEKEEPING_INTERVAL);
                    self.keep(clock.now_ms()).await;
                }
            }
        }
        while let Some(done) = self.under_way.join_next().await {
            self.done(done);
        }
    }

    /// Sends a closed run through the pipeline and notes when it is to be folded.
    fn finish(&mut self, finished: FinishedRun) {
        let late_ms = millis(self.engine.deps.settings.late_events);
        let due_ms = self.engine.deps.clock.now_ms().saturating_add(late_ms);
        self.due.push_back(Due { due_ms, org: finished.closed.org, execution: finished.closed.execution });
        let pipeline = self.pipeline.clone();
        self.under_way.spawn(async move {
            pipeline.run(&finished).await;
            Done::Finished
        });
    }

    async fn keep(&mut self, now_ms: UnixMs) {
        self.settle_due(now_ms);
        self.share = (self.share + 1) % limits::IDLE_SHARES;
        leave_if_idle(&self.engine, self.share, now_ms);
        if now_ms >= self.next_sweep_ms {
            let interval_ms = millis(self.engine.deps.settings.orphan_sweep_interval);
            self.next_sweep_ms = now_ms.saturating_add(interval_ms);
            self.engine.sweep(now_ms).await;
        }
        if now_ms >= self.next_recount_ms {
            self.next_recount_ms = next_recount(now_ms);
            let engine = self.engine.clone();
            self.under_way.spawn(async move {
                engine.recount_storage().await;
                Done::Finished
            });
        }
    }

    /// Folds what is due, at most so many at a time; the others stay due.
    fn settle_due(&mut self, now_ms: UnixMs) {
        while self.folding < limits::SETTLE_CONCURRENCY
            && self.due.front().is_some_and(|first| first.due_ms <= now_ms)
        {
            let Some(Due { org, execution, .. }) = self.due.pop_front() else { return };
            let engine = self.engine.clone();
            self.folding += 1;
            self.under_way.spawn(async move {
                match engine.ask(org, execution, |reply| ExecutionMessage::Settle { reply }).await {
                    Ok(()) => {
                        engine.deps.grown(org);
                        Done::Folded(None)
                    }
                    Err(EngineError::NotFound) => Done::Folded(None),
                    Err(error) => {
                        tracing::warn!(execution.id = %execution, %error, "run could not be folded");
                        let due_ms = engine.deps.clock.now_ms().saturating_add(millis(limits::SETTLE_RETRY));
                        Done::Folded(Some(Due { due_ms, org, execution }))
                    }
                }
            });
        }
    }

    fn done(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Finished) => {}
            Ok(Done::Folded(again)) => {
                self.folding -= 1;
                self.due.extend(again);
                self.settle_due(self.engine.deps.clock.now_ms());
            }
            // A step that panicked; a folding asks an actor and does not.
            Err(error) => tracing::error!(%error, "a finish step ended early"),
        }
    }
}

/// Asks what has been idle for long to leave; each decides for itself. Of the runs, which may be many, one share: to ask
/// all at once would keep a core from everybody else for milliseconds.
fn leave_if_idle(engine: &Engine, share: u8, now_ms: UnixMs) {
    let since_ms = now_ms.saturating_sub(millis(engine.deps.settings.actor_idle));
    let directory = &engine.deps.directory;
    // The last bytes of ids are random.
    let is_asked =
        |id: &ExecutionId| id.as_bytes().last().is_some_and(|last| last % limits::IDLE_SHARES == share);
    for actor in directory.executions.iter().filter(|actor| is_asked(actor.key())) {
        // An actor that is gone has left already.
        let _gone = actor.cast(ExecutionMessage::LeaveIfIdle { since_ms });
    }
    for organization in &directory.organizations {
        if let Some(actor) = organization.actor.get() {
            let _gone = actor.cast(OrgMessage::LeaveIfIdle);
        }
    }
    directory
        .organizations
        .retain(|_, known| known.actor.initialized() || known.buckets.forget_spent(now_ms) > 0);
    // Nobody takes a feed out of the map meanwhile.
    directory.feeds.retain(|_, feed| !feed.is_idle());
    engine.public_buckets().forget_spent(now_ms);
}

impl Engine {
    /// Closes the runs whose sessions have expired by `now_ms` (Unix milliseconds), forgets archived sessions, expired
    /// revocations, counted logins, old audit entries and old rows of the feeds. Runs by itself every minute; safe to repeat.
    pub async fn sweep(&self, now_ms: UnixMs) {
        let lifetime_ms = millis(self.deps.settings.session_lifetime);
        let runs = unsettled(&self.deps).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "orphans could not be looked for");
            Vec::new()
        });
        let expired = |run: &OpenRun| {
            run.state == RunState::Open && now_ms.saturating_sub(run.last_heard_ms) >= lifetime_ms
        };
        for run in runs.into_iter().filter(expired) {
            if let Ok(actor) = self.execution_actor(run.org, run.execution).await {
                let _gone = actor.cast(ExecutionMessage::Expire);
            }
        }
        match self.purge(now_ms).await {
            Ok(0) => {}
            Ok(purged) => tracing::debug!(purged, "forgot what was over"),
            Err(error) => tracing::warn!(%error, "what is over could not be forgotten"),
        }
    }

    /// Counts anew the bytes that each organization keeps. Runs by itself every night; safe to repeat, and a process that
    /// ends meanwhile leaves the rest to the next night.
    pub async fn recount_storage(&self) {
        let store = &self.deps.store;
        let organizations = store.organization_ids().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "organizations could not be looked for");
            Vec::new()
        });
        for org in organizations {
            if *self.housekeeper.stopped.borrow() {
                return;
            }
            if let Err(error) = store.recount_storage(org).await {
                tracing::warn!(org.id = %org, %error, "bytes kept could not be counted");
            }
        }
    }

    /// Forgets everything that has an end and has reached it; returns how many records.
    async fn purge(&self, now_ms: UnixMs) -> Result<u64, EngineError> {
        let store = &self.deps.store;
        let audit_from_ms = now_ms.saturating_sub(millis(limits::AUDIT_RETENTION));
        let feed_from_ms = now_ms.saturating_sub(millis(limits::FEED_RETENTION));
        let mut purged = store.purge_sessions(now_ms).await?;
        loop {
            let round = [
                store.purge_revocations(now_ms).await?,
                store.purge_logins(now_ms).await?,
                store.purge_audit(audit_from_ms).await?,
                store.purge_feed(feed_from_ms).await?,
            ];
            purged = purged.saturating_add(round.iter().sum());
            if round.iter().all(|rows| *rows < limits::ROWS_PER_CALL_MAX as u64) {
                return Ok(purged);
            }
        }
    }
}

async fn unsettled(deps: &Deps) -> Result<Vec<OpenRun>, EngineError> {
    Ok(deps.store.unsettled_runs().await?)
}

/// The next moment after `now_ms` at which bytes are counted anew.
const fn next_recount(now_ms: UnixMs) -> UnixMs {
    const DAY_MS: UnixMs = 24 * 3_600 * 1_000;
    const AT_MS: UnixMs = limits::STORAGE_RECOUNT.as_secs().cast_signed() * 1_000;
    let days = now_ms.saturating_sub(AT_MS).div_euclid(DAY_MS).saturating_add(1);
    days.saturating_mul(DAY_MS).saturating_add(AT_MS)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::next_recount;

    #[test]
    fn bytes_are_counted_at_two_in_the_morning() {
        let ms = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        for (now, next) in [
            ("2026-03-20T01:59:59.999Z", "2026-03-20T02:00:00Z"),
            ("2026-03-20T02:00:00Z", "2026-03-21T02:00:00Z"),
            ("2026-03-20T23:59:59Z", "2026-03-21T02:00:00Z"),
        ] {
            assert_eq!(next_recount(ms(now)), ms(next), "{now}");
        }
    }
}
