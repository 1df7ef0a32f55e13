//! The same random operations on two stores and a model that is nothing but vectors: every answer, and every now and then
//! everything that can be read, is the same. The distributed store loses answers meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use runstream::clock::ManualClock;
use runstream::domain::account::{ApiKey, AuditEntry, Organization, User};
use runstream::domain::id::{ApiKeyId, OrgId, UserId};
use runstream::domain::member::{MemberChange, is_active_admin};
use runstream::domain::project::Project;
use runstream::domain::role::{AccountStatus, Role};
use runstream::store::contract::{Conflict, StoreError, StoreResult};
use runstream::store::scylla::{Cold, Cql};

use super::sample::{self, NOW_MS};
use super::{ColdStore, Home, LsmHome};
use crate::support::{cql, long_mode};

const KEYS_MAX: u64 = 3;
const PROJECTS_MAX: u64 = 4;

/// What a store holds.
#[derive(Default)]
struct Model {
    orgs: BTreeMap<OrgId, Organization>,
    users: BTreeMap<UserId, User>,
    keys: Vec<ApiKey>,
    projects: Vec<Project>,
    tokens: BTreeSet<String>,
    audit: Vec<AuditEntry>,
}

/// One operation with everything it takes.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
#[derive(Debug, Clone)]
enum Operation {
    SignUp(Organization, String, User, AuditEntry),
    Update(User, Option<AuditEntry>),
    Change(OrgId, UserId, MemberChange, Option<AuditEntry>),
    Remove(OrgId, UserId, AuditEntry),
    Login(UserId, String, i64, AuditEntry),
    CreateKey(ApiKey, AuditEntry),
    RevokeKey(OrgId, ApiKeyId, AuditEntry),
    UseKey(OrgId, ApiKeyId, i64),
    CreateProject(Project, AuditEntry),
    RevokeToken(String, AuditEntry),
    Audit(AuditEntry),
}

/// What an operation answers, as far as callers can tell.
type Answer = StoreResult<String>;

async fn perform(store: &dyn ColdStore, operation: Operation) -> Answer {
    match operation {
        Operation::SignUp(org, fallback, user, audit) => {
            store.sign_up(org, fallback, user, audit, None).await.map(|org| org.slug)
        }
        Operation::Update(user, audit) => store.update_user(user, audit).await.map(|found| found.to_string()),
        Operation::Change(org, user, change, audit) => {
            let changed = store.change_member(org, user, change, NOW_MS, audit).await;
            changed.map(|user| format!("{user:?}"))
        }
        Operation::Remove(org, user, audit) => {
            store.remove_member(org, user, audit).await.map(|user| format!("{user:?}"))
        }
        Operation::Login(user, email, now_ms, audit) => {
            store.login_succeeded(user, &email, now_ms, audit).await.map(|()| String::new())
        }
        Operation::CreateKey(key, audit) => {
            store.create_key(key, KEYS_MAX, audit).await.map(|()| String::new())
        }
        Operation::RevokeKey(org, key, audit) => {
            store.revoke_key(org, key, audit).await.map(|found| found.to_string())
        }
        Operation::UseKey(org, key, used_ms) => {
            store.mark_key_used(org, key, used_ms).await.map(|()| String::new())
        }
        Operation::CreateProject(project, audit) => {
            store.create_project(project, PROJECTS_MAX, audit).await.map(|()| String::new())
        }
        Operation::RevokeToken(token, audit) => {
            store.revoke_token(&token, NOW_MS + 1_000, audit).await.map(|()| String::new())
        }
        Operation::Audit(entry) => store.audit(entry).await.map(|()| String::new()),
    }
}

