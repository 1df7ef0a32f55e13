//! G6 and G7: what many runs cost, while they are fed and while they are silent.

use std::time::Duration;

use super::CONNECTIONS;
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::rounds::{Contender, Effort, Rounds, Spread};
use crate::subjects::on_disk;
use crate::subjects::runstream::{Account, Runstream};
use crate::table::{Bound, Table};

const EVENTS: usize = 10;
const MANY: usize = 10_000;
/// A run's actor has left memory after 30 s without a message; the rest is for the allocator to give it back.
const IDLE: Duration = Duration::from_secs(33);
/// New servers whose memory is looked at: when the allocator gives back what is free differs from one to the next.
const MEMORY_ROUNDS: usize = 3;

pub(crate) fn executions(effort: &Effort, table: &mut Table) {
    let begun = [1, CONNECTIONS, MANY].map(|runs| {
        let server = Runstream::start(on_disk(), Core::Server, &[]);
        let account = server.sign_up("ada");
        let sessions = server.open_runs(&account, runs);
        touch(&server, &account, &sessions, 3);
        (server, account, sessions)
    });
    let names = ["1 run", "64 runs", "10 000 runs"];
    let mut contenders = [0, 1, 2].map(|n| {
        let (server, account, sessions) = &begun[n];
        let port = server.process.port;
        let load = Load::open(port, CONNECTIONS, sessions, |n| Request::new(&account.key, EVENTS, n));
        Contender { name: names[n], process: &server.process, load, pace: Pace::Closed }
    });
    let rounds = Rounds::run(effort, &mut contenders);
    let ratios = [0, 1].map(|few| rounds.ratio(2, few, |sample| sample.cpu_us));
    // One run has a bottleneck of its own; the cheaper of one and of one for each connection is what many are held to.
    let worse = if ratios[0].median > ratios[1].median { ratios[0] } else { ratios[1] };
    let bound = Bound::AtMost { reach: 1.25, aim: 1.1 };
    table.add("G6", "CPU per event, 10 000 runs ÷ the cheaper of 1 and 64", worse, bound);
}

pub(crate) fn memory(effort: &Effort, table: &mut Table) {
    let runs = if effort.is_full { MANY } else { MANY / 2 };
    let idle = Spread::of((0..MEMORY_ROUNDS).map(|_| idle_kib(runs)).collect::<Vec<_>>());
    let bound = Bound::AtMost { reach: 4.0, aim: 1.0 };
    table.add("G7", format!("KiB of memory per idle run, {runs} opened"), idle, bound);
}

/// What each of so many runs holds of a server's memory after it has been idle, in KiB.
fn idle_kib(runs: usize) -> f64 {
    let server = Runstream::start(on_disk(), Core::Server, &[]);
    let account = server.sign_up("ada");
    // What is grown once, whatever comes after.
    touch(&server, &account, &server.open_runs(&account, 100), 3);
    std::thread::sleep(Duration::from_secs(1));
    let before = server.process.resident_bytes();
    let sessions = server.open_runs(&account, runs);
    touch(&server, &account, &sessions, 3);
    let per_run = |now: u64| now.saturating_sub(before) as f64 / 1024.0 / runs as f64;
    let live = per_run(server.process.resident_bytes());
    std::thread::sleep(IDLE);
    let idle = per_run(server.process.resident_bytes());
    println!("  {runs} runs: {live:.2} KiB each just after, {idle:.2} KiB each after {IDLE:?}");
    idle
}

/// Sends one batch of `events` to each of `sessions`.
fn touch(server: &Runstream, account: &Account, sessions: &[String], events: usize) {
    let mut wire = crate::wire::Wire::open(server.process.port).unwrap();
    let mut request = Request::new(&account.key, events, 0xFFFF);
    for session in sessions {
        request.set(session, 1);
        let (status, _) = wire.exchange(request.bytes()).unwrap();
        assert_eq!(status, 200);
    }
}
