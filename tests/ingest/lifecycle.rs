//! Setup and teardown: what is taken, what is refused, what comes back. Source: API reference, ingest 2 and 4; product
//! E1, E7.

use std::time::Duration;

use runstream::actors::EngineSettings;
use runstream::domain::plan::Plan;
use runstream::domain::role::Role;
use serde_json::{Value, json};

use super::site::{Setting, Site, end, teardown};

#[tokio::test]
async fn a_setup_answers_with_everything_a_reporter_needs() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let answer = site.post(&reporter, "setup", &reporter.setup()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let data = &answer.body["data"];
    let (session, task) = (data["sessionId"].as_str().unwrap(), data["taskId"].as_str().unwrap());
    assert_eq!(task, format!("ingest-1774000000000-{}", &session[..8]));
    assert_eq!(data["cycleId"].as_str().unwrap().len(), 24);
    assert_eq!(data["features"], json!(["batch-seq"]));
    assert_eq!(
        data["limits"],
        json!({ "eventsPerBatch": 1000, "bodyBytes": 16_777_216, "eventRequestsPerMinute": 500 })
    );
    assert_eq!(data["url"], format!("http://ci.test/ui/runs/{task}"));
}

#[tokio::test]
async fn a_bad_setup_is_told_what_is_wrong() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let bad = [
        ("projectId", json!(null)),
        ("projectId", json!("NOT-AN-ID")),
        ("projectId", json!("690A11B2C3D4E5F607182930")),
        ("framework", json!("")),
        ("framework", json!("Play Wright")),
        ("reporterVersion", json!("")),
        ("totalTests", json!(-1)),
        ("totalTests", json!(100_001)),
        ("totalTests", json!(1.5)),
        ("totalTests", json!("3")),
        ("environment", json!("test")),
        ("ciContext", json!("gitlab")),
        ("ciContext", json!({ "source": "unknown" })),
        ("ciContext", json!({})),
    ];
    for (field, value) in bad {
        let mut body = reporter.setup();
        body[field] = value;
        let answer = site.post(&reporter, "setup", &body).await;
        answer.refused(400, "Invalid setup payload");
        let named = answer.body["details"][0]["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{answer:?}");
    }
    for body in ["[]", "5", "null", "\"x\""] {
        site.post_text(&reporter.key, "setup", body).await.refused(400, "Invalid setup payload");
    }
    assert_eq!(site.runs(&reporter).await, 0);
}

#[tokio::test]
async fn what_is_merely_odd_does_not_cost_the_run() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let mut body = reporter.setup();
    body["runName"] = json!("n".repeat(500));
    body["unknown"] = json!({ "deep": [1, 2] });
    body["reporterVersion"] = json!("9".repeat(80));
    body["framework"] = json!("pytest");
    body["ciContext"] = json!({
        "source": "circleci", "repository": "https://bob:s3cret@git.test/shop/web.git", "branch": "b".repeat(300),
        "prNumber": 0, "commitSha": null, "runUrl": "not an address",
    });
    let answer = site.post(&reporter, "setup", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let task = answer.body["data"]["taskId"].as_str().unwrap().into();
    let execution = site.store.execution_by_task(reporter.org, &task).await.unwrap().unwrap();
    let context = execution.ingest.ci_context.unwrap();
    assert_eq!(context.repository.as_deref(), Some("https://git.test/shop/web.git"));
    assert_eq!((context.branch.unwrap().len(), context.pr_number, context.run_url), (255, None, None));
    assert_eq!((execution.trigger.as_str(), execution.ingest.reporter_version.len()), ("circleci", 50));
}

#[tokio::test]
async fn a_project_must_be_the_organizations_own() {
    let site = Site::start().await;
    let (reporter, other) = (site.reporter(Role::Developer).await, site.reporter(Role::Developer).await);
    for project in [other.project.to_string(), "690a11b2c3d4e5f607182930".to_owned()] {
        let mut body = reporter.setup();
        body["projectId"] = json!(project);
        site.post(&reporter, "setup", &body).await.refused(403, "Project not found or access denied");
    }
}

