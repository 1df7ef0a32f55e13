//! A real Chromium: two tabs with one token and the default transports, whose browser goes offline and whose server is
//! killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::restarts::report;
use crate::crash::process::Deployment;
use crate::support::line::Line;
use crate::support::long_mode;
use crate::support::viewers::StockViewers;

/// All of it; a browser that hangs must not hold up everything else.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_of_chromium_end_with_exactly_the_text() {
    tokio::time::timeout(PATIENCE, watch_with_two_tabs()).await.expect("it comes to an end");
}

async fn watch_with_two_tabs() {
    let mut deployment = Deployment::start().await;
    let account = deployment.sign_up().await;
    let line = Line::to(deployment.port(), 7).await;
    let options = json!({ "url": line.url, "token": account.token, "tabs": 2 });
    let mut tabs = StockViewers::of_script("tabs.mjs", &options);
    tabs.until_welcome().await;
    tabs.until("both to be upgraded", |seen| seen.iter().all(|one| one.transport == "websocket")).await;

    let stop = Arc::new(AtomicBool::new(false));
    let reporters: Vec<_> =
        (0..2).map(|name| tokio::spawn(report(account.clone(), name, Arc::clone(&stop)))).collect();
    // Bad weather on top of it in the long mode.
    let rounds: &[u8] = if long_mode() { &[0, 1, 2, 3] } else { &[0, 2] };
    for round in rounds {
        println!("round {round}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        match round {
            // Both at once: the server dies while the browser is away.
            0 | 2 => tabs.order(0, json!({ "do": "offline", "offline": true })).await,
            _ => line.storm(true),
        }
        if *round > 0 {
            deployment.kill().await;
            println!("killed");
            deployment.restart().await;
            deployment.until_healthy().await;
            println!("healthy again");
        } else {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        tabs.order(0, json!({ "do": "offline", "offline": false })).await;
        line.storm(false);
    }
    stop.store(true, Ordering::SeqCst);
    let mut texts = BTreeMap::new();
    for reporter in reporters {
        let task = reporter.await.unwrap();
        let logs = account.get(&format!("/api/executions/{task}/logs")).await;
        texts.insert(task, logs["data"]["output"].as_str().unwrap().to_owned());
    }
    assert!(texts.values().all(|text| text.len() > 5_000), "too little was printed to mean anything");
    for one in tabs.until_complete(&[(0, &texts), (1, &texts)]).await {
        one.must_have(&texts);
        assert_eq!(one.recovered + 1, one.connects, "{:?}", one.reasons);
        assert!(one.connects >= 2, "{:?}", one.reasons);
    }
    deployment.terminate().await;
}
