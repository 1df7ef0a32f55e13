//! What is to be sent to dashboards, apart from how it reaches sockets. The feed gathers what became durable, merges
//! text per run and tick, and hands frames to a [`Delivery`]; the delivery can be replaced without touching it.

use bytes::Bytes;

use crate::domain::id::{OrgId, TaskId};

/// One Socket.IO event to an organization's room, encoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `execution-log`: text appended to a run. `offset` and the text's length count UTF-16 code units.
    Log {
        /// The run.
        task: TaskId,
        /// Units appended to the run before this text.
        offset: u64,
        /// The text, UTF-8.
        text: Bytes,
    },
    /// `execution-updated`: a JSON object with at least `taskId`, `organizationId` and `status`.
    Updated {
        /// The run.
        task: TaskId,
        /// The object's text, UTF-8.
        body: Bytes,
    },
}

/// How frames reach viewers. Implemented by the `live` room.
pub trait Delivery: Send + Sync + 'static {
    /// Whether anybody of the organization is watching; if not, nothing needs to be encoded or delivered.
    fn has_viewers(&self, org: OrgId) -> bool;

    /// Hands over frames of one organization, in order. Never waits: a viewer that cannot take a frame now loses it
    /// and sees the gap from the next frame's offset.
    fn deliver(&self, org: OrgId, frames: &[Frame]);
}
