//! G20: instructions of the whole server for each request, counted by Callgrind. Unlike time they hardly depend on who
//! else uses the machine, so that a change of a few percent shows.

use std::path::Path;
use std::process::Command;

use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::rounds::Effort;
use crate::subjects::on_disk;
use crate::subjects::runstream::Runstream;
use crate::table::{Bound, Table};

/// Connections: fewer than usual, since everything is some fifty times slower.
const CONNECTIONS: usize = 16;
const SESSIONS: usize = 64;

/// Events per request, and instructions per request when they were last recorded, by the quick mode.
const RECORDED: [(usize, f64); 3] = [(1, 47_000.0), (10, 73_200.0), (100, 344_700.0)];
/// By how much they may be exceeded: the number of syncs and wake-ups differs from run to run.
const TOLERANCE: f64 = 1.05;

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return table.skip("G20", "valgrind cannot be run");
    }
    let counts = on_disk();
    let server = Runstream::under_callgrind(&counts.path().join("callgrind.%p"), on_disk());
    let account = server.sign_up("ada");
    let sessions = server.open_runs(&account, SESSIONS);
    let pid = server.process.id().to_string();
    for (events, recorded) in RECORDED {
        let mut load = Load::open(server.process.port, CONNECTIONS, &sessions, |n| {
            Request::new(&account.key, events, events << 16 | n)
        });
        load.run(Pace::Closed, effort.warm_up * 3);
        control(&["-i", "on", &pid]);
        let accepted = load.run(Pace::Closed, effort.round * 3).accepted;
        control(&["-i", "off", &pid]);
        let label = format!("b{events}");
        control(&["-d", &label, &pid]);
        let counted = instructions(counts.path());
        let each = counted / accepted as f64;
        println!("  {events} events a request: {each:.0} instructions each, over {accepted} requests");
        let bound = Bound::AtMost { reach: recorded * TOLERANCE, aim: recorded };
        table.add("G20", format!("instructions per request, b = {events}"), each, bound);
    }
}

fn control(arguments: &[&str]) {
    let done = Command::new("callgrind_control").args(arguments).output().unwrap();
    assert!(
        done.status.success(),
        "callgrind_control {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// The count of the newest dump.
fn instructions(folder: &Path) -> f64 {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let newest = files.max_by_key(|file| file.metadata().unwrap().modified().unwrap()).unwrap();
    let text = std::fs::read_to_string(&newest).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("no total in {newest:?}"))
}
