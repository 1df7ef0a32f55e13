//! Copying a whole store into another one: embedded into a cluster, a cluster into an embedded one.
//!
//! Both stores hand out what they keep as [`record::Record`]s, which say the same whatever the store, and take such records
//! in ([`Transfer`]). Taking one in again changes nothing. After each page the target notes how far the copy has come, so
//! that one that was cut off anywhere goes on there; while that note is there no server starts on the target. At the end
//! both stores are read whole, and their records counted and summed up by kind ([`tally`]): the copy is done when they agree.
//!
//! A noun that is added to the stores is added here as a variant of `Record`, and as one line in `export` and `import` of
//! each store; a test fails for tables and kinds that nobody has said anything about.

mod error;
pub(in crate::store) mod record;
mod run;
mod side;
pub(in crate::store) mod tally;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use error::CopyError;
pub use record::Kind;
use record::Record;
pub use run::{Copied, Watch, copy};
pub use side::Side;
pub use tally::{Count, Tally};

use super::contract::StoreResult;
use crate::clock::UnixMs;

/// Records that were read together.
#[derive(Debug, Default)]
pub(in crate::store) struct Page {
    pub(in crate::store) records: Vec<Record>,
    /// Where the next page begins; `None` after the last one.
    pub(in crate::store) next: Option<Vec<u8>>,
}

/// How far a copy has come; kept in the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Note {
    /// The numbering of the source's feed: tells stores apart.
    pub(in crate::store) source: u64,
    /// The part of the source that is being read.
    pub(in crate::store) part: u32,
    /// Where its next page begins.
    pub(in crate::store) from: Vec<u8>,
    /// Records taken in so far.
    pub(in crate::store) records: u64,
}

/// A store that nobody else uses, opened for copying.
#[async_trait]
pub(in crate::store) trait Transfer: Send + Sync {
    /// How many parts it is read in.
    fn parts(&self) -> u32;

    /// Reads a page of a part, which begins at `from`: empty for the first, or what the page before told. Leaves out what
    /// was over at `as_of_ms`.
    async fn export(&self, part: u32, from: &[u8], as_of_ms: UnixMs) -> StoreResult<Page>;

    /// Takes records in at `now_ms`, durably. Again changes nothing.
    async fn import(&self, records: Vec<Record>, now_ms: UnixMs) -> StoreResult<()>;

    /// The numbering of the feed that a server which started now would go on with.
    fn lane(&self) -> u64;

    /// Makes this the numbering that the next server goes on with.
    async fn set_lane(&self, lane: u64) -> StoreResult<()>;

    /// What was noted about a copy into this store.
    async fn note(&self) -> StoreResult<Option<Note>>;

    /// Notes how far a copy has come, or that it is done.
    async fn put_note(&self, note: Option<&Note>) -> StoreResult<()>;

    /// Whether still nobody else uses it.
    async fn is_alone(&self) -> StoreResult<bool>;

    /// Lets go of it.
    async fn close(self: Box<Self>) -> StoreResult<()>;
}

/// What a server is told that finds a note.
pub(in crate::store) const UNFINISHED: &str = "a copy into this store has not been finished; run `runstream store copy` again, \
     or remove the store";
