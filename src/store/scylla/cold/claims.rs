//! Names that are unique over all organizations. A claim is written first and names the record that is to follow; the
//! record in its organization's partition is what counts.
//!
//! A claim whose record does not come is replaced. Its writer may be alive and merely slow, so it is made unable to commit
//! first: a row with the claim's nonce is put into the [`VOID`] rows of its organization, which counts the revision up. A
//! writer that has begun its turn before that fails on the revision, one that begins later sees the row.

use std::time::Duration;

use uuid::Uuid;

use super::Cold;
use super::change::Edit;
use super::rows::{LEFT, ORGANIZATION, USER, VOID, id_bytes, org_id};
use crate::domain::account::{Organization, User};
use crate::domain::id::{OrgId, UserId};
use crate::limits::{CQL_CLAIM_LOOK_AGAIN, CQL_CLAIM_PATIENCE};
use crate::store::contract::{StoreError, StoreResult};

/// What can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// An account's e-mail address; the record is the user.
    Email,
    /// An organization's slug; the record is the organization.
    Slug,
}

impl Space {
    fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Slug => "slug",
        }
    }
}

/// A stored claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) org: OrgId,
    pub(super) record: Vec<u8>,
    nonce: Uuid,
}

impl Cold {
    /// Claims `name` for a record of `org` that is about to be stored; the nonce by which [`Cold::is_void`] tells whether
    /// the claim still stands. `None` if a record that is stored has the name.
    pub(super) async fn claim(
        &self,
        space: Space,
        name: &str,
        org: OrgId,
        record: &[u8],
    ) -> StoreResult<Option<Uuid>> {
        let mine = Uuid::new_v4();
        let (key, org_bytes) = ((space.name(), name), org.as_bytes().as_slice());
        let mut waited = Duration::ZERO;
        let mut seen = None;
        loop {
            let values = (key.0, key.1, org_bytes, record, mine);
            let claiming = self.cql.applied(&self.statements.claim, values).await;
            if self.settle_claim(space, name, mine, claiming).await? {
                return Ok(Some(mine));
            }
            let Some(found) = self.claimed(space, name).await? else { continue };
            if self.is_kept(space, name, &found).await? {
                return Ok(None);
            }
            if seen.as_ref() != Some(&found) {
                (seen, waited) = (Some(found.clone()), Duration::ZERO);
            }
            // The same call again takes its own claim over at once: its first try is over.
            let is_own = found.org == org && found.record == record;
            if !is_own && waited < CQL_CLAIM_PATIENCE {
                tokio::time::sleep(CQL_CLAIM_LOOK_AGAIN).await;
                waited += CQL_CLAIM_LOOK_AGAIN;
                continue;
            }
            if !self.make_void(space, name, &found).await? {
                return Ok(None);
            }
            let values = (org_bytes, record, mine, key.0, key.1, found.nonce);
            let replacing = self.cql.applied(&self.statements.reclaim, values).await;
            if self.settle_claim(space, name, mine, replacing).await? {
                return Ok(Some(mine));
            }
        }
    }

    /// The claim of a name, whether its record is there or not.
    pub(super) async fn claimed(&self, space: Space, name: &str) -> StoreResult<Option<Claim>> {
        let found: Option<(Vec<u8>, Vec<u8>, Uuid)> =
            self.cql.first(&self.statements.claimed, (space.name(), name)).await?;
        found.map(|(org, record, nonce)| Ok(Claim { org: org_id(&org)?, record, nonce })).transpose()
    }

    /// Whether the claim with this nonce was replaced. Asked within a turn at changing its organization.
    pub(super) async fn is_void(&self, org: OrgId, nonce: Uuid) -> StoreResult<bool> {
        Ok(self.value(org, VOID, nonce.as_bytes()).await?.is_some())
    }

    /// Whether writing the claim `mine` succeeded, looking for it if that is unknown.
    async fn settle_claim(
        &self,
        space: Space,
        name: &str,
        mine: Uuid,
        outcome: StoreResult<bool>,
    ) -> StoreResult<bool> {
        let Err(error) = outcome else { return outcome };
        let settled = &self.statements.settled_claim;
        match self.cql.first::<(Vec<u8>, Vec<u8>, Uuid)>(settled, (space.name(), name)).await {
            Ok(found) => Ok(found.is_some_and(|(_, _, nonce)| nonce == mine)),
            Err(_) => Err(error),
        }
    }

    /// Whether the record that a claim names is stored and has the name.
    async fn is_kept(&self, space: Space, name: &str, claim: &Claim) -> StoreResult<bool> {
        match space {
            Space::Email => {
                // Who has left the organization has taken the address along.
                let user = UserId::from_bytes(id_bytes(&claim.record)?);
                Ok(self.user_from(claim.org, user).await?.is_some_and(|user| user.email == name))
            }
            Space::Slug => {
                let org: Option<Organization> = self.record(claim.org, ORGANIZATION, &[]).await?;
                Ok(org.is_some_and(|org| org.slug == name))
            }
        }
    }

    /// Takes away the claim of a `record` that was removed, unless another one has replaced it. A record that was there
    /// never comes a second time, so there is nobody to be made void.
    pub(super) async fn release_claim(&self, space: Space, name: &str, record: &[u8]) -> StoreResult<()> {
        let Some(found) = self.claimed(space, name).await?.filter(|claim| claim.record == record) else {
            return Ok(());
        };
        self.cql.applied(&self.statements.release, (space.name(), name, found.nonce)).await.map(drop)
    }

    /// Makes sure that the record of a claim never comes; `false` if it is there after all.
    async fn make_void(&self, space: Space, name: &str, claim: &Claim) -> StoreResult<bool> {
        let mut turns = self.turns(claim.org).await;
        loop {
            turns.begin().await?;
            match space {
                // It was stored and has moved on. Where it went is another partition's turn, so this one ends first;
                // and who wrote it has done so, and will not again.
                Space::Email if self.value(claim.org, LEFT, &claim.record).await?.is_some() => {
                    drop(turns);
                    return Ok(!self.is_kept(space, name, claim).await?);
                }
                Space::Email => {
                    let user: Option<User> = self.record(claim.org, USER, &claim.record).await?;
                    if user.is_some_and(|user| user.email == name) {
                        return Ok(false);
                    }
                }
                Space::Slug => {
                    if self.is_kept(space, name, claim).await? {
                        return Ok(false);
                    }
                }
            }
            let mark = Edit::void(claim.nonce.as_bytes());
            if turns.commit(vec![mark], None).await? {
                return Ok(true);
            }
        }
    }
}

/// A change was kept from happening by the replacement of one of its claims.
pub(super) fn replaced() -> StoreError {
    StoreError::Unavailable(
        "this call took so long that another one took its place; nothing was changed".into(),
    )
}
