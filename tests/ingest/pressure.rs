//! The byte budget: waiting before refusing, a retry time with every refusal, the loss known to its run, and neighbours
//! left alone.

use std::time::Duration;

use runstream::domain::role::Role;
use runstream::ingest::IngestSettings;
use serde_json::json;

use super::site::{Reporter, Run, Setting, Site, log};
use super::wire::Wire;

const BUDGET: usize = 1 << 20;

async fn ready(wait: Duration) -> Site {
    let ingest = IngestSettings { budget_bytes: BUDGET, budget_wait: wait, ..IngestSettings::default() };
    Site::start_with(Setting { ingest, ..Setting::default() }).await
}

/// A request that has announced `length` bytes and sends none of them yet.
async fn announced(site: &Site, reporter: &Reporter, length: usize) -> Wire {
    let mut wire = site.connect().await;
    let before = site.door.budget().used_bytes();
    let head = "POST /api/ingest/event HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    wire.send(
        format!("{head}\r\nx-api-key: {}\r\ncontent-length: {length}\r\n\r\n", reporter.key).as_bytes(),
    )
    .await;
    for _ in 0..2000 {
        if site.door.budget().used_bytes() > before {
            return wire;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing was taken from the budget");
}

fn padded(run: &Run, chunk: &str, length: usize) -> Vec<u8> {
    let mut body = json!({ "sessionId": run.session, "events": [log(chunk)] }).to_string().into_bytes();
    body.resize(length, b' ');
    body
}

#[tokio::test]
async fn without_room_a_request_is_refused_with_a_time_to_come_back_and_its_run_knows() {
    let site = ready(Duration::from_millis(100)).await;
    let reporter = site.reporter(Role::Developer).await;
    let run = site.set_up(&reporter).await;
    let slow = announced(&site, &reporter, 450_000).await;
    let answer = site.post_bytes(&reporter.key, "event", &[], &padded(&run, "x", 200_000)).await;
    answer.refused(503, "Service unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(site.completeness(&reporter, &run).await.batches_refused_pressure, 1);
    // Somebody else has room all the same: one organization holds at most half.
    let neighbour = site.reporter(Role::Developer).await;
    let other = site.set_up(&neighbour).await;
    site.post_bytes(&neighbour.key, "event", &[], &padded(&other, "y", 400_000)).await.accepted();
    drop(slow);
    for _ in 0..1000 {
        if site.door.budget().used_bytes() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    site.post_bytes(&reporter.key, "event", &[], &padded(&run, "x", 200_000)).await.accepted();
    assert_eq!(site.log(&reporter, &run).await, "x\n");
    assert_eq!(site.door.budget().used_bytes(), 0);
}

#[tokio::test]
async fn a_request_waits_for_room_before_it_is_refused() {
    let site = ready(Duration::from_secs(20)).await;
    let reporter = site.reporter(Role::Developer).await;
    let run = site.set_up(&reporter).await;
    let mut slow = announced(&site, &reporter, 450_000).await;
    let body = padded(&run, "waited", 200_000);
    let waiting = site.post_bytes(&reporter.key, "event", &[], &body);
    let first = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        slow.send(&padded(&run, "slow", 450_000)).await;
        slow.answer().await
    };
    let (waited, slow) = tokio::join!(waiting, first);
    waited.accepted();
    slow.accepted();
    assert_eq!(site.log(&reporter, &run).await, "slow\nwaited\n");
}
