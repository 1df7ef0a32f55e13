//! Organizations with their settings, and reading the audit log.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, UserId};
use crate::domain::organization::{Author, OrgChange, OrgState};

/// Which audit entries are wanted. Empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Exactly this action.
    pub action: Option<String>,
    /// Exactly this author.
    pub user: Option<UserId>,
    /// Exactly this kind of target.
    pub target_type: Option<String>,
    /// Not before this moment; Unix milliseconds.
    pub from_ms: Option<UnixMs>,
    /// Not after this moment; Unix milliseconds.
    pub to_ms: Option<UnixMs>,
}

impl AuditFilter {
    /// Whether it lets every entry through.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry is wanted.
    #[must_use]
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        let within = self.from_ms.is_none_or(|from_ms| entry.timestamp_ms >= from_ms)
            && self.to_ms.is_none_or(|to_ms| entry.timestamp_ms <= to_ms);
        within
            && self.action.as_ref().is_none_or(|action| *action == entry.action)
            && self.user.is_none_or(|user| user == entry.user)
            && self.target_type.as_ref().is_none_or(|kind| *kind == entry.target_type)
    }
}

/// Organizations with their settings, and the audit log.
#[async_trait]
pub trait Organizations: Send + Sync {
    /// The organization with its settings, both of one moment; the default settings if none were ever set. `None` if there
    /// is no such organization.
    async fn organization_state(&self, org: OrgId) -> StoreResult<Option<OrgState>>;

    /// Applies `change` to what is stored at that moment, and stores with it the audit entries that it tells of; the state
    /// afterwards. Changes that race are made one after the other, so that those of different fields both stand. `None`,
    /// and nothing is stored, if there is no such organization.
    async fn change_organization(
        &self,
        org: OrgId,
        change: OrgChange,
        author: Author,
    ) -> StoreResult<Option<OrgState>>;

    /// How many projects the organization has.
    async fn project_count(&self, org: OrgId) -> StoreResult<u64>;

    /// Every organization, in no particular order: 12 bytes of memory each.
    async fn organization_ids(&self) -> StoreResult<Vec<OrgId>>;

    /// Takes one of the `max` places for runs that the organization has in the period that begins at `period_ms` (Unix
    /// milliseconds). At least `at_least` places count as taken before: whoever has counted what is stored says so. Check
    /// and taking are one step, races between processes included: no more than `max` are ever taken.
    ///
    /// # Errors
    /// `Conflict(RunLimit)` if none is left. What becomes of the place if the call ends with `Unavailable` is unknown.
    async fn take_run_place(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        max: u64,
        at_least: u64,
        now_ms: UnixMs,
    ) -> StoreResult<()>;

    /// Gives a place of the period back whose run did not come to be, or was taken back. Does nothing if no place of that
    /// period was ever taken.
    async fn give_run_place_back(&self, org: OrgId, period_ms: UnixMs, now_ms: UnixMs) -> StoreResult<()>;

    /// Corrects the number of places taken to `started`, the number of runs that are stored, if that is less and nobody has
    /// taken or given back a place of the period since `idle_since_ms`; whether it did. A place whose process ended before
    /// its run came to be is found that way.
    async fn correct_run_places(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        started: u64,
        idle_since_ms: UnixMs,
    ) -> StoreResult<bool>;

    /// The newest `limit` audit entries that `filter` lets through after skipping `offset` of these, newest first (ties by
    /// id, descending), and how many it lets through. At most 1000 a page. Memory holds the page and no more; all entries
    /// of the filter's time are read one after the other where it asks for more than the time.
    async fn audit_log(
        &self,
        org: OrgId,
        filter: &AuditFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)>;
}
