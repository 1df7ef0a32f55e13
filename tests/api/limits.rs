//! Limits that many requests reach at once, and the one of storage: what is counted and what is made are one step.

use std::sync::Arc;

use futures_util::future::join_all;
use http::Method;
use runstream::clock::SystemClock;
use runstream::domain::plan::Plan;
use runstream::store::record;
use serde_json::json;

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, Ask, Site, unlimited};
use crate::support::stage::{Stage, get};
use crate::support::{cql, long_mode};

on_each_store_beneath! {
    of_racing_setups_exactly_as_many_win_as_the_plan_has_runs,
    of_racing_keys_exactly_fifty_are_made,
    used_up_storage_refuses_the_next_run_and_nothing_that_runs,
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

/// The first byte of the keys of the embedded store's rows that say how much is kept of a run.
const STORAGE_TABLE: u8 = 12;
/// The bytes that the free plan has room for.
const STORAGE_MAX: u64 = 524_288_000;

async fn used_up_storage_refuses_the_next_run_and_nothing_that_runs(beneath: &Beneath) {
    let mut stage = Stage::start_with(Arc::new(SystemClock), |settings| {
        beneath.choose(settings);
        settings.engine.plan = Plan::Free;
    })
    .await;
    let rosa = stage.organization("rosa").await;
    let setup = json!({
        "projectId": rosa.project, "framework": "playwright", "reporterVersion": "1", "totalTests": 1,
    });
    let set_up = async || rosa.reporter.call(Method::POST, "/api/ingest/setup", Some(&setup)).await.unwrap();
    let run = rosa.open().await;
    keep(beneath, &mut stage, &run.task, STORAGE_MAX - 1).await;
    assert_eq!(set_up().await.status, 201, "a byte is left");
    keep(beneath, &mut stage, &run.task, STORAGE_MAX).await;
    let refused = set_up().await;
    assert_eq!((refused.status.as_u16(), refused.headers.get("retry-after")), (429, None));
    let expected = json!({
        "success": false, "error": "Storage limit exceeded", "upgradeUrl": "/settings?tab=billing",
        "message": format!("{STORAGE_MAX} of {STORAGE_MAX} bytes of storage used"),
        "usage": { "used": STORAGE_MAX, "limit": STORAGE_MAX, "percentUsed": 100 },
    });
    assert_eq!(refused.body, expected);
    let usage = &get(&rosa.member, "/api/organization/usage").await["usage"];
    assert_eq!(usage["storage"], json!({ "usedBytes": STORAGE_MAX, "limitBytes": STORAGE_MAX }));
    assert_eq!(usage["testRuns"]["used"], 2, "what is refused takes no place");
    // What runs goes on.
    run.log("still here").await;
    assert_eq!(run.end("PASSED").await.status, 200);
    stage.stop().await;
}

/// Makes the store keep so many bytes of `task`'s run, by hand: as the row of a settled run.
async fn keep(beneath: &Beneath, stage: &mut Stage, task: &str, bytes: u64) {
    let store = Arc::clone(stage.store());
    let org = store.user_by_email("rosa@pinewood.test").await.unwrap().unwrap().org;
    let run = store.execution_by_task(org, &task.into()).await.unwrap().unwrap();
    drop(store);
    match beneath {
        Beneath::Lsm => {
            stage.stop().await;
            let key = [&[STORAGE_TABLE], org.as_bytes().as_slice(), run.id.as_bytes()].concat();
            let database = fjall::Database::builder(stage.folder().join("lsm")).open().unwrap();
            let rows = database.keyspace("runs", fjall::KeyspaceCreateOptions::default).unwrap();
            rows.insert(key, record::encode(&bytes).unwrap()).unwrap();
            database.persist(fjall::PersistMode::SyncAll).unwrap();
            drop((rows, database));
            stage.resume().await;
            assert_eq!(stage.store().storage_used(org).await, Ok(bytes));
        }
        Beneath::Scylla(keyspace) => {
            let window = run.start_ms.div_euclid(30 * 24 * 3_600 * 1_000);
            let statement = format!(
                "UPDATE {}.run_by_start SET stored_bytes = {bytes} WHERE org = 0x{org} AND \
                 time_window = {window} AND start_ms = {} AND execution = 0x{}",
                keyspace.keyspace, run.start_ms, run.id
            );
            cql::administer(keyspace, &[&statement]).await;
            assert_eq!(stage.store().recount_storage(org).await, Ok(bytes));
        }
    }
}
