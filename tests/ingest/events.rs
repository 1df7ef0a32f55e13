//! Event batches: odd events cost themselves only, and what is stored is what was sent. Source: API reference, ingest 3;
//! product E4 to E6.

use std::time::Duration;

use runstream::domain::role::Role;
use serde_json::{Value, json};

use super::site::{Reporter, Run, Site, end, log};

async fn ready() -> (Site, Reporter, Run) {
    let site = Site::start().await;
    let reporter = site.reporter(Role::Developer).await;
    let run = site.set_up(&reporter).await;
    (site, reporter, run)
}

#[tokio::test]
async fn a_batch_is_stored_as_the_contract_shows() {
    let (site, reporter, run) = ready().await;
    let id = "8c1f0a7be2d94c30aa11-5e7d90b3c2f14a68d0e2";
    let events = [
        json!({ "type": "test-begin", "testId": id, "title": "  › chromium › cart.spec.ts › adds an item",
                "file": "cart.spec.ts", "timestamp": 1 }),
        log("cart total is 3\n"),
        json!({ "type": "test-end", "testId": id, "status": "failed", "duration": 4211, "timestamp": 2,
                "error": "expect(received).toBe(expected)" }),
        json!({ "type": "test-end", "testId": id, "status": "passed", "duration": 1987, "timestamp": 3 }),
    ];
    site.events(&reporter, &run, &events).await.accepted();
    let expected = "▶ RUNNING    › chromium › cart.spec.ts › adds an item\n\
                    cart total is 3\n\
                    ✘ FAILED   8c1f0a7be2d94c30aa11-5e7d90b3c2f14a68d0e2 (4211ms)\n\
                    \u{20} Error: expect(received).toBe(expected)\n\
                    ✔ PASSED   8c1f0a7be2d94c30aa11-5e7d90b3c2f14a68d0e2 (1987ms)\n";
    assert_eq!(site.log(&reporter, &run).await, expected);
}

#[tokio::test]
async fn what_was_cut_or_skipped_is_told() {
    let (site, reporter, run) = ready().await;
    let events = [
        log("fine"),
        json!({ "type": "test-end", "testId": "a", "status": "failed", "error": "e".repeat(9000) }),
        json!({ "type": "unheard-of" }),
    ];
    let answer = site.events(&reporter, &run, &events).await;
    let data = json!({ "accepted": 2, "truncated": 1, "rejected": 1 });
    assert_eq!((answer.status, &answer.body), (200, &json!({ "success": true, "data": data })));
    let found = site.completeness(&reporter, &run).await;
    assert_eq!((found.events_stored, found.events_cut, found.events_rejected), (2, 1, 1));
}

