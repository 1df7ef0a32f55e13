//! Which invitation, redemption or reset comes next.

use rand::RngExt as _;
use rand::rngs::StdRng;
use runstream::clock::UnixMs;
use runstream::domain::account::User;
use runstream::domain::id::OrgId;
use runstream::domain::invitation::{Invitation, InvitationToken};
use runstream::domain::reset::PasswordReset;
use runstream::domain::role::Role;
use runstream::store::contract::Acceptance;

use super::model::Model;
use super::operation::Operation;
use crate::store::sample::{self, NOW_MS};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;
const RESET_EXPIRES_MS: UnixMs = NOW_MS + 3_600_000;
const MANY: u64 = u64::MAX;

impl Model {
    /// Somebody, if there is anybody.
    pub(super) fn anybody(&self, random: &mut StdRng) -> Option<&User> {
        let at = random.random_range(0..self.users.len().max(1));
        self.users.values().nth(at)
    }

    fn any_invitation(&self, random: &mut StdRng) -> Option<&Invitation> {
        self.invitations.get(random.random_range(0..self.invitations.len().max(1)))
    }

    /// An invitation, or the end of one.
    pub(super) fn next_invitation(&self, random: &mut StdRng) -> Option<Operation> {
        let by = self.anybody(random)?;
        if random.random_range(0..4) == 0 {
            let invitation = self.any_invitation(random)?;
            let org = if random.random_range(0..4) == 0 { by.org } else { invitation.org };
            let now_ms = if random.random_range(0..6) == 0 { invitation.expires_ms } else { NOW_MS };
            let audit = audit(org, "invitation.revoked", random);
            return Some(Operation::Revoke(org, invitation.id, now_ms, audit));
        }
        let email = format!("{}@pinewood.test", random.random_range(0..9));
        let is_first = !self.invitations.iter().any(|one| (one.org, &one.email) == (by.org, &email));
        // It has expired, or it comes after all others.
        let created_ms = if is_first && random.random_range(0..4) == 0 {
            NOW_MS - WEEK_MS
        } else {
            NOW_MS + i64::try_from(self.audit.len()).unwrap()
        };
        let role = [Role::Viewer, Role::Developer, Role::Admin][random.random_range(0..3)];
        let token = InvitationToken::generate();
        let invitation = Invitation::new((by.org, by.id), email, role, &token, created_ms);
        let max_members = [1, 2, MANY, MANY, MANY, MANY][random.random_range(0..6)];
        Some(Operation::Invite(invitation, max_members, audit(by.org, "invitation.created", random)))
    }

    /// The use of an invitation, by whom it is for or by others.
    pub(super) fn next_redemption(&self, random: &mut StdRng) -> Option<Operation> {
        let invitation = self.any_invitation(random)?;
        let now_ms = if random.random_range(0..8) == 0 { invitation.expires_ms } else { NOW_MS };
        let max_members = [1, 2, MANY, MANY, MANY, MANY][random.random_range(0..6)];
        let token = if random.random_range(0..9) == 0 { random.random() } else { invitation.token };
        let invited = self.users.values().find(|user| user.email == invitation.email);
        let (Some(user), true) = (invited, random.random_range(0..8) > 0) else {
            let other = format!("{}@pinewood.test", random.random_range(0..9));
            let email = if random.random_range(0..4) == 0 { &other } else { &invitation.email };
            let user = sample::user(invitation.org, email);
            let audit = ["auth.signup", "invitation.accepted"].map(|one| audit(invitation.org, one, random));
            return Some(Operation::SignUpInvited(token, user, now_ms, max_members, audit.into()));
        };
        let left = if random.random_range(0..9) == 0 { invitation.org } else { user.org };
        let joined = audit(invitation.org, "invitation.accepted", random);
        let left = audit(left, "user.left", random);
        Some(Operation::Accept(Acceptance { token, user: user.id, now_ms, max_members, joined, left }))
    }

    /// A reset of a password, or its use.
    pub(super) fn next_reset(&self, random: &mut StdRng) -> Option<Operation> {
        let user = self.anybody(random)?;
        if self.resets.is_empty() || random.random_range(0..2) == 0 {
            let org = if random.random_range(0..6) == 0 { sample::org() } else { user.org };
            // Asked for before the credentials changed, sometimes.
            let credentials_from_ms =
                user.credentials_valid_from_ms - i64::from(random.random_range(0..6) == 0);
            let hash = random.random();
            let reset = PasswordReset { hash, expires_ms: RESET_EXPIRES_MS, credentials_from_ms };
            return Some(Operation::BeginReset(org, user.id, reset));
        }
        let hash = self.hashes[random.random_range(0..self.hashes.len())];
        let of = self.reset_of(&hash, NOW_MS);
        let org = of.map_or(user.org, |user| user.org);
        let now_ms = if random.random_range(0..6) == 0 { RESET_EXPIRES_MS } else { NOW_MS };
        let password_hash = format!("$argon2id$r{}", random.random_range(0..3));
        let audit = audit(org, "auth.password_changed", random);
        Some(Operation::FinishReset(hash, password_hash, now_ms, audit))
    }
}

/// An entry of about now.
pub(super) fn audit(org: OrgId, action: &str, random: &mut StdRng) -> runstream::domain::account::AuditEntry {
    sample::audit_at(org, action, NOW_MS + random.random_range(-5_000_000..5_000_000))
}
