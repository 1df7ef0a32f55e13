//! Invitations: the record by id, an index by age for the list and for forgetting, one by address for uniqueness, one by
//! token.

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::accounts::{MEMBER_COUNTS, MEMBERS, USERS, USERS_BY_EMAIL, member_key, org_key, user_key};
use super::db::Db;
use super::people::{leave_an_admin, remove_keys};
use super::table::{Key, Table};
use super::{LsmStore, audit, outbox};
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{InvitationId, OrgId};
use crate::domain::invitation::{Invitation, TokenHash};
use crate::domain::mail::Letter;
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{Acceptance, Conflict, Invitations, StoreError, StoreResult};

/// `org invitation`.
pub(super) const INVITATIONS: Table<Invitation> = Table::named("invitations");
/// `org created_ms invitation` → the invitation's id.
const INVITATIONS_BY_AGE: Table<InvitationId> = Table::named("invitations_by_age");
/// `org email` → the id of the invitation that it got last.
const INVITED: Table<InvitationId> = Table::named("invitations_by_email");
/// `token` → `org invitation`.
const BY_TOKEN: Table<Vec<u8>> = Table::named("invitations_by_token");
/// Old invitations that a new one makes its organization forget: more than one, so that they become fewer.
const FORGOTTEN_PER_INVITATION: usize = 2;

fn row(org: OrgId, invitation: InvitationId) -> Key {
    org_key(org).id(invitation.as_bytes())
}

fn by_age(invitation: &Invitation) -> Key {
    org_key(invitation.org).moment(invitation.created_ms).id(invitation.id.as_bytes())
}

fn by_email(invitation: &Invitation) -> Key {
    org_key(invitation.org).text(&invitation.email)
}

const fn conflict<T>(conflict: Conflict) -> StoreResult<T> {
    Err(StoreError::Conflict(conflict))
}

/// The invitation with this token, unless nobody is in its organization.
fn find(db: &Db, view: &impl Readable, token: &TokenHash) -> StoreResult<Option<Invitation>> {
    let Some(row) = BY_TOKEN.get(db, view, &Key::new().id(token))? else { return Ok(None) };
    let found = INVITATIONS.get(db, view, &Key::new().id(&row))?;
    let Some(invitation) = found else { return Ok(None) };
    let members = MEMBER_COUNTS.count(db, view, &org_key(invitation.org))?;
    Ok((members > 0).then_some(invitation))
}

/// The invitation with this token if `email` can redeem it into an organization with room.
fn redeemable(
    db: &Db,
    view: &impl Readable,
    token: &TokenHash,
    email: &str,
    (now_ms, max_members): (UnixMs, u64),
) -> StoreResult<Invitation> {
    let invitation = find(db, view, token)?.filter(|invitation| invitation.admits(email, now_ms));
    let Some(invitation) = invitation else { return conflict(Conflict::Invitation) };
    if MEMBER_COUNTS.count(db, view, &org_key(invitation.org))? >= max_members {
        return conflict(Conflict::MemberLimit);
    }
    Ok(invitation)
}

/// Marks an invitation as redeemed.
fn accept(db: &Db, change: &mut SingleWriterWriteTx<'_>, mut invitation: Invitation) -> StoreResult<()> {
    INVITED.remove(db, change, by_email(&invitation))?;
    invitation.accepted = true;
    INVITATIONS.put(db, change, row(invitation.org, invitation.id), &invitation)
}

/// Removes an invitation with all that leads to it.
fn remove(db: &Db, change: &mut SingleWriterWriteTx<'_>, invitation: &Invitation) -> StoreResult<()> {
    if INVITED.get(db, change, &by_email(invitation))? == Some(invitation.id) {
        INVITED.remove(db, change, by_email(invitation))?;
    }
    BY_TOKEN.remove(db, change, Key::new().id(&invitation.token))?;
    INVITATIONS_BY_AGE.remove(db, change, by_age(invitation))?;
    INVITATIONS.remove(db, change, row(invitation.org, invitation.id))
}

/// Takes in an invitation that is copied. At most one of an address is pending.
pub(super) fn take_in(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    invitation: &Invitation,
    now_ms: UnixMs,
) -> StoreResult<()> {
    let key = row(invitation.org, invitation.id);
    BY_TOKEN.put(db, change, Key::new().id(&invitation.token), &key.as_ref().to_vec())?;
    if invitation.is_pending(now_ms) {
        INVITED.put(db, change, by_email(invitation), &invitation.id)?;
    }
    INVITATIONS_BY_AGE.put(db, change, by_age(invitation), &invitation.id)?;
    INVITATIONS.put(db, change, key, invitation)
}

/// Forgets some of the organization's oldest invitations whose time is over.
fn forget_some(db: &Db, change: &mut SingleWriterWriteTx<'_>, org: OrgId, now_ms: UnixMs) -> StoreResult<()> {
    let oldest = INVITATIONS_BY_AGE.records(db, change, &org_key(org))?.take(FORGOTTEN_PER_INVITATION);
    for id in oldest.collect::<StoreResult<Vec<_>>>()? {
        if let Some(old) = INVITATIONS.get(db, change, &row(org, id))?
            && old.kept_until_ms() < now_ms
        {
            remove(db, change, &old)?;
        }
    }
    Ok(())
}

/// Lets an account leave its organization, unless others stay there without an administrator.
///
/// # Errors
/// `Conflict(LastAdmin)`.
fn let_leave(db: &Db, view: &impl Readable, user: &User) -> StoreResult<()> {
    match MEMBER_COUNTS.count(db, view, &org_key(user.org))? {
        0 | 1 => Ok(()),
        _ => leave_an_admin(db, view, user, None),
    }
}

