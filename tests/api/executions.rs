//! Reading runs: lists, documents, results, completeness. Source: API reference, executions 1 to 3.

use http::{HeaderName, Method};
use runstream::cli::client::Client;
use serde_json::{Value, json};

use crate::support::stage::{Organization, Run, Stage, begin, end, get, log, try_get, with_header};

/// Opens a run, feeds it a little and ends it.
async fn finished(organization: &Organization, more: Value) -> Run {
    let run = organization.open_with(more).await;
    run.send(json!([adds(), end("a", "failed"), adds(), end("a", "passed"), log("hello")])).await;
    run.end("PASSED").await;
    run
}

fn adds() -> Value {
    begin("a", " › chromium › adds")
}

async fn list(organization: &Organization, query: &str) -> Value {
    get(&organization.member, &format!("/api/executions{query}")).await["data"].clone()
}

fn tasks(list: &Value) -> Vec<&str> {
    let executions = list["executions"].as_array().unwrap();
    executions.iter().map(|execution| execution["taskId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_run_is_read_while_it_goes_and_when_it_is_over() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let ci = json!({"source": "gitlab", "repository": "https://user:secret@git.test/shop/web", "branch": "main", "prNumber": 7});
    let run = organization
        .open_with(json!({"ciContext": ci, "groupName": "Nightly", "environment": "staging"}))
        .await;
    run.send(json!([adds(), log("one"), end("a", "failed")])).await;

    let live = get(&organization.reporter, &run.path("")).await["data"]["execution"].clone();
    assert_eq!(live["status"], "RUNNING");
    assert_eq!(live["tests"], json!([]), "results show when the run is over");
    assert_eq!(live["output"], "▶ RUNNING   › chromium › adds\none\n✘ FAILED   a (12ms)\n");
    assert_eq!(live["config"], json!({"environment": "staging", "envVars": {}}));
    assert_eq!(
        (&live["trigger"], &live["groupName"], &live["source"]),
        (&json!("gitlab"), &json!("Nightly"), &json!("external-ci"))
    );
    assert_eq!(live["ingestMeta"]["ciContext"]["prNumber"], 7);
    assert!(!live.to_string().contains("secret"), "{live}");
    assert_eq!(live["completeness"]["reasons"], json!(["not-ended"]));
    assert!(live.get("endTime").is_none() && live.get("deletedAt").is_none(), "{live}");

    run.send(json!([adds(), end("a", "passed")])).await;
    let closed = run.end("PASSED").await;
    assert_eq!(closed.body["data"], json!({"taskId": run.task, "status": "PASSED"}));
    let over = get(&organization.member, &run.path("")).await["data"]["execution"].clone();
    assert_eq!(over["status"], "PASSED");
    let test = &over["tests"][0];
    assert_eq!(over["tests"].as_array().unwrap().len(), 1, "attempts are one test");
    assert_eq!(
        (&test["name"], &test["status"], &test["attemptCount"]),
        (&json!("chromium › adds"), &json!("passed"), &json!(2))
    );
    assert!(test.get("seq").is_none(), "positions belong to the list of results");
    assert_eq!(over["completeness"]["complete"], true, "{}", over["completeness"]);
    assert!(over["endTime"].as_str().unwrap().ends_with('Z'));
    for member in [
        "_id",
        "organizationId",
        "projectId",
        "image",
        "command",
        "folder",
        "startTime",
        "cycleId",
        "cycleItemId",
    ] {
        assert!(over[member].is_string(), "{member} in {over}");
    }
    let status = get(&organization.reporter, &run.path("/status")).await;
    assert_eq!(status, json!({"success": true, "data": {"taskId": run.task, "status": "PASSED"}}));
}

#[tokio::test]
async fn lists_are_filtered_paged_and_without_log_text() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    assert_eq!(
        list(&organization, "").await,
        json!({"executions": [], "total": 0, "limit": 25, "offset": 0})
    );
    let nightly = finished(&organization, json!({"groupName": "Nightly", "environment": "staging"})).await;
    let failed = organization.open_with(json!({"groupName": "Nightly"})).await;
    failed.send(json!([end("b", "timedOut")])).await;
    failed.end("FAILED").await;
    let running = organization.open().await;

    let all = list(&organization, "").await;
    assert_eq!(tasks(&all), [&running.task, &failed.task, &nightly.task], "newest first");
    assert_eq!(all["total"], 3);
    for execution in all["executions"].as_array().unwrap() {
        assert!(execution.get("output").is_none() && execution.get("testsOmitted").is_none(), "{execution}");
    }
    assert_eq!(all["executions"][0]["tests"], json!([]));
    assert_eq!(all["executions"][2]["tests"][0]["testId"], "a");
    assert_eq!(all["executions"][2]["completeness"]["complete"], true);

    let check = async |query: &str, wanted: &[&Run]| {
        let found = list(&organization, query).await;
        let wanted: Vec<_> = wanted.iter().map(|run| run.task.as_str()).collect();
        assert_eq!(tasks(&found), wanted, "{query}");
    };
    check("?status=passed", &[&nightly]).await;
    check("?status=RUNNING,failed", &[&running, &failed]).await;
    check("?status=green", &[]).await;
    check("?environment=STAGING", &[&nightly]).await;
    check("?environment=stag", &[]).await;
    check("?groupName=%20Nightly%20", &[&failed, &nightly]).await;
    check("?groupName=nightly", &[]).await;
    check("?source=external-ci", &[&running, &failed, &nightly]).await;
    check("?source=agnox-hosted", &[]).await;
    check("?source=elsewhere", &[]).await;
    check(&format!("?projectId={}", organization.project), &[&running, &failed, &nightly]).await;
    check(&format!("?project={}&status=failed", organization.project), &[&failed]).await;
    check("?projectId=690a11b2c3d4e5f607182930", &[]).await;
    check("?projectId=nonsense", &[]).await;
    check("?startAfter=2020-01-01", &[&running, &failed, &nightly]).await;
    check("?startBefore=2020-01-01", &[]).await;
    check("?startAfter=2999-01-01", &[]).await;
    check("?limit=1", &[&running]).await;
    check("?limit=1&offset=1", &[&failed]).await;
    check("?limit=0&offset=2", &[&nightly]).await;
    check("?offset=3", &[]).await;
    let clamped = list(&organization, "?limit=1000&offset=-1").await;
    assert_eq!((&clamped["limit"], &clamped["offset"]), (&json!(100), &json!(0)));
    // A day is whole, whatever time of it is named.
    let today =
        list(&organization, "").await["executions"][0]["startTime"].as_str().unwrap()[..10].to_owned();
    check(&format!("?startBefore={today}T00:00:00Z"), &[&running, &failed, &nightly]).await;
}

#[tokio::test]
async fn results_are_read_by_position_live_and_final() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let ends: Vec<_> = (0..7).map(|n| end(&format!("t{n}"), "failed")).collect();
    run.send(json!(ends)).await;
    let page = async |query: &str| {
        get(&organization.member, &run.path(&format!("/tests{query}"))).await["data"].clone()
    };
    let ids = |page: &Value| {
        let tests = page["tests"].as_array().unwrap();
        tests.iter().map(|test| test["testId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let first = page("?limit=3").await;
    assert_eq!(
        (ids(&first), &first["next"], &first["status"]),
        (vec!["t0".into(), "t1".into(), "t2".into()], &json!(3), &json!("RUNNING"))
    );
    run.send(json!([end("t0", "passed")])).await;
    let rest = page("?after=3").await;
    assert_eq!(ids(&rest), ["t3", "t4", "t5", "t6", "t0"], "a later attempt comes again");
    let again = rest["tests"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&again["seq"], &again["status"], &again["attemptCount"]),
        (&json!(8), &json!("passed"), &json!(2))
    );
    assert_eq!(page("?after=8").await, json!({"tests": [], "next": 8, "status": "RUNNING"}));

    run.end("FAILED").await;
    let mut after = 0;
    let mut seen = Vec::new();
    loop {
        let found = page(&format!("?after={after}&limit=2")).await;
        assert_eq!(found["status"], "FAILED");
        if found["tests"].as_array().unwrap().is_empty() {
            break;
        }
        seen.extend(ids(&found));
        after = found["next"].as_u64().unwrap();
    }
    assert_eq!(seen, ["t1", "t2", "t3", "t4", "t5", "t6", "t0"]);
    assert_eq!(page("?limit=5000").await["tests"].as_array().unwrap().len(), 7);
    let refused = try_get(&organization.member, &run.path("/tests?after=last")).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]), (400, &json!("Invalid after")));
}

