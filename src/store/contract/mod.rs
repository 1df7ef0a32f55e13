//! The store's contract: one trait per noun, joined as [`Store`]. The documentation of each method is the contract;
//! each of its sentences has a test in `tests/store/`. Rules that hold for all:
//!
//! - The organization comes first, except where a login, a key or a session id is what finds it. A record of another
//!   organization is simply not found.
//! - A method that changes something is durable when it returns `Ok`, and has changed nothing when it returns `Err`,
//!   except for [`StoreError::Unavailable`], after which the outcome is unknown and the same call may be repeated.
//! - Changes of several records happen together or not at all, audit entries included.

mod accounts;
mod executions;
mod feed;
mod invitations;
mod organizations;
mod outbox;
mod people;
mod projects;
mod resets;
mod sealed;
mod tokens;
mod variables;

pub use accounts::{Accounts, LoginGate};
pub use executions::{
    ClosedRun, ExecutionFilter, ExecutionPage, Executions, OpenRun, OpenedRun, RunState, SessionEnd,
    Submitted, TextPage,
};
pub use feed::{FeedLog, FeedRow};
pub use invitations::{Acceptance, Invitations};
pub use organizations::{AuditFilter, Organizations};
pub use outbox::{Outbox, Posting};
pub use people::People;
pub use projects::Projects;
pub use resets::PasswordResets;
pub use sealed::SealedValues;
pub use tokens::Tokens;
pub use variables::Variables;

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A unique value is taken, or the record is not in the state the change needs.
    #[error("conflict: {0}")]
    Conflict(Conflict),
    /// There is no room; nothing was changed and it may be tried again later.
    #[error("the store is full: {0}")]
    Full(String),
    /// The store cannot be reached or has failed; the outcome is unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Stored bytes are damaged. They are never served as if they were whole.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
}

/// What a change ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// An account with this e-mail address exists.
    #[error("e-mail address is taken")]
    Email,
    /// The organization would be left without an active administrator.
    #[error("the last administrator")]
    LastAdmin,
    /// The account is not what the change was decided on any more.
    #[error("the account has changed")]
    MemberChanged,
    /// An invitation for this address is pending.
    #[error("invited already")]
    Invited,
    /// The invitation cannot be redeemed.
    #[error("no such invitation")]
    Invitation,
    /// The organization has as many members as allowed.
    #[error("member limit reached")]
    MemberLimit,
    /// The account is a member already.
    #[error("a member already")]
    Member,
    /// A project with this slug exists in the organization.
    #[error("slug is taken")]
    ProjectSlug,
    /// The organization has as many projects as allowed.
    #[error("project limit reached")]
    ProjectLimit,
    /// The organization has started as many runs in the period as allowed.
    #[error("run limit reached")]
    RunLimit,
    /// The project has as many variables as allowed.
    #[error("variable limit reached")]
    VariableLimit,
    /// A variable with this name exists in the project.
    #[error("variable name is taken")]
    VariableKey,
    /// The owner has as many keys as allowed.
    #[error("key limit reached")]
    KeyLimit,
    /// A run with this task id or execution id exists.
    #[error("run exists")]
    RunExists,
    /// A segment with this epoch and sequence exists and is a different one, or a newer epoch owns the run.
    #[error("segment out of sequence")]
    SegmentSequence,
}

/// The result of a store call.
pub type StoreResult<T> = Result<T, StoreError>;

/// What it takes to know who calls.
pub trait Credentials: Accounts + Invitations + Tokens {}

impl<T: Accounts + Invitations + Tokens> Credentials for T {}

/// Organizations and people with what belongs to them: what an operator works on while no server runs.
pub trait Records: Credentials + Organizations + People + PasswordResets + Projects {}

impl<T: Credentials + Organizations + People + PasswordResets + Projects> Records for T {}

/// Everything a store does, plus what the process needs of it.
#[async_trait::async_trait]
pub trait Store:
    Credentials
    + Organizations
    + People
    + PasswordResets
    + Projects
    + Variables
    + SealedValues
    + Outbox
    + Executions
    + FeedLog
{
    /// Does a real round trip to where data is kept.
    ///
    /// # Errors
    /// `Unavailable` or `Full` if a write would not be accepted now.
    async fn probe(&self) -> StoreResult<()>;

    /// Resolves when the store has failed for good (a sync failed): nothing may be acknowledged any more and the
    /// process should end. The text says why.
    async fn failed(&self) -> String;

    /// Finishes background work and makes everything durable; the last call.
    async fn shut_down(&self) -> StoreResult<()>;
}
