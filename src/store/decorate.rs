//! The methods of the contract, once more, as data: a decorator is a type with a method `around` and gets the rest
//! from [`crate::decorate_store!`]. A method that is missing here does not compile where a decorator is used.

#[doc(hidden)]
pub use async_trait::async_trait;

/// Implements the store's contract for `$decorator<S>` where `S` implements it. The decorator has
/// `fn inner(&self) -> &S` and
/// `async fn around<T>(&self, method: &'static str, call: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T>`,
/// which awaits `call` or does not. A decorator may bring its own `submit`, in braces; the one it has otherwise goes
/// through its `append`.
#[macro_export]
macro_rules! decorate_store {
    ($decorator:ident) => {
        $crate::decorate_store!($decorator, {});
    };
    ($decorator:ident, { $($submit:tt)* }) => {
        const _: () = {
            use $crate::clock::UnixMs;
            use $crate::domain::account::*;
            use $crate::domain::execution::*;
            use $crate::domain::id::*;
            use $crate::domain::invitation::{Invitation, TokenHash};
            use $crate::domain::mail::*;
            use $crate::domain::member::MemberChange;
            use $crate::domain::organization::{Author, OrgChange, OrgState};
            use $crate::domain::project::*;
            use $crate::domain::reset::{PasswordReset, ResetHash};
            use $crate::domain::result::TestResult;
            use $crate::domain::seal::Sealed;
            use $crate::domain::segment::{Position, Segment};
            use $crate::domain::variable::Variable;
            use $crate::store::contract::*;

            $crate::decorate_store! { @trait $decorator Accounts {}
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
            $crate::decorate_store! { @trait $decorator People {}
                members(org: OrgId) -> Vec<User>;
                member(org: OrgId, user: UserId) -> Option<User>;
                change_member(org: OrgId, user: UserId, change: MemberChange, now_ms: UnixMs, audit: Option<AuditEntry>) -> Option<User>;
                remove_member(org: OrgId, user: UserId, audit: AuditEntry) -> Option<User>;
            }
            $crate::decorate_store! { @trait $decorator PasswordResets {}
                begin_reset(org: OrgId, user: UserId, reset: PasswordReset, letter: Option<Letter>) -> bool;
                reset_of(hash: &ResetHash, now_ms: UnixMs) -> Option<User>;
                finish_reset(hash: &ResetHash, password_hash: String, now_ms: UnixMs, audit: AuditEntry) -> Option<User>;
            }
            $crate::decorate_store! { @trait $decorator Invitations {}
                invite(invitation: Invitation, max_members: u64, letter: Option<Letter>, audit: AuditEntry) -> ();
                invitations(org: OrgId, now_ms: UnixMs) -> Vec<Invitation>;
                invitation(token: &TokenHash) -> Option<Invitation>;
                revoke_invitation(org: OrgId, invitation: InvitationId, now_ms: UnixMs, audit: AuditEntry) -> bool;
                sign_up_invited(token: &TokenHash, user: User, now_ms: UnixMs, max_members: u64, audit: Vec<AuditEntry>, letter: Option<Letter>) -> ();
                accept_invitation(acceptance: Acceptance) -> Option<User>;
            }
            $crate::decorate_store! { @trait $decorator Tokens {}
                revoke_token(token: &str, expires_ms: UnixMs, audit: AuditEntry) -> ();
                is_token_revoked(token: &str) -> bool;
                purge_revocations(now_ms: UnixMs) -> u64;
            }
            $crate::decorate_store! { @trait $decorator Organizations {}
                organization_state(org: OrgId) -> Option<OrgState>;
                change_organization(org: OrgId, change: OrgChange, author: Author) -> Option<OrgState>;
                project_count(org: OrgId) -> u64;
                organization_ids() -> Vec<OrgId>;
                take_run_place(org: OrgId, period_ms: UnixMs, max: u64, at_least: u64, now_ms: UnixMs) -> ();
                give_run_place_back(org: OrgId, period_ms: UnixMs, now_ms: UnixMs) -> ();
                correct_run_places(org: OrgId, period_ms: UnixMs, started: u64, idle_since_ms: UnixMs) -> bool;
                audit_log(org: OrgId, filter: &AuditFilter, limit: usize, offset: usize) -> (Vec<AuditEntry>, u64);
            }
            $crate::decorate_store! { @trait $decorator Projects {}
                create_project(project: Project, max_projects: u64, audit: AuditEntry) -> ();
                project(org: OrgId, project: ProjectId) -> Option<Project>;
                projects(org: OrgId) -> Vec<Project>;
                oldest_project(org: OrgId) -> Option<Project>;
                project_settings(org: OrgId, project: ProjectId) -> Option<ProjectSettings>;
                save_project_settings(org: OrgId, project: ProjectId, before: &ProjectSettings, after: ProjectSettings, audit: AuditEntry) -> bool;
                quarantined_tests(org: OrgId, project: ProjectId, group: &str) -> std::collections::HashSet<String>;
            }
            $crate::decorate_store! { @trait $decorator Outbox {}
                post_letter(letter: Letter) -> Posting;
                tell_once(org: OrgId, marks: Vec<String>, until_ms: UnixMs, letters: Vec<Letter>) -> bool;
                take_letters(now_ms: UnixMs, lease_ms: i64, limit: usize) -> Vec<WaitingLetter>;
                end_letter(taken: &WaitingLetter, end: LetterEnd, now_ms: UnixMs) -> bool;
                postpone_letter(taken: &WaitingLetter, due_ms: UnixMs) -> bool;
                letter_state(org: OrgId, key: &str) -> Option<LetterState>;
                outbox_depth() -> OutboxDepth;
                purge_letters(now_ms: UnixMs) -> u64;
            }
            $crate::decorate_store! { @trait $decorator Variables {}
                create_variable(variable: Variable, sealed: Option<Sealed>, max_variables: u64, audit: AuditEntry) -> bool;
                variables(org: OrgId, project: ProjectId) -> Vec<Variable>;
                variable(org: OrgId, project: ProjectId, variable: VariableId) -> Option<Variable>;
                update_variable(before: &Variable, after: Variable, sealed: Option<Sealed>, audit: AuditEntry) -> bool;
                delete_variable(before: &Variable, audit: AuditEntry) -> bool;
            }
            $crate::decorate_store! { @trait $decorator SealedValues {}
                sealed(org: OrgId, name: &str) -> Option<Sealed>;
                sealed_values(org: OrgId, after: &str, limit: usize) -> Vec<(String, Sealed)>;
                replace_sealed(org: OrgId, name: &str, old: &Sealed, new: Sealed) -> bool;
            }
            $crate::decorate_store! { @trait $decorator Executions { $($submit)* }
                open_run(opened: OpenedRun) -> ();
                abandon_run(org: OrgId, execution: ExecutionId, feed_seq: u64) -> bool;
                claim(org: OrgId, execution: ExecutionId) -> Option<u32>;
                append(segment: &Segment) -> ();
                close_run(closed: ClosedRun) -> bool;
                settle(org: OrgId, execution: ExecutionId) -> ();
                unsettled_runs() -> Vec<OpenRun>;
                run_state(org: OrgId, execution: ExecutionId) -> Option<RunState>;
                segments(org: OrgId, execution: ExecutionId, after: (u32, u64), limit_bytes: usize) -> Vec<Segment>;
                closure(org: OrgId, execution: ExecutionId) -> Option<ClosedRun>;
                execution(org: OrgId, execution: ExecutionId) -> Option<Execution>;
                execution_by_task(org: OrgId, task: &TaskId) -> Option<Execution>;
                executions(org: OrgId, filter: &ExecutionFilter, limit: usize, offset: usize) -> ExecutionPage;
                count_runs(org: OrgId, from_ms: UnixMs, to_ms: UnixMs) -> u64;
                storage_used(org: OrgId) -> u64;
                recount_storage(org: OrgId) -> u64;
                session(session: SessionId) -> Option<Session>;
                cycle_of(org: OrgId, execution: ExecutionId) -> Option<Cycle>;
                text(org: OrgId, execution: ExecutionId, from: u64, limit: u64) -> Option<TextPage>;
                whole_text(org: OrgId, execution: ExecutionId) -> Option<TextPage>;
                position(org: OrgId, execution: ExecutionId) -> Option<Position>;
                results(org: OrgId, execution: ExecutionId, after_seq: u64, limit: usize) -> Vec<TestResult>;
                all_results(org: OrgId, execution: ExecutionId) -> Vec<TestResult>;
                purge_sessions(now_ms: UnixMs) -> u64;
            }
            $crate::decorate_store! { @trait $decorator FeedLog {}
                feed_epoch() -> u64;
                feed_head(org: OrgId) -> u64;
                feed_floor(org: OrgId) -> u64;
                feed_rows(org: OrgId, after: u64, limit: usize) -> Vec<FeedRow>;
                purge_feed(before_ms: UnixMs) -> u64;
            }

            #[$crate::store::decorate::async_trait]
            impl<S: Store + ?Sized> Store for $decorator<S> {
                async fn probe(&self) -> StoreResult<()> {
                    self.around("probe", self.inner().probe()).await
                }

                async fn failed(&self) -> String {
                    self.inner().failed().await
                }

                async fn shut_down(&self) -> StoreResult<()> {
                    self.around("shut_down", self.inner().shut_down()).await
                }
            }
        };
    };
    (@trait $decorator:ident $noun:ident { $($own:tt)* }
        $($method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[$crate::store::decorate::async_trait]
        impl<S: $noun + ?Sized> $noun for $decorator<S> {
            $(
                async fn $method(&self, $($argument: $type),*) -> StoreResult<$answer> {
                    self.around(stringify!($method), self.inner().$method($($argument),*)).await
                }
            )*

            $($own)*
        }
    };
}
