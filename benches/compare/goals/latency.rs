//! G5: how long an acknowledgement takes when the server is half busy.

use std::time::Duration;

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::rounds::{Contender, Effort, Rounds, Spread};
use crate::subjects::runstream::Runstream;
use crate::subjects::{floor, null, on_disk};
use crate::table::{Bound, Table};

const EVENTS: usize = 10;

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let null = null(Core::Server);
    let durable = Runstream::start(on_disk(), Core::Server, &[]);
    let account = durable.sign_up("ada");
    let sessions = durable.open_runs(&account, SESSIONS);
    let load = |port| Load::open(port, CONNECTIONS, &sessions, |n| Request::new(&account.key, EVENTS, n));
    let mut saturated = load(durable.process.port);
    saturated.run(Pace::Closed, effort.warm_up);
    let saturation = saturated.run(Pace::Closed, effort.round).rate();
    drop(saturated);
    let sync = floor::measure(Duration::from_secs(1)).p99;
    let pace = Pace::Open(saturation / 2.0);
    let numbered_on =
        |port| Load::open(port, CONNECTIONS, &sessions, |n| Request::new(&account.key, EVENTS, 1 << 16 | n));
    let mut contenders = [
        Contender { name: "null, paced", process: &null, load: numbered_on(null.port), pace },
        Contender {
            name: "durable, paced",
            process: &durable.process,
            load: numbered_on(durable.process.port),
            pace,
        },
    ];
    let mut rounds = Rounds::run(effort, &mut contenders);
    let latencies: Vec<_> = rounds
        .samples()
        .iter_mut()
        .map(|round| {
            let [null, durable] = &mut round[..] else { unreachable!("two contenders") };
            (null.outcome.latency(0.99), durable.outcome.latency(0.99), durable.outcome.latency(0.5))
        })
        .collect();
    for (null, durable, median) in &latencies {
        println!("  p99 null {null:.2?}, durable {durable:.2?} (p50 {median:.2?}), one sync {sync:.2?}");
    }
    let ratio = |(null, durable, _): &(Duration, Duration, Duration)| {
        durable.saturating_sub(sync).as_secs_f64() / null.as_secs_f64()
    };
    table.add(
        "G5",
        "p99 to the acknowledgement, less a sync's p99, ÷ null, at half of saturation",
        Spread::of(latencies.iter().map(ratio)),
        Bound::AtMost { reach: 3.0, aim: 2.0 },
    );
}
