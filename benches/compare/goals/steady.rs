//! Steady load for a long time: memory, files, latency and recovery should stay where they are.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::subjects::on_disk;
use crate::subjects::runstream::{Account, Runstream};
use crate::wire::Wire;

/// Looks in all.
const LOOKS: u32 = 12;
const EVENTS: usize = 10;
/// Share of what the server can take.
const SHARE: f64 = 0.5;

/// Feeds a server for `minutes` with `rate` requests a second, or at half of its saturation, with runs that come and go,
/// and prints where it stands twelve times. At half time and in the end it is killed and started again.
pub(crate) fn measure(minutes: u64, rate: Option<f64>) {
    let mut server = Runstream::start(on_disk(), Core::Server, &[]);
    let account = server.sign_up("ada");
    let mut sessions = server.open_runs(&account, SESSIONS);
    let load = |server: &Runstream, sessions: &[String]| {
        Load::open(server.process.port, CONNECTIONS, sessions, |n| Request::new(&account.key, EVENTS, n))
    };
    let rate = rate
        .unwrap_or_else(|| load(&server, &sessions).run(Pace::Closed, Duration::from_secs(3)).rate() * SHARE);
    let pace = Pace::Open(rate);
    println!("{rate:.0} requests/s of {EVENTS} events, for {minutes} minutes");
    println!("minute  requests/s  p50 ms  p99 ms  resident MiB  files  data MiB  recovery s");
    let begun = Instant::now();
    for look in 1..=LOOKS {
        finish(&server, &account, &sessions);
        sessions = server.open_runs(&account, SESSIONS);
        let mut outcome = load(&server, &sessions).run(pace, Duration::from_secs(minutes * 60) / LOOKS);
        let resident = server.process.resident_bytes();
        let (files, bytes) = held(server.folder());
        let recovery = if look == LOOKS / 2 || look == LOOKS {
            format!("{:.2}", recover(&mut server, &account, &sessions[0]).as_secs_f64())
        } else {
            String::new()
        };
        println!(
            "{:>6.1}  {:>10.0}  {:>6.2}  {:>6.2}  {:>12.1}  {files:>5}  {:>8.1}  {recovery:>10}",
            begun.elapsed().as_secs_f64() / 60.0,
            outcome.rate(),
            outcome.latency(0.5).as_secs_f64() * 1e3,
            outcome.latency(0.99).as_secs_f64() * 1e3,
            mib(resident),
            mib(bytes),
        );
    }
}

/// Ends the runs of `sessions`.
fn finish(server: &Runstream, account: &Account, sessions: &[String]) {
    let mut wire = Wire::open(server.process.port).unwrap();
    let headers = format!("x-api-key: {}\r\n", account.key);
    for session in sessions {
        let summary = json!({ "total": 1, "passed": 1, "failed": 0, "skipped": 0, "duration": 1 });
        let teardown = json!({ "sessionId": session, "status": "PASSED", "summary": summary });
        wire.post("/api/ingest/teardown", &headers, &teardown);
    }
}

/// Kills the server and starts it again: how long until it has taken an event.
fn recover(server: &mut Runstream, account: &Account, session: &str) -> Duration {
    server.process.kill();
    let begun = Instant::now();
    server.restart();
    let mut request = Request::new(&account.key, 1, 0xFFFF);
    request.set(session, 1 + u64::from(server.process.id()));
    let (status, _) = Wire::open(server.process.port).unwrap().exchange(request.bytes()).unwrap();
    assert_eq!(status, 200, "a run is known after a restart");
    begun.elapsed()
}

/// Files in a folder and below it, and their bytes.
fn held(folder: &Path) -> (usize, u64) {
    let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    entries.fold((0, 0), |(files, bytes), entry| match entry.metadata() {
        Ok(found) if found.is_dir() => {
            let (more, more_bytes) = held(&entry.path());
            (files + more, bytes + more_bytes)
        }
        Ok(found) => (files + 1, bytes + found.len()),
        // It went while it was looked at.
        Err(_) => (files, bytes),
    })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
