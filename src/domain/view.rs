//! What outsiders see of a run: the execution's document, its results and its completeness, as JSON. The REST door
//! answers with these, the engine emits the same ones, so a dashboard never sees two shapes of one thing.
//! Source: API reference, executions 2.1 and 2.3; ingest 2 and 6.1.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::execution::{CiContext, Completeness, Delivery, Execution, Source, Status};
use super::id::{CycleId, ExecutionId, OrgId, ProjectId, SessionId, TaskId};
use super::result::TestResult;
use super::time::IsoMs;

/// The execution's document. Absent members are left out; a deletion is never shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionView {
    /// Internal id.
    #[serde(rename = "_id")]
    #[schema(value_type = String)]
    pub id: ExecutionId,
    /// Public id.
    #[schema(value_type = String)]
    pub task_id: TaskId,
    /// Tenant.
    #[schema(value_type = String)]
    pub organization_id: OrgId,
    /// Project.
    #[schema(value_type = String)]
    pub project_id: ProjectId,
    /// Current status.
    pub status: Status,
    /// Where it comes from.
    pub source: Source,
    /// Container image; `external-ci` for external runs.
    pub image: String,
    /// Command line.
    pub command: String,
    /// Folder.
    pub folder: String,
    /// When it started.
    pub start_time: IsoMs,
    /// When it became final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<IsoMs>,
    /// Settings of the run; secret variables are not among them.
    pub config: ConfigView,
    /// Results once the run is final, empty before.
    pub tests: Vec<TestResultView>,
    /// Set where a list leaves a run's results out because the page would become too large.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tests_omitted: bool,
    /// Log text, only where a single run is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What started it.
    pub trigger: String,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_name: Option<String>,
    /// Its cycle.
    #[schema(value_type = String)]
    pub cycle_id: CycleId,
    /// Its item in the cycle.
    #[schema(value_type = String)]
    pub cycle_item_id: Uuid,
    /// Facts of the setup.
    pub ingest_meta: IngestMetaView,
    /// What arrived and what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness: Option<CompletenessView>,
}

/// Settings of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigView {
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// Public variables.
    pub env_vars: BTreeMap<String, String>,
}

/// What an external run said of itself at setup.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngestMetaView {
    /// The session that opened the run.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// Version of the reporter.
    pub reporter_version: String,
    /// Framework identifier.
    pub framework: String,
    /// Announced number of tests.
    pub total_tests: u32,
    /// CI facts, or `null`.
    pub ci_context: Option<CiContextView>,
}

/// CI facts; what was not sent is left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CiContextView {
    /// `github`, `gitlab`, …, `local`.
    pub source: String,
    /// Repository name or URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Pull request number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pr_number: Option<u64>,
    /// Commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_sha: Option<String>,
    /// URL of the CI run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_url: Option<String>,
}

impl From<&CiContext> for CiContextView {
    fn from(context: &CiContext) -> Self {
        Self {
            source: context.source.clone(),
            repository: context.repository.clone(),
            branch: context.branch.clone(),
            pr_number: context.pr_number,
            commit_sha: context.commit_sha.clone(),
            run_url: context.run_url.clone(),
        }
    }
}

impl From<&Execution> for ExecutionView {
    /// The document without log text and results; completeness as stored.
    fn from(execution: &Execution) -> Self {
        Self {
            id: execution.id,
            task_id: execution.task_id.clone(),
            organization_id: execution.org,
            project_id: execution.project,
            status: execution.status,
            source: execution.source,
            image: execution.image.clone(),
            command: execution.command.clone(),
            folder: execution.folder.clone(),
            start_time: IsoMs(execution.start_ms),
            end_time: execution.end_ms.map(IsoMs),
            config: ConfigView {
                environment: execution.environment.clone(),
                env_vars: execution.env_vars.clone(),
            },
            tests: Vec::new(),
            tests_omitted: false,
            output: None,
            trigger: execution.trigger.clone(),
            group_name: execution.group_name.clone(),
            cycle_id: execution.cycle,
            cycle_item_id: execution.cycle_item,
            ingest_meta: IngestMetaView {
                session_id: execution.ingest.session,
                reporter_version: execution.ingest.reporter_version.clone(),
                framework: execution.ingest.framework.clone(),
                total_tests: execution.ingest.total_tests,
                ci_context: execution.ingest.ci_context.as_ref().map(CiContextView::from),
            },
            completeness: execution
                .completeness
                .as_ref()
                .map(|completeness| CompletenessView::new(completeness, execution.status)),
        }
    }
}

