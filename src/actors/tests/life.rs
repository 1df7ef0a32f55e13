//! A run's life: open, finished, late, orphaned, folded, forgotten.

use std::time::Duration;

use serde_json::json;

use super::harness::{Rig, START_MS};
use crate::actors::EngineError;
use crate::domain::account::AuditEntry;
use crate::domain::batch::{Item, TestStatus};
use crate::domain::execution::{ItemStatus, SessionStatus, Status};
use crate::domain::id::{AuditId, SessionId};
use crate::limits;

#[tokio::test]
async fn a_teardown_closes_execution_cycle_and_session_and_is_told_once() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.send(&run, rig.end(1, "a", TestStatus::Failed)).await.unwrap();
    rig.send(&run, rig.end(2, "a", TestStatus::Passed)).await.unwrap();
    let torn = rig.tear_down(&run, false).await.unwrap();
    assert_eq!((torn.task.clone(), torn.status), (run.task.clone(), Status::Failed));
    let execution = rig.execution(&run).await;
    assert_eq!((execution.status, execution.end_ms), (Status::Failed, Some(START_MS)));
    let cycle = rig.store.cycle_of(rig.org, run.execution).await.unwrap().unwrap();
    assert!(cycle.completed);
    assert_eq!((cycle.item_status, cycle.total, cycle.passed, cycle.failed), (ItemStatus::Failed, 2, 1, 1));
    let session = rig.store.session(run.session).await.unwrap().unwrap();
    assert_eq!(session.status, SessionStatus::Failed);
    let updates = rig.updates(&run).await;
    assert_eq!(updates.len(), 2, "{updates:?}");
    assert_eq!(updates[0]["status"], "RUNNING");
    assert_eq!(updates[0]["_id"], run.execution.to_string());
    let last = &updates[1];
    assert_eq!(last["status"], "FAILED");
    assert_eq!(last["cycleId"], run.cycle.to_string());
    assert_eq!(last["tests"][0]["attemptCount"], json!(2));
    assert_eq!(last["tests"][0]["status"], "passed");
    assert_eq!(
        rig.tear_down(&run, true).await,
        Ok(torn.clone()),
        "a repeated teardown gets the first answer"
    );
    assert_eq!(rig.updates(&run).await.len(), 2);
    let rig = rig.restart().await;
    assert_eq!(rig.tear_down(&run, true).await, Ok(torn));
    rig.pass(limits::SESSION_ARCHIVE + Duration::from_secs(61)).await;
    assert_eq!(rig.tear_down(&run, true).await, Err(EngineError::SessionNotFound));
    rig.until(|| async { rig.store.session(run.session).await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn events_are_taken_for_a_quarter_of_a_minute_after_the_teardown() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.send(&run, rig.end(1, "a", TestStatus::Passed)).await.unwrap();
    rig.tear_down(&run, true).await.unwrap();
    assert_eq!(rig.updates(&run).await.len(), 2);
    rig.pass(Duration::from_secs(10)).await;
    rig.send(&run, rig.end(2, "b", TestStatus::Failed)).await.unwrap();
    rig.until(|| async { rig.updates(&run).await.len() == 3 }).await;
    let updates = rig.updates(&run).await;
    assert_eq!(updates[2]["status"], "PASSED", "what the client calls passed is not second-guessed");
    assert_eq!(updates[2]["tests"].as_array().unwrap().len(), 2);
    assert_eq!(updates[2]["endTime"], updates[1]["endTime"]);
    rig.until(|| async { rig.store.segments(rig.org, run.execution, (0, 0), 1).await.unwrap().is_empty() })
        .await;
    assert_eq!(rig.send(&run, rig.line(3, "too late")).await, Err(EngineError::SessionNotFound));
    let results = rig.store.all_results(rig.org, run.execution).await.unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(rig.execution(&run).await.completeness.unwrap().results, 2);
    assert_eq!(rig.text(&run).await, rig.seen(&run).await);
    assert!(rig.store.storage_used(rig.org).await.unwrap() > 0);
}

#[tokio::test]
async fn a_restart_leaves_late_events_their_time() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.tear_down(&run, true).await.unwrap();
    let rig = rig.restart().await;
    rig.pass(Duration::from_secs(5)).await;
    rig.send(&run, rig.line(1, "late")).await.unwrap();
    rig.until(|| async { rig.store.run_state(rig.org, run.execution).await.unwrap().is_none() }).await;
    assert_eq!(rig.text(&run).await, "late\n");
    assert_eq!(rig.send(&run, rig.line(2, "too late")).await, Err(EngineError::SessionNotFound));
}

