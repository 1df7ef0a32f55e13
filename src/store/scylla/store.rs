//! The whole store: cold nouns in [`Cold`], runs and the feed in [`ScyllaRuns`].

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::Cold;
use super::connect::Cql;
use super::runs::{RunSettings, ScyllaRuns};
use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, AuditEntry, KeyHash, Organization, User};
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{
    ApiKeyId, ExecutionId, InvitationId, OrgId, ProjectId, SessionId, TaskId, UserId, VariableId,
};
use crate::domain::invitation::{Invitation, TokenHash};
use crate::domain::mail::{Letter, LetterEnd, LetterState, OutboxDepth, WaitingLetter};
use crate::domain::member::MemberChange;
use crate::domain::organization::{Author, OrgChange, OrgState};
use crate::domain::project::{Project, ProjectSettings};
use crate::domain::reset::{PasswordReset, ResetHash};
use crate::domain::result::TestResult;
use crate::domain::seal::Sealed;
use crate::domain::segment::{Position, Segment};
use crate::domain::variable::Variable;
use crate::store::contract::{
    Acceptance, Accounts, AuditFilter, ClosedRun, ExecutionFilter, ExecutionPage, Executions, FeedLog,
    FeedRow, Invitations, LoginGate, OpenRun, OpenedRun, Organizations, Outbox, PasswordResets, People,
    Posting, Projects, RunState, SealedValues, Store, StoreError, StoreResult, TextPage, Tokens, Variables,
};
use crate::store::copy::UNFINISHED;

/// The distributed store.
pub struct ScyllaStore {
    cold: Cold,
    runs: ScyllaRuns,
}

impl ScyllaStore {
    /// Opens the store over a keyspace that has its tables; see [`ScyllaRuns::open`].
    ///
    /// # Errors
    /// `Unavailable` if the cluster does not answer or the keyspace holds a copy that is not finished, `Damaged` if it holds what this build cannot read.
    pub async fn open(cql: Arc<Cql>, settings: RunSettings) -> StoreResult<Self> {
        let cold = Cold::open(Arc::clone(&cql)).await?;
        // A copy that begins just now finds this node at its end.
        if cold.copy_note().await?.is_some() {
            return Err(StoreError::Unavailable(UNFINISHED.into()));
        }
        Ok(Self { cold, runs: ScyllaRuns::open(cql, settings).await? })
    }
}

#[async_trait]
impl Store for ScyllaStore {
    async fn probe(&self) -> StoreResult<()> {
        self.runs.probe()?;
        self.cold.probe().await
    }

    async fn failed(&self) -> String {
        self.runs.failed().await
    }

    async fn shut_down(&self) -> StoreResult<()> {
        self.runs.shut_down().await
    }
}

