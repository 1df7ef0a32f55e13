//! What is asked of the stores.

use runstream::clock::UnixMs;
use runstream::domain::account::{ApiKey, AuditEntry, Organization, User};
use runstream::domain::id::{ApiKeyId, InvitationId, OrgId, ProjectId, UserId};
use runstream::domain::invitation::{Invitation, TokenHash};
use runstream::domain::member::MemberChange;
use runstream::domain::organization::{Author, OrgChange};
use runstream::domain::project::{Project, ProjectSettings};
use runstream::domain::reset::{PasswordReset, ResetHash};
use runstream::domain::seal::Sealed;
use runstream::domain::variable::Variable;
use runstream::store::contract::{Acceptance, StoreResult};

use crate::store::ColdStore;
use crate::store::sample::NOW_MS;

pub(super) const KEYS_MAX: u64 = 3;
pub(super) const PROJECTS_MAX: u64 = 4;
pub(super) const VARIABLES_MAX: u64 = 3;

/// One operation with everything it takes.
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
#[derive(Debug, Clone)]
pub(super) enum Operation {
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
    Invite(Invitation, u64, AuditEntry),
    Revoke(OrgId, InvitationId, UnixMs, AuditEntry),
    SignUpInvited(TokenHash, User, UnixMs, u64, Vec<AuditEntry>),
    Accept(Acceptance),
    BeginReset(OrgId, UserId, PasswordReset),
    FinishReset(ResetHash, String, UnixMs, AuditEntry),
    Configure(OrgId, OrgChange, Author),
    SaveSettings(OrgId, ProjectId, ProjectSettings, ProjectSettings, AuditEntry),
    CreateVariable(Variable, Option<Sealed>, AuditEntry),
    UpdateVariable(Variable, Variable, Option<Sealed>, AuditEntry),
    DeleteVariable(Variable, AuditEntry),
}

/// What an operation answers, as far as callers can tell.
pub(super) type Answer = StoreResult<String>;

pub(super) async fn perform(store: &dyn ColdStore, operation: Operation) -> Answer {
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
        Operation::Invite(invitation, max, audit) => {
            store.invite(invitation, max, None, audit).await.map(|()| String::new())
        }
        Operation::Revoke(org, invitation, now_ms, audit) => {
            store.revoke_invitation(org, invitation, now_ms, audit).await.map(|found| found.to_string())
        }
        Operation::SignUpInvited(token, user, now_ms, max, audit) => {
            let signed_up = store.sign_up_invited(&token, user, now_ms, max, audit, None).await;
            signed_up.map(|()| String::new())
        }
        Operation::Accept(acceptance) => {
            store.accept_invitation(acceptance).await.map(|user| format!("{user:?}"))
        }
        Operation::BeginReset(org, user, reset) => {
            store.begin_reset(org, user, reset, None).await.map(|found| found.to_string())
        }
        Operation::FinishReset(hash, password_hash, now_ms, audit) => {
            let finished = store.finish_reset(&hash, password_hash, now_ms, audit).await;
            finished.map(|user| format!("{user:?}"))
        }
        Operation::Configure(org, change, author) => {
            store.change_organization(org, change, author).await.map(|state| format!("{state:?}"))
        }
        Operation::SaveSettings(org, project, before, after, audit) => {
            let saved = store.save_project_settings(org, project, &before, after, audit).await;
            saved.map(|saved| saved.to_string())
        }
        Operation::CreateVariable(variable, sealed, audit) => {
            let created = store.create_variable(variable, sealed, VARIABLES_MAX, audit).await;
            created.map(|found| found.to_string())
        }
        Operation::UpdateVariable(before, after, sealed, audit) => {
            store.update_variable(&before, after, sealed, audit).await.map(|found| found.to_string())
        }
        Operation::DeleteVariable(before, audit) => {
            store.delete_variable(&before, audit).await.map(|found| found.to_string())
        }
    }
}
