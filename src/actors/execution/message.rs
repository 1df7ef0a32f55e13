//! Every message of an execution actor: its protocol on one screen.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::actors::error::EngineError;
use crate::clock::UnixMs;
use crate::domain::batch::{Batch, Receipt};
use crate::domain::execution::{Completeness, Status};
use crate::domain::id::{SessionId, TaskId};
use crate::domain::teardown::TeardownRequest;

/// A parsed request on its way into a run. The byte permit is given back when the last holder lets go, which is when
/// the batch is stored or refused: mailboxes are unbounded, so the bound travels with the message.
#[derive(Debug)]
pub struct Delivered {
    /// Identity of the request.
    pub receipt: Receipt,
    /// Its events.
    pub batch: Batch,
    /// Its share of the byte budget.
    pub permit: Option<ByteShare>,
}

/// A share of the byte budget; given back when it is dropped.
#[derive(Debug)]
pub struct ByteShare {
    /// Taken from the organization's part.
    pub organization: OwnedSemaphorePermit,
    /// As much, taken from the whole.
    pub all: OwnedSemaphorePermit,
}

impl ByteShare {
    /// How much it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.all.num_permits()
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Events applied.
    pub accepted: u32,
    /// Of these, events that were cut.
    pub truncated: u32,
    /// Events that were skipped.
    pub rejected: u32,
    /// Whether it had been applied before and was recognised.
    pub replayed: bool,
}

/// What a teardown answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornDown {
    /// The run.
    pub task: TaskId,
    /// The effective status.
    pub status: Status,
}

/// Why a request did not reach its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A rate tier (429).
    Tier,
    /// No room in the byte budget, or the store was full (503).
    Pressure,
    /// Nothing in it was usable (400).
    Rejected,
}

/// How far a run's durable state has come. Readers wait on it and then read the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// UTF-16 units of log text.
    pub units: u64,
    /// Recorded results.
    pub results: u64,
    /// Current status.
    pub status: Status,
    /// Whether nothing more can come: final, and the time for late events is over.
    pub settled: bool,
}

/// The answer to a message: sent when the outcome is durable.
pub(in crate::actors) type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// What an execution actor is told.
pub(in crate::actors) enum ExecutionMessage {
    /// Apply a batch; answered once it is durable.
    Deliver {
        /// The session it came through.
        session: SessionId,
        /// The batch; shared with the caller, who sends it again if this actor dies over it.
        delivered: Arc<Delivered>,
        /// Where the answer goes.
        reply: Reply<Applied>,
    },
    /// An append that this actor started has come back.
    Appended,
    /// Count a request that was refused at the door.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// Finish a session.
    TearDown {
        /// What the reporter said; in a box, for every message takes as much memory as the largest.
        request: Box<TeardownRequest>,
        /// Where the answer goes.
        reply: Reply<TornDown>,
    },
    /// End the run as orphaned if no session of it can be heard of any more.
    Expire,
    /// Tell how complete the run is.
    Completeness {
        /// Where the answer goes.
        reply: Reply<Completeness>,
    },
    /// Hand out the run's progress.
    Watch {
        /// Where the answer goes.
        reply: Reply<watch::Receiver<Progress>>,
    },
    /// The time for late events is over: fold the run, then leave.
    Settle {
        /// Answered when the store has folded it.
        reply: Reply<()>,
    },
    /// Leave memory if nothing has happened since `since_ms` and nothing is under way.
    LeaveIfIdle {
        /// Unix milliseconds.
        since_ms: UnixMs,
    },
    /// Make everything durable and leave; answered when done.
    Drain {
        /// Where the answer goes.
        reply: oneshot::Sender<()>,
    },
    /// Panic, to see what a panic costs.
    #[cfg(test)]
    Panic,
}
