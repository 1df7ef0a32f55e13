//! From a body's bytes to a batch in its normal form: what the door does of its own for each request, sockets and store
//! aside. Bodies are as the public reporter sends them.
//!
//! On the back of an envelope: an event is about 200 bytes. Gathering copies them (10 GB/s, 20 ns), the structural pass
//! and the tape take about 1 GB/s (200 ns), rendering and keeping strings some 100 ns: 0.3 to 0.4 µs an event, and a
//! few hundred nanoseconds a request on top. Escapes cost more than plain text, since each ends a run that is copied.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use runstream::domain::batch::TestStatus;
use runstream::domain::text::{push_begin, push_chunk, push_end};
use runstream::ingest::parse;
use serde_json::{Value, json};

/// What a test prints, begins with and ends with, in turn.
fn event(index: usize) -> Value {
    let test = format!("8c1f0a7be2d94c30aa11-5e7d90b3c2f14a68{:04x}", index / 5);
    match index % 5 {
        0 => {
            json!({ "type": "test-begin", "testId": test, "file": "cart.spec.ts", "timestamp": 1_774_000_000_123i64,
                     "title": " › chromium › cart.spec.ts › cart › adds an item and shows the new total" })
        }
        4 => json!({ "type": "test-end", "testId": test, "status": "failed", "duration": 4211,
                     "timestamp": 1_774_000_004_334i64,
                     "error": "Error: \u{1b}[2mexpect(\u{1b}[22mreceived\u{1b}[2m).toBe(\u{1b}[22mexpected)\n  12 | await" }),
        _ => json!({ "type": "log", "testId": test, "timestamp": 1_774_000_000_456i64,
                     "chunk": "\u{1b}[2mapi\u{1b}[22m \u{1b}[36mGET\u{1b}[39m /cart/items?sku=TEE-001 200 12.4 ms\n" }),
    }
}

fn body(events: usize) -> Bytes {
    let events: Vec<_> = (0..events).map(event).collect();
    let body = json!({ "sessionId": "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6", "events": events });
    Bytes::from(body.to_string())
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for events in [1, 10, 100] {
        let frames = [body(events)];
        group.throughput(Throughput::ElementsAndBytes {
            elements: events as u64,
            bytes: frames[0].len() as u64,
        });
        group.bench_with_input(BenchmarkId::new("events", events), &frames, |bencher, frames| {
            bencher.iter(|| black_box(parse::events(black_box(frames), 1_774_000_000_999)));
        });
    }
    group.finish();
}

/// One log event of 8 KiB, every `n`th character an escape.
fn escapes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for every in [0, 64, 8, 2] {
        let character = |index: usize| if every > 0 && index.is_multiple_of(every) { '\u{1b}' } else { 'x' };
        let chunk: String = (0..8 << 10).map(character).collect();
        let events = [json!({ "type": "log", "chunk": chunk, "timestamp": 1 })];
        let body = json!({ "sessionId": "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6", "events": events });
        let frames = [Bytes::from(body.to_string())];
        group.throughput(Throughput::Bytes(frames[0].len() as u64));
        group.bench_with_input(BenchmarkId::new("escape_every", every), &frames, |bencher, frames| {
            bencher.iter(|| black_box(parse::events(black_box(frames), 1_774_000_000_999)));
        });
    }
    group.finish();
}

/// The log text of events: a line of a chunk, the line of a begin, those of a failed end.
fn rendering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    let chunk = "\u{1b}[2mapi\u{1b}[22m \u{1b}[36mGET\u{1b}[39m /cart/items?sku=TEE-001 200 12.4 ms";
    let title = " › chromium › cart.spec.ts › cart › adds an item and shows the new total";
    let error = "Error: \u{1b}[2mexpect(\u{1b}[22mreceived\u{1b}[2m).toBe(\u{1b}[22mexpected)\n  12 | await";
    let mut bench = |name: &str, push: &dyn Fn(&mut String)| {
        let mut log = String::new();
        push(&mut log);
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                log.clear();
                push(&mut log);
                black_box(log.len())
            });
        });
    };
    bench("log", &|log| push_chunk(log, black_box(chunk), false));
    bench("begin", &|log| push_begin(log, black_box(title)));
    let failed = TestStatus::Failed;
    bench("failed_end", &|log| {
        push_end(log, failed, black_box("8c1f0a7be2d94c30aa11"), 4_211, black_box(error))
    });
    group.finish();
}

criterion_group!(benches, parsing, escapes, rendering);
criterion_main!(benches);
