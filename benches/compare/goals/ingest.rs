//! G1 to G4: what durable ingest costs, beside what no server of these requests can do without.

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::rounds::{Contender, Effort, Rounds, Sample};
use crate::subjects::runstream::Runstream;
use crate::subjects::{in_memory, null, null_with_journal, on_disk, shape};
use crate::table::{Bound, Table};

const NULL: usize = 0;
const JOURNAL: usize = 1;
const SHAPE: usize = 2;
const DURABLE: usize = 3;
const IN_MEMORY: usize = 4;
const MANY_RUNS: usize = 5;

/// Events per request, then reach and aim of G1, G2 and G3.
type Goal = (usize, (f64, f64), (f64, f64), (f64, f64));
const GOALS: [Goal; 3] = [
    (1, (2.2, 1.7), (0.40, 0.55), (0.40, 0.60)),
    (10, (2.4, 1.8), (0.35, 0.50), (0.50, 0.70)),
    (100, (1.6, 1.25), (0.55, 0.75), (0.95, 1.0)),
];

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let null = null(Core::Server);
    let folder = on_disk();
    let journal = null_with_journal(folder.path(), Core::Server);
    let shape_folder = on_disk();
    let shape = shape(shape_folder.path(), Core::Server);
    let durable = Runstream::start(on_disk(), Core::Server, &[]);
    // Not a server that answers before the sync: there is none, for it would break a promise. This one waits as always,
    // and its syncs cost nothing.
    let in_memory = Runstream::start(in_memory(), Core::Server, &[]);
    let targets = [&durable, &in_memory].map(|server| {
        let account = server.sign_up("ada");
        let sessions = server.open_runs(&account, CONNECTIONS);
        (account, sessions)
    });
    let [(account, sessions), (account_in_memory, sessions_in_memory)] = &targets;
    let many = durable.open_runs(account, SESSIONS);
    let mut per_sync = None;
    for (events, cpu, rate, free) in GOALS {
        println!(" {events} events a request, {} bytes:", Request::new(&account.key, events, 0).body_bytes());
        let load = |port, key: &str, sessions: &[String]| {
            Load::open(port, CONNECTIONS, sessions, |n| Request::new(key, events, events << 16 | n))
        };
        let pace = Pace::Closed;
        let mut contenders = [
            Contender { name: "null", process: &null, load: load(null.port, &account.key, sessions), pace },
            Contender {
                name: "null + journal",
                process: &journal,
                load: load(journal.port, &account.key, sessions),
                pace,
            },
            Contender {
                name: "the shape",
                process: &shape,
                load: load(shape.port, &account.key, sessions),
                pace,
            },
            Contender {
                name: "durable",
                process: &durable.process,
                load: load(durable.process.port, &account.key, sessions),
                pace,
            },
            Contender {
                name: "durable, data in memory",
                process: &in_memory.process,
                load: load(in_memory.process.port, &account_in_memory.key, sessions_in_memory),
                pace,
            },
            Contender {
                name: "durable, ten times the runs",
                process: &durable.process,
                load: load(durable.process.port, &account.key, &many),
                pace,
            },
        ];
        let rounds = Rounds::run(effort, &mut contenders);
        let (cpu_us, throughput) = (|sample: &Sample| sample.cpu_us, |sample: &Sample| sample.outcome.rate());
        let b = format!("b = {events}");
        table.add(
            "G1",
            format!("CPU per event, durable ÷ null, {b}"),
            rounds.ratio(DURABLE, NULL, cpu_us),
            Bound::AtMost { reach: cpu.0, aim: cpu.1 },
        );
        table.add(
            "G2",
            format!("requests/s, durable ÷ null, {b}"),
            rounds.ratio(DURABLE, NULL, throughput),
            Bound::AtLeast { reach: rate.0, aim: rate.1 },
        );
        table.add(
            "G3",
            format!("requests/s, durable ÷ the same with its data in memory, {b}"),
            rounds.ratio(DURABLE, IN_MEMORY, throughput),
            Bound::AtLeast { reach: free.0, aim: free.1 },
        );
        for (above, below, measure) in [
            (JOURNAL, NULL, "null + journal ÷ null"),
            (SHAPE, NULL, "that with an actor for each run and the headers of every answer ÷ null"),
            (DURABLE, SHAPE, "durable ÷ that"),
        ] {
            table.tell("", format!("CPU per event, {measure}, {b}"), rounds.ratio(above, below, cpu_us));
        }
        for (what, figure) in [
            ("CPU per event", cpu_us as fn(&Sample) -> f64),
            ("requests/s", throughput as fn(&Sample) -> f64),
        ] {
            let measure = format!("{what}, durable ÷ null, {SESSIONS} runs instead of {CONNECTIONS}, {b}");
            table.tell("", measure, rounds.ratio(MANY_RUNS, NULL, figure));
        }
        table.tell("", format!("events/s, durable, {b}"), {
            let rate = rounds.spread(DURABLE, throughput).median * events as f64;
            format!("{rate:.0}")
        });
        // The same load once more, between two looks at the counter.
        let [_, _, _, durable_again, ..] = &mut contenders;
        let before = durable.syncs();
        let accepted = durable_again.sample(effort.round).outcome.accepted;
        let per_sync_now = accepted as f64 / (durable.syncs() - before);
        println!("  {per_sync_now:.1} acknowledged requests per sync");
        per_sync.get_or_insert(per_sync_now);
    }
    let bound = Bound::AtLeast { reach: 20.0, aim: 32.0 };
    table.add("G4", "acknowledged requests per sync, b = 1", per_sync.unwrap_or(f64::NAN), bound);
}