#[tokio::test]
async fn completeness_counts_what_was_sent_and_what_became_of_it() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    run.send(json!([begin("a", "adds"), end("b", "passed"), {"type": "unknown", "timestamp": 1}, log(&"x".repeat(9000))])).await;
    let long = json!({"type": "test-end", "testId": "a", "status": "failed", "duration": 1, "error": "e".repeat(9000), "timestamp": 1});
    run.send(json!([long])).await;
    let rejected = json!({"sessionId": run.session, "events": [{"type": "unknown"}]});
    let refused =
        organization.reporter.call(Method::POST, "/api/ingest/event", Some(&rejected)).await.unwrap();
    assert_eq!(refused.status, 400);
    run.send(json!([begin("c", "never ends")])).await;
    run.end("FAILED").await;

    let report = get(&organization.member, &run.path("/completeness")).await["data"].clone();
    assert_eq!(report["complete"], false);
    assert_eq!(
        report["reasons"],
        json!([
            "batches-rejected",
            "events-rejected",
            "events-cut",
            "begun-without-end",
            "ended-without-begin"
        ])
    );
    let batches = json!({"received": 4, "stored": 3, "replayed": 0, "rejected": 1, "refusedByTier": 0, "refusedByPressure": 0});
    assert_eq!(report["batches"], batches);
    assert_eq!(report["events"], json!({"received": 6, "stored": 5, "cut": 1, "rejected": 1}));
    let tests = json!({"results": 2, "resultsDropped": 0, "failedAttempts": 1, "begunWithoutEnd": 1, "endedWithoutBegin": 1});
    assert_eq!(report["tests"], tests);
    assert!(
        report["bytes"]["received"].as_u64().unwrap() > 18_000
            && report["bytes"]["log"].as_u64().unwrap() > 17_000,
        "{report}"
    );
    assert_eq!(
        (&report["logCapHit"], &report["resultsCapHit"], &report["orphaned"]),
        (&json!(false), &json!(false), &json!(false))
    );
    let shown = get(&organization.member, &run.path("")).await["data"]["execution"]["completeness"].clone();
    assert_eq!(shown, report, "the document carries the same");
}

