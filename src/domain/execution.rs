//! An execution (a test run), its cycle and the ingest sessions that feed it, as they are stored.
//! A session and a run are different things: today one session feeds one run, later several may.
//! Source: API reference, ingest 2, executions 2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id::{CycleId, ExecutionId, OrgId, ProjectId, SessionId, TaskId, UserId, stored_org};
use crate::clock::UnixMs;

/// State of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Requested, not started.
    Pending,
    /// Results are arriving.
    Running,
    /// Results are in, analysis goes on.
    Analyzing,
    /// Final: all well.
    Passed,
    /// Final: a test failed.
    Failed,
    /// Final: passed on a retry only.
    Unstable,
    /// Final: could not be carried out.
    Error,
    /// Final: the client went away.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Analyzing,
        Self::Passed,
        Self::Failed,
        Self::Unstable,
        Self::Error,
        Self::Cancelled,
    ];

    /// Whether nothing but the late-event rule may change it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Analyzing)
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Analyzing => "ANALYZING",
            Self::Passed => "PASSED",
            Self::Failed => "FAILED",
            Self::Unstable => "UNSTABLE",
            Self::Error => "ERROR",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Where a run comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Run by this deployment's own workers.
    #[serde(rename = "agnox-hosted")]
    Hosted,
    /// Streamed in by a reporter.
    ExternalCi,
}

impl Source {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hosted => "agnox-hosted",
            Self::ExternalCi => "external-ci",
        }
    }
}

/// What the CI system told about a run; already bounded and cleaned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CiContext {
    /// `github`, `gitlab`, …, `local`.
    pub source: String,
    /// Repository name or URL without user-info.
    pub repository: Option<String>,
    /// Branch.
    pub branch: Option<String>,
    /// Pull request number, at least 1.
    pub pr_number: Option<u64>,
    /// Commit.
    pub commit_sha: Option<String>,
    /// Absolute URL of the CI run.
    pub run_url: Option<String>,
}

/// What an external run said of itself at setup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestMeta {
    /// The session that opened the run.
    pub session: SessionId,
    /// Version of the reporter, 1 to 50 characters.
    pub reporter_version: String,
    /// Framework identifier.
    pub framework: String,
    /// Announced number of tests.
    pub total_tests: u32,
    /// CI facts, if any were sent.
    pub ci_context: Option<CiContext>,
}

/// Counters as the client sent them at teardown; they count attempts, not tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Announced tests.
    pub total: u64,
    /// Passed attempts.
    pub passed: u64,
    /// Failed attempts.
    pub failed: u64,
    /// Skipped attempts.
    pub skipped: u64,
    /// Milliseconds.
    pub duration: u64,
}

/// What a client says of its own delivery at teardown (addition E7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Events handed to the network.
    pub sent: u64,
    /// Events given up.
    pub dropped_events: u64,
    /// Bytes of log text given up.
    pub dropped_log_bytes: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Events kept in a spool file.
    pub spooled: u64,
}

/// The run's fixed facts and its current status. Log text and results are kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Internal id (`_id`).
    pub id: ExecutionId,
    /// Public id.
    pub task_id: TaskId,
    /// Tenant.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Project.
    pub project: ProjectId,
    /// Current status.
    pub status: Status,
    /// Where it comes from.
    pub source: Source,
    /// Container image; `external-ci` for external runs.
    pub image: String,
    /// Command line; `<framework> (external reporter)` for external runs.
    pub command: String,
    /// Folder; `all` for external runs.
    pub folder: String,
    /// Unix milliseconds.
    pub start_ms: UnixMs,
    /// Set with a final status; Unix milliseconds.
    pub end_ms: Option<UnixMs>,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// Public variables of the run; secret ones are never stored.
    pub env_vars: BTreeMap<String, String>,
    /// What started it: a CI source or `webhook`.
    pub trigger: String,
    /// Group, at most 128 characters.
    pub group_name: Option<String>,
    /// Its cycle.
    pub cycle: CycleId,
    /// Its item in the cycle.
    pub cycle_item: Uuid,
    /// Facts of the setup.
    pub ingest: IngestMeta,
    /// What arrived and what became of it; present once the run is final.
    pub completeness: Option<Completeness>,
    /// Set when deleted: invisible, still counted; Unix milliseconds.
    pub deleted_ms: Option<UnixMs>,
}

