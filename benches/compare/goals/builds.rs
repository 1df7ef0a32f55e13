//! Two builds of the server beside each other: what a change has brought.

use std::path::Path;

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::rounds::{Contender, Effort, Rounds};
use crate::subjects::on_disk;
use crate::subjects::runstream::Runstream;
use crate::table::Table;

/// Measures this build and `other`.
pub(crate) fn against(other: &Path, effort: &Effort) -> Table {
    let mut table = Table::default();
    let this = Runstream::start(on_disk(), Core::Server, &[]);
    let other = Runstream::of_build(other, on_disk(), Core::Server, &[]);
    let targets = [&this, &other].map(|server| {
        let account = server.sign_up("ada");
        let sessions = server.open_runs(&account, SESSIONS);
        (server, account, sessions)
    });
    for events in [1, 10, 100] {
        println!(" {events} events a request:");
        let mut names = ["this build", "the other"].into_iter();
        let mut contenders = targets.each_ref().map(|(server, account, sessions)| Contender {
            name: names.next().unwrap_or_default(),
            process: &server.process,
            load: Load::open(server.process.port, CONNECTIONS, sessions, |n| {
                Request::new(&account.key, events, events << 16 | n)
            }),
            pace: Pace::Closed,
        });
        let syncs = targets.each_ref().map(|(server, ..)| server.syncs());
        let rounds = Rounds::run(effort, &mut contenders);
        for (n, (server, ..)) in targets.iter().enumerate() {
            let accepted = rounds.total(n, |sample| sample.outcome.accepted as f64);
            println!("  {:.1} acknowledged requests per sync", accepted / (server.syncs() - syncs[n]));
        }
        let cpu = rounds.ratio(0, 1, |sample| sample.cpu_us);
        table.tell("", format!("CPU per event, this ÷ the other, b = {events}"), cpu);
        let rate = rounds.ratio(0, 1, |sample| sample.outcome.rate());
        table.tell("", format!("requests/s, this ÷ the other, b = {events}"), rate);
    }
    let memory = targets.each_ref().map(|(server, ..)| server.process.resident_bytes() as f64);
    table.tell("", "resident memory in the end, this ÷ the other", format!("{:.2}", memory[0] / memory[1]));
    table
}
