//! G18 and G19: twice as much as it can take, and a neighbour that wants ten times its share.

use std::time::Duration;

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Outcome, Pace};
use crate::machine::Core;
use crate::rounds::{Effort, Spread};
use crate::subjects::runstream::Runstream;
use crate::subjects::{null, on_disk};
use crate::table::{Bound, Table};

const EVENTS: usize = 10;
/// Connections of what is too much.
const FLOOD: usize = 1_024;

pub(crate) fn overload(effort: &Effort, table: &mut Table) {
    let server = Runstream::start(on_disk(), Core::Server, &[]);
    let account = server.sign_up("ada");
    let sessions = server.open_runs(&account, SESSIONS);
    let port = server.process.port;
    let mut usual = Load::open(port, CONNECTIONS, &sessions, |n| Request::new(&account.key, EVENTS, n));
    let duration = Duration::from_secs(if effort.is_full { 30 } else { 5 });
    usual.run(Pace::Closed, effort.warm_up);
    let best = usual.run(Pace::Closed, duration).rate();
    drop(usual);
    // Enough connections that the server, not the load, decides how much of it waits. So many cost every server more than
    // a few, so what is too much is held to what the same ones reach when each waits for its answer.
    let mut flood = Load::open(port, FLOOD, &sessions, |n| Request::new(&account.key, EVENTS, 1 << 16 | n));
    flood.run(Pace::Closed, effort.warm_up);
    let peak = flood.run(Pace::Closed, duration).rate();
    let memory = server.process.resident_bytes();
    let mut outcome = flood.run(Pace::Open(best * 2.0), duration);
    let p99 = outcome.latency(0.99);
    println!(
        "  {best:.0} requests/s of {CONNECTIONS} connections, {peak:.0} of {FLOOD}; wanting twice the first: {:.0} accepted/s, {} refused \
         with a time, p99 {p99:.0?}",
        outcome.rate(),
        outcome.refused
    );
    let bound = Bound::AtLeast { reach: 0.9, aim: 0.9 };
    let measure = format!("requests accepted/s at 2 × saturation ÷ peak of the same {FLOOD} connections");
    table.add("G18", measure, outcome.rate() / peak, bound);
    table.tell(
        "G18",
        format!("that peak ÷ peak of {CONNECTIONS} connections"),
        Spread::of(vec![peak / best]),
    );
    let grown = server.process.resident_bytes() as f64 / memory as f64;
    table.add("G18", "memory then ÷ at peak", grown, Bound::AtMost { reach: 1.5, aim: 1.5 });
    drop(flood);
    drop(server);
    // So many connections do not fit the caches of the kernel's side either.
    let null = null(Core::Server);
    let [few, many] = [CONNECTIONS, FLOOD].map(|connections| {
        let mut load =
            Load::open(null.port, connections, &sessions, |n| Request::new(&account.key, EVENTS, n));
        load.run(Pace::Closed, effort.warm_up);
        load.run(Pace::Closed, effort.round).rate()
    });
    let measure = format!("the same of null, {FLOOD} connections ÷ {CONNECTIONS}");
    table.tell("G18", measure, Spread::of(vec![many / few]));
}

pub(crate) fn tenants(effort: &Effort, table: &mut Table) {
    const PER_MINUTE: f64 = 30_000.0;
    let server =
        Runstream::start(on_disk(), Core::Server, &[&format!("rates.ingest_event_per_minute={PER_MINUTE}")]);
    let port = server.process.port;
    let [mut greedy, mut modest] = ["greedy", "modest"].map(|name| {
        let account = server.sign_up(name);
        let sessions = server.open_runs(&account, CONNECTIONS / 4);
        // The greedy one sends to one session: each has a share of its own beyond that of its key.
        let sessions = if name == "greedy" { &sessions[..1] } else { &sessions };
        Load::open(port, CONNECTIONS / 4, sessions, |n| Request::new(&account.key, EVENTS, n))
    });
    // Half of its share, so that the rounds of a minute stay within it.
    let own = Pace::Open(PER_MINUTE / 60.0 / 2.0);
    let too_much = Pace::Open(PER_MINUTE / 60.0 * 10.0);
    // Takes all that the greedy one may have in this minute.
    while greedy.run(Pace::Closed, Duration::from_millis(500)).refused == 0 {}
    let (mut slower, mut goodput) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut alone = modest.run(own, effort.round);
        let (mut beside, refused) = std::thread::scope(|scope| {
            let neighbour = scope.spawn(|| greedy.run(too_much, effort.round));
            let beside: Outcome = modest.run(own, effort.round);
            (beside, neighbour.join().unwrap().refused)
        });
        let (p99_alone, p99_beside) = (alone.latency(0.99), beside.latency(0.99));
        println!("  p99 alone {p99_alone:.2?}, beside a neighbour with {refused} refusals {p99_beside:.2?}");
        slower.push(p99_beside.as_secs_f64() / p99_alone.as_secs_f64());
        goodput.push(beside.rate() / alone.rate());
    }
    let bound = Bound::AtMost { reach: 1.5, aim: 1.2 };
    table.add("G19", "p99 beside a neighbour at 10 × its quota ÷ alone", Spread::of(slower), bound);
    let bound = Bound::AtLeast { reach: 0.9, aim: 0.95 };
    table.add("G19", "requests accepted/s then ÷ alone", Spread::of(goodput), bound);
}
