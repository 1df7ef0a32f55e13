//! Members, and how an account changes its organization: the one change that two partitions share.
//!
//! 1. The new organization gets an *arriving* row with the account's record, the entry for the audit log and a nonce.
//! 2. The old one loses the member and gets a *left* row with the nonce and the new organization: this is the commit point.
//! 3. The new one turns the arriving row into a member, and stores the entry.
//!
//! An arriving row counts only if the old organization's left row has its nonce. Whoever looks at an account, counts members
//! or reads the audit log finishes step 3 if the mover did not. Left rows stay: they lead to the account from wherever it
//! was before, so an old place of it is as good as the newest.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Cold;
use super::change::Edit;
use super::rows::{ARRIVING, LEFT, USER, id_bytes};
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{OrgId, UserId, stored_org};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::record;

/// Organizations that an account may have been in before its place is looked up again.
const MOVES_FOLLOWED: usize = 64;

/// Who is about to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Arriving {
    /// The account as it is to be.
    user: User,
    /// Where it comes from.
    #[serde(with = "stored_org")]
    from: OrgId,
    /// Names the move.
    nonce: [u8; 16],
    /// What the move adds to the audit log here.
    audit: Option<AuditEntry>,
}

/// Where a former member went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    /// The new organization.
    #[serde(with = "stored_org")]
    to: OrgId,
    /// Names the move.
    nonce: [u8; 16],
    /// The last login until then.
    last_login_ms: Option<UnixMs>,
}

impl Cold {
    /// The account, looked for from an organization on that it is in or was in.
    pub(super) async fn user_from(&self, mut org: OrgId, user: UserId) -> StoreResult<Option<User>> {
        for _ in 0..MOVES_FOLLOWED {
            if let Some(found) = self.record(org, USER, user.as_bytes()).await? {
                return Ok(Some(found));
            }
            let Some(left) = self.record::<Left>(org, LEFT, user.as_bytes()).await? else {
                // It may have come here between the two reads.
                return self.record(org, USER, user.as_bytes()).await;
            };
            self.finish_arrival(left.to, user).await?;
            org = left.to;
        }
        Err(StoreError::Unavailable(format!("account {user} does not stay in one organization")))
    }

    /// The account, or `None`.
    pub(super) async fn user_of_id(&self, user: UserId) -> StoreResult<Option<User>> {
        match self.place_of("user", user.as_bytes()).await? {
            Some((org, _)) => self.user_from(org, user).await,
            None => Ok(None),
        }
    }

    /// How many members an organization has.
    pub(super) async fn members(&self, org: OrgId) -> StoreResult<u64> {
        self.finish_arrivals(org).await?;
        let found: Option<(i64,)> =
            self.cql.first(&self.statements.count, (org.as_bytes().as_slice(), USER)).await?;
        Ok(found.map_or(0, |(count,)| u64::try_from(count).unwrap_or(0)))
    }

    /// Takes an account from `from` to the organization in its new record; `false` if it is not in `from` any more, and then
    /// nothing has changed.
    pub(super) async fn move_user(
        &self,
        from: OrgId,
        user: &User,
        audit: Option<&AuditEntry>,
    ) -> StoreResult<bool> {
        let (to, key) = (user.org, user.id.as_bytes().to_vec());
        let nonce = *Uuid::new_v4().as_bytes();
        // An entry of a third organization, which no caller has, would go with the account.
        let (leaving, arriving) = audit.cloned().map_or((None, None), |entry| {
            if entry.org == from { (Some(entry), None) } else { (None, Some(entry)) }
        });
        let announced = Arriving { user: user.clone(), from, nonce, audit: arriving };
        let announced = record::encode(&announced)?;
        let mut turns = self.turns(to).await;
        loop {
            turns.begin().await?;
            if turns.commit(vec![Edit::Put(ARRIVING, key.clone(), announced.clone())], None).await? {
                break;
            }
        }
        drop(turns);
        let mut turns = self.turns(from).await;
        loop {
            turns.begin().await?;
            let Some(stored) = self.record::<User>(from, USER, &key).await? else { return Ok(false) };
            let left = Left { to, nonce, last_login_ms: stored.last_login_ms };
            let edits =
                vec![Edit::Remove(USER, key.clone()), Edit::Put(LEFT, key.clone(), record::encode(&left)?)];
            if turns.commit(edits, leaving.as_ref()).await? {
                break;
            }
        }
        drop(turns);
        self.finish_arrival(to, user.id).await?;
        let (id, to) = (user.id.as_bytes().as_slice(), to.as_bytes().as_slice());
        self.cql.run(&self.statements.put_lookup, ("user", id, to, id)).await?;
        Ok(true)
    }

    /// Finishes every move into `org` that is past its commit point.
    pub(super) async fn finish_arrivals(&self, org: OrgId) -> StoreResult<()> {
        for (user, _) in self.all(org, ARRIVING, &[]).await? {
            self.finish_arrival(org, UserId::from_bytes(id_bytes(&user)?)).await?;
        }
        Ok(())
    }

    /// Makes a member of who is arriving, if the old organization let go.
    pub(super) async fn finish_arrival(&self, org: OrgId, user: UserId) -> StoreResult<()> {
        let key = user.as_bytes().to_vec();
        if self.value(org, ARRIVING, &key).await?.is_none() {
            return Ok(());
        }
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let Some(arriving) = self.record::<Arriving>(org, ARRIVING, &key).await? else { return Ok(()) };
            let left = self.record::<Left>(arriving.from, LEFT, &key).await?;
            let Some(left) = left.filter(|left| left.nonce == arriving.nonce) else { return Ok(()) };
            let mut member = arriving.user;
            member.last_login_ms = member.last_login_ms.max(left.last_login_ms);
            let edits = vec![
                Edit::Put(USER, key.clone(), record::encode(&member)?),
                Edit::Remove(ARRIVING, key.clone()),
                // It may have been here before.
                Edit::Remove(LEFT, key.clone()),
            ];
            if turns.commit(edits, arriving.audit.as_ref()).await? {
                return Ok(());
            }
        }
    }
}