#[tokio::test]
async fn a_batch_of_nothing_usable_is_refused_and_counted() {
    let (site, reporter, run) = ready().await;
    let answer = site.events(&reporter, &run, &[json!({}), json!(5), json!({ "type": "log" })]).await;
    answer.refused(400, "Invalid event batch");
    let fields: Vec<_> =
        (0..3).map(|index| answer.body["details"][index]["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["events[0].type", "events[1]", "events[2].chunk"]);
    assert_eq!(site.completeness(&reporter, &run).await.batches_rejected, 1);
    assert_eq!(site.log(&reporter, &run).await, "");
}

#[tokio::test]
async fn a_thousand_events_are_taken_and_one_more_is_not() {
    let (site, reporter, run) = ready().await;
    site.events(&reporter, &run, &vec![log("x"); 1000]).await.accepted();
    site.events(&reporter, &run, &vec![log("y"); 1001]).await.refused(400, "Invalid event batch");
    site.events(&reporter, &run, &[]).await.refused(400, "Invalid event batch");
    assert_eq!(site.log(&reporter, &run).await, "x\n".repeat(1000));
}

#[tokio::test]
async fn a_bad_envelope_is_told_what_is_wrong() {
    let (site, reporter, run) = ready().await;
    for (body, field) in [
        (json!([]), ""),
        (json!({ "events": [log("x")] }), "sessionId"),
        (json!({ "sessionId": 7, "events": [log("x")] }), "sessionId"),
        (json!({ "sessionId": run.session }), "events"),
        (json!({ "sessionId": run.session, "events": { "0": log("x") } }), "events"),
    ] {
        let answer = site.post(&reporter, "event", &body).await;
        answer.refused(400, "Invalid event batch");
        assert_eq!(answer.body["details"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn odd_text_arrives_as_javascript_would_read_it() {
    let (site, reporter, run) = ready().await;
    for (sent, stored) in [
        (r"nul \u0000 in text", "nul \0 in text\n"),
        (r"\ud83d\ude00 pair", "😀 pair\n"),
        (r"lone \ud83d half", "lone \u{fffd} half\n"),
        (r"\udc00", "\u{fffd}\n"),
        (r"\\ud83d no escape", "\\ud83d no escape\n"),
        (r"colours \u001b[31mred\u001b[0m\n", "colours \u{1b}[31mred\u{1b}[0m\n"),
        ("漢字 raw", "漢字 raw\n"),
    ] {
        let run = site.set_up(&reporter).await;
        let body =
            format!(r#"{{"sessionId":"{}","events":[{{"type":"log","chunk":"{sent}"}}]}}"#, run.session);
        site.post_text(&reporter.key, "event", &body).await.accepted();
        assert_eq!(site.log(&reporter, &run).await, stored, "{sent}");
    }
    let twice = format!(
        r#"{{"sessionId":"x","events":[],"sessionId":"{}","events":[{{"type":"log","chunk":"a","chunk":"b","timestamp":1e999}}]}}"#,
        run.session
    );
    site.post_text(&reporter.key, "event", &twice).await.accepted();
    assert_eq!(site.log(&reporter, &run).await, "b\n");
}

#[tokio::test]
async fn numbers_of_any_size_are_survived() {
    let (site, reporter, run) = ready().await;
    for number in ["1e999", "-1e999", "1e-999", "0.1e1", "123456789012345678901234567890", "-0", "4.9e-324"] {
        let body = format!(
            r#"{{"sessionId":"{}","huge":{number},"events":[{{"type":"test-end","testId":"{number}","status":"passed","duration":{number},"timestamp":{number}}}]}}"#,
            run.session
        );
        site.post_text(&reporter.key, "event", &body).await.accepted();
    }
    assert_eq!(site.completeness(&reporter, &run).await.results, 7);
}

#[tokio::test]
async fn a_long_chunk_is_kept_and_a_huge_one_is_marked() {
    let (site, reporter, run) = ready().await;
    site.events(&reporter, &run, &[log(&"k".repeat(100_000))]).await.accepted();
    let answer = site.events(&reporter, &run, &[log(&"h".repeat((1 << 20) + 1))]).await;
    assert_eq!(answer.body["data"]["truncated"], 1);
    let expected = format!("{}\n{}…[truncated]\n", "k".repeat(100_000), "h".repeat(1 << 20));
    assert!(site.log(&reporter, &run).await == expected);
}

#[tokio::test]
async fn a_batch_number_is_recognised_and_the_same_bytes_are_too() {
    let (site, reporter, run) = ready().await;
    let numbered = |n: u64, chunk: &str| json!({ "sessionId": run.session, "batch": format!("00c0ffee:{n}"), "events": [log(chunk)] });
    site.post(&reporter, "event", &numbered(1, "one")).await.accepted();
    // The number tells, whatever is under it, and without a bound in time.
    site.advance(Duration::from_secs(3600));
    site.post(&reporter, "event", &numbered(1, "again")).await.accepted();
    site.post(&reporter, "event", &numbered(2, "two")).await.accepted();
    // Without a number the bytes tell, for half a minute; at once they are two batches.
    site.events(&reporter, &run, &[log("tick")]).await.accepted();
    site.events(&reporter, &run, &[log("tick")]).await.accepted();
    site.advance(Duration::from_secs(2));
    site.events(&reporter, &run, &[log("tick")]).await.accepted();
    assert_eq!(site.log(&reporter, &run).await, "one\ntwo\ntick\ntick\n");
    assert_eq!(site.completeness(&reporter, &run).await.batches_replayed, 2);
}

#[tokio::test]
async fn what_comes_with_a_test_is_stored_without_its_secrets() {
    let (site, reporter, run) = ready().await;
    let mut event: Value = end("a", "failed");
    event["runtimeContext"] =
        json!({ "failureUrl": "https://bob:pw@shop.test/?token=abc&page=2", "unknown": 1 });
    event["attempt"] = json!(0);
    event["tags"] = json!(["smoke"]);
    site.events(&reporter, &run, &[event]).await.accepted();
    let execution = site.store.execution_by_task(reporter.org, &run.task).await.unwrap().unwrap();
    let results = site.store.results(reporter.org, execution.id, 0, 10).await.unwrap();
    let context: Value = serde_json::from_str(results[0].runtime_context.as_deref().unwrap()).unwrap();
    assert_eq!(context, json!({ "failureUrl": "https://shop.test/?token=****&page=2" }));
    let extra: Value = serde_json::from_str(results[0].extra.as_deref().unwrap()).unwrap();
    assert_eq!(extra, json!({ "attempt": 0, "tags": ["smoke"] }));
}