/// State of a cycle's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ItemStatus {
    /// In progress.
    Running,
    /// Passed.
    Passed,
    /// Failed.
    Failed,
    /// Could not be carried out.
    Error,
}

/// A cycle made for one external run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// Its id.
    pub id: CycleId,
    /// Tenant.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Project.
    pub project: ProjectId,
    /// Display name.
    pub name: String,
    /// Whether all items are final.
    pub completed: bool,
    /// CI facts, if any were sent.
    pub ci_context: Option<CiContext>,
    /// The one item's id.
    pub item: Uuid,
    /// The one item's title.
    pub item_title: String,
    /// The one item's status.
    pub item_status: ItemStatus,
    /// The run behind the item.
    pub task_id: TaskId,
    /// Tests in all.
    pub total: u64,
    /// Passed, as sent.
    pub passed: u64,
    /// Failed, as sent.
    pub failed: u64,
    /// Unix milliseconds.
    pub created_ms: UnixMs,
    /// The user behind the credential.
    pub created_by: UserId,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionStatus {
    /// Accepts events.
    Running,
    /// Torn down, effective status `PASSED`.
    Completed,
    /// Torn down with failures, or orphaned.
    Failed,
}

/// An ingest session: one reporter's stream into a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Tenant.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// Project.
    pub project: ProjectId,
    /// The project's name at setup.
    pub project_name: String,
    /// The run it feeds.
    pub execution: ExecutionId,
    /// The run's public id.
    pub task_id: TaskId,
    /// State.
    pub status: SessionStatus,
    /// Framework identifier.
    pub framework: String,
    /// Version of the reporter.
    pub reporter_version: String,
    /// Announced number of tests.
    pub total_tests: u32,
    /// Unix milliseconds.
    pub start_ms: UnixMs,
    /// Set once finished; Unix milliseconds.
    pub end_ms: Option<UnixMs>,
    /// Last accepted request plus the session's lifetime while running, end plus archive time afterwards.
    pub expires_ms: UnixMs,
    /// Counters of the teardown.
    pub final_summary: Option<Summary>,
    /// Delivery report of the teardown.
    pub delivery: Option<Delivery>,
    /// The effective status that the teardown answered.
    pub answered: Option<Status>,
}

/// What a run sent and what became of it. Counters are of the whole run, over all its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Completeness {
    /// Batches stored.
    pub batches_stored: u64,
    /// Batches recognised as sent before, and not applied.
    pub batches_replayed: u64,
    /// Batches refused by a rate tier (429).
    pub batches_refused_tier: u64,
    /// Batches refused under pressure (503).
    pub batches_refused_pressure: u64,
    /// Batches refused as unusable (400).
    pub batches_rejected: u64,
    /// Events in stored batches.
    pub events_received: u64,
    /// Events stored.
    pub events_stored: u64,
    /// Events stored shortened.
    pub events_cut: u64,
    /// Events skipped as unusable.
    pub events_rejected: u64,
    /// Body bytes of stored batches.
    pub bytes_received: u64,
    /// Bytes of log text appended.
    pub log_bytes: u64,
    /// UTF-16 units of log text appended.
    pub log_units: u64,
    /// Recorded `test-end` events.
    pub results: u64,
    /// `test-end` events beyond the results cap.
    pub results_dropped: u64,
    /// Recorded `failed` and `timedOut` attempts.
    pub failed_attempts: u64,
    /// Tests begun without an end.
    pub begun_without_end: u64,
    /// Tests ended without a begin.
    pub ended_without_begin: u64,
    /// Whether the middle of the log is gone.
    pub log_truncated: bool,
    /// The client's own report, if it sent one.
    pub delivery: Option<Delivery>,
    /// Whether the run ended without a teardown.
    pub orphaned: bool,
}
