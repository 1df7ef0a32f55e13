//! What durability costs, on the real disk of the machine.
//!
//! Back of the envelope: an fdatasync takes 0.2-0.9 ms here. One caller can so append at most one to five thousand times
//! a second; 64 callers that share each sync, up to 64 times as often. Reading the journal back is one pass of CRC-32
//! over the bytes, so start-up should stay near reading and checksumming the same files.
//!
//! `RUNSTREAM_BENCH_JOURNAL_MIB=1024 cargo bench --bench journal -- recovery` measures a journal of 1 GiB.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runstream::domain::batch::{Batch, Item, Receipt};
use runstream::domain::execution::{
    Cycle, Execution, IngestMeta, ItemStatus, Session, SessionStatus, Source, Status,
};
use runstream::domain::id::{CycleId, ExecutionId, OrgId, ProjectId, SessionId, TaskId, UserId};
use runstream::domain::segment::{Position, Refusals, Segment, SegmentBatch};
use runstream::fs::OsFs;
use runstream::store::contract::{Executions as _, OpenedRun, Store as _};
use runstream::store::lsm::{LsmSettings, LsmStore};
use tokio::runtime::Runtime;

/// Bytes of text in one segment: about a hundred events.
const TEXT_BYTES: usize = 8 << 10;

fn opened() -> OpenedRun {
    let (session, org, project) = (SessionId::generate(), OrgId::generate(0), ProjectId::generate(0));
    let (id, cycle, task_id) =
        (ExecutionId::generate(0), CycleId::generate(0), TaskId::of_ingest(0, session));
    let item = uuid::Uuid::new_v4();
    let execution = Execution {
        id,
        task_id: task_id.clone(),
        org,
        project,
        status: Status::Running,
        source: Source::ExternalCi,
        image: "external-ci".into(),
        command: "playwright (external reporter)".into(),
        folder: "all".into(),
        start_ms: 0,
        end_ms: None,
        environment: "production".into(),
        env_vars: std::collections::BTreeMap::new(),
        trigger: "webhook".into(),
        group_name: None,
        cycle,
        cycle_item: item,
        ingest: IngestMeta {
            session,
            reporter_version: "1".into(),
            framework: "playwright".into(),
            total_tests: 1,
            ci_context: None,
        },
        completeness: None,
        deleted_ms: None,
    };
    let cycle = Cycle {
        id: cycle,
        org,
        project,
        name: "bench".into(),
        completed: false,
        ci_context: None,
        item,
        item_title: "bench".into(),
        item_status: ItemStatus::Running,
        task_id: task_id.clone(),
        total: 1,
        passed: 0,
        failed: 0,
        created_ms: 0,
        created_by: UserId::generate(0),
    };
    let session = Session {
        id: session,
        org,
        project,
        project_name: "bench".into(),
        execution: id,
        task_id,
        status: SessionStatus::Running,
        framework: "playwright".into(),
        reporter_version: "1".into(),
        total_tests: 1,
        start_ms: 0,
        end_ms: None,
        expires_ms: 0,
        final_summary: None,
        delivery: None,
        answered: None,
    };
    OpenedRun { execution, cycle, session, feed_seq: 0 }
}

/// A run that is appended to.
struct Stream {
    next: Segment,
}

impl Stream {
    async fn open(store: &LsmStore) -> Self {
        let opened = opened();
        let (org, execution, session) = (opened.execution.org, opened.execution.id, opened.session.id);
        store.open_run(opened).await.expect("an empty store takes a run");
        let text = Bytes::from("x".repeat(TEXT_BYTES));
        let items =
            vec![Item::Log { test: None, stream: None, text_end: u32::try_from(TEXT_BYTES).unwrap_or(0) }];
        let text_units = TEXT_BYTES as u64;
        let batch = Batch {
            text,
            text_units,
            strings: Bytes::new(),
            items: items.into(),
            received: 100,
            truncated: 0,
            rejected: 0,
        };
        let receipt = Receipt { received_ms: 0, digest: 0, nonce: 0, body_bytes: 0, number: None };
        let (start, refusals) = (Position::default(), Refusals::default());
        let batches = vec![SegmentBatch { session, receipt, batch }];
        let next = Segment {
            org,
            execution,
            epoch: 1,
            seq: 1,
            start,
            batches,
            refusals,
            feed_seq: 1,
            is_update: false,
        };
        Self { next }
    }

