//! The store on CQL: the whole server beside the bare driver that inserts the same segments into the same table of the same
//! server, and beside a table that has a row for each event. All share both cores, and Cassandra takes most of them: the
//! ratios say what the engine adds, the rates say nothing about a cluster.
//!
//! The server has a larger heap than in the tests, and a collector that works beside it, so that it is not these that are
//! compared.

use std::time::{Duration, Instant};

use super::CONNECTIONS;
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::{Core, run_on};
use crate::rounds::{Contender, Effort, Rounds, Sample, Spread};
use crate::subjects::cql::Cluster;
use crate::subjects::on_disk;
use crate::subjects::runstream::Runstream;
use crate::subjects::tests_cql::configuration;
use crate::table::{Bound, Table};

/// Events of a request.
const EVENTS: usize = 100;
/// The server's memory, beyond the tests'.
const HEAP: [&str; 4] = ["-Xms3g", "-Xmx3g", "-XX:-UseSerialGC", "-XX:+UseG1GC"];
/// Rows of events that are on their way at the same time: more than requests, or a batch would wait for each of its rows.
const ROWS_PARALLEL: usize = 256;
/// A stretch of first batches.
const FIRST: Duration = Duration::from_secs(1);

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let cluster = Cluster::start(&HEAP);
    let server = serve(&cluster);
    let account = server.sign_up("ada");
    run_on(Core::Both);
    let sessions = server.open_runs(&account, CONNECTIONS);
    let request = |n| Request::new(&account.key, EVENTS, n);
    let load = Load::open(server.process.port, CONNECTIONS, &sessions, request);
    let mut engine = Contender { name: "engine", process: &server.process, load, pace: Pace::Closed };
    engine.sample(effort.warm_up.max(effort.round));
    let segment = cluster.a_segment();
    let segment_bytes = segment.0.len() + segment.1.len();
    let event_bytes = request(0).body_bytes() / EVENTS;
    println!(
        "  a segment of {EVENTS} events takes {segment_bytes} bytes of facts and data, an event {event_bytes} of JSON"
    );
    cluster.insert_segments(&segment, CONNECTIONS, effort.round);
    cluster.insert_events(event_bytes, ROWS_PARALLEL, effort.round);

    let (mut of_floor, mut of_rows, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut floor = cluster.insert_segments(&segment, CONNECTIONS, effort.round);
        let mut ours = engine.sample(effort.round).outcome;
        let rows = cluster.insert_events(event_bytes, ROWS_PARALLEL, effort.round);
        of_floor.push(ours.rate() / floor.rate());
        of_rows.push(ours.rate() * EVENTS as f64 / rows.rate());
        let (floor_p50, floor_p99) = (floor.latency(0.5), floor.latency(0.99));
        let (our_p50, our_p99) = (ours.latency(0.5), ours.latency(0.99));
        p50.push(our_p50.as_secs_f64() / floor_p50.as_secs_f64());
        p99.push(our_p99.as_secs_f64() / floor_p99.as_secs_f64());
        println!(
            "  driver {:>6.0} segments/s, {floor_p50:.1?} / {floor_p99:.1?}; engine {:>6.0} requests/s, {our_p50:.1?} / {our_p99:.1?}; \
             rows {:>7.0} events/s",
            floor.rate(),
            ours.rate(),
            rows.rate()
        );
    }
    let bound = Bound::AtLeast { reach: 0.7, aim: 0.9 };
    table.add("CQL", format!("bytes/s, engine ÷ bare driver, b = {EVENTS}"), Spread::of(of_floor), bound);
    let bound = Bound::AtLeast { reach: 30.0, aim: 30.0 };
    table.add("CQL", format!("events/s, engine ÷ a row an event, b = {EVENTS}"), Spread::of(of_rows), bound);
    table.tell("CQL", "p50 to the acknowledgement ÷ the driver's", Spread::of(p50));
    table.tell("CQL", "p99 to the acknowledgement ÷ the driver's", Spread::of(p99));
}

/// What more runs cost: one, one for each connection, and many.
pub(crate) fn runs(effort: &Effort, table: &mut Table) {
    let cluster = Cluster::start(&HEAP);
    let server = serve(&cluster);
    let account = server.sign_up("ada");
    run_on(Core::Both);
    let many = if effort.is_full { 10_000 } else { 2_000 };
    let few = server.open_runs(&account, CONNECTIONS);
    let begun = Instant::now();
    let more = server.open_runs(&account, many);
    let opening = many as f64 / begun.elapsed().as_secs_f64();
    let all: [(&'static str, &[String]); 3] = [("1 run", &few[..1]), ("64 runs", &few), ("many runs", &more)];
    let mut contenders = all.map(|(name, sessions)| {
        let load = Load::open(server.process.port, CONNECTIONS, sessions, |n| {
            Request::new(&account.key, EVENTS, 1 << 16 | n)
        });
        Contender { name, process: &server.process, load, pace: Pace::Closed }
    });
    // The first batch of a run announces a status, which is written to the lists.
    let lots = &mut contenders[2];
    let (mut accepted, mut took, mut refused) = (0, 0.0, 0);
    while accepted < many as u64 {
        let first = lots.sample(FIRST).outcome;
        (accepted, refused) = (accepted + first.accepted, refused + first.refused);
        took += first.took.as_secs_f64();
    }
    println!(
        "  {opening:.0} runs opened/s; first batches {:.0}/s, {refused} refused",
        accepted as f64 / took
    );
    let rounds = Rounds::run(effort, &mut contenders);
    run_on(Core::Load);
    // One run alone is fed by all connections, whose batches share segments.
    let alone = rounds.ratio(2, 0, |sample| sample.cpu_us);
    table.tell("CQL", format!("CPU of the server per request, {many} runs ÷ 1"), alone);
    let (cpu, rate) = (|sample: &Sample| sample.cpu_us, |sample: &Sample| sample.outcome.rate());
    let bound = Bound::AtMost { reach: 1.25, aim: 1.1 };
    let measure = format!("CPU of the server per request, {many} runs ÷ 64");
    table.add("CQL", measure, rounds.ratio(2, 1, cpu), bound);
    let bound = Bound::AtLeast { reach: 0.8, aim: 0.9 };
    table.add("CQL", format!("requests/s, {many} runs ÷ 64"), rounds.ratio(2, 1, rate), bound);
}

fn serve(cluster: &Cluster) -> Runstream {
    let data = on_disk();
    std::fs::write(data.path().join("runstream.toml"), configuration(&cluster.settings)).unwrap();
    Runstream::start(data, Core::Both, &[])
}
