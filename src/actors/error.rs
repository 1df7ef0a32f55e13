//! What can go wrong between a door and the store.

use crate::store::contract::{Conflict, StoreError};

/// Which plan limit was hit, with the numbers an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanLimitHit {
    /// What is used up.
    pub resource: LimitedResource,
    /// In use.
    pub used: u64,
    /// Allowed.
    pub limit: u64,
}

/// What a plan limits at setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedResource {
    /// Runs started in the period.
    TestRuns,
    /// Bytes kept.
    Storage,
}

/// Why the engine did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No such session, or it is over, or it belongs to another organization.
    #[error("session not found or expired")]
    SessionNotFound,
    /// The organization has no such project.
    #[error("project not found")]
    ProjectNotFound,
    /// The organization has no such run.
    #[error("run not found")]
    NotFound,
    /// The plan does not allow another run.
    #[error("plan limit reached")]
    Limit(PlanLimitHit),
    /// The session remembers as many gaps in batch numbers as it can.
    #[error("too many gaps in batch numbers")]
    TooManyGaps,
    /// Not now; nothing was changed, or the same request again is recognised.
    #[error("busy, retry in {retry_after_s} s")]
    Busy {
        /// Seconds after which it is worth trying again.
        retry_after_s: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl EngineError {
    /// Whether another actor of the same run has written what this one was about to: the state is old, and whoever
    /// waits has to be handed to an actor that has loaded the run anew.
    pub(super) const fn is_outpaced(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict(Conflict::SegmentSequence)))
    }
}

impl From<StoreError> for EngineError {
    /// A full or unreachable store is a reason to come back; anything else is a failure.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::Busy { retry_after_s: 5 },
            StoreError::Unavailable(_) => Self::Busy { retry_after_s: 2 },
            StoreError::Conflict(_) | StoreError::Damaged(_) => Self::Store(error),
        }
    }
}
