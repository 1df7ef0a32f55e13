//! Invitations: the record in its organization's partition under its age, its place by id and by address beside it, and by
//! token in a lookup that is written before it. What can be redeemed and what was are different kinds of rows, so that the
//! list of the former is short. All of them go by TTL.
//!
//! Who signs up by an invitation changes one partition. An account that moves changes two, in the steps of
//! [`super::members`]: its arriving row holds the invitation and a seat. So whoever wants an invitation or a seat that is
//! held waits for that move to end, and calls it off if it does not.

use async_trait::async_trait;

use super::Cold;
use super::change::Edit;
use super::claims::{Space, replaced};
use super::members::{Arriving, ByInvitation};
use super::people::{OwnedKey, removals};
use super::rows::{INVITATION, INVITATION_PLACE, INVITED, REDEEMED, USER, id_bytes, moment};
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{InvitationId, OrgId, UserId};
use crate::domain::invitation::{Invitation, TokenHash, oldest_pending_ms};
use crate::domain::mail::Letter;
use crate::domain::member::is_active_admin;
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Acceptance, Conflict, Invitations, StoreError, StoreResult};
use crate::store::record;

/// The space of tokens among the lookups.
const TOKENS: &str = "invitation";

/// What a turn came to that did not commit.
enum Held {
    /// Somebody else committed first: another turn.
    Again,
    /// This account's move has to end first.
    By(UserId),
}

/// Takes turns at changing `$org` until one is committed; what it came to. A turn is an expression of
/// `Result<T, Held>` in which `?` and `return` leave the turn; one that is held up is taken again after what held it.
/// (A macro: the compiler cannot tell that an async closure's future is `Send`.)
macro_rules! take_turns {
    ($cold:expr, $org:expr, |$turns:ident| $turn:block) => {{
        $cold.finish_arrivals($org).await?;
        'taken: loop {
            let mut $turns = $cold.turns($org).await;
            let holder = loop {
                $turns.begin().await?;
                let turn: StoreResult<Result<_, Held>> = async { $turn }.await;
                match turn? {
                    Ok(done) => break 'taken done,
                    Err(Held::Again) => {}
                    Err(Held::By(user)) => break user,
                }
            };
            drop($turns);
            $cold.settle_arrival($org, holder).await?;
        }
    }};
}

fn place(invitation: &Invitation) -> Vec<u8> {
    [moment(invitation.created_ms).as_slice(), invitation.id.as_bytes()].concat()
}

/// How long its rows are kept, in seconds.
fn ttl_s(invitation: &Invitation) -> i32 {
    let kept_ms = invitation.kept_until_ms().saturating_sub(invitation.created_ms);
    i32::try_from(kept_ms / 1_000).unwrap_or(i32::MAX)
}

const fn conflict<T>(conflict: Conflict) -> StoreResult<T> {
    Err(StoreError::Conflict(conflict))
}

impl Cold {
    /// The record at a place, redeemed or not.
    async fn invitation_at(&self, org: OrgId, place: &[u8]) -> StoreResult<Option<Invitation>> {
        // In this order: it goes from the one to the other.
        match self.record(org, INVITATION, place).await? {
            Some(found) => Ok(Some(found)),
            None => self.record(org, REDEEMED, place).await,
        }
    }

    /// Takes in an invitation that is copied, for so many seconds: its lookup now, its rows by the edits. At most one of an
    /// address is pending.
    pub(super) async fn take_in_invitation(
        &self,
        invitation: &Invitation,
        ttl_s: i32,
    ) -> StoreResult<Vec<Edit>> {
        let place = place(invitation);
        let org = invitation.org.as_bytes().as_slice();
        let lookup = (TOKENS, invitation.token.as_slice(), org, &place, ttl_s);
        self.cql.run(&self.statements.put_lookup_for, lookup).await?;
        let kind = if invitation.accepted { REDEEMED } else { INVITATION };
        let id = invitation.id.as_bytes().to_vec();
        let mut edits = vec![
            Edit::PutFor(kind, place.clone(), record::encode(invitation)?, ttl_s),
            Edit::PutFor(INVITATION_PLACE, id, place.clone(), ttl_s),
        ];
        if invitation.is_pending(self.cql.clock().now_ms()) {
            edits.push(Edit::PutFor(INVITED, invitation.email.as_bytes().to_vec(), place, ttl_s));
        }
        Ok(edits)
    }

