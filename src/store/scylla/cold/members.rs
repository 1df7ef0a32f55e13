//! Members, and how an account changes its organization: the one change that two partitions share.
//!
//! 1. The new organization gets an *arriving* row with the account's record, the entry for the audit log and a nonce. If the
//!    account comes by an invitation the row holds that and a seat: nobody else can redeem it, revoke it or take the seat.
//! 2. The old one loses the member and gets a *left* row with the nonce and the new organization: this is the commit point.
//! 3. The new one turns the arriving row into a member, marks the invitation as redeemed, and stores the entry.
//!
//! An arriving row counts only if the old organization's left row has its nonce. Whoever looks at an account, counts members
//! or reads the audit log finishes step 3 if the mover did not. Left rows stay: they lead to the account from wherever it
//! was before, so an old place of it is as good as the newest.
//!
//! Whoever is held up by an arriving row whose mover does not go on calls the move off: the nonce becomes void in the old
//! organization, in which a mover looks for it within its turn of step 2, and then the row is taken away
//! ([`Cold::settle_arrival`]). An account has one arriving row in an organization at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Cold;
use super::change::Edit;
use super::claims::replaced;
use super::rows::{ARRIVING, LEFT, RESET, USER, VOID, id_bytes};
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{OrgId, UserId, stored_org};
use crate::limits::{CQL_CLAIM_LOOK_AGAIN, CQL_CLAIM_PATIENCE};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::record;

/// Organizations that an account may have been in before its place is looked up again.
const MOVES_FOLLOWED: usize = 64;

/// Who is about to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arriving {
    /// The account as it is to be.
    pub(super) user: User,
    /// Where it comes from.
    #[serde(with = "stored_org")]
    pub(super) from: OrgId,
    /// Names the move.
    pub(super) nonce: [u8; 16],
    /// What the move adds to the audit log here.
    pub(super) audit: Option<AuditEntry>,
}

/// The key of the row of the invitation by which somebody comes.
pub(super) type ByInvitation = Option<Vec<u8>>;

/// Where a former member went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// The new organization.
    #[serde(with = "stored_org")]
    to: OrgId,
    /// Names the move.
    nonce: [u8; 16],
    /// The last login until then.
    last_login_ms: Option<UnixMs>,
}

impl Arriving {
    /// A move of the account in its record of now to the one it is to have.
    pub(super) fn new(from: OrgId, user: User, audit: Option<AuditEntry>) -> Self {
        Self { user, from, nonce: *Uuid::new_v4().as_bytes(), audit }
    }

    /// The row it is in the new organization.
    pub(super) fn put(&self, invitation: &ByInvitation) -> StoreResult<Edit> {
        let key = self.user.id.as_bytes().to_vec();
        Ok(Edit::Put(ARRIVING, key, record::encode_with(self, invitation)?))
    }