impl Model {
    fn perform(&mut self, operation: Operation) -> Answer {
        let done = |text: &dyn ToString| Ok(text.to_string());
        match operation {
            Operation::SignUp(mut org, fallback, user, audit) => {
                if self.users.values().any(|other| other.email == user.email) {
                    return Err(StoreError::Conflict(Conflict::Email));
                }
                let taken = |slug: &str| self.orgs.values().any(|other| other.slug == slug);
                if taken(&org.slug) {
                    org.slug = if taken(&fallback) { format!("{fallback}-{}", org.id) } else { fallback };
                }
                let slug = org.slug.clone();
                self.orgs.insert(org.id, org);
                self.users.insert(user.id, user);
                self.audit.push(audit);
                Ok(slug)
            }
            Operation::Update(mut user, audit) => {
                let Some(stored) = self.users.get(&user.id) else { return done(&false) };
                user.email.clone_from(&stored.email);
                user.last_login_ms = user.last_login_ms.max(stored.last_login_ms);
                self.users.insert(user.id, user);
                self.audit.extend(audit);
                done(&true)
            }
            Operation::Change(org, user, change, audit) => {
                let Some(stored) = self.member(org, user) else { return done(&"None") };
                let Ok(changed) = change.apply(&stored, NOW_MS) else {
                    return Err(StoreError::Conflict(Conflict::MemberChanged));
                };
                self.leave_an_admin(&stored, Some(&changed))?;
                if matches!(change, MemberChange::Password { .. }) {
                    self.keys.retain(|key| (key.org, key.owner) != (org, user));
                }
                self.users.insert(user, changed.clone());
                self.audit.extend(audit);
                Ok(format!("{:?}", Some(changed)))
            }
            Operation::Remove(org, user, audit) => {
                let Some(stored) = self.member(org, user) else { return done(&"None") };
                self.leave_an_admin(&stored, None)?;
                self.keys.retain(|key| (key.org, key.owner) != (org, user));
                self.users.remove(&user);
                self.audit.push(audit);
                Ok(format!("{:?}", Some(stored)))
            }
            Operation::Login(user, _, now_ms, audit) => {
                if let Some(user) = self.users.get_mut(&user) {
                    user.last_login_ms = Some(now_ms);
                }
                self.audit.push(audit);
                done(&"")
            }
            Operation::CreateKey(key, audit) => {
                let owned = self.keys.iter().filter(|other| (other.org, other.owner) == (key.org, key.owner));
                if owned.count() as u64 >= KEYS_MAX {
                    return Err(StoreError::Conflict(Conflict::KeyLimit));
                }
                self.keys.push(key);
                self.audit.push(audit);
                done(&"")
            }
            Operation::RevokeKey(org, key, audit) => {
                let before = self.keys.len();
                self.keys.retain(|other| (other.org, other.id) != (org, key));
                let found = self.keys.len() < before;
                self.audit.extend(found.then_some(audit));
                done(&found)
            }
            Operation::UseKey(org, key, used_ms) => {
                for other in self.keys.iter_mut().filter(|other| (other.org, other.id) == (org, key)) {
                    other.last_used_ms = other.last_used_ms.max(Some(used_ms));
                }
                done(&"")
            }
            Operation::CreateProject(project, audit) => {
                let others = self.projects.iter().filter(|other| other.org == project.org);
                if others.clone().count() as u64 >= PROJECTS_MAX {
                    return Err(StoreError::Conflict(Conflict::ProjectLimit));
                }
                if others.clone().any(|other| other.slug == project.slug) {
                    return Err(StoreError::Conflict(Conflict::ProjectSlug));
                }
                self.projects.push(project);
                self.audit.push(audit);
                done(&"")
            }
            Operation::RevokeToken(token, audit) => {
                let is_new = self.tokens.insert(token);
                self.audit.extend(is_new.then_some(audit));
                done(&"")
            }
            Operation::Audit(entry) => {
                self.audit.push(entry);
                done(&"")
            }
        }
    }

    fn member(&self, org: OrgId, user: UserId) -> Option<User> {
        self.users.get(&user).filter(|user| user.org == org).cloned()
    }

