//! The numbers of an organization's feed: everything durable that its viewers are told has one, stored with it, so that
//! whoever has missed something can be told of it later.
//!
//! Numbers are given out by whoever writes (see `actors/feed`): the opening of a run, each of its segments, its closing
//! and its taking back carry theirs. Two durable things of an organization never have the same number.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::id::{ExecutionId, OrgId, TaskId};

/// Something durable that viewers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// Its number.
    pub seq: u64,
    /// The run.
    pub execution: ExecutionId,
    /// Where the run's text stood before it: UTF-16 units, bytes.
    pub start: (u64, u64),
    /// Where the run's text stood after it.
    pub end: (u64, u64),
    /// Whether the run's document has changed with it.
    pub updated: bool,
    /// The run's public name, in the rows of its opening and of its taking back: what is left of a run taken back.
    pub task: Option<TaskId>,
}

/// The feed.
#[async_trait]
pub trait FeedLog: Send + Sync {
    /// A random number made once per store. It changes only if numbers may have been lost with damaged data: positions
    /// in the feed that were handed out before then mean nothing any more.
    async fn feed_epoch(&self) -> StoreResult<u64>;

    /// The highest number ever stored for the organization; 0 if none. Forgetting rows does not lower it.
    async fn feed_head(&self, org: OrgId) -> StoreResult<u64>;

    /// The highest number that was forgotten; 0 if none. Rows up to it may be missing.
    async fn feed_floor(&self, org: OrgId) -> StoreResult<u64>;

    /// The first rows above `after`, at most `limit`, ascending by number: all that were durable when this was called,
    /// the same before and after the run was settled.
    async fn feed_rows(&self, org: OrgId, after: u64, limit: usize) -> StoreResult<Vec<FeedRow>>;

    /// Forgets the oldest rows of each organization up to the first that is not older than `before_ms`, at most about
    /// [`crate::limits::ROWS_PER_CALL_MAX`]; returns how many. Rows of runs that are not settled stay.
    async fn purge_feed(&self, before_ms: UnixMs) -> StoreResult<u64>;
}
