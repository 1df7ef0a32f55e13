//! What a run's actor and the store's task both see: the append that is under way, and how far the durable run has come.
//! In one place, since every batch touches it, and most runs have been out of the processor's caches by then.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ractor::ActorRef;
use tokio::sync::{Notify, watch};

use super::message::{ExecutionMessage, Progress};
use crate::actors::error::EngineError;
use crate::domain::execution::Status;
use crate::domain::id::TaskId;

/// See the module.
pub(super) struct Flight {
    state: Mutex<State>,
    landed: Notify,
    /// The run's actor.
    actor: ActorRef<ExecutionMessage>,
    /// The run's public name, once it has been loaded.
    task: OnceLock<TaskId>,
}

struct State {
    stage: Stage,
    progress: Progress,
    /// Made for the first who wants to be told.
    watched: Option<watch::Sender<Progress>>,
}

#[derive(Default)]
enum Stage {
    /// There is none.
    #[default]
    None,
    /// It is under way; the actor is to be told when it is over if `is_awaited`.
    Up { is_awaited: bool },
    /// It is over, and the actor has not looked yet.
    Over(Result<(), EngineError>),
}

impl Flight {
    /// None is under way, of a run of which nothing is known.
    pub(super) fn new(actor: ActorRef<ExecutionMessage>) -> Self {
        let progress = Progress { units: 0, results: 0, status: Status::Running, settled: false };
        let state = Mutex::new(State { stage: Stage::None, progress, watched: None });
        Self { state, landed: Notify::new(), actor, task: OnceLock::new() }
    }

    /// The run has been loaded, and is called `task`.
    pub(super) fn name(&self, task: &TaskId) {
        self.task.get_or_init(|| task.clone());
    }

    /// The run's public name.
    pub(super) fn task(&self) -> Option<TaskId> {
        self.task.get().cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is one whose outcome the actor has not seen.
    pub(super) fn is_up(&self) -> bool {
        !matches!(self.state().stage, Stage::None)
    }

    /// Its outcome, if it is over. If it is not, the actor will be told.
    pub(super) fn look(&self) -> Option<Result<(), EngineError>> {
        let stage = &mut self.state().stage;
        match stage {
            Stage::Over(_) => match std::mem::take(stage) {
                Stage::Over(result) => Some(result),
                Stage::None | Stage::Up { .. } => None,
            },
            Stage::Up { is_awaited } => {
                *is_awaited = true;
                None
            }
            Stage::None => None,
        }
    }

    pub(super) fn begin(&self, is_awaited: bool) {
        self.state().stage = Stage::Up { is_awaited };
    }

    /// Waits for its outcome.
    pub(super) async fn outcome(&self) -> Result<(), EngineError> {
        loop {
            match self.look() {
                Some(result) => return result,
                None => self.landed.notified().await,
            }
        }
    }

    /// It is over, and has brought the run to where `advance` puts it if it went well. Tells the actor if it has to know.
    pub(super) fn end(&self, result: Result<(), EngineError>, advance: impl FnOnce(&mut Progress)) {
        let is_failed = result.is_err();
        let mut state = self.state();
        if !is_failed {
            state.advance(advance);
        }
        let before = std::mem::replace(&mut state.stage, Stage::Over(result));
        drop(state);
        let is_awaited = matches!(before, Stage::Up { is_awaited: true });
        if is_awaited {
            self.landed.notify_one();
        }
        if is_awaited || is_failed {
            // The actor may have left; what is durable is durable without it.
            let _gone = self.actor.cast(ExecutionMessage::Appended);
        }
    }

    /// Changes how far the run has come, and tells who watches.
    pub(super) fn advance(&self, advance: impl FnOnce(&mut Progress)) {
        self.state().advance(advance);
    }

    /// How far the run has come, from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        let State { progress, watched, .. } = &mut *self.state();
        watched.get_or_insert_with(|| watch::Sender::new(*progress)).subscribe()
    }

    /// Whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.state().watched.as_ref().is_some_and(|watched| watched.receiver_count() > 0)
    }
}

impl State {
    fn advance(&mut self, advance: impl FnOnce(&mut Progress)) {
        advance(&mut self.progress);
        if let Some(watched) = &self.watched {
            watched.send_replace(self.progress);
        }
    }
}