/// One test of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResultView {
    /// Position of the last attempt among the run's recorded results; only in the list of results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The reporter's id; opaque.
    pub test_id: String,
    /// Last title seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// File of the last begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Last attempt.
    pub status: super::batch::TestStatus,
    /// Milliseconds, last attempt.
    pub duration: u64,
    /// Error text of the last attempt, or `null`.
    pub error: Option<String>,
    /// Client time of the last attempt, Unix milliseconds.
    pub timestamp: i64,
    /// Number of attempts.
    pub attempt_count: u32,
    /// Hash of the normalised error, for grouping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_hash: Option<String>,
    /// Context of the last attempt that carried one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub runtime_context: Option<Value>,
    /// Only `true`, when quarantined as the run was finished.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_quarantined: bool,
    /// What else the reporter told: `attempt`, `startedAt`, `worker`, `line`, `tags`, `suite`, `flaky`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub extra: Map<String, Value>,
}

impl From<TestResult> for TestResultView {
    fn from(result: TestResult) -> Self {
        Self {
            seq: None,
            test_id: result.test_id,
            name: result.name,
            file: result.file,
            status: result.status,
            duration: result.duration_ms,
            error: result.error,
            timestamp: result.timestamp_ms,
            attempt_count: result.attempt_count,
            error_hash: result.error_hash,
            runtime_context: result
                .runtime_context
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok()),
            is_quarantined: result.is_quarantined,
            extra: result
                .extra
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        }
    }
}

impl TestResultView {
    /// The result with its position, for lists that are read by position.
    #[must_use]
    pub fn with_seq(result: TestResult) -> Self {
        let seq = Some(result.seq);
        Self { seq, ..Self::from(result) }
    }
}

/// What a run sent and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompletenessView {
    /// Whether the run has ended and nothing of it is known to be missing, refused or cut.
    pub complete: bool,
    /// Why not, in a fixed order; empty when complete.
    pub reasons: Vec<Shortfall>,
    /// Requests with events.
    pub batches: BatchCounts,
    /// Events.
    pub events: EventCounts,
    /// Bytes.
    pub bytes: ByteCounts,
    /// Tests.
    pub tests: TestCounts,
    /// Whether the middle of the log is gone.
    pub log_cap_hit: bool,
    /// Whether results beyond the cap were dropped.
    pub results_cap_hit: bool,
    /// Whether the run ended without a teardown.
    pub orphaned: bool,
    /// The client's own report, if it sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// What became of the requests that carried events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchCounts {
    /// All that arrived for this run, whatever became of them.
    pub received: u64,
    /// Stored.
    pub stored: u64,
    /// Recognised as sent before and not applied again.
    pub replayed: u64,
    /// Refused as unusable.
    pub rejected: u64,
    /// Refused by a rate tier.
    pub refused_by_tier: u64,
    /// Refused because the server had no room.
    pub refused_by_pressure: u64,
}

/// What became of the events of stored batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventCounts {
    /// In stored batches.
    pub received: u64,
    /// Stored.
    pub stored: u64,
    /// Of these, stored shortened.
    pub cut: u64,
    /// Skipped as unusable.
    pub rejected: u64,
}

/// How much arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ByteCounts {
    /// Bodies of stored batches.
    pub received: u64,
    /// Log text appended, UTF-8.
    pub log: u64,
}

/// What is known of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestCounts {
    /// Recorded attempts.
    pub results: u64,
    /// Attempts beyond the results cap.
    pub results_dropped: u64,
    /// Recorded attempts that failed or timed out.
    pub failed_attempts: u64,
    /// Begun, never ended.
    pub begun_without_end: u64,
    /// Ended, never begun.
    pub ended_without_begin: u64,
}

/// A reason why a run is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shortfall {
    /// It has not ended yet.
    NotEnded,
    /// It ended without a teardown.
    NoTeardown,
    /// Batches were refused by a rate tier.
    RefusedByTier,
    /// Batches were refused because the server had no room.
    RefusedByPressure,
    /// Batches were refused as unusable.
    BatchesRejected,
    /// Events were skipped as unusable.
    EventsRejected,
    /// Events were stored shortened.
    EventsCut,
    /// Results beyond the cap were dropped.
    ResultsCap,
    /// The middle of the log is gone.
    LogCap,
    /// Tests were begun and never ended.
    BegunWithoutEnd,
    /// Tests ended whose begin never arrived.
    EndedWithoutBegin,
    /// The client says that it gave something up.
    DroppedByClient,
    /// The client says that it kept something back in a spool file.
    SpooledByClient,
}