    /// What marks the invitation at `place` as redeemed.
    pub(super) async fn redeeming(&self, org: OrgId, place: &[u8]) -> StoreResult<Vec<Edit>> {
        let found: Option<Invitation> = self.record(org, INVITATION, place).await?;
        let Some(mut invitation) = found else { return Ok(Vec::new()) };
        invitation.accepted = true;
        let (key, ttl_s) = (place.to_vec(), ttl_s(&invitation));
        let mut edits = vec![
            Edit::Remove(INVITATION, key.clone()),
            Edit::PutFor(REDEEMED, key, record::encode(&invitation)?, ttl_s),
        ];
        edits.extend(self.no_longer_invited(org, &invitation).await?);
        Ok(edits)
    }

    /// What frees the address of an invitation, if it had none after it.
    async fn no_longer_invited(&self, org: OrgId, invitation: &Invitation) -> StoreResult<Option<Edit>> {
        let email = invitation.email.as_bytes();
        let last = self.value(org, INVITED, email).await?;
        Ok(last.filter(|last| *last == place(invitation)).map(|_| Edit::Remove(INVITED, email.to_vec())))
    }

    /// Who has to arrive, or to be called off, before it is known whether a member more fits in. Within a turn.
    ///
    /// # Errors
    /// `Conflict(MemberLimit)` if none does.
    async fn seat_held(
        &self,
        org: OrgId,
        arrivals: &[(Arriving, ByInvitation)],
        max_members: u64,
    ) -> StoreResult<Option<UserId>> {
        if self.reaches(org, USER, &[], max_members).await? {
            return conflict(Conflict::MemberLimit);
        }
        let Some((first, _)) = arrivals.first() else { return Ok(None) };
        let seats = max_members.saturating_sub(arrivals.len() as u64);
        Ok(self.reaches(org, USER, &[], seats).await?.then_some(first.user.id))
    }

    /// Whether the owner of `email` can redeem the invitation at `place`, as far as that is known. Within a turn.
    ///
    /// # Errors
    /// `Conflict(Invitation)` or `Conflict(MemberLimit)`.
    async fn redeemable(
        &self,
        (org, place): (OrgId, &[u8]),
        (token, email): (&TokenHash, &str),
        (now_ms, max_members): (UnixMs, u64),
    ) -> StoreResult<Result<Invitation, Held>> {
        let found: Option<Invitation> = self.record(org, INVITATION, place).await?;
        let found = found.filter(|found| found.token == *token && found.admits(email, now_ms));
        let Some(invitation) = found else { return conflict(Conflict::Invitation) };
        if !self.reaches(org, USER, &[], 1).await? {
            return conflict(Conflict::Invitation);
        }
        let arrivals = self.arrivals(org).await?;
        let holder = arrivals.iter().find(|(_, by)| by.as_deref() == Some(place));
        if let Some((holder, _)) = holder {
            return Ok(Err(Held::By(holder.user.id)));
        }
        let held = self.seat_held(org, &arrivals, max_members).await?;
        Ok(held.map_or(Ok(invitation), |user| Err(Held::By(user))))
    }

    /// Step 1 of a move by invitation: the arriving row, if all that the new organization has to say is in favour.
    async fn hold_seat(
        &self,
        (to, place): (OrgId, &[u8]),
        base: &User,
        acceptance: &Acceptance,
    ) -> StoreResult<Arriving> {
        let Acceptance { token, now_ms, max_members, .. } = acceptance;
        Ok(take_turns!(self, to, |turns| {
            let asked = self.redeemable((to, place), (token, &base.email), (*now_ms, *max_members)).await?;
            let invitation = match asked {
                Ok(invitation) => invitation,
                Err(held) => return Ok(Err(held)),
            };
            if base.org == to {
                return conflict(Conflict::Member);
            }
            // By another invitation, or by none.
            if self.arriving(to, base.id).await?.is_some() {
                return Ok(Err(Held::By(base.id)));
            }
            let joined = invitation.joined(base, *now_ms);
            let arriving = Arriving::new(base.org, joined, Some(acceptance.joined.clone()));
            let put = arriving.put(&Some(place.to_vec()))?;
            Ok(if turns.commit(vec![put], None).await? { Ok(arriving) } else { Err(Held::Again) })
        }))
    }