#[tokio::test]
async fn a_used_up_plan_takes_no_further_run() {
    let engine = EngineSettings { plan: Plan::Free, ..EngineSettings::default() };
    let site = Site::start_with(Setting { engine, ..Setting::default() }).await;
    let reporter = site.reporter(Role::Developer).await;
    for _ in 0..50 {
        site.set_up(&reporter).await;
    }
    let answer = site.post(&reporter, "setup", &reporter.setup()).await;
    answer.refused(429, "Test run limit exceeded");
    assert_eq!(answer.body["usage"], json!({ "used": 50, "limit": 50, "percentUsed": 100 }));
    assert_eq!(answer.body["upgradeUrl"], "/settings?tab=billing");
    assert_eq!((answer.header("retry-after"), &answer.body["retryAfter"]), (None, &Value::Null));
    // The plan comes before the project.
    let mut unknown = reporter.setup();
    unknown["projectId"] = json!("690a11b2c3d4e5f607182930");
    site.post(&reporter, "setup", &unknown).await.refused(429, "Test run limit exceeded");
}

#[tokio::test]
async fn a_teardown_answers_twice_over_and_again() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let run = site.set_up(&reporter).await;
    site.events(&reporter, &run, &[end("a", "failed")]).await.accepted();
    let answer = site.post(&reporter, "teardown", &teardown(&run, "FAILED")).await;
    let expected = json!({
        "success": true, "status": "FAILED", "message": "Execution completed.",
        "data": { "taskId": run.task.as_str(), "status": "FAILED" },
    });
    assert_eq!((answer.status, &answer.body), (200, &expected));
    // The reporter that lost the answer asks again, even with another opinion.
    let again = site.post(&reporter, "teardown", &teardown(&run, "PASSED")).await;
    assert_eq!((again.status, &again.body), (200, &expected));
    // The archive forgets it. A run that is still in memory knows it a little longer than the store.
    site.advance(Duration::from_secs(7 * 24 * 3600 + 1));
    let mut last = again;
    for _ in 0..100 {
        last = site.post(&reporter, "teardown", &teardown(&run, "FAILED")).await;
        if last.status == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        site.advance(Duration::from_secs(60));
    }
    last.refused(404, "Session not found or expired");
}

#[tokio::test]
async fn a_bad_teardown_is_told_what_is_wrong_and_changes_nothing() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let run = site.set_up(&reporter).await;
    let good = teardown(&run, "PASSED");
    for (field, value) in [
        ("sessionId", json!("x")),
        ("sessionId", json!(null)),
        ("status", json!("RUNNING")),
        ("status", json!("passed")),
        ("summary", json!(null)),
        ("summary", json!([])),
        ("summary", json!({ "total": 1, "passed": 1, "failed": 0, "skipped": 0 })),
        ("summary", json!({ "total": "1", "passed": 1, "failed": 0, "skipped": 0, "duration": 1 })),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = site.post(&reporter, "teardown", &body).await;
        answer.refused(400, "Invalid teardown payload");
        assert!(answer.body["details"][0]["field"].as_str().unwrap().starts_with(field), "{answer:?}");
    }
    // The session is still open, and a clock that stepped back does not keep it so.
    let mut stepped_back = good;
    stepped_back["summary"]["duration"] = json!(-5.5);
    stepped_back["delivery"] = json!({ "sent": 1, "retries": 2 });
    assert_eq!(site.post(&reporter, "teardown", &stepped_back).await.status, 200);
    let found = site.completeness(&reporter, &run).await;
    assert_eq!(found.delivery.map(|delivery| (delivery.sent, delivery.retries)), Some((1, 2)));
}

#[tokio::test]
async fn equal_setups_are_two_runs() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let (first, second) = (site.set_up(&reporter).await, site.set_up(&reporter).await);
    assert_ne!(first.session, second.session);
    assert_eq!(site.runs(&reporter).await, 2);
}

#[tokio::test]
async fn a_setup_whose_client_is_gone_is_taken_back() {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let body = reporter.setup().to_string();
    let request = format!(
        "POST /api/ingest/setup HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        reporter.key,
        body.len()
    );
    // The first makes the organization's actor, so that the others race against a setup that takes its usual time.
    site.set_up(&reporter).await;
    for _ in 0..20 {
        let mut wire = site.connect().await;
        wire.send(request.as_bytes()).await;
        wire.finish().await;
        drop(wire);
    }
    // Each was either answered before the end was seen, or is taken back. On a busy machine some are answered; most
    // are not.
    let mut left = u64::MAX;
    for _ in 0..250 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        left = site.runs(&reporter).await;
        if left == 1 {
            break;
        }
    }
    assert!(left <= 11, "{left} of 21: runs of clients that were gone are taken back");
}
