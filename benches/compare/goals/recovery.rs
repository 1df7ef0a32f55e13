//! G16: how soon after `kill -9` the server takes events again.

use std::time::{Duration, Instant};

use super::{CONNECTIONS, SESSIONS};
use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::Core;
use crate::rounds::{Effort, Spread};
use crate::subjects::on_disk;
use crate::subjects::runstream::Runstream;
use crate::table::{Bound, Table};
use crate::wire::Wire;

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let mib = if effort.is_full { 1_024 } else { 256 };
    let mut server = Runstream::start(on_disk(), Core::Server, &[]);
    let account = server.sign_up("ada");
    let sessions = server.open_runs(&account, SESSIONS);
    let mut load =
        Load::open(server.process.port, CONNECTIONS, &sessions, |n| Request::new(&account.key, 100, n));
    let bytes = |server: &Runstream| -> u64 {
        server.journal_files().iter().map(|file| file.metadata().unwrap().len()).sum()
    };
    while bytes(&server) < mib << 20 {
        load.run(Pace::Closed, Duration::from_millis(500));
    }
    drop(load);
    let mut request = Request::new(&account.key, 1, 0xFFFF);
    let mut ratios = Vec::new();
    for round in 1..=if effort.is_full { 5 } else { 3 } {
        server.process.kill();
        // Once to have them in memory for both.
        read_and_checksum(&server);
        let reading = Instant::now();
        let bytes = read_and_checksum(&server);
        let reading = reading.elapsed();
        let starting = Instant::now();
        server.restart();
        let ready = starting.elapsed();
        request.set(&sessions[0], round);
        let (status, _) = Wire::open(server.process.port).unwrap().exchange(request.bytes()).unwrap();
        let starting = starting.elapsed();
        assert_eq!(status, 200, "a run is known after a restart");
        println!(
            "  {} MiB: read and checksummed in {reading:.0?}, listening after {ready:.0?}, first event after {starting:.0?}",
            bytes >> 20
        );
        ratios.push(starting.as_secs_f64() / reading.as_secs_f64());
    }
    table.add(
        "G16",
        format!("first 2xx after kill -9 ÷ reading and checksumming the journal, {mib} MiB"),
        Spread::of(ratios),
        Bound::AtMost { reach: 3.0, aim: 1.5 },
    );
}

fn read_and_checksum(server: &Runstream) -> usize {
    let read = |file: &std::path::PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        std::hint::black_box(crc32fast::hash(&bytes));
        bytes.len()
    };
    server.journal_files().iter().map(read).sum()
}