#[async_trait]
impl Invitations for LsmStore {
    async fn invite(
        &self,
        invitation: Invitation,
        max_members: u64,
        letter: Option<Letter>,
        audit: AuditEntry,
    ) -> StoreResult<()> {
        self.db
            .commit(move |db, change| {
                let org = invitation.org;
                if MEMBER_COUNTS.count(db, change, &org_key(org))? >= max_members {
                    return conflict(Conflict::MemberLimit);
                }
                if let Some(user) = USERS_BY_EMAIL.get(db, change, &Key::new().text(&invitation.email))?
                    && MEMBERS.has(db, change, &member_key(org, user))?
                {
                    return conflict(Conflict::Member);
                }
                if let Some(last) = INVITED.get(db, change, &by_email(&invitation))?
                    && let Some(last) = INVITATIONS.get(db, change, &row(org, last))?
                    && last.is_pending(invitation.created_ms)
                {
                    return conflict(Conflict::Invited);
                }
                forget_some(db, change, org, invitation.created_ms)?;
                let key = row(org, invitation.id);
                BY_TOKEN.put(db, change, Key::new().id(&invitation.token), &key.as_ref().to_vec())?;
                INVITED.put(db, change, by_email(&invitation), &invitation.id)?;
                INVITATIONS_BY_AGE.put(db, change, by_age(&invitation), &invitation.id)?;
                INVITATIONS.put(db, change, key, &invitation)?;
                if let Some(letter) = letter {
                    outbox::put(db, change, letter)?;
                }
                audit::put(db, change, &audit)
            })
            .await
    }

    async fn invitations(&self, org: OrgId, now_ms: UnixMs) -> StoreResult<Vec<Invitation>> {
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let mut pending = Vec::new();
                if MEMBER_COUNTS.count(db, &view, &org_key(org))? == 0 {
                    return Ok(pending);
                }
                for id in INVITATIONS_BY_AGE.records(db, &view, &org_key(org))?.rev() {
                    let Some(invitation) = INVITATIONS.get(db, &view, &row(org, id?))? else { continue };
                    // The others are older.
                    if invitation.expires_ms <= now_ms || pending.len() >= ROWS_PER_CALL_MAX {
                        break;
                    }
                    if invitation.is_pending(now_ms) {
                        pending.push(invitation);
                    }
                }
                Ok(pending)
            })
            .await
    }

    async fn invitation(&self, token: &TokenHash) -> StoreResult<Option<Invitation>> {
        let token = *token;
        self.db.blocking(move |db| find(db, &db.inner().read_tx(), &token)).await
    }

    async fn revoke_invitation(
        &self,
        org: OrgId,
        invitation: InvitationId,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<bool> {
        self.db
            .commit(move |db, change| {
                let found = INVITATIONS.get(db, change, &row(org, invitation))?;
                let members = MEMBER_COUNTS.count(db, change, &org_key(org))?;
                let found = found.filter(|_| members > 0);
                let Some(found) = found.filter(|found| found.is_pending(now_ms)) else { return Ok(false) };
                remove(db, change, &found)?;
                outbox::give_up(db, change, org, &found.letter_key(), now_ms)?;
                audit::put(db, change, &found.told_in(audit))?;
                Ok(true)
            })
            .await
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
        let token = *token;
        self.db
            .commit(move |db, change| {
                let by_email = Key::new().text(&user.email);
                if USERS_BY_EMAIL.has(db, change, &by_email)? {
                    return conflict(Conflict::Email);
                }
                let invitation = redeemable(db, change, &token, &user.email, (now_ms, max_members))?;
                let user = User { org: invitation.org, role: invitation.role, ..user };
                USERS.put(db, change, user_key(user.id), &user)?;
                USERS_BY_EMAIL.put(db, change, by_email, &user.id)?;
                MEMBERS.put(db, change, member_key(user.org, user.id), &())?;
                MEMBER_COUNTS.add(db, change, org_key(user.org), 1)?;
                accept(db, change, invitation)?;
                if let Some(letter) = letter {
                    outbox::put(db, change, letter)?;
                }
                audit.iter().try_for_each(|entry| audit::put(db, change, entry))
            })
            .await
    }

    async fn accept_invitation(&self, acceptance: Acceptance) -> StoreResult<Option<User>> {
        let Acceptance { token, user, now_ms, max_members, joined, left } = acceptance;
        self.db
            .commit(move |db, change| {
                let stored = USERS.get(db, change, &user_key(user))?;
                let Some(stored) = stored.filter(|stored| stored.org == left.org) else { return Ok(None) };
                let invitation = redeemable(db, change, &token, &stored.email, (now_ms, max_members))?;
                if stored.org == invitation.org {
                    return conflict(Conflict::Member);
                }
                let_leave(db, change, &stored)?;
                remove_keys(db, change, stored.org, stored.id)?;
                MEMBERS.remove(db, change, member_key(stored.org, stored.id))?;
                MEMBER_COUNTS.add(db, change, org_key(stored.org), -1)?;
                let member = invitation.joined(&stored, now_ms);
                MEMBERS.put(db, change, member_key(member.org, member.id), &())?;
                MEMBER_COUNTS.add(db, change, org_key(member.org), 1)?;
                USERS.put(db, change, user_key(member.id), &member)?;
                accept(db, change, invitation)?;
                audit::put(db, change, &left)?;
                audit::put(db, change, &joined)?;
                Ok(Some(member))
            })
            .await
    }
}
