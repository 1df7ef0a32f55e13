//! What dashboards are told, apart from how it reaches sockets.
//!
//! Everything durable that viewers are told has a number in its organization's feed. Whoever writes reserves it before
//! the write and says afterwards what became durable ([`Ticket`]); the number is stored with it. The *watermark* is the
//! last durable number below which nothing is on its way any more. At each tick the feed *seals* what has come up to
//! the watermark into a [`Window`] and hands it to the [`Delivery`]. A window is determined by its two boundaries: what
//! one viewer was sent at a tick, another one who was away gets later, from memory or from the store, in the same
//! frames. So a position is a number, and nothing is kept per viewer.
//!
//! - `ledger`: numbers, watermark, recent rows; pure.
//! - `tick`: gathers what became durable and seals it.
//! - `frames`: the frames of a window; `stored`: windows made from the store; `past`: what is asked about positions.

mod frames;
mod ledger;
mod past;
mod stored;
mod tick;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::id::{OrgId, TaskId};
use crate::store::contract::StoreError;
pub use tick::{Appended, Feed, Numbering, Pieces, Telling, Ticket, Told};

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

/// Where an organization's feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which numbering it is: positions of another one mean nothing.
    pub epoch: u64,
    /// Everything up to this number has been sealed.
    pub sealed: u64,
}

/// What viewers are told between two positions: first all text, run by run in the order of their ids, then the newest
/// state of every run whose document has changed, in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The position before it.
    pub from: u64,
    /// The position after it.
    pub upto: u64,
    /// What is told; may be nothing.
    pub frames: Vec<Frame>,
}

/// How frames reach viewers. Implemented by the `live` room.
pub trait Delivery: Send + Sync + 'static {
    /// Whether anybody of the organization is watching; if not, nothing needs to be encoded or delivered.
    fn has_viewers(&self, org: OrgId) -> bool;

    /// The window since the last one, in order. Never waits. Where a window's `from` is not the last one's `upto`,
    /// nobody was watching, or what lies between could not be read: [`Feeds::window`] has it.
    fn sealed(&self, org: OrgId, window: &Arc<Window>);
}

/// Why a position in the feed cannot be continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Beyond what is sealed, or otherwise impossible.
    #[error("no such position")]
    Forged,
    /// Older than what is kept.
    #[error("older than what is kept")]
    TooOld,
    /// More text than one replay may have.
    #[error("too far behind")]
    TooLong,
}

/// Why there is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The position cannot be continued.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The store did not answer; the same question may be asked again.
    #[error("the feed cannot be read: {0}")]
    Unavailable(String),
}

impl From<StoreError> for FeedError {
    /// Damaged text is not there any more, like what was forgotten.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(_) => Self::Unusable(Unusable::TooOld),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// What is asked about positions in feeds. Whoever wants to miss nothing lets [`Delivery::has_viewers`] say so first and
/// asks for the head then.
#[async_trait]
pub trait Feeds: Send + Sync + 'static {
    /// Where the feed stands now (wakes the organization's feed from the store if it is not in memory).
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be read.
    async fn head(&self, org: OrgId) -> Result<Head, FeedError>;

    /// Whether a replay from `after` up to the head is possible: not beyond the head, within retention and within
    /// [`crate::limits::LIVE_REPLAY_BYTES_MAX`].
    ///
    /// # Errors
    /// Why not.
    async fn check(&self, org: OrgId, after: u64) -> Result<(), FeedError>;

    /// The window after `after`: up to `upto` if given, else up to a boundary that keeps it at about 64 KiB (at least one
    /// row), preferring boundaries of sealed ticks so that viewers share ranges; `None` if nothing is sealed after it.
    ///
    /// # Errors
    /// `Unusable` for a position that cannot be continued, `Unavailable` if the store cannot be read.
    async fn window(
        &self,
        org: OrgId,
        after: u64,
        upto: Option<u64>,
    ) -> Result<Option<Arc<Window>>, FeedError>;
}
