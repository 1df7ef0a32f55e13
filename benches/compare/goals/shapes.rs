//! What grows with the shape of the load: connections, events in a request, bytes of a line. No goal bounds these rows;
//! they show where a cost is not flat.

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::rounds::{Contender, Effort, Rounds, Sample};
use crate::subjects::on_disk;
use crate::subjects::runstream::Runstream;
use crate::table::Table;

const CONNECTION_COUNTS: [usize; 4] = [1, 16, 256, 1_000];
const EVENT_COUNTS: [usize; 4] = [1, 10, 100, 1_000];
const LINE_BYTES: [usize; 3] = [64, 1 << 10, 8 << 10];
/// Lines in a request where their length is what changes.
const LINES: usize = 16;

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let server = Runstream::start(on_disk(), Core::Server, &[]);
    let account = server.sign_up("ada");
    let sessions = server.open_runs(&account, SESSIONS.max(CONNECTION_COUNTS[CONNECTION_COUNTS.len() - 1]));
    // Each shape counts its batches by itself: no two may share a writer.
    let mut shape = 0;
    let mut run = |name, connections, request: &dyn Fn(usize) -> Request| {
        shape += 1;
        let load = Load::open(server.process.port, connections, &sessions, |n| request(shape << 16 | n));
        let mut contenders = [Contender { name, process: &server.process, load, pace: Pace::Closed }];
        Rounds::run(effort, &mut contenders)
    };
    for connections in CONNECTION_COUNTS {
        let rounds = run("connections", connections, &|writer| Request::new(&account.key, 10, writer));
        tell(table, &rounds, format!("{connections} connections, 10 events a request"), 10);
    }
    for events in EVENT_COUNTS {
        let rounds = run("events", CONNECTIONS, &|writer| Request::new(&account.key, events, writer));
        tell(table, &rounds, format!("{events} events a request"), events);
    }
    for bytes in LINE_BYTES {
        let line = "x".repeat(bytes - 1) + "\n";
        let request = |writer| Request::of_lines(&account.key, &line, LINES, writer);
        let rounds = run("lines", CONNECTIONS, &request);
        tell(table, &rounds, format!("{LINES} lines of {bytes} bytes a request"), LINES);
        let mib = rounds.spread(0, |sample| sample.outcome.rate()).median * (LINES * bytes) as f64;
        table.tell(
            "",
            format!("MiB of text/s, lines of {bytes} bytes"),
            format!("{:.1}", mib / f64::from(1 << 20)),
        );
    }
}

fn tell(table: &mut Table, rounds: &Rounds, shape: String, events: usize) {
    let each = rounds.spread(0, |sample: &Sample| sample.cpu_us / events as f64);
    table.tell("", format!("µs of CPU per event, {shape}"), each);
}
