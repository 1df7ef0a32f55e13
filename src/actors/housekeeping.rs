//! What nobody waits for: idle actors leave, spent buckets go, orphans are closed, the archive is purged, and finished
//! runs go through the finish pipeline and are folded when the time for late events is over. Paced by the clock, so
//! that tests move the hand instead of waiting.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, Semaphore};

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
    stopped: Notify,
}

impl Housekeeper {
    /// Ends it. What was under way is repeated by the next process.
    pub(super) fn stop(&self) {
        self.stopped.notify_waiters();
    }
}

/// A closed run that is to be folded at `due_ms` (Unix milliseconds).
struct Due {
    due_ms: UnixMs,
    org: OrgId,
    execution: ExecutionId,
}

/// Starts the background work of `engine`; closed runs that the process before did not fold are due at once.
pub(super) async fn start(
    engine: &Engine,
    pipeline: FinishPipeline,
    mut inbox: UnboundedReceiver<FinishedRun>,
) -> Result<(), EngineError> {
    let closed = unsettled(&engine.deps).await?.into_iter().filter(|run| run.state == RunState::Closed);
    let mut due: VecDeque<Due> =
        closed.map(|run| Due { due_ms: 0, org: run.org, execution: run.execution }).collect();
    let engine = engine.clone();
    tokio::spawn(async move {
        let housekeeper = Arc::clone(&engine.housekeeper);
        let folding = Arc::new(Semaphore::new(limits::SETTLE_CONCURRENCY));
        let mut next_sweep_ms = 0;
        let mut tick = engine.deps.clock.sleep(limits::HOUSEKEEPING_INTERVAL);
        loop {
            tokio::select! {
                () = housekeeper.stopped.notified() => return,
                finished = inbox.recv() => {
                    let Some(finished) = finished else { return };
                    let late_ms = millis(engine.deps.settings.late_events);
                    let due_ms = engine.deps.clock.now_ms().saturating_add(late_ms);
                    due.push_back(Due { due_ms, org: finished.closed.org, execution: finished.closed.execution });
                    let pipeline = pipeline.clone();
                    tokio::spawn(async move { pipeline.run(&finished).await });
                }
                () = &mut tick => {
                    tick = engine.deps.clock.sleep(limits::HOUSEKEEPING_INTERVAL);
                    let now_ms = engine.deps.clock.now_ms();
                    settle_due(&engine, &mut due, &folding, now_ms);
                    leave_if_idle(&engine, now_ms);
                    if now_ms >= next_sweep_ms {
                        next_sweep_ms = now_ms.saturating_add(millis(engine.deps.settings.orphan_sweep_interval));
                        engine.sweep(now_ms).await;
                    }
                }
            }
        }
    });
    Ok(())
}

fn settle_due(engine: &Engine, due: &mut VecDeque<Due>, folding: &Arc<Semaphore>, now_ms: UnixMs) {
    while due.front().is_some_and(|first| first.due_ms <= now_ms) {
        // At most so many at a time; the others stay due.
        let Ok(permit) = Arc::clone(folding).try_acquire_owned() else { return };
        let Some(Due { org, execution, .. }) = due.pop_front() else { return };
        let engine = engine.clone();
        tokio::spawn(async move {
            let settled = engine.ask(org, execution, |reply| ExecutionMessage::Settle { reply }).await;
            if let Err(error) = settled {
                tracing::warn!(execution.id = %execution, %error, "run could not be folded, the next start tries again");
            }
            drop(permit);
        });
    }
}

/// Asks what has been idle for long to leave; each decides for itself.
fn leave_if_idle(engine: &Engine, now_ms: UnixMs) {
    let since_ms = now_ms.saturating_sub(millis(engine.deps.settings.actor_idle));
    let directory = &engine.deps.directory;
    for actor in &directory.executions {
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
    engine.public_buckets().forget_spent(now_ms);
}

impl Engine {
    /// Closes the runs whose sessions have expired by `now_ms` (Unix milliseconds), forgets archived sessions, expired
    /// revocations, counted logins and old audit entries. Runs by itself every minute; safe to repeat.
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

    /// Forgets everything that has an end and has reached it; returns how many records.
    async fn purge(&self, now_ms: UnixMs) -> Result<u64, EngineError> {
        let store = &self.deps.store;
        let audit_from_ms = now_ms.saturating_sub(millis(limits::AUDIT_RETENTION));
        let mut purged = store.purge_sessions(now_ms).await?;
        loop {
            let round = [
                store.purge_revocations(now_ms).await?,
                store.purge_logins(now_ms).await?,
                store.purge_audit(audit_from_ms).await?,
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
