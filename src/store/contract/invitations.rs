//! Invitations, and joining an organization through one.

use async_trait::async_trait;

use super::StoreResult;
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, User};
use crate::domain::id::{InvitationId, OrgId, UserId};
use crate::domain::invitation::{Invitation, TokenHash};
use crate::domain::mail::Letter;

/// An account that is about to change its organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Hash of the invitation's token.
    pub token: TokenHash,
    /// The account.
    pub user: UserId,
    /// The present moment; Unix milliseconds.
    pub now_ms: UnixMs,
    /// Members that the joined organization may have.
    pub max_members: u64,
    /// The entry for the organization that is joined.
    pub joined: AuditEntry,
    /// The entry for the organization that is left; it names the organization.
    pub left: AuditEntry,
}

/// Invitations. Each is redeemed at most once, whatever races: a sign-up, an acceptance and a revocation of one
/// invitation are one after the other. An organization that nobody is in any more invites nobody either: its invitations
/// are as if they were not there.
#[async_trait]
pub trait Invitations: Send + Sync {
    /// Stores a new invitation, `audit` and the letter that brings it, if there is one; the letter's organization is the
    /// invitation's. One for the same address that has expired or was redeemed is no obstacle. What is refused leaves no
    /// letter; that there is no room for the letter does not keep the invitation from being stored.
    ///
    /// # Errors
    /// `Conflict(MemberLimit)` if the organization has `max_members` already, else `Conflict(Member)` if the address is a
    /// member's, else `Conflict(Invited)` if there is an invitation for it that is pending when this one is created;
    /// checks and creation are one step, races included.
    async fn invite(
        &self,
        invitation: Invitation,
        max_members: u64,
        letter: Option<Letter>,
        audit: AuditEntry,
    ) -> StoreResult<()>;

    /// The organization's invitations that are pending at `now_ms`, newest first (ties by id, descending), at most 1000.
    async fn invitations(&self, org: OrgId, now_ms: UnixMs) -> StoreResult<Vec<Invitation>>;

    /// The invitation with this token, or `None`. Those that were redeemed or have expired are told too, for
    /// [`crate::limits::INVITATION_RETENTION`].
    async fn invitation(&self, token: &TokenHash) -> StoreResult<Option<Invitation>>;

    /// Removes an invitation that is pending at `now_ms`, and stores `audit` with the invitation's address and role
    /// ([`Invitation::told_in`]): its token is no token any more, and the letter that brings it
    /// ([`Invitation::letter_key`]) is given up if it still waits. `false` if `org` has none such, and then nothing is stored.
    async fn revoke_invitation(
        &self,
        org: OrgId,
        invitation: InvitationId,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<bool>;

    /// Stores a new account that redeems the invitation with this token: it is in the invitation's organization and has
    /// its role. The invitation is accepted from then on, and `audit` is stored, and so is `letter`, of the same
    /// organization, for which there need not be room.
    ///
    /// # Errors
    /// `Conflict(Email)` if an account has the address, else `Conflict(Invitation)` if the invitation is not there, not
    /// pending at `now_ms` or for another address, else `Conflict(MemberLimit)` if the organization has `max_members`
    /// already; checks and changes are one step.
    async fn sign_up_invited(
        &self,
        token: &TokenHash,
        user: User,
        now_ms: UnixMs,
        max_members: u64,
        audit: Vec<AuditEntry>,
        letter: Option<Letter>,
    ) -> StoreResult<()>;

    /// Moves an account into the organization that invites it, with the invited role, and stores both entries. The
    /// invitation is accepted from then on; all that was issued to the account before is void, and its API keys in the
    /// organization that it leaves are removed. At any time the account is in exactly one of the two. Returns the account
    /// as it is now, or `None` if it is not in the organization of `left`, and then nothing has changed. The
    /// organization that it leaves stays, with everything in it, even if nobody is left.
    ///
    /// # Errors
    /// `Conflict(Invitation)` if the invitation is not there, not pending or for another address, else
    /// `Conflict(MemberLimit)` if the organization has as many members as it may, else `Conflict(Member)` if the account
    /// is one of them, else `Conflict(LastAdmin)` if the organization that it leaves has other members and none of them is
    /// an active administrator; checks and changes are one step.
    async fn accept_invitation(&self, acceptance: Acceptance) -> StoreResult<Option<User>>;
}