    /// What lets the account go from the old organization, where its record is `stored`: the commit point.
    pub(super) fn let_go(&self, stored: &User) -> StoreResult<Vec<Edit>> {
        let key = self.user.id.as_bytes().to_vec();
        let left = Left { to: self.user.org, nonce: self.nonce, last_login_ms: stored.last_login_ms };
        Ok(vec![
            Edit::Remove(USER, key.clone()),
            Edit::Remove(RESET, key.clone()),
            Edit::Put(LEFT, key, record::encode(&left)?),
        ])
    }
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
    pub(super) async fn count_members(&self, org: OrgId) -> StoreResult<u64> {
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
        let (to, key) = (user.org, user.id.as_bytes());
        // An entry of a third organization, which no caller has, would go with the account.
        let (leaving, arriving) = audit.cloned().map_or((None, None), |entry| {
            if entry.org == from { (Some(entry), None) } else { (None, Some(entry)) }
        });
        let arriving = Arriving::new(from, user.clone(), arriving);
        'announced: loop {
            let mut turns = self.turns(to).await;
            loop {
                turns.begin().await?;
                if self.arriving(to, user.id).await?.is_some() {
                    break;
                }
                if turns.commit(vec![arriving.put(&None)?], None).await? {
                    break 'announced;
                }
            }
            drop(turns);
            self.settle_arrival(to, user.id).await?;
        }
        let mut turns = self.turns(from).await;
        loop {
            turns.begin().await?;
            self.check_called_off(&arriving).await?;
            let Some(stored) = self.record::<User>(from, USER, key).await? else {
                drop(turns);
                self.withdraw_arrival(to, user.id, arriving.nonce).await?;
                return Ok(false);
            };
            if turns.commit(arriving.let_go(&stored)?, leaving.as_ref()).await? {
                break;
            }
        }
        drop(turns);
        self.settle_in(&arriving).await?;
        Ok(true)
    }

    /// What follows the commit point.
    pub(super) async fn settle_in(&self, arriving: &Arriving) -> StoreResult<()> {
        let user = &arriving.user;
        self.finish_arrival(user.org, user.id).await?;
        let (id, to) = (user.id.as_bytes().as_slice(), user.org.as_bytes().as_slice());
        self.cql.run(&self.statements.put_lookup, ("user", id, to, id)).await
    }

    /// Who is arriving under this id.
    pub(super) async fn arriving(
        &self,
        org: OrgId,
        user: UserId,
    ) -> StoreResult<Option<(Arriving, ByInvitation)>> {
        let value = self.value(org, ARRIVING, user.as_bytes()).await?;
        value.map(|value| record::decode_with(&value)).transpose()
    }

    /// All who are arriving. They are few, and seldom any.
    pub(super) async fn arrivals(&self, org: OrgId) -> StoreResult<Vec<(Arriving, ByInvitation)>> {
        let rows = self.all(org, ARRIVING, &[]).await?;
        rows.into_iter().map(|(_, value)| record::decode_with(&value)).collect()
    }

    /// Refuses to go on with a move that was called off. Asked within a turn at changing the old organization.
    pub(super) async fn check_called_off(&self, arriving: &Arriving) -> StoreResult<()> {
        let void = self.value(arriving.from, VOID, &arriving.nonce).await?;
        if void.is_some() { Err(replaced()) } else { Ok(()) }
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
            let Some((arriving, invitation)) = self.arriving(org, user).await? else { return Ok(()) };
            let Some(left) = self.left_for(&arriving).await? else { return Ok(()) };
            let mut member = arriving.user;
            member.last_login_ms = member.last_login_ms.max(left.last_login_ms);
            let mut edits = vec![
                Edit::Put(USER, key.clone(), record::encode(&member)?),
                Edit::Remove(ARRIVING, key.clone()),
                // It may have been here before.
                Edit::Remove(LEFT, key.clone()),
            ];
            if let Some(place) = invitation {
                edits.extend(self.redeeming(org, &place).await?);
            }
            if turns.commit(edits, arriving.audit.as_ref()).await? {
                return Ok(());
            }
        }
    }

    /// Brings an arrival to its end: finishes it if the old organization has let go, waits while its mover may be at work,
    /// and calls it off when that has taken too long. Not within a turn: it takes some of its own.
    pub(super) async fn settle_arrival(&self, org: OrgId, user: UserId) -> StoreResult<()> {
        let mut waited = Duration::ZERO;
        let mut seen = None;
        loop {
            self.finish_arrival(org, user).await?;
            let Some((arriving, _)) = self.arriving(org, user).await? else { return Ok(()) };
            if seen != Some(arriving.nonce) {
                (seen, waited) = (Some(arriving.nonce), Duration::ZERO);
            }
            if waited < CQL_CLAIM_PATIENCE {
                tokio::time::sleep(CQL_CLAIM_LOOK_AGAIN).await;
                waited += CQL_CLAIM_LOOK_AGAIN;
            } else if self.call_off(&arriving).await? {
                self.withdraw_arrival(org, user, arriving.nonce).await?;
            }
        }
    }

    /// Takes an arriving row away whose move has not happened and never will.
    pub(super) async fn withdraw_arrival(
        &self,
        org: OrgId,
        user: UserId,
        nonce: [u8; 16],
    ) -> StoreResult<()> {
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let found = self.arriving(org, user).await?;
            if found.is_none_or(|(arriving, _)| arriving.nonce != nonce) {
                return Ok(());
            }
            if turns.commit(vec![Edit::Remove(ARRIVING, user.as_bytes().to_vec())], None).await? {
                return Ok(());
            }
        }
    }

    /// Makes sure that the old organization never lets go; `false` if it has.
    async fn call_off(&self, arriving: &Arriving) -> StoreResult<bool> {
        let mut turns = self.turns(arriving.from).await;
        loop {
            turns.begin().await?;
            if self.left_for(arriving).await?.is_some() {
                return Ok(false);
            }
            let mark = Edit::void(&arriving.nonce);
            if turns.commit(vec![mark], None).await? {
                return Ok(true);
            }
        }
    }

    /// What the old organization wrote down when it let go for this move, if it has.
    async fn left_for(&self, arriving: &Arriving) -> StoreResult<Option<Left>> {
        let left = self.record::<Left>(arriving.from, LEFT, arriving.user.id.as_bytes()).await?;
        Ok(left.filter(|left| left.nonce == arriving.nonce))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::AuditId;
    use crate::domain::role::{AccountStatus, Role};
    use crate::store::record::golden;

    const ORG: OrgId = OrgId::from_bytes(*b"organization");

    #[test]
    fn who_is_about_to_come_is_stored_as_at_first() {
        let user = User {
            id: UserId::from_bytes(*b"user..user.."),
            org: ORG,
            email: "rosa@pinewood.test".into(),
            name: "Rosa Linde".into(),
            password_hash: "$argon2id$x".into(),
            role: Role::Developer,
            status: AccountStatus::Active,
            credentials_valid_from_ms: 1_774_000_000_000,
            last_login_ms: None,
            created_ms: 1_774_000_000_123,
            updated_ms: 1_774_000_000_456,
        };
        let audit = AuditEntry {
            id: AuditId::from_bytes(*b"audit..audit"),
            org: ORG,
            user: user.id,
            action: "user.joined".into(),
            target_type: "user".into(),
            target_id: "69a7e2742f4b8e1190ab3d2c".into(),
            details: "{}".into(),
            ip: "203.0.113.9".into(),
            timestamp_ms: 1_774_000_000_123,
        };
        let from = OrgId::from_bytes(*b"old....place");
        let arriving = Arriving { user, from, nonce: *b"nonce..........1", audit: Some(audit) };
        let invitation: ByInvitation = Some(b"place".to_vec());
        let golden = golden::check("arriving.v2", &record::encode_with(&arriving, &invitation).unwrap());
        assert_eq!(record::decode_with(&golden), Ok((arriving.clone(), invitation)));
        // The invitation was added later.
        let golden = golden::check("arriving.v1", &record::encode(&arriving).unwrap());
        assert_eq!(record::decode_with(&golden), Ok((arriving, ByInvitation::None)));
    }

    #[test]
    fn who_left_is_stored_as_at_first() {
        let left = Left { to: ORG, nonce: *b"nonce..........1", last_login_ms: Some(1_774_000_000_789) };
        let golden = golden::check("left.v1", &record::encode(&left).unwrap());
        assert_eq!(record::decode(&golden), Ok(left));
    }
}