impl CompletenessView {
    /// The view of these counters for a run of this status.
    #[must_use]
    pub fn new(counts: &Completeness, status: Status) -> Self {
        let reasons = shortfalls(counts, status);
        Self {
            complete: reasons.is_empty(),
            reasons,
            batches: BatchCounts {
                received: counts.batches_stored
                    + counts.batches_replayed
                    + counts.batches_rejected
                    + counts.batches_refused_tier
                    + counts.batches_refused_pressure,
                stored: counts.batches_stored,
                replayed: counts.batches_replayed,
                rejected: counts.batches_rejected,
                refused_by_tier: counts.batches_refused_tier,
                refused_by_pressure: counts.batches_refused_pressure,
            },
            events: EventCounts {
                received: counts.events_received,
                stored: counts.events_stored,
                cut: counts.events_cut,
                rejected: counts.events_rejected,
            },
            bytes: ByteCounts { received: counts.bytes_received, log: counts.log_bytes },
            tests: TestCounts {
                results: counts.results,
                results_dropped: counts.results_dropped,
                failed_attempts: counts.failed_attempts,
                begun_without_end: counts.begun_without_end,
                ended_without_begin: counts.ended_without_begin,
            },
            log_cap_hit: counts.log_truncated,
            results_cap_hit: counts.results_dropped > 0,
            orphaned: counts.orphaned,
            delivery: counts.delivery,
        }
    }
}

