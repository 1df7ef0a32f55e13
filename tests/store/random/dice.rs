//! Which operation comes next.

use rand::RngExt as _;
use rand::rngs::StdRng;
use runstream::domain::account::User;
use runstream::domain::id::ApiKeyId;
use runstream::domain::member::MemberChange;
use runstream::domain::role::{AccountStatus, Role};

use super::model::Model;
use super::operation::Operation;
use crate::store::sample::{self, NOW_MS};

impl Model {
    /// A random operation on what there is, and now and then on what is not.
    pub(super) fn next(&self, random: &mut StdRng) -> Operation {
        let next = match random.random_range(0..20) {
            0..3 => self.next_invitation(random),
            3..6 => self.next_redemption(random),
            6..8 => self.next_reset(random),
            8..10 => self.next_setting(random),
            10..13 => self.next_variable(random),
            _ => None,
        };
        next.unwrap_or_else(|| self.next_of_an_account(random))
    }

    fn next_of_an_account(&self, random: &mut StdRng) -> Operation {
        let at_ms = NOW_MS + random.random_range(-5_000_000..5_000_000);
        let mut pick = |most: usize| random.random_range(0..most);
        let orgs: Vec<_> = self.orgs.keys().copied().collect();
        if orgs.len() < 2 || pick(8) == 0 {
            let org = sample::organization(["oak", "pine", "fir"][pick(3)]);
            let user = sample::user(org.id, &format!("{}@pinewood.test", pick(9)));
            let audit = sample::audit_at(org.id, "auth.signup", at_ms);
            return Operation::SignUp(org, format!("wood-{}", pick(3)), user, audit);
        }
        let org = orgs[pick(orgs.len())];
        let audit = |action: &str| sample::audit_at(org, action, at_ms);
        let users: Vec<_> = self.users.values().collect();
        if users.is_empty() {
            return Operation::Audit(audit("auth.login_failed"));
        }
        let user = users[pick(users.len())].clone();
        let of_org = self.keys.iter().filter(|key| key.org == org || at_ms % 9 == 0).collect::<Vec<_>>();
        let key = if of_org.is_empty() { ApiKeyId::generate(1) } else { of_org[pick(of_org.len())].id };
        match pick(14) {
            10 => {
                let roles = [Role::Viewer, Role::Developer, Role::Admin];
                let change = MemberChange::Role { from: roles[pick(3)], to: roles[pick(3)] };
                Operation::Change(org, user.id, change, Some(audit("user.role_changed")))
            }
            11 => {
                let status = [AccountStatus::Active, AccountStatus::Suspended][pick(2)];
                Operation::Change(user.org, user.id, MemberChange::Status(status), None)
            }
            12 => {
                let (seen, hash) = (user.password_hash, format!("$argon2id${}", pick(3)));
                let audit = sample::audit_at(user.org, "auth.password_changed", at_ms);
                Operation::Change(user.org, user.id, MemberChange::Password { seen, hash }, Some(audit))
            }
            13 => {
                let org = if pick(4) == 0 { org } else { user.org };
                Operation::Remove(org, user.id, sample::audit_at(org, "user.removed", at_ms))
            }
            0 => {
                let renamed = User { name: format!("Rosa {}", pick(1_000)), ..user.clone() };
                Operation::Update(renamed, Some(sample::audit_at(user.org, "user.renamed", at_ms)))
            }
            1 => Operation::Update(User { org, ..user }, Some(audit("invitation.accepted"))),
            2 => {
                let audit = sample::audit_at(user.org, "auth.login", at_ms);
                Operation::Login(user.id, user.email.clone(), at_ms, audit)
            }
            3 => {
                let org = if pick(3) == 0 { org } else { user.org };
                let audit = sample::audit_at(org, "apikey.created", at_ms);
                Operation::CreateKey(sample::key(org, user.id, at_ms), audit)
            }
            4 => Operation::RevokeKey(org, key, audit("apikey.revoked")),
            5 => Operation::UseKey(org, key, at_ms),
            6 => {
                let project = sample::project(org, ["shop", "site", "app"][pick(3)], at_ms);
                Operation::CreateProject(project, audit("project.created"))
            }
            7 => Operation::RevokeToken(pick(6).to_string(), audit("auth.logout")),
            _ => Operation::Audit(audit("auth.login_failed")),
        }
    }
}
