//! Every message of an organization actor.

use ractor::ActorRef;
use tokio::sync::oneshot;

use crate::actors::execution::message::{ExecutionMessage, Reply};
use crate::domain::id::{CycleId, ExecutionId, SessionId, TaskId, UserId};
use crate::domain::setup::SetupRequest;

/// What a setup answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The session to send events to.
    pub session: SessionId,
    /// The run.
    pub task: TaskId,
    /// Its cycle.
    pub cycle: CycleId,
    /// The run's internal id, to take it back with.
    pub execution: ExecutionId,
}

/// What an organization actor is told.
pub(in crate::actors) enum OrgMessage {
    /// Open a run.
    SetUp {
        /// On whose behalf.
        user: UserId,
        /// What the reporter asked for.
        request: Box<SetupRequest>,
        /// Where the answer goes.
        reply: Reply<Opened>,
    },
    /// Hand out the actor of a run; start it if it is not in memory.
    Wake {
        /// The run.
        execution: ExecutionId,
        /// Where the answer goes.
        reply: oneshot::Sender<ActorRef<ExecutionMessage>>,
    },
    /// Leave memory if no run is in memory and no bucket is in use.
    LeaveIfIdle,
}
