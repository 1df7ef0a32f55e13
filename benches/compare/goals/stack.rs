//! G24: what a team would build instead, on the same two cores, load and all.

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::{Core, run_on};
use crate::rounds::{Contender, Effort, Rounds};
use crate::subjects::node::RedisStack;
use crate::subjects::runstream::Runstream;
use crate::subjects::{null_with_journal, on_disk, shape};
use crate::table::{Bound, Table};

const GOALS: [(usize, f64, f64); 3] = [(1, 3.0, 5.0), (50, 5.0, 8.0), (100, 6.0, 10.0)];

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let stack = match RedisStack::start(Core::Both) {
        Ok(stack) => stack,
        Err(reason) => return table.skip("G24", &reason),
    };
    let journal_folder = on_disk();
    let journal = null_with_journal(journal_folder.path(), Core::Both);
    let shape_folder = on_disk();
    let shape = shape(shape_folder.path(), Core::Both);
    let durable = Runstream::start(on_disk(), Core::Both, &[]);
    let account = durable.sign_up("ada");
    let sessions = durable.open_runs(&account, CONNECTIONS);
    let many = durable.open_runs(&account, SESSIONS);
    for (events, reach, aim) in GOALS {
        println!(" {events} events a request:");
        let load = |port, sessions: &[String]| {
            Load::open(port, CONNECTIONS, sessions, |n| Request::new(&account.key, events, events << 16 | n))
        };
        let pace = Pace::Closed;
        let mut contenders = [
            Contender {
                name: "Node + Redis",
                process: &stack.node,
                load: load(stack.node.port, &sessions),
                pace,
            },
            Contender {
                name: "durable",
                process: &durable.process,
                load: load(durable.process.port, &sessions),
                pace,
            },
            Contender {
                name: "durable, ten times the runs",
                process: &durable.process,
                load: load(durable.process.port, &many),
                pace,
            },
            Contender {
                name: "null + journal",
                process: &journal,
                load: load(journal.port, &sessions),
                pace,
            },
            Contender { name: "the shape", process: &shape, load: load(shape.port, &sessions), pace },
        ];
        run_on(Core::Both);
        let rounds = Rounds::run(effort, &mut contenders);
        run_on(Core::Load);
        table.add(
            "G24",
            format!("requests/s, durable ÷ Node + Redis, b = {events}"),
            rounds.ratio(1, 0, |sample| sample.outcome.rate()),
            Bound::AtLeast { reach, aim },
        );
        let measure = format!("the same, {SESSIONS} runs instead of {CONNECTIONS}, b = {events}");
        table.tell("", measure, rounds.ratio(2, 0, |sample| sample.outcome.rate()));
        let shape = rounds.ratio(4, 0, |sample| sample.outcome.rate());
        table.tell("", format!("requests/s, the shape ÷ Node + Redis, b = {events}"), shape);
        let journal = rounds.ratio(3, 0, |sample| sample.outcome.rate());
        table.tell("", format!("requests/s, null + journal ÷ Node + Redis, b = {events}"), journal);
    }
}
