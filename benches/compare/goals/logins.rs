//! What a storm of logins costs those who ingest: each login is a password hash of tens of milliseconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::rounds::{Effort, Spread};
use crate::subjects::on_disk;
use crate::subjects::runstream::Runstream;
use crate::table::{Bound, Table};
use crate::wire::Wire;

const EVENTS: usize = 10;
/// Logins under way at any moment, each of an account of its own.
const STORM: usize = 50;
/// Requests per second: a quiet server's, so that what is seen is what logins add.
const RATE: f64 = 1_000.0;

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let server = Runstream::start(on_disk(), Core::Server, &[]);
    let account = server.sign_up("ada");
    let people: Vec<_> = (0..STORM).map(|number| format!("ada{number}")).collect();
    for name in &people {
        server.sign_up(name);
    }
    let sessions = server.open_runs(&account, SESSIONS);
    let port = server.process.port;
    let mut load = Load::open(port, CONNECTIONS, &sessions, |n| Request::new(&account.key, EVENTS, n));
    load.run(Pace::Open(RATE), effort.warm_up);
    let (mut slower, mut logins) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut alone = load.run(Pace::Open(RATE), effort.round);
        let (is_over, taken) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut beside = std::thread::scope(|scope| {
            for name in &people {
                let (is_over, taken) = (&is_over, &taken);
                scope.spawn(move || log_in_again_and_again(port, name, is_over, taken));
            }
            let outcome = load.run(Pace::Open(RATE), effort.round);
            is_over.store(true, Ordering::Relaxed);
            outcome
        });
        let rate = taken.load(Ordering::Relaxed) as f64 / beside.took.as_secs_f64();
        let (p99_alone, p99_beside) = (alone.latency(0.99), beside.latency(0.99));
        println!("  p99 alone {p99_alone:.2?}, beside {rate:.0} logins/s {p99_beside:.2?}");
        assert!(beside.refused == 0 && beside.accepted > 0);
        slower.push(p99_beside.as_secs_f64() / p99_alone.as_secs_f64());
        logins.push(rate);
    }
    let bound = Bound::AtMost { reach: 1.3, aim: 1.0 };
    table.add("logins", "ingest p99 beside 50 concurrent logins ÷ alone", Spread::of(slower), bound);
    let bound = Bound::AtLeast { reach: 1.0, aim: 10.0 };
    table.add("logins", "logins/s meanwhile", Spread::of(logins), bound);
}

fn log_in_again_and_again(port: u16, name: &str, is_over: &AtomicBool, taken: &AtomicU64) {
    let mut wire = Wire::open(port).unwrap();
    let person = json!({ "email": format!("{name}@example.test"), "password": "Correct-Horse-9!" });
    while !is_over.load(Ordering::Relaxed) {
        assert!(wire.post("/api/auth/login", "", &person)["token"].is_string());
        taken.fetch_add(1, Ordering::Relaxed);
    }
}
