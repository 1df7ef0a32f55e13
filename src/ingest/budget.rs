//! The byte budget: what all requests together may hold in memory, from before their bodies are read until their
//! batches are stored. An organization may hold half of it at most, so that one with slow or large bodies leaves the
//! others their way. Waiting comes before refusing, and is bounded.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::actors::ByteShare;
use crate::domain::id::OrgId;
use crate::limits::BUDGET_ORGANIZATIONS_KEPT;

/// The budget of a server.
#[derive(Debug)]
pub struct Budget {
    all: Arc<Semaphore>,
    bytes: usize,
    organizations: DashMap<OrgId, Arc<Semaphore>, RandomState>,
    wait: Duration,
}

/// There was no room in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Budget {
    /// A budget of `bytes` in which a request waits for room for at most `wait`.
    #[must_use]
    pub fn new(bytes: usize, wait: Duration) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(bytes)), bytes, organizations: DashMap::default(), wait }
    }

    /// How much there is in all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much is held now.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.all.available_permits())
    }

    /// Until when a request that begins now may wait for room, all its waits together.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.wait
    }

    /// Takes `bytes` on behalf of `org`, or as much as one organization may hold if that is less: a body larger than
    /// that is let in alone.
    ///
    /// # Errors
    /// [`NoRoom`] if there is none until `deadline`.
    pub(super) async fn take(
        &self,
        org: OrgId,
        bytes: usize,
        deadline: Instant,
    ) -> Result<ByteShare, NoRoom> {
        let permits = u32::try_from(bytes.min(self.organization_bytes())).map_err(|_| NoRoom)?;
        let part = self.organization(org);
        // Mostly there is room, and nothing to wait for.
        if let Ok(organization) = Arc::clone(&part).try_acquire_many_owned(permits)
            && let Ok(all) = Arc::clone(&self.all).try_acquire_many_owned(permits)
        {
            return Ok(ByteShare { organization, all });
        }
        let take = async {
            let organization = acquire(&part, permits).await?;
            let all = acquire(&self.all, permits).await?;
            Ok(ByteShare { organization, all })
        };
        Box::pin(tokio::time::timeout_at(deadline, take)).await.unwrap_or(Err(NoRoom))
    }

    /// Makes `share` grow to `bytes`, as far as one organization may hold that much.
    ///
    /// # Errors
    /// [`NoRoom`] if there is no room until `deadline`; the share is then as it was.
    pub(super) async fn grow(
        &self,
        org: OrgId,
        share: &mut ByteShare,
        bytes: usize,
        deadline: Instant,
    ) -> Result<(), NoRoom> {
        let wanted = bytes.min(self.organization_bytes());
        if wanted > share.bytes() {
            let more = self.take(org, wanted - share.bytes(), deadline).await?;
            share.organization.merge(more.organization);
            share.all.merge(more.all);
        }
        Ok(())
    }

    fn organization_bytes(&self) -> usize {
        (self.bytes / 2).max(1)
    }

    fn organization(&self, org: OrgId) -> Arc<Semaphore> {
        if let Some(known) = self.organizations.get(&org) {
            return Arc::clone(&known);
        }
        if self.organizations.len() >= BUDGET_ORGANIZATIONS_KEPT {
            // Permits hold on to their semaphore: one that only the map holds is not in use.
            self.organizations.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let new = || Arc::new(Semaphore::new(self.organization_bytes()));
        Arc::clone(&self.organizations.entry(org).or_insert_with(new))
    }
}

/// Gives back what `share` holds above `bytes`.
pub(super) fn shrink(share: &mut ByteShare, bytes: usize) {
    let excess = share.bytes().saturating_sub(bytes);
    drop(share.organization.split(excess));
    drop(share.all.split(excess));
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> Result<OwnedSemaphorePermit, NoRoom> {
    // A semaphore that is never closed always gives in the end.
    Arc::clone(semaphore).acquire_many_owned(permits).await.map_err(|_| NoRoom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(1_000, Duration::from_millis(20))
    }

    fn org(n: u8) -> OrgId {
        OrgId::from_bytes([n; 12])
    }

    async fn take(budget: &Budget, org: OrgId, bytes: usize) -> Result<ByteShare, NoRoom> {
        budget.take(org, bytes, budget.deadline()).await
    }

    #[tokio::test]
    async fn what_is_taken_is_held_until_it_is_dropped() {
        let budget = budget();
        let mut share = take(&budget, org(1), 300).await.unwrap();
        assert_eq!((share.bytes(), budget.used_bytes()), (300, 300));
        budget.grow(org(1), &mut share, 450, budget.deadline()).await.unwrap();
        budget.grow(org(1), &mut share, 10, budget.deadline()).await.unwrap();
        assert_eq!((share.bytes(), budget.used_bytes()), (450, 450));
        shrink(&mut share, 100);
        shrink(&mut share, 200);
        assert_eq!((share.bytes(), budget.used_bytes()), (100, 100));
        drop(share);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test]
    async fn one_organization_holds_at_most_half() {
        let budget = budget();
        let share = take(&budget, org(1), 400).await.unwrap();
        assert_eq!(take(&budget, org(1), 101).await.err(), Some(NoRoom));
        let neighbour = take(&budget, org(2), 500).await.unwrap();
        assert_eq!(take(&budget, org(3), 101).await.err(), Some(NoRoom));
        assert!(take(&budget, org(3), 100).await.is_ok());
        drop((share, neighbour));
        // What could never fit is let in alone.
        let whole = take(&budget, org(1), 5_000).await.unwrap();
        assert_eq!(whole.bytes(), 500);
        assert_eq!(take(&budget, org(1), 1).await.err(), Some(NoRoom));
    }

    #[tokio::test]
    async fn a_refused_request_leaves_nothing_behind() {
        let budget = budget();
        let held = take(&budget, org(1), 500).await.unwrap();
        let other = take(&budget, org(2), 450).await.unwrap();
        assert_eq!(take(&budget, org(3), 60).await.err(), Some(NoRoom));
        drop((held, other));
        assert!(take(&budget, org(3), 500).await.is_ok());
    }

    #[tokio::test]
    async fn waiting_comes_before_refusing() {
        let budget = Arc::new(Budget::new(1_000, Duration::from_secs(5)));
        let held = take(&budget, org(1), 500).await.unwrap();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { take(&budget, org(1), 200).await.map(|share| share.bytes()) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert_eq!(waiting.await.unwrap(), Ok(200));
    }

    #[tokio::test]
    async fn organizations_that_hold_nothing_are_forgotten() {
        let budget = budget();
        let held = take(&budget, org(1), 1).await.unwrap();
        for n in 0..u32::try_from(BUDGET_ORGANIZATIONS_KEPT).unwrap() + 10 {
            let mut id = [7; 12];
            id[..4].copy_from_slice(&n.to_be_bytes());
            drop(take(&budget, OrgId::from_bytes(id), 1).await.unwrap());
        }
        assert!(budget.organizations.len() <= BUDGET_ORGANIZATIONS_KEPT);
        assert!(budget.organizations.contains_key(&org(1)));
        drop(held);
    }
}