    fn leave_an_admin(&self, member: &User, after: Option<&User>) -> Result<(), StoreError> {
        let loses_one = is_active_admin(member) && !after.is_some_and(is_active_admin);
        let others = self.users.values().filter(|user| user.org == member.org && user.id != member.id);
        if loses_one && !others.clone().any(is_active_admin) {
            return Err(StoreError::Conflict(Conflict::LastAdmin));
        }
        Ok(())
    }

    /// Reads everything that the model holds from `store` too.
    async fn check(&self, store: &dyn ColdStore, name: &str) {
        for (id, org) in &self.orgs {
            assert_eq!(store.organization(*id).await.as_ref(), Ok(&Some(org.clone())), "{name}");
            let members = self.users.values().filter(|user| user.org == *id).count() as u64;
            assert_eq!(store.member_count(*id).await, Ok(members), "{name}: members of {}", org.slug);
            let mut members: Vec<_> = self.users.values().filter(|user| user.org == *id).cloned().collect();
            members.sort_by_key(|user| std::cmp::Reverse((user.created_ms, user.id)));
            assert_eq!(store.members(*id).await, Ok(members), "{name}: members of {}", org.slug);
            let mut projects: Vec<_> = self.projects.iter().filter(|one| one.org == *id).cloned().collect();
            projects.sort_by_key(|project| std::cmp::Reverse((project.created_ms, project.id)));
            assert_eq!(store.projects(*id).await, Ok(projects), "{name}");
            let mut entries: Vec<_> = self.audit.iter().filter(|entry| entry.org == *id).cloned().collect();
            entries.sort_by_key(|entry| std::cmp::Reverse((entry.timestamp_ms, entry.id)));
            let total = entries.len() as u64;
            assert_eq!(
                store.audit_entries(*id, 1_000, 0).await,
                Ok((entries, total)),
                "{name}: {}",
                org.slug
            );
        }
        for (id, user) in &self.users {
            assert_eq!(store.user(*id).await, Ok(Some(user.clone())), "{name}");
            assert_eq!(store.user_by_email(&user.email).await, Ok(Some(user.clone())), "{name}");
            for org in self.orgs.keys() {
                let owned = self.keys.iter().filter(|key| (key.org, key.owner) == (*org, *id));
                let mut keys: Vec<_> = owned.cloned().collect();
                keys.sort_by_key(|key| std::cmp::Reverse((key.created_ms, key.id)));
                assert_eq!(store.keys_of(*org, *id).await, Ok(keys), "{name}");
            }
        }
        for key in &self.keys {
            assert_eq!(store.key_by_hash(&key.hash).await, Ok(Some(key.clone())), "{name}");
        }
        for token in 0..6 {
            let token = token.to_string();
            assert_eq!(store.is_token_revoked(&token).await, Ok(self.tokens.contains(&token)), "{name}");
        }
    }

    /// A random operation on what there is, and now and then on what is not.
    fn next(&self, random: &mut StdRng) -> Operation {
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
            3 => Operation::CreateKey(sample::key(org, user.id, at_ms), audit("apikey.created")),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn both_stores_answer_as_the_model_does() {
    for _ in 0..if long_mode() { 20 } else { 1 } {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (home, mut model) = (LsmHome::new(), Model::default());
        let lsm = home.open().await;
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let keyspace = cql::keyspace().await;
        let cql = Arc::new(Cql::connect(&keyspace, clock).await.unwrap());
        cql.faults().lose_answers(5);
        let scylla = Cold::open(Arc::clone(&cql)).await.unwrap();
        for step in 0..150 {
            let operation = model.next(&mut random);
            let expected = model.perform(operation.clone());
            assert_eq!(perform(&*lsm, operation.clone()).await, expected, "embedded, {step}: {operation:?}");
            assert_eq!(perform(&scylla, operation.clone()).await, expected, "cluster, {step}: {operation:?}");
            if step % 50 == 49 {
                model.check(&*lsm, "embedded").await;
                model.check(&scylla, "cluster").await;
            }
        }
    }
}
