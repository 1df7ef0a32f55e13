//! From durable text to one frame: what the feed costs per published piece of log text, and what turning a frame into
//! JSON costs. One tick of a busy run is tens of pieces; merging them is what makes fan-out cheap.
//!
//! On the back of an envelope: a piece is a lock, a map look-up and a push, some 100 ns; a frame of 20 lines is one copy
//! of 2 KB and one pass of escaping at about 1 GB/s, some 2 to 3 µs.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use runstream::actors::feed::{Appended, Delivery, Feed, Telling, Window};
use runstream::domain::id::{ExecutionId, OrgId, TaskId};
use runstream::fs::OsFs;
use runstream::store::lsm::{LsmSettings, LsmStore};
use tokio::runtime::Runtime;

/// A line as test runners print them: colours, a path, a time.
const LINE: &str = "\u{1b}[2mapi\u{1b}[22m \u{1b}[36mGET   \u{1b}[39m /cart/items?sku=TEE-001 \u{1b}[32m200\u{1b}[39m \u{1b}[2m12.4 ms\u{1b}[22m\n";

/// Takes windows and drops them, or nobody at all.
struct Sink {
    watched: bool,
}

impl Delivery for Sink {
    fn has_viewers(&self, _org: OrgId) -> bool {
        self.watched
    }

    fn sealed(&self, _org: OrgId, window: &Arc<Window>) {
        black_box(window);
    }
}

/// A feed over a store that is asked once where the numbering stands.
fn feed(runtime: &Runtime, data: &Path, watched: bool) -> Feed {
    let store = runtime.block_on(LsmStore::open(LsmSettings::at(data), Arc::new(OsFs)));
    let store = Arc::new(store.expect("a new folder takes a store"));
    Feed::new(OrgId::from_bytes([7; 12]), store, Arc::new(Sink { watched }))
}

/// Publishes `pieces` lines of one run and hands over the window they make.
async fn publish(feed: &Feed, task: &TaskId, pieces: usize) {
    let text = Bytes::from_static(LINE.as_bytes());
    let execution = ExecutionId::from_bytes([8; 12]);
    for piece in 0..pieces {
        let at = |piece: usize| ((piece * LINE.len()) as u64, (piece * LINE.len()) as u64);
        let Ok(ticket) = feed.reserve().await else { return };
        let appended = Appended { execution, start: at(piece), end: at(piece + 1), updated: false };
        ticket.appended(&appended, || {
            Some(Telling { task: task.clone(), text: [text.clone()].into_iter().collect(), body: None })
        });
    }
    feed.flush().await;
}

fn merging(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let Ok(runtime) = runtime else { return };
    let task = TaskId::from("ingest-1774000000123-b1d6c0f2");
    let mut group = criterion.benchmark_group("feed");
    for pieces in [1, 20, 200] {
        group.throughput(Throughput::ElementsAndBytes {
            elements: pieces as u64,
            bytes: (pieces * LINE.len()) as u64,
        });
        for (name, watched) in [("watched", true), ("unwatched", false)] {
            let Ok(data) = tempfile::tempdir() else { return };
            let feed = feed(&runtime, data.path(), watched);
            group.bench_with_input(BenchmarkId::new(name, pieces), &pieces, |bencher, &pieces| {
                bencher.to_async(&runtime).iter(|| publish(&feed, &task, pieces));
            });
        }
    }
    group.finish();
}

/// The payload of `execution-log`.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    task_id: &'a str,
    log: &'a str,
    offset: u64,
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for lines in [1, 20, 200] {
        let text = LINE.repeat(lines);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("execution-log", lines), &text, |bencher, text| {
            let event = Event { task_id: "ingest-1774000000123-b1d6c0f2", log: text, offset: 1 << 20 };
            bencher.iter(|| serde_json::to_string(&("execution-log", black_box(&event))));
        });
    }
    group.finish();
}

criterion_group!(benches, merging, encoding);
criterion_main!(benches);
