//! What the stores should hold and answer: vectors and maps.

use std::collections::{BTreeMap, BTreeSet};

use runstream::clock::UnixMs;
use runstream::domain::account::{ApiKey, AuditEntry, User};
use runstream::domain::id::{OrgId, ProjectId, UserId};
use runstream::domain::invitation::{Invitation, TokenHash};
use runstream::domain::member::{MemberChange, is_active_admin, with_password};
use runstream::domain::organization::{OrgSettings, OrgState};
use runstream::domain::project::{Project, ProjectSettings};
use runstream::domain::reset::{PasswordReset, ResetHash};
use runstream::domain::seal::Sealed;
use runstream::domain::variable::Variable;
use runstream::store::contract::{Acceptance, Conflict, StoreError};

use super::operation::{Answer, KEYS_MAX, Operation, PROJECTS_MAX, VARIABLES_MAX};
use crate::store::sample::NOW_MS;

/// What a store holds.
#[derive(Default)]
pub(super) struct Model {
    pub(super) orgs: BTreeMap<OrgId, OrgState>,
    pub(super) users: BTreeMap<UserId, User>,
    pub(super) keys: Vec<ApiKey>,
    pub(super) projects: Vec<Project>,
    /// Of projects whose settings were saved.
    pub(super) settings: BTreeMap<ProjectId, ProjectSettings>,
    pub(super) invitations: Vec<Invitation>,
    /// Tokens that are none any more.
    pub(super) revoked: Vec<TokenHash>,
    pub(super) resets: BTreeMap<UserId, PasswordReset>,
    /// Of every reset there ever was.
    pub(super) hashes: Vec<ResetHash>,
    pub(super) variables: Vec<(Variable, Option<Sealed>)>,
    pub(super) tokens: BTreeSet<String>,
    pub(super) audit: Vec<AuditEntry>,
}

const fn conflict(conflict: Conflict) -> Answer {
    Err(StoreError::Conflict(conflict))
}