    /// Step 2 of a move by invitation: the old organization lets the account go as it was in `base`, and removes its keys,
    /// which are returned. `None` if the account is not what it was any more, or not there.
    ///
    /// # Errors
    /// `Conflict(LastAdmin)`.
    async fn part(
        &self,
        arriving: &Arriving,
        base: &User,
        left: &AuditEntry,
    ) -> StoreResult<Option<Vec<OwnedKey>>> {
        let (from, user) = (base.org, base.id);
        Ok(take_turns!(self, from, |turns| {
            self.check_called_off(arriving).await?;
            let stored: Option<User> = self.record(from, USER, user.as_bytes()).await?;
            let same =
                |stored: &User| *stored == User { last_login_ms: stored.last_login_ms, ..base.clone() };
            let Some(stored) = stored.filter(same) else { return Ok(Ok(None)) };
            if is_active_admin(&stored) {
                if self.reaches(from, USER, &[], 2).await? {
                    self.leave_an_admin(&stored, None).await?;
                } else if let Some((coming, _)) = self.arrivals(from).await?.first() {
                    // Whoever comes would find nobody to run the organization.
                    return Ok(Err(Held::By(coming.user.id)));
                }
            }
            let mut edits = arriving.let_go(&stored)?;
            let keys = self.all_keys(from, user).await?;
            edits.extend(removals(&keys));
            let committed = turns.commit(edits, Some(left)).await?;
            Ok(if committed { Ok(Some(keys)) } else { Err(Held::Again) })
        }))
    }
}

#[async_trait]
impl Invitations for Cold {
    async fn invite(
        &self,
        invitation: Invitation,
        max_members: u64,
        letter: Option<Letter>,
        audit: AuditEntry,
    ) -> StoreResult<()> {
        let (org, place, ttl_s) = (invitation.org, place(&invitation), ttl_s(&invitation));
        let email = invitation.email.as_bytes();
        let lookup = (TOKENS, invitation.token.as_slice(), org.as_bytes().as_slice(), &place, ttl_s);
        self.cql.run(&self.statements.put_lookup_for, lookup).await?;
        let encoded = record::encode(&invitation)?;
        take_turns!(self, org, |turns| {
            let arrivals = self.arrivals(org).await?;
            if let Some(user) = self.seat_held(org, &arrivals, max_members).await? {
                return Ok(Err(Held::By(user)));
            }
            // Read after the turn has begun: whoever is a member by then has claimed the address before.
            if let Some(claim) = self.claimed(Space::Email, &invitation.email).await? {
                let id = UserId::from_bytes(id_bytes(&claim.record)?);
                if arrivals.iter().any(|(arriving, _)| arriving.user.id == id) {
                    return Ok(Err(Held::By(id)));
                }
                let member: Option<User> = self.record(org, USER, &claim.record).await?;
                if member.is_some_and(|member| member.email == invitation.email) {
                    return conflict(Conflict::Member);
                }
            }
            if let Some(last) = self.value(org, INVITED, email).await?
                && let Some(last) = self.record::<Invitation>(org, INVITATION, &last).await?
                && last.is_pending(invitation.created_ms)
            {
                return conflict(Conflict::Invited);
            }
            let id = invitation.id.as_bytes().to_vec();
            let mut edits = vec![
                Edit::PutFor(INVITATION, place.clone(), encoded.clone(), ttl_s),
                Edit::PutFor(INVITATION_PLACE, id, place.clone(), ttl_s),
                Edit::PutFor(INVITED, email.to_vec(), place.clone(), ttl_s),
            ];
            edits.extend(self.letter_edits(letter.as_slice()).await?);
            Ok(if turns.commit(edits, Some(&audit)).await? { Ok(()) } else { Err(Held::Again) })
        });
        Ok(())
    }

    async fn invitations(&self, org: OrgId, now_ms: UnixMs) -> StoreResult<Vec<Invitation>> {
        self.finish_arrivals(org).await?;
        if !self.reaches(org, USER, &[], 1).await? {
            return Ok(Vec::new());
        }
        let least = moment(oldest_pending_ms(now_ms));
        let values = self.newest_since(org, INVITATION, &least, ROWS_PER_CALL_MAX).await?;
        let found: Vec<Invitation> =
            values.iter().map(|value| record::decode(value)).collect::<StoreResult<_>>()?;
        Ok(found.into_iter().filter(|invitation| invitation.is_pending(now_ms)).collect())
    }

    async fn invitation(&self, token: &TokenHash) -> StoreResult<Option<Invitation>> {
        let Some((org, place)) = self.place_of(TOKENS, token).await? else { return Ok(None) };
        self.finish_arrivals(org).await?;
        let found = self.invitation_at(org, &place).await?;
        let Some(found) = found.filter(|found| found.token == *token) else { return Ok(None) };
        Ok(self.reaches(org, USER, &[], 1).await?.then_some(found))
    }