/// Passes the methods of a trait on to the part that keeps its nouns.
macro_rules! pass_on {
    ($noun:ident to $part:ident; $($rows:tt)*) => {
        pass_on! { $noun to $part {} $($rows)* }
    };
    ($noun:ident to $part:ident { $($own:tt)* } $($method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl $noun for ScyllaStore {
            $(
                async fn $method(&self, $($argument: $type),*) -> StoreResult<$answer> {
                    self.$part.$method($($argument),*).await
                }
            )*

            $($own)*
        }
    };
}

#[rustfmt::skip]
pass_on! { Accounts to cold;
    sign_up(org: Organization, fallback_slug: String, user: User, audit: AuditEntry, letter: Option<Letter>) -> Organization;
    user_by_email(email: &str) -> Option<User>;
    user(user: UserId) -> Option<User>;
    update_user(user: User, audit: Option<AuditEntry>) -> bool;
    organization(org: OrgId) -> Option<Organization>;
    member_count(org: OrgId) -> u64;
    begin_login(email: &str, now_ms: UnixMs, threshold: u32, window_ms: i64, lock_ms: i64) -> LoginGate;
    undo_login(email: &str) -> ();
    login_succeeded(user: UserId, email: &str, now_ms: UnixMs, audit: AuditEntry) -> ();
    purge_logins(now_ms: UnixMs) -> u64;
    create_key(key: ApiKey, max_keys: u64, audit: AuditEntry) -> ();
    key_by_hash(hash: &KeyHash) -> Option<ApiKey>;
    key(org: OrgId, key: ApiKeyId) -> Option<ApiKey>;
    keys_of(org: OrgId, owner: UserId) -> Vec<ApiKey>;
    revoke_key(org: OrgId, key: ApiKeyId, audit: AuditEntry) -> bool;
    mark_key_used(org: OrgId, key: ApiKeyId, used_ms: UnixMs) -> ();
    audit(entry: AuditEntry) -> ();
    audit_entries(org: OrgId, limit: usize, offset: usize) -> (Vec<AuditEntry>, u64);
    purge_audit(before_ms: UnixMs) -> u64;
}

#[rustfmt::skip]
pass_on! { People to cold;
    members(org: OrgId) -> Vec<User>;
    member(org: OrgId, user: UserId) -> Option<User>;
    change_member(org: OrgId, user: UserId, change: MemberChange, now_ms: UnixMs, audit: Option<AuditEntry>) -> Option<User>;
    remove_member(org: OrgId, user: UserId, audit: AuditEntry) -> Option<User>;
}

#[rustfmt::skip]
pass_on! { PasswordResets to cold;
    begin_reset(org: OrgId, user: UserId, reset: PasswordReset, letter: Option<Letter>) -> bool;
    reset_of(hash: &ResetHash, now_ms: UnixMs) -> Option<User>;
    finish_reset(hash: &ResetHash, password_hash: String, now_ms: UnixMs, audit: AuditEntry) -> Option<User>;
}

#[rustfmt::skip]
pass_on! { Invitations to cold;
    invite(invitation: Invitation, max_members: u64, letter: Option<Letter>, audit: AuditEntry) -> ();
    invitations(org: OrgId, now_ms: UnixMs) -> Vec<Invitation>;
    invitation(token: &TokenHash) -> Option<Invitation>;
    revoke_invitation(org: OrgId, invitation: InvitationId, now_ms: UnixMs, audit: AuditEntry) -> bool;
    sign_up_invited(token: &TokenHash, user: User, now_ms: UnixMs, max_members: u64, audit: Vec<AuditEntry>, letter: Option<Letter>) -> ();
    accept_invitation(acceptance: Acceptance) -> Option<User>;
}

#[rustfmt::skip]
pass_on! { Tokens to cold;
    revoke_token(token: &str, expires_ms: UnixMs, audit: AuditEntry) -> ();
    is_token_revoked(token: &str) -> bool;
    purge_revocations(now_ms: UnixMs) -> u64;
}

#[rustfmt::skip]
pass_on! { Organizations to cold;
    organization_state(org: OrgId) -> Option<OrgState>;
    change_organization(org: OrgId, change: OrgChange, author: Author) -> Option<OrgState>;
    project_count(org: OrgId) -> u64;
    organization_ids() -> Vec<OrgId>;
    take_run_place(org: OrgId, period_ms: UnixMs, max: u64, at_least: u64, now_ms: UnixMs) -> ();
    give_run_place_back(org: OrgId, period_ms: UnixMs, now_ms: UnixMs) -> ();
    correct_run_places(org: OrgId, period_ms: UnixMs, started: u64, idle_since_ms: UnixMs) -> bool;
    audit_log(org: OrgId, filter: &AuditFilter, limit: usize, offset: usize) -> (Vec<AuditEntry>, u64);
}

#[rustfmt::skip]
pass_on! { Projects to cold;
    create_project(project: Project, max_projects: u64, audit: AuditEntry) -> ();
    project(org: OrgId, project: ProjectId) -> Option<Project>;
    projects(org: OrgId) -> Vec<Project>;
    oldest_project(org: OrgId) -> Option<Project>;
    project_settings(org: OrgId, project: ProjectId) -> Option<ProjectSettings>;
    save_project_settings(org: OrgId, project: ProjectId, before: &ProjectSettings, after: ProjectSettings, audit: AuditEntry) -> bool;
    quarantined_tests(org: OrgId, project: ProjectId, group: &str) -> HashSet<String>;
}

#[rustfmt::skip]
pass_on! { Outbox to cold;
    post_letter(letter: Letter) -> Posting;
    tell_once(org: OrgId, marks: Vec<String>, until_ms: UnixMs, letters: Vec<Letter>) -> bool;
    take_letters(now_ms: UnixMs, lease_ms: i64, limit: usize) -> Vec<WaitingLetter>;
    end_letter(taken: &WaitingLetter, end: LetterEnd, now_ms: UnixMs) -> bool;
    postpone_letter(taken: &WaitingLetter, due_ms: UnixMs) -> bool;
    letter_state(org: OrgId, key: &str) -> Option<LetterState>;
    outbox_depth() -> OutboxDepth;
    purge_letters(now_ms: UnixMs) -> u64;
}

#[rustfmt::skip]
pass_on! { Variables to cold;
    create_variable(variable: Variable, sealed: Option<Sealed>, max_variables: u64, audit: AuditEntry) -> bool;
    variables(org: OrgId, project: ProjectId) -> Vec<Variable>;
    variable(org: OrgId, project: ProjectId, variable: VariableId) -> Option<Variable>;
    update_variable(before: &Variable, after: Variable, sealed: Option<Sealed>, audit: AuditEntry) -> bool;
    delete_variable(before: &Variable, audit: AuditEntry) -> bool;
}

#[rustfmt::skip]
pass_on! { SealedValues to cold;
    sealed(org: OrgId, name: &str) -> Option<Sealed>;
    sealed_values(org: OrgId, after: &str, limit: usize) -> Vec<(String, Sealed)>;
    replace_sealed(org: OrgId, name: &str, old: &Sealed, new: Sealed) -> bool;
}

#[rustfmt::skip]
pass_on! { Executions to runs {
    async fn settle(&self, org: OrgId, execution: ExecutionId) -> StoreResult<()> {
        if let Some(bytes) = self.runs.settle_counted(org, execution).await?
            && let Err(error) = self.cold.add_stored_bytes(org, bytes).await
        {
            tracing::warn!(org.id = %org, bytes, %error, "a settled run's bytes are counted with the next recount only");
        }
        Ok(())
    }

    async fn storage_used(&self, org: OrgId) -> StoreResult<u64> {
        match self.cold.stored_bytes(org).await? {
            Some(bytes) => Ok(bytes),
            None => self.recount_storage(org).await,
        }
    }

    async fn recount_storage(&self, org: OrgId) -> StoreResult<u64> {
        self.cold.recount_stored_bytes(org, || self.runs.recount_storage(org)).await
    }
}
    open_run(opened: OpenedRun) -> ();
    abandon_run(org: OrgId, execution: ExecutionId, feed_seq: u64) -> bool;
    claim(org: OrgId, execution: ExecutionId) -> Option<u32>;
    append(segment: &Segment) -> ();
    close_run(closed: ClosedRun) -> bool;
    unsettled_runs() -> Vec<OpenRun>;
    run_state(org: OrgId, execution: ExecutionId) -> Option<RunState>;
    segments(org: OrgId, execution: ExecutionId, after: (u32, u64), limit_bytes: usize) -> Vec<Segment>;
    closure(org: OrgId, execution: ExecutionId) -> Option<ClosedRun>;
    execution(org: OrgId, execution: ExecutionId) -> Option<Execution>;
    execution_by_task(org: OrgId, task: &TaskId) -> Option<Execution>;
    executions(org: OrgId, filter: &ExecutionFilter, limit: usize, offset: usize) -> ExecutionPage;
    count_runs(org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> u64;
    session(session: SessionId) -> Option<Session>;
    cycle_of(org: OrgId, execution: ExecutionId) -> Option<Cycle>;
    text(org: OrgId, execution: ExecutionId, from: u64, limit: u64) -> Option<TextPage>;
    whole_text(org: OrgId, execution: ExecutionId) -> Option<TextPage>;
    position(org: OrgId, execution: ExecutionId) -> Option<Position>;
    results(org: OrgId, execution: ExecutionId, after_seq: u64, limit: usize) -> Vec<TestResult>;
    all_results(org: OrgId, execution: ExecutionId) -> Vec<TestResult>;
    purge_sessions(now_ms: UnixMs) -> u64;
}

#[rustfmt::skip]
pass_on! { FeedLog to runs;
    feed_epoch() -> u64;
    feed_head(org: OrgId) -> u64;
    feed_floor(org: OrgId) -> u64;
    feed_rows(org: OrgId, after: u64, limit: usize) -> Vec<FeedRow>;
    purge_feed(before_ms: UnixMs) -> u64;
}