    async fn append(&mut self, store: &LsmStore) {
        store.append(&self.next).await.expect("there is room");
        self.next.start = self.next.end();
        self.next.seq += 1;
        self.next.feed_seq += 1;
    }
}

fn open(runtime: &Runtime, data: &Path) -> Arc<LsmStore> {
    let opening = LsmStore::open(LsmSettings::at(data), Arc::new(OsFs));
    Arc::new(runtime.block_on(opening).expect("the folder holds a store or nothing"))
}

fn append(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("journal_append");
    for callers in [1_u64, 16, 64] {
        let data = tempfile::tempdir().expect("a temporary folder");
        let store = open(&runtime, data.path());
        let before = store.journal_counts();
        group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: TEXT_BYTES as u64 });
        group.bench_function(format!("{callers}_callers"), |bencher| {
            bencher.iter_custom(|appends| {
                let each = appends.div_ceil(callers);
                let streams = (0..callers).map(|_| Stream::open(&store));
                let streams = runtime.block_on(futures_util::future::join_all(streams));
                let began = Instant::now();
                let tasks = streams.into_iter().map(|mut stream| {
                    let store = Arc::clone(&store);
                    runtime.spawn(async move {
                        for _ in 0..each {
                            stream.append(&store).await;
                        }
                    })
                });
                runtime.block_on(futures_util::future::join_all(tasks.collect::<Vec<_>>()));
                // What was appended beyond the number asked for does not count.
                let appended = u32::try_from(each * callers).unwrap_or(u32::MAX);
                began.elapsed() / appended * u32::try_from(appends).unwrap_or(u32::MAX)
            });
        });
        let after = store.journal_counts();
        let per_sync = (after.records - before.records) as f64 / (after.syncs - before.syncs).max(1) as f64;
        println!("journal_append/{callers}_callers: {per_sync:.1} records a sync");
    }
    group.finish();
}

/// Reads and checksums the journal's files, as a program would that did nothing else.
fn read_and_checksum(dir: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).expect("the journal's folder").flatten() {
        let file = std::fs::read(entry.path()).expect("a journal file");
        black_box(crc32fast::hash(&file));
        bytes += file.len() as u64;
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "a bench has no configuration")]
fn journal_mib() -> usize {
    std::env::var("RUNSTREAM_BENCH_JOURNAL_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(64)
}

fn recovery(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let data = tempfile::tempdir().expect("a temporary folder");
    let store = open(&runtime, data.path());
    runtime.block_on(async {
        let mut streams = futures_util::future::join_all((0..64).map(|_| Stream::open(&store))).await;
        for _ in 0..journal_mib() * (1 << 20) / TEXT_BYTES / streams.len() {
            futures_util::future::join_all(streams.iter_mut().map(|stream| stream.append(&store))).await;
        }
        store.shut_down().await.expect("it ends in good order");
    });
    drop(store);
    let mut group = criterion.benchmark_group("journal_recovery");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Bytes(read_and_checksum(&data.path().join("journal"))));
    group.bench_function("read_and_checksum", |bencher| {
        bencher.iter(|| read_and_checksum(&data.path().join("journal")));
    });
    group.bench_function("open", |bencher| {
        bencher.iter_custom(|times| {
            (0..times).map(|_| open(&runtime, data.path()).recovery().took).sum::<Duration>()
        });
    });
    group.finish();
}

criterion_group!(benches, append, recovery);
criterion_main!(benches);
