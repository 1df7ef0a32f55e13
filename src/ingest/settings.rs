//! What an operator may change about this door.

use std::time::Duration;

use crate::limits;

/// Settings of this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestSettings {
    /// Bytes of bodies and parsed batches held at the same time.
    pub budget_bytes: usize,
    /// How long a request waits for room in the budget before it is refused.
    pub budget_wait: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// Where people reach the pages of runs, without a slash at the end; `None` takes the host that the reporter called.
    pub public_url: Option<String>,
    /// The path that the server stands under, for that case: empty, or `/name`.
    pub base_path: String,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            budget_bytes: limits::INGEST_BUDGET_BYTES,
            budget_wait: limits::BUDGET_WAIT,
            body_timeout: limits::BODY_TIMEOUT,
            public_url: None,
            base_path: String::new(),
        }
    }
}