    async fn revoke_invitation(
        &self,
        org: OrgId,
        invitation: InvitationId,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        let id = invitation.as_bytes();
        let revoked = take_turns!(self, org, |turns| {
            let Some(place) = self.value(org, INVITATION_PLACE, id).await? else { return Ok(Ok(None)) };
            let found: Option<Invitation> = self.record(org, INVITATION, &place).await?;
            let Some(found) = found.filter(|found| found.is_pending(now_ms)) else { return Ok(Ok(None)) };
            let arrivals = self.arrivals(org).await?;
            if arrivals.is_empty() && !self.reaches(org, USER, &[], 1).await? {
                return Ok(Ok(None));
            }
            if let Some((holder, _)) = arrivals.iter().find(|(_, by)| by.as_ref() == Some(&place)) {
                return Ok(Err(Held::By(holder.user.id)));
            }
            let mut edits =
                vec![Edit::Remove(INVITATION, place), Edit::Remove(INVITATION_PLACE, id.to_vec())];
            edits.extend(self.no_longer_invited(org, &found).await?);
            edits.extend(self.giving_up(org, &found.letter_key(), now_ms).await?);
            let entry = found.told_in(audit.clone());
            let committed = turns.commit(edits, Some(&entry)).await?;
            Ok(if committed { Ok(Some(found)) } else { Err(Held::Again) })
        });
        let Some(revoked) = revoked else { return Ok(false) };
        let tidied = self.cql.run(&self.statements.remove_lookup, (TOKENS, revoked.token.as_slice())).await;
        if let Err(error) = tidied {
            tracing::debug!(%error, "the lookup of a revoked invitation stays");
        }
        Ok(true)
    }

    async fn sign_up_invited(
        &self,
        token: &TokenHash,
        user: User,
        now_ms: UnixMs,
        max_members: u64,
        audit: Vec<AuditEntry>,
        letter: Option<Letter>,
    ) -> StoreResult<()> {
        let Some((org, place)) = self.place_of(TOKENS, token).await? else {
            let taken = self.email_is_taken(&user.email).await?;
            return conflict(if taken { Conflict::Email } else { Conflict::Invitation });
        };
        let (org_bytes, id) = (org.as_bytes().as_slice(), user.id.as_bytes().as_slice());
        let Some(claim) = self.claim(Space::Email, &user.email, org, id).await? else {
            return conflict(Conflict::Email);
        };
        self.cql.run(&self.statements.put_lookup, ("user", id, org_bytes, id)).await?;
        take_turns!(self, org, |turns| {
            if self.is_void(org, claim).await? {
                return Err(replaced());
            }
            let asked = self.redeemable((org, &place), (token, &user.email), (now_ms, max_members)).await?;
            let invitation = match asked {
                Ok(invitation) => invitation,
                Err(held) => return Ok(Err(held)),
            };
            let member = User { org, role: invitation.role, ..user.clone() };
            let mut edits = vec![Edit::Put(USER, id.to_vec(), record::encode(&member)?)];
            edits.extend(self.redeeming(org, &place).await?);
            edits.extend(self.letter_edits(letter.as_slice()).await?);
            Ok(if turns.commit_with_all(edits, &audit).await? { Ok(()) } else { Err(Held::Again) })
        });
        Ok(())
    }

    async fn accept_invitation(&self, acceptance: Acceptance) -> StoreResult<Option<User>> {
        let (user, from) = (acceptance.user, acceptance.left.org);
        let found = self.place_of(TOKENS, &acceptance.token).await?;
        loop {
            let base = self.user_of_id(user).await?;
            let Some(base) = base.filter(|base| base.org == from) else { return Ok(None) };
            let Some((to, place)) = &found else { return conflict(Conflict::Invitation) };
            let arriving = self.hold_seat((*to, place), &base, &acceptance).await?;
            match self.part(&arriving, &base, &acceptance.left).await {
                Ok(Some(keys)) => {
                    self.settle_in(&arriving).await?;
                    self.tidy_keys(from, &keys).await;
                    return self.user_from(*to, user).await;
                }
                Ok(None) => self.withdraw_arrival(*to, user, arriving.nonce).await?,
                Err(refused @ StoreError::Conflict(_)) => {
                    self.withdraw_arrival(*to, user, arriving.nonce).await?;
                    return Err(refused);
                }
                // Whether it has let go may be unknown: whoever is held up finds out.
                Err(error) => return Err(error),
            }
        }
    }
}

impl Cold {
    /// Whether an account has the address.
    async fn email_is_taken(&self, email: &str) -> StoreResult<bool> {
        let Some(claim) = self.claimed(Space::Email, email).await? else { return Ok(false) };
        let id = UserId::from_bytes(id_bytes(&claim.record)?);
        Ok(self.user_from(claim.org, id).await?.is_some_and(|user| user.email == email))
    }
}
