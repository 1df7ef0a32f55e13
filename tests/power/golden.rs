//! Journals as each version of their records wrote them: they must still read. If it does not, stored data would be lost.

use std::path::Path;

use runstream::domain::batch::TestStatus::Failed;
use runstream::domain::execution::Status;
use runstream::fs::Fs;
use runstream::store::contract::{Executions, FeedLog, RunState};

use super::open;
use super::world::World;

const TEXT: &str = "größe 🦀\n▶ RUNNING  adds\n✔ PASSED   t (7ms)\nlate\n";

/// What of the sample is in the feed: number, whether it is an update.
type Rows = [(u64, bool)];

async fn check(version: u8, rows: &Rows) {
    let golden = format!("{}/tests/golden/journal.v{version}.hex", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(golden).unwrap();
    let (pairs, _) = golden.trim().as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());

    let world = World::new(None);
    world.create_dir_all(Path::new("/data/journal")).unwrap();
    let path = Path::new("/data/journal/0000000001.journal");
    world.create(path).unwrap();
    world.overwrite(path, bytes.collect());
    let store = open(&world).unwrap();
    let report = store.recovery();
    assert!(report.clean && report.damaged.is_empty() && report.repaired == 0, "{report:?}");

    let runs = store.unsettled_runs().await.unwrap();
    assert_eq!((runs.len(), runs[0].state, runs[0].epoch), (1, RunState::Closed, 1));
    let (org, id) = (runs[0].org, runs[0].execution);
    assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, TEXT);
    let results = store.all_results(org, id).await.unwrap();
    assert_eq!((results.len(), results[0].status, results[0].name.as_deref()), (1, Failed, Some("adds")));
    let segments = store.segments(org, id, (0, 0), usize::MAX).await.unwrap();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[1].batches[0].receipt.body_bytes, 99);
    let execution = store.execution(org, id).await.unwrap().unwrap();
    assert_eq!((execution.status, execution.ingest.framework.as_str()), (Status::Passed, "playwright"));
    let closure = store.closure(org, id).await.unwrap().unwrap();
    assert_eq!((closure.revision, closure.feed_seq), (1, rows.last().map_or(0, |row| row.0)));

    let told = store.feed_rows(org, 0, usize::MAX).await.unwrap();
    assert_eq!(told.iter().map(|row| (row.seq, row.updated)).collect::<Vec<_>>(), rows);
    assert_eq!(store.feed_head(org).await, Ok(closure.feed_seq));
    let bytes: u64 = told.iter().map(|row| row.end.1 - row.start.1).sum();
    assert_eq!(bytes, if rows.is_empty() { 0 } else { TEXT.len() as u64 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_of_the_first_version_still_reads() {
    check(1, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_with_numbers_of_the_feed_still_reads() {
    check(2, &[(3, true), (1 << 33, true), ((1 << 33) + 1, false), ((1 << 33) + 4, true)]).await;
}