#[tokio::test]
async fn another_organizations_run_is_no_run() {
    let stage = Stage::start().await;
    let (one, other) = (stage.organization("rosa").await, stage.organization("amir").await);
    let run = finished(&one, json!({})).await;
    assert_eq!(list(&other, "").await["total"], 0);
    assert_eq!(list(&other, &format!("?projectId={}", one.project)).await["total"], 0);
    for path in ["", "/status", "/logs", "/logs?from=0", "/tests", "/completeness", "/live"] {
        let foreign = try_get(&other.member, &run.path(path)).await;
        let unknown = try_get(&other.member, &format!("/api/executions/ingest-1-nothing{path}")).await;
        assert_eq!(
            (foreign.status.as_u16(), &foreign.body["error"]),
            (404, &json!("Execution not found")),
            "{path}"
        );
        assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body), "{path}");
    }
    for strange in ["%00", "..%2F..", "a%20b", "%F0%9F%95%AF", "grouped-not", &"x".repeat(2_000)] {
        let answer = try_get(&one.member, &format!("/api/executions/{strange}")).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["error"]),
            (404, &json!("Execution not found")),
            "{strange}"
        );
    }
}

#[tokio::test]
async fn every_read_wants_a_credential_and_names_a_bad_date() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = finished(&organization, json!({})).await;
    let (client, key) = (stage.client(), HeaderName::from_static("x-api-key"));
    let paths = ["", "/status", "/logs", "/tests", "/completeness", "/live"].map(|path| run.path(path));
    for path in paths.iter().map(String::as_str).chain(["/api/executions"]) {
        let check = async |client: Client, error: &str| {
            let answer = try_get(&client, path).await;
            assert_eq!((answer.status.as_u16(), &answer.body["error"]), (401, &json!(error)), "{path}");
        };
        check(client.clone(), "Authentication required").await;
        check(with_header(&client, key.clone(), "pk_live_0000"), "Invalid API key").await;
        check(with_header(&organization.member, key.clone(), "pk_live_0000"), "Invalid API key").await;
        check(with_header(&client, http::header::AUTHORIZATION, "Bearer nonsense"), "Invalid token").await;
        check(
            with_header(&client, http::header::AUTHORIZATION, &format!("Bearer {}", organization.key)),
            "Invalid token",
        )
        .await;
    }
    for (query, error) in [
        ("?startAfter=soon", "Invalid startAfter"),
        ("?startBefore=2026-02-30", "Invalid startBefore"),
        ("?startAfter=2026-03-20T10:00:00", "Invalid startAfter"),
    ] {
        let answer = try_get(&organization.member, &format!("/api/executions{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["error"]), (400, &json!(error)), "{query}");
        assert_eq!(answer.body["success"], false);
    }
}

#[tokio::test]
async fn everything_reads_the_same_after_a_restart() {
    let mut stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let over = finished(&organization, json!({"groupName": "Nightly"})).await;
    let open = organization.open().await;
    open.send(json!([begin("a", "adds"), log("one 🕯"), end("a", "skipped")])).await;
    let mut paths = vec!["/api/executions".to_owned()];
    for run in [&over, &open] {
        paths.extend(
            ["", "/status", "/logs", "/logs?from=3&limit=7", "/tests", "/completeness"]
                .map(|path| run.path(path)),
        );
    }
    let mut before = Vec::new();
    for path in &paths {
        before.push(get(&organization.member, path).await);
    }
    stage.restart().await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(get(&organization.member, path).await, before, "{path}");
    }
    open.log("two").await;
    let text = get(&organization.member, &open.path("/logs")).await["data"]["output"].clone();
    assert_eq!(text, "▶ RUNNING  adds\none 🕯\n– SKIPPED  a (12ms)\ntwo\n");
}