/// Everything that keeps a run with these counters from being complete.
fn shortfalls(counts: &Completeness, status: Status) -> Vec<Shortfall> {
    let delivery = counts.delivery.unwrap_or_default();
    let found = [
        (!status.is_final(), Shortfall::NotEnded),
        (counts.orphaned, Shortfall::NoTeardown),
        (counts.batches_refused_tier > 0, Shortfall::RefusedByTier),
        (counts.batches_refused_pressure > 0, Shortfall::RefusedByPressure),
        (counts.batches_rejected > 0, Shortfall::BatchesRejected),
        (counts.events_rejected > 0, Shortfall::EventsRejected),
        (counts.events_cut > 0, Shortfall::EventsCut),
        (counts.results_dropped > 0, Shortfall::ResultsCap),
        (counts.log_truncated, Shortfall::LogCap),
        // A test that is still running is no shortfall of a run that is still running.
        (status.is_final() && counts.begun_without_end > 0, Shortfall::BegunWithoutEnd),
        (counts.ended_without_begin > 0, Shortfall::EndedWithoutBegin),
        (delivery.dropped_events > 0 || delivery.dropped_log_bytes > 0, Shortfall::DroppedByClient),
        (delivery.spooled > 0, Shortfall::SpooledByClient),
    ];
    found.into_iter().filter_map(|(present, reason)| present.then_some(reason)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::batch::TestStatus;
    use crate::domain::execution::IngestMeta;

    fn execution() -> Execution {
        Execution {
            id: "69bd2b0c4c1e8830a5d7f9a1".parse().unwrap(),
            task_id: "ingest-1774000000123-b1d6c0f2".into(),
            org: OrgId::from_bytes([0x68, 0xf0, 0xc1, 0xd2, 0xe3, 0xa4, 0xb5, 0x96, 0x87, 0x78, 0x69, 0x5a]),
            project: "690a11b2c3d4e5f607182930".parse().unwrap(),
            status: Status::Running,
            source: Source::ExternalCi,
            image: "external-ci".into(),
            command: "playwright (external reporter)".into(),
            folder: "all".into(),
            start_ms: 1_774_000_000_123,
            end_ms: None,
            environment: "production".into(),
            env_vars: BTreeMap::new(),
            trigger: "gitlab".into(),
            group_name: None,
            cycle: "69bd2a7f4c1e8830a5d7f912".parse().unwrap(),
            cycle_item: Uuid::nil(),
            ingest: IngestMeta {
                session: "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6".parse().unwrap(),
                reporter_version: "2.1.0".into(),
                framework: "playwright".into(),
                total_tests: 214,
                ci_context: Some(CiContext {
                    source: "gitlab".into(),
                    pr_number: Some(7),
                    ..CiContext::default()
                }),
            },
            completeness: None,
            deleted_ms: Some(1),
        }
    }

    #[test]
    fn a_running_run_is_shown_with_every_member_it_has() {
        assert_eq!(
            serde_json::to_value(ExecutionView::from(&execution())).unwrap(),
            json!({
                "_id": "69bd2b0c4c1e8830a5d7f9a1",
                "taskId": "ingest-1774000000123-b1d6c0f2",
                "organizationId": "68f0c1d2e3a4b5968778695a",
                "projectId": "690a11b2c3d4e5f607182930",
                "status": "RUNNING",
                "source": "external-ci",
                "image": "external-ci",
                "command": "playwright (external reporter)",
                "folder": "all",
                "startTime": "2026-03-20T09:46:40.123Z",
                "config": {"environment": "production", "envVars": {}},
                "tests": [],
                "trigger": "gitlab",
                "cycleId": "69bd2a7f4c1e8830a5d7f912",
                "cycleItemId": "00000000-0000-0000-0000-000000000000",
                "ingestMeta": {
                    "sessionId": "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6",
                    "reporterVersion": "2.1.0",
                    "framework": "playwright",
                    "totalTests": 214,
                    "ciContext": {"source": "gitlab", "prNumber": 7},
                },
            })
        );
    }

    #[test]
    fn a_final_run_shows_its_end_group_and_completeness() {
        let mut execution = execution();
        execution.status = Status::Passed;
        execution.end_ms = Some(1_774_000_060_000);
        execution.group_name = Some("Nightly".into());
        execution.ingest.ci_context = None;
        execution.completeness = Some(Completeness::default());
        let shown = serde_json::to_value(ExecutionView::from(&execution)).unwrap();
        assert_eq!(shown["endTime"], "2026-03-20T09:47:40.000Z");
        assert_eq!(shown["groupName"], "Nightly");
        assert_eq!(shown["ingestMeta"]["ciContext"], Value::Null);
        assert_eq!(shown["completeness"]["complete"], true);
        assert!(shown.get("deletedAt").is_none() && shown.get("output").is_none());
    }

    fn result() -> TestResult {
        TestResult {
            seq: 9,
            first_seq: 4,
            test_id: "8c1f-5e7d".into(),
            name: Some("chromium › cart.spec.ts › adds".into()),
            file: Some("cart.spec.ts".into()),
            status: TestStatus::TimedOut,
            duration_ms: 4211,
            error: Some("late".into()),
            timestamp_ms: 1_774_000_000_500,
            attempt_count: 2,
            error_hash: Some("ab".into()),
            runtime_context: Some(r#"{"retryIndex":1}"#.into()),
            extra: Some(r#"{"worker":3,"tags":["@slow"]}"#.into()),
            is_quarantined: false,
        }
    }

    #[test]
    fn a_result_merges_what_else_the_reporter_told() {
        let shown = serde_json::to_value(TestResultView::with_seq(result())).unwrap();
        assert_eq!(
            shown,
            json!({
                "seq": 9, "testId": "8c1f-5e7d", "name": "chromium › cart.spec.ts › adds", "file": "cart.spec.ts",
                "status": "timedOut", "duration": 4211, "error": "late", "timestamp": 1_774_000_000_500_i64,
                "attemptCount": 2, "errorHash": "ab", "runtimeContext": {"retryIndex": 1}, "worker": 3,
                "tags": ["@slow"],
            })
        );
        let bare = TestResult {
            name: None,
            file: None,
            error: None,
            error_hash: None,
            runtime_context: None,
            extra: None,
            is_quarantined: true,
            ..result()
        };
        let shown = serde_json::to_value(TestResultView::from(bare)).unwrap();
        assert_eq!(
            shown,
            json!({
                "testId": "8c1f-5e7d", "status": "timedOut", "duration": 4211, "error": null,
                "timestamp": 1_774_000_000_500_i64, "attemptCount": 2, "isQuarantined": true,
            })
        );
    }

    #[test]
    fn every_loss_is_a_reason_of_its_own() {
        type Damage = fn(&mut Completeness);
        let cases: [(Damage, Shortfall); 12] = [
            (|c| c.orphaned = true, Shortfall::NoTeardown),
            (|c| c.batches_refused_tier = 1, Shortfall::RefusedByTier),
            (|c| c.batches_refused_pressure = 1, Shortfall::RefusedByPressure),
            (|c| c.batches_rejected = 1, Shortfall::BatchesRejected),
            (|c| c.events_rejected = 1, Shortfall::EventsRejected),
            (|c| c.events_cut = 1, Shortfall::EventsCut),
            (|c| c.results_dropped = 1, Shortfall::ResultsCap),
            (|c| c.log_truncated = true, Shortfall::LogCap),
            (|c| c.begun_without_end = 1, Shortfall::BegunWithoutEnd),
            (|c| c.ended_without_begin = 1, Shortfall::EndedWithoutBegin),
            (
                |c| c.delivery = Some(Delivery { dropped_events: 1, ..Delivery::default() }),
                Shortfall::DroppedByClient,
            ),
            (
                |c| c.delivery = Some(Delivery { spooled: 1, ..Delivery::default() }),
                Shortfall::SpooledByClient,
            ),
        ];
        for (damage, reason) in cases {
            let mut counts = Completeness::default();
            damage(&mut counts);
            let view = CompletenessView::new(&counts, Status::Failed);
            assert_eq!((view.complete, view.reasons), (false, vec![reason]));
        }
        let replayed = Completeness { batches_replayed: 3, batches_stored: 1, ..Completeness::default() };
        let view = CompletenessView::new(&replayed, Status::Passed);
        assert!(view.complete, "a replay loses nothing");
        assert_eq!(view.batches.received, 4);
        let running = Completeness { begun_without_end: 2, ..Completeness::default() };
        assert_eq!(CompletenessView::new(&running, Status::Running).reasons, vec![Shortfall::NotEnded]);
    }
}
