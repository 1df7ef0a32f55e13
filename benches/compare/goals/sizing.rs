//! What an event takes on a CQL server: the figures of the README's arithmetic. The recorded run of the demo is sent several
//! times, in large batches and in small ones, and the bytes of the tables' files are counted before and after the runs
//! are folded.

use std::io::Read as _;
use std::time::{Duration, Instant};

use ruzstd::decoding::StreamingDecoder;
use serde_json::{Map, Value, json};

use crate::machine::{Core, run_on};
use crate::rounds::Effort;
use crate::subjects::cql::Cluster;
use crate::subjects::on_disk;
use crate::subjects::runstream::{Account, Runstream};
use crate::subjects::tests_cql::configuration;
use crate::table::Table;
use crate::wire::Wire;

/// A line each: the setup, then the events with the milliseconds since it, then the teardown.
const RECORDING: &[u8] = include_bytes!("../../../src/cli/demo/recording.ndjson.zst");
/// When the runs begin, by their events; Unix milliseconds.
const START_MS: u64 = 1_774_000_000_000;
/// How long folding may take.
const FOLDED_WITHIN: Duration = Duration::from_secs(120);
const SEGMENTS: [&str; 1] = ["run_segment"];
const FOLDED: [&str; 2] = ["run_text", "run_result"];

/// A whole run.
struct Recording {
    setup: Map<String, Value>,
    events: Vec<Value>,
    teardown: Map<String, Value>,
}

impl Recording {
    fn read() -> Self {
        let mut text = String::new();
        StreamingDecoder::new(RECORDING).unwrap().read_to_string(&mut text).unwrap();
        let (mut setup, mut events, mut teardown) = (None, Vec::new(), None);
        for line in text.lines() {
            let mut line: Map<String, Value> = serde_json::from_str(line).unwrap();
            let at_ms = line.get("at").and_then(Value::as_u64).unwrap_or_default();
            let mut part = |name: &str| match line.remove(name) {
                Some(Value::Object(part)) => Some(part),
                _ => None,
            };
            setup = setup.or_else(|| part("setup"));
            events.extend(part("event").map(|event| at_present(event, at_ms)));
            teardown = teardown.or_else(|| part("teardown"));
        }
        Self { setup: setup.unwrap(), events, teardown: teardown.unwrap() }
    }

    /// Sends it to a server as a run of its own; returns how many batches that took.
    fn send(&self, port: u16, account: &Account, batch_events: usize) -> usize {
        let mut wire = Wire::open(port).unwrap();
        let key = format!("x-api-key: {}\r\n", account.key);
        let mut setup = self.setup.clone();
        setup.insert("projectId".into(), account.project.as_str().into());
        let answer = wire.post("/api/ingest/setup", &key, &Value::Object(setup));
        let session = answer["data"]["sessionId"].clone();
        let batches = self.events.chunks(batch_events);
        let count = batches.len();
        for (number, events) in batches.enumerate() {
            let batch = json!({ "sessionId": session, "batch": format!("lane:{number}"), "events": events });
            wire.post("/api/ingest/event", &key, &batch);
        }
        let mut teardown = self.teardown.clone();
        teardown.insert("sessionId".into(), session);
        wire.post("/api/ingest/teardown", &key, &Value::Object(teardown));
        count
    }
}

/// A recorded event as it is sent, with its moments counted from [`START_MS`].
fn at_present(mut event: Map<String, Value>, at_ms: u64) -> Value {
    if let Some(started_ms) = event.get("startedAt").and_then(Value::as_u64) {
        event.insert("startedAt".into(), (START_MS + started_ms).into());
    }
    event.insert("timestamp".into(), (START_MS + at_ms).into());
    Value::Object(event)
}

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let runs = if effort.is_full { 50 } else { 10 };
    let recording = Recording::read();
    let json: usize = recording.events.iter().map(|event| event.to_string().len()).sum();
    let events = recording.events.len();
    println!("  the recorded run has {events} events of {:.0} bytes of JSON", json as f64 / events as f64);
    let cluster = Cluster::start(&[]);
    let data = on_disk();
    std::fs::write(data.path().join("runstream.toml"), configuration(&cluster.settings)).unwrap();
    let server = Runstream::start(data, Core::Both, &[]);
    let account = server.sign_up("ada");
    run_on(Core::Both);
    let mut folded = Vec::new();
    for batch_events in [100, 10] {
        let before = (cluster.bytes_on_disk(&SEGMENTS), cluster.bytes_on_disk(&FOLDED), cluster.segments());
        let port = server.process.port;
        let batches: usize = (0..runs).map(|_| recording.send(port, &account, batch_events)).sum();
        let begun = Instant::now();
        while cluster.unsettled() > 0 {
            assert!(begun.elapsed() < FOLDED_WITHIN, "runs are not folded");
            std::thread::sleep(Duration::from_millis(50));
        }
        let sent = (events * runs) as f64;
        let segments = cluster.bytes_on_disk(&SEGMENTS) - before.0;
        println!("  {batches} batches of {runs} runs: {} segments", cluster.segments() - before.2);
        let measure = format!("bytes of segments on the disk for an event, b = {batch_events}");
        table.tell("CQL", measure, format!("{:.1}", segments as f64 / sent));
        folded.push((cluster.bytes_on_disk(&FOLDED) - before.1) as f64 / sent);
    }
    let folded: Vec<_> = folded.iter().map(|bytes| format!("{bytes:.1}")).collect();
    table.tell("CQL", "bytes of text and results on the disk for an event, b = 100; 10", folded.join("; "));
    run_on(Core::Load);
}