impl Model {
    pub(super) fn perform(&mut self, operation: Operation) -> Answer {
        let done = |text: &dyn ToString| Ok(text.to_string());
        match operation {
            Operation::SignUp(mut org, fallback, user, audit) => {
                if self.users.values().any(|other| other.email == user.email) {
                    return Err(StoreError::Conflict(Conflict::Email));
                }
                let taken = |slug: &str| self.orgs.values().any(|other| other.organization.slug == slug);
                if taken(&org.slug) {
                    org.slug = if taken(&fallback) { format!("{fallback}-{}", org.id) } else { fallback };
                }
                let slug = org.slug.clone();
                let settings = OrgSettings::default();
                self.orgs.insert(org.id, OrgState { organization: org, settings });
                self.users.insert(user.id, user);
                self.audit.push(audit);
                Ok(slug)
            }
            Operation::Update(mut user, audit) => {
                let Some(stored) = self.users.get(&user.id) else { return done(&false) };
                if user.org != stored.org {
                    self.resets.remove(&user.id);
                }
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
                self.resets.remove(&user);
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
            Operation::Invite(invitation, max, audit) => self.invite(invitation, max, audit),
            Operation::Revoke(org, invitation, now_ms, audit) => {
                let at = self.invitations.iter().position(|one| (one.org, one.id) == (org, invitation));
                let is_there = |at: &usize| self.invitations[*at].is_pending(now_ms) && self.members(org) > 0;
                let Some(at) = at.filter(is_there) else { return done(&false) };
                let revoked = self.invitations.remove(at);
                self.audit.push(revoked.told_in(audit));
                self.revoked.push(revoked.token);
                done(&true)
            }
            Operation::SignUpInvited(token, user, now_ms, max, audit) => {
                if self.users.values().any(|other| other.email == user.email) {
                    return conflict(Conflict::Email);
                }
                let invitation = self.redeem(&token, &user.email, now_ms, max)?;
                let (org, role) = (invitation.org, invitation.role);
                invitation.accepted = true;
                self.users.insert(user.id, User { org, role, ..user });
                self.audit.extend(audit);
                done(&"")
            }
            Operation::Accept(acceptance) => self.accept(acceptance),
            Operation::BeginReset(org, user, reset) => {
                if self.member(org, user).is_none() {
                    return done(&false);
                }
                self.hashes.push(reset.hash);
                self.resets.insert(user, reset);
                done(&true)
            }
            Operation::FinishReset(hash, password_hash, now_ms, audit) => {
                let Some(stored) = self.reset_of(&hash, now_ms) else { return done(&"None") };
                let changed = with_password(&stored, &password_hash, now_ms);
                self.resets.remove(&stored.id);
                self.keys.retain(|key| (key.org, key.owner) != (stored.org, stored.id));
                self.users.insert(stored.id, changed.clone());
                self.audit.push(audit);
                Ok(format!("{:?}", Some(changed)))
            }
            Operation::Configure(org, change, author) => {
                let Some(state) = self.orgs.get_mut(&org) else { return done(&"None") };
                self.audit.extend(state.apply(&change, &author));
                Ok(format!("{:?}", Some(state)))
            }
            Operation::SaveSettings(org, project, before, after, audit) => {
                if self.project_settings(org, project) != Some(before) {
                    return done(&false);
                }
                for stored in self.projects.iter_mut().filter(|stored| stored.id == project) {
                    stored.auto_quarantine = after.auto_quarantine;
                }
                self.settings.insert(project, after);
                self.audit.push(audit);
                done(&true)
            }
            Operation::CreateVariable(variable, sealed, audit) => {
                if self.project_settings(variable.org, variable.project).is_none() {
                    return done(&false);
                }
                if self.variables_of(variable.project).count() as u64 >= VARIABLES_MAX {
                    return conflict(Conflict::VariableLimit);
                }
                if self.variables_of(variable.project).any(|other| other.key == variable.key) {
                    return conflict(Conflict::VariableKey);
                }
                self.variables.push((variable, sealed));
                self.audit.push(audit);
                done(&true)
            }
            Operation::UpdateVariable(before, after, sealed, audit) => {
                let Some(at) = self.variables.iter().position(|(stored, _)| *stored == before) else {
                    return done(&false);
                };
                let is_taken = |other: &Variable| (&other.key, other.id != after.id) == (&after.key, true);
                if self.variables_of(after.project).any(is_taken) {
                    return conflict(Conflict::VariableKey);
                }
                let kept = self.variables[at].1.take().filter(|_| after.is_secret());
                self.variables[at] = (after, sealed.or(kept));
                self.audit.push(audit);
                done(&true)
            }
            Operation::DeleteVariable(before, audit) => {
                let count = self.variables.len();
                self.variables.retain(|(stored, _)| *stored != before);
                let found = self.variables.len() < count;
                self.audit.extend(found.then_some(audit));
                done(&found)
            }
        }
    }

    fn invite(&mut self, invitation: Invitation, max: u64, audit: AuditEntry) -> Answer {
        let Invitation { org, created_ms, .. } = invitation;
        if self.members(org) >= max {
            return conflict(Conflict::MemberLimit);
        }
        if self.users.values().any(|user| (user.org, &user.email) == (org, &invitation.email)) {
            return conflict(Conflict::Member);
        }
        let mut others =
            self.invitations.iter().filter(|other| (other.org, &other.email) == (org, &invitation.email));
        if others.any(|other| other.is_pending(created_ms)) {
            return conflict(Conflict::Invited);
        }
        self.invitations.push(invitation);
        self.audit.push(audit);
        Ok(String::new())
    }

    fn accept(&mut self, acceptance: Acceptance) -> Answer {
        let Acceptance { token, user, now_ms, max_members, joined, left } = acceptance;
        let Some(stored) = self.member(left.org, user) else { return Ok("None".to_owned()) };
        let invitation = self.redeem(&token, &stored.email, now_ms, max_members)?.clone();
        if invitation.org == stored.org {
            return conflict(Conflict::Member);
        }
        if self.members(stored.org) > 1 {
            self.leave_an_admin(&stored, None)?;
        }
        self.keys.retain(|key| (key.org, key.owner) != (stored.org, user));
        self.resets.remove(&user);
        let member = invitation.joined(&stored, now_ms);
        self.users.insert(user, member.clone());
        self.redeem(&token, &stored.email, now_ms, u64::MAX)?.accepted = true;
        self.audit.extend([left, joined]);
        Ok(format!("{:?}", Some(member)))
    }

    /// The invitation with this token, if `email` can redeem it.
    fn redeem(
        &mut self,
        token: &TokenHash,
        email: &str,
        now_ms: UnixMs,
        max: u64,
    ) -> Result<&mut Invitation, StoreError> {
        let at = self.invitations.iter().position(|one| one.token == *token && one.admits(email, now_ms));
        let members = at.map_or(0, |at| self.members(self.invitations[at].org));
        match at {
            Some(at) if members > 0 && members < max => Ok(&mut self.invitations[at]),
            Some(_) if members > 0 => Err(StoreError::Conflict(Conflict::MemberLimit)),
            _ => Err(StoreError::Conflict(Conflict::Invitation)),
        }
    }

    pub(super) fn members(&self, org: OrgId) -> u64 {
        self.users.values().filter(|user| user.org == org).count() as u64
    }

    /// Whose password a token with this hash sets.
    pub(super) fn reset_of(&self, hash: &ResetHash, now_ms: UnixMs) -> Option<User> {
        let users = self.resets.iter().filter_map(|(id, reset)| Some((self.users.get(id)?, reset)));
        let mut good = users.filter(|(user, reset)| reset.is_good(hash, user, now_ms));
        good.next().map(|(user, _)| user.clone())
    }

    pub(super) fn project_settings(&self, org: OrgId, project: ProjectId) -> Option<ProjectSettings> {
        let stored = self.projects.iter().find(|stored| (stored.org, stored.id) == (org, project))?;
        let settings = self.settings.get(&project).cloned().unwrap_or_default();
        Some(ProjectSettings { auto_quarantine: stored.auto_quarantine, ..settings })
    }

    pub(super) fn variables_of(&self, project: ProjectId) -> impl Iterator<Item = &Variable> {
        self.variables.iter().map(|(variable, _)| variable).filter(move |one| one.project == project)
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
}
