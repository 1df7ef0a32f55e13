//! Limits that many requests reach at once, and the one of storage: what is counted and what is made are one step.

use futures_util::future::join_all;
use runstream::domain::plan::Plan;
use serde_json::json;

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, Ask, Site, unlimited};
use crate::support::{cql, long_mode};

on_each_store_beneath! {
    of_racing_setups_exactly_as_many_win_as_the_plan_has_runs,
    of_racing_keys_exactly_fifty_are_made,
}

/// Requests at once, more than any of these limits.
const AT_ONCE: usize = 60;
const LIMIT: usize = 50;

/// How often so many race; each of the requests with all the others.
fn bursts(beneath: &Beneath) -> usize {
    match (beneath.is_scylla(), long_mode()) {
        (false, true) => 200,
        (false, false) => 4,
        (true, true) => 10,
        (true, false) => 1,
    }
}

async fn site(beneath: &Beneath, plan: Plan) -> Site {
    Site::start_with(|settings| {
        beneath.choose(settings);
        unlimited(settings);
        settings.engine.plan = plan;
    })
    .await
}

/// Who is told that others were there at the same time asks again, until there is an answer.
async fn settled(asked: Ask<'_>) -> Answer {
    loop {
        let answer = asked.clone().send().await;
        if answer.status != 503 {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Sends them all at once: `LIMIT` are 201, the others this failure.
async fn check_race(asked: Vec<Ask<'_>>, failure: (u16, &str)) {
    let answers = join_all(asked.into_iter().map(settled)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((won.len(), lost.len()), (LIMIT, AT_ONCE - LIMIT), "{lost:?}");
    for answer in lost {
        assert_eq!(answer.failure(), (failure.0, failure.1.to_owned()));
    }
}

async fn of_racing_setups_exactly_as_many_win_as_the_plan_has_runs(beneath: &Beneath) {
    let site = site(beneath, Plan::Free).await;
    for race in 0..bursts(beneath) {
        let rosa = site.sign_up(&format!("rosa-{race}")).await;
        let (project, key) = (site.project(&rosa, "Web Shop").await, site.key(&rosa).await);
        let setup = json!({ "projectId": project, "framework": "playwright", "reporterVersion": "1", "totalTests": 1 });
        let asked = (0..AT_ONCE).map(|_| site.post("/api/ingest/setup").key(&key).json(&setup)).collect();
        check_race(asked, (429, "Test run limit exceeded")).await;
        let usage = site.get("/api/organization/usage").token(&rosa.token).send().await.expect(200);
        assert_eq!(usage["usage"]["testRuns"]["used"], LIMIT);
    }
}

async fn of_racing_keys_exactly_fifty_are_made(beneath: &Beneath) {
    let site = site(beneath, Plan::Enterprise).await;
    for race in 0..bursts(beneath) {
        let rosa = site.sign_up(&format!("rosa-{race}")).await;
        let asked = (0..AT_ONCE).map(|_| site.post("/api/auth/api-keys").token(&rosa.token)).collect();
        check_race(asked, (409, "API key limit reached")).await;
        let keys = site.get("/api/auth/api-keys").token(&rosa.token).send().await.expect(200);
        assert_eq!(keys["data"].as_array().unwrap().len(), LIMIT);
    }
}

/// The plan's half gibibyte is put there by hand, as rows of settled runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn used_up_storage_refuses_the_next_run_and_nothing_that_runs() {
    let beneath = Beneath::scylla().await;
    let Beneath::Scylla(keyspace) = &beneath else { unreachable!("it was just made") };
    let site = site(&beneath, Plan::Free).await;
    let rosa = site.sign_up("rosa").await;
    let (project, key) = (site.project(&rosa, "Web Shop").await, site.key(&rosa).await);
    let setup =
        json!({ "projectId": project, "framework": "playwright", "reporterVersion": "1", "totalTests": 1 });
    let set_up = async || site.post("/api/ingest/setup").key(&key).json(&setup).send().await;
    let open = set_up().await.expect(201)["data"].clone();
    let max: i64 = 524_288_000;
    let plant = async |bytes: i64| {
        let org = rosa.user["organizationId"].as_str().unwrap();
        let task = open["taskId"].as_str().unwrap().into();
        let run = site.store().execution_by_task(site.stored(&rosa).await.org, &task).await;
        let run = run.unwrap().unwrap();
        let window = run.start_ms.div_euclid(30 * 24 * 3_600 * 1_000);
        let statement = format!(
            "UPDATE {}.run_by_start SET stored_bytes = {bytes} WHERE org = 0x{org} AND time_window = {window} \
             AND start_ms = {} AND execution = 0x{}",
            keyspace.keyspace, run.start_ms, run.id
        );
        cql::administer(keyspace, &[&statement]).await;
        let org = site.stored(&rosa).await.org;
        assert_eq!(site.store().recount_storage(org).await, Ok(bytes.unsigned_abs()));
    };
    plant(max - 1).await;
    assert_eq!(set_up().await.status, 201, "a byte is left");
    plant(max).await;
    let refused = set_up().await;
    assert_eq!(refused.header("retry-after"), None);
    let expected = json!({
        "success": false, "error": "Storage limit exceeded", "upgradeUrl": "/settings?tab=billing",
        "message": format!("{max} of {max} bytes of storage used"),
        "usage": { "used": max, "limit": max, "percentUsed": 100 },
    });
    assert_eq!(refused.expect(429), expected);
    // What runs goes on.
    let events = json!({ "sessionId": open["sessionId"], "events": [{ "type": "log", "chunk": "x", "timestamp": 1 }] });
    assert_eq!(site.post("/api/ingest/event").key(&key).json(&events).send().await.status, 200);
    let summary = json!({ "total": 1, "passed": 1, "failed": 0, "skipped": 0, "duration": 5 });
    let teardown = json!({ "sessionId": open["sessionId"], "status": "PASSED", "summary": summary });
    assert_eq!(site.post("/api/ingest/teardown").key(&key).json(&teardown).send().await.status, 200);
}
