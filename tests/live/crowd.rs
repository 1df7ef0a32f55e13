//! An organization with very many runs at once.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::channel::transports;
use crate::support::line::Line;
use crate::support::reports::{Run, Site};
use crate::support::viewers::StockViewers;

const RUNS: usize = 200;
/// Requests at the same time.
const SENDERS: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_runs_at_once_reach_viewers_whole_over_a_bad_line() {
    let site = Site::start().await;
    let org = &site.org("alice").await;
    let line = Line::to(url::Url::parse(&site.url).unwrap().port().unwrap(), 200).await;
    let wanted: Vec<_> = transports()
        .into_iter()
        .map(|transports| json!({ "token": org.token, "transports": transports }))
        .collect();
    let mut viewers = StockViewers::start(&line.url, &wanted);
    viewers.until_welcome().await;
    let runs: Vec<Run> =
        stream::iter(0..RUNS).map(|_| org.set_up()).buffer_unordered(SENDERS).collect().await;
    line.storm(true);
    // Until the weather has done something; it depends on the machine how long that takes.
    for round in (0..100).take_while(|round| *round < 6 || line.cuts() <= 8) {
        let print = |(n, run)| async move {
            let chunk =
                format!("run {n} round {round} 😀 \"é\" {}", "z".repeat((n * 37 + round * 131) % 700));
            org.print(run, &chunk).await;
        };
        stream::iter(runs.iter().enumerate()).for_each_concurrent(SENDERS, print).await;
    }
    line.storm(false);
    let texts: BTreeMap<String, String> = stream::iter(&runs)
        .map(|run| async {
            org.tear_down(run, "PASSED").await;
            (run.task.clone(), org.logs(&run.task).await)
        })
        .buffer_unordered(SENDERS)
        .collect()
        .await;
    assert_eq!(texts.len(), RUNS);
    let all: Vec<_> = (0..wanted.len()).map(|viewer| (viewer, &texts)).collect();
    viewers.until_complete(&all).await;
    viewers
        .until("the end of every run", |seen| {
            seen.iter().all(|one| texts.keys().all(|task| one.statuses.get(task) == Some(&json!("PASSED"))))
        })
        .await;
    for one in viewers.seen().await {
        one.must_have(&texts);
        assert_eq!(one.recovered + 1, one.connects, "{:?}", one.reasons);
    }
    assert!(line.cuts() > 8, "{}", line.cuts());
}
