//! What a run's state costs per batch: recognising a request, applying its events, and loading a run anew.
//! Back of the envelope: a hash and a map entry per test event, about 50 ns; a scan of the receipts of the last half
//! minute per request, about 1 ns each.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a bench is not part of the interface"
)]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use runstream::actors::RunState;
use runstream::domain::batch::{Batch, Item, Receipt, Span, TestStatus};
use runstream::domain::execution::{Execution, IngestMeta, Source, Status};
use runstream::domain::id::{CycleId, ExecutionId, OrgId, ProjectId, SessionId, TaskId};
use runstream::domain::segment::SegmentBatch;

fn execution() -> Execution {
    let session = SessionId::generate();
    Execution {
        id: ExecutionId::generate(0),
        task_id: TaskId::of_ingest(0, session),
        org: OrgId::generate(0),
        project: ProjectId::generate(0),
        status: Status::Running,
        source: Source::ExternalCi,
        image: String::new(),
        command: String::new(),
        folder: String::new(),
        start_ms: 0,
        end_ms: None,
        environment: String::new(),
        env_vars: std::collections::BTreeMap::new(),
        trigger: String::new(),
        group_name: None,
        cycle: CycleId::generate(0),
        cycle_item: uuid::Uuid::nil(),
        ingest: IngestMeta {
            session,
            reporter_version: String::new(),
            framework: String::new(),
            total_tests: 0,
            ci_context: None,
        },
        completeness: None,
        deleted_ms: None,
    }
}

/// `events` events: for each test a begin, eight log lines and an end.
fn batch(session: SessionId, events: u32, n: u64) -> SegmentBatch {
    let mut strings = String::new();
    let mut items = Vec::new();
    let text_end = 0;
    while items.len() < events as usize {
        let start = strings.len() as u32;
        strings.push_str(&format!("8c1f0a7be2d94c30aa11-{n:010}{:010}", items.len()));
        let test = Span { start, len: strings.len() as u32 - start };
        items.push(match items.len() % 10 {
            0 => Item::Begin { test, title: test, file: test, timestamp_ms: 0, text_end },
            9 => Item::End {
                test,
                status: TestStatus::Passed,
                duration_ms: 1,
                error: None,
                timestamp_ms: 0,
                runtime_context: None,
                extra: None,
                attempt_count: 0,
                recorded: false,
                text_end,
            },
            _ => Item::Log { test: Some(test), stream: None, text_end },
        });
    }
    let receipt =
        Receipt { received_ms: n as i64 * 120, digest: n.into(), nonce: n, body_bytes: 0, number: None };
    let (strings, items) = (strings.into(), items.into());
    let batch = Batch { strings, items, received: events, ..Batch::default() };
    SegmentBatch { session, receipt, batch }
}

fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for events in [1, 10, 100] {
        let taken = batch(SessionId::generate(), events, 0).batch;
        let bytes = (taken.strings.len() + taken.text.len()) as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: events.into(), bytes });
        group.bench_function(BenchmarkId::new("recognise+apply", events), |bencher| {
            let execution = execution();
            let session = execution.ingest.session;
            let mut run = RunState::new(execution, None, 1);
            let mut n = 0;
            let next = || {
                n += 1;
                batch(session, events, n)
            };
            bencher.iter_batched(
                next,
                |mut delivered| {
                    black_box(run.recognise(session, &delivered.receipt));
                    run.apply(&mut delivered);
                    delivered
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