#[tokio::test]
async fn a_session_slides_and_then_ends_as_an_orphan() {
    let rig = Rig::new().await;
    let (run, silent) = (rig.open().await, rig.open().await);
    rig.send(&run, rig.end(1, "a", TestStatus::Passed)).await.unwrap();
    rig.pass(Duration::from_secs(23 * 3600)).await;
    rig.send(&run, rig.end(2, "b", TestStatus::TimedOut)).await.unwrap();
    let heard_ms = START_MS + 23 * 3_600_000;
    rig.pass(Duration::from_secs(3600)).await;
    rig.until(|| async { rig.execution(&silent).await.status.is_final() }).await;
    assert_eq!(rig.execution(&silent).await.end_ms, Some(START_MS), "without an event it ends when it began");
    assert_eq!(rig.execution(&run).await.status, Status::Running);
    rig.pass(Duration::from_secs(23 * 3600)).await;
    assert_eq!(rig.send(&silent, rig.line(1, "x")).await, Err(EngineError::SessionNotFound));
    rig.until(|| async { rig.execution(&run).await.status.is_final() }).await;
    let execution = rig.execution(&run).await;
    assert_eq!((execution.status, execution.end_ms), (Status::Cancelled, Some(heard_ms)));
    let cycle = rig.store.cycle_of(rig.org, run.execution).await.unwrap().unwrap();
    assert_eq!((cycle.completed, cycle.item_status), (true, ItemStatus::Error));
    assert_eq!((cycle.total, cycle.passed, cycle.failed), (2, 1, 1));
    assert_eq!(rig.tear_down(&run, true).await, Err(EngineError::SessionNotFound));
    assert_eq!(rig.store.session(run.session).await.unwrap().unwrap().status, SessionStatus::Failed);
    assert_eq!(rig.updates(&run).await.last().unwrap()["status"], "CANCELLED");
    assert!(execution.completeness.unwrap().orphaned);
}

#[tokio::test]
async fn an_announced_status_is_shown_and_stored_until_the_run_is_final() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    let announce = |digest| {
        let item = Item::Status { status: Status::Analyzing, timestamp_ms: 1 };
        rig.delivered(digest, String::new(), "", vec![item])
    };
    rig.send(&run, announce(1)).await.unwrap();
    assert_eq!(rig.execution(&run).await.status, Status::Analyzing);
    rig.until(|| async { rig.updates(&run).await.len() == 2 }).await;
    let told =
        json!({ "taskId": run.task.as_str(), "organizationId": rig.org.to_string(), "status": "ANALYZING" });
    assert_eq!(rig.updates(&run).await[1], told, "from memory: the store would give the whole document");
    rig.send(&run, announce(2)).await.unwrap();
    rig.tear_down(&run, true).await.unwrap();
    assert_eq!(rig.updates(&run).await.len(), 3);
    rig.send(&run, announce(3)).await.unwrap();
    assert_eq!(rig.execution(&run).await.status, Status::Passed);
    let statuses =
        rig.updates(&run).await.into_iter().map(|update| update["status"].clone()).collect::<Vec<_>>();
    assert_eq!(
        statuses[..3],
        [json!("RUNNING"), json!("ANALYZING"), json!("PASSED")],
        "only changes are told"
    );
    assert!(statuses[3..].iter().all(|status| status == "PASSED"));
}

#[tokio::test]
async fn the_audit_log_reaches_back_a_year() {
    let rig = Rig::new().await;
    for days in [364, 366] {
        let timestamp_ms = START_MS - days * 24 * 3_600_000;
        let entry = AuditEntry {
            id: AuditId::generate(timestamp_ms),
            org: rig.org,
            user: rig.user,
            action: format!("{days} days ago"),
            target_type: "user".into(),
            target_id: rig.user.to_string(),
            details: "{}".into(),
            ip: "192.0.2.1".into(),
            timestamp_ms,
        };
        rig.store.audit(entry).await.unwrap();
    }
    let actions = async || {
        let (entries, _) = rig.store.audit_entries(rig.org, 10, 0).await.unwrap();
        entries.into_iter().map(|entry| entry.action).collect::<Vec<_>>()
    };
    rig.until(|| async { !actions().await.contains(&"366 days ago".to_owned()) }).await;
    assert_eq!(actions().await.last().unwrap(), "364 days ago");
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    let unknown = crate::actors::Opened { session: SessionId::generate(), ..run.clone() };
    assert_eq!(rig.send(&unknown, rig.line(1, "x")).await, Err(EngineError::SessionNotFound));
    assert_eq!(rig.tear_down(&unknown, true).await, Err(EngineError::SessionNotFound));
    let mut request = rig.setup();
    request.project = crate::domain::id::ProjectId::generate(1);
    let outcome = rig.engine.set_up(rig.org, rig.user, request).await;
    assert_eq!(outcome, Err(EngineError::ProjectNotFound));
}
