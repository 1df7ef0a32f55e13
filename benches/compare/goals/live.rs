//! G8 to G10: what viewers cost, idle and while text comes, beside stock Socket.IO on Node.

use std::time::{Duration, Instant};

use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::{Core, Process};
use crate::rounds::{Effort, Spread};
use crate::subjects::node;
use crate::subjects::on_disk;
use crate::subjects::runstream::Runstream;
use crate::table::{Bound, Table};
use crate::viewers::{Seen, Viewers};

/// A server with viewers, and who feeds it.
struct Watched<'a> {
    name: &'static str,
    process: &'a Process,
    viewers: Viewers,
    load: Load,
}

impl Watched<'_> {
    /// Feeds it at `rate` requests a second; CPU time in microseconds for each frame and each line delivered.
    fn sample(&mut self, rate: f64, duration: Duration) -> (f64, f64) {
        let before = self.process.cpu();
        let (load, viewers) = (&mut self.load, &mut self.viewers);
        let until = Instant::now() + duration + Duration::from_millis(200);
        let seen: Seen = std::thread::scope(|scope| {
            let watching = scope.spawn(|| viewers.watch(until));
            load.run(Pace::Open(rate), duration);
            watching.join().unwrap()
        });
        let cpu_us = (self.process.cpu() - before).as_secs_f64() * 1e6;
        println!(
            "  {:<24} {:>8} frames, {:>8} lines delivered, {:.0} % of a core",
            self.name,
            seen.frames,
            seen.lines,
            cpu_us / duration.as_micros() as f64 * 100.0
        );
        (cpu_us / seen.frames as f64, cpu_us / seen.lines as f64)
    }
}

pub(crate) fn measure(effort: &Effort, table: &mut Table) {
    let (per_line, coalesced) = match (
        node::start("fanout.mjs", "per-line", Core::Server),
        node::start("fanout.mjs", "coalesced", Core::Server),
    ) {
        (Ok(per_line), Ok(coalesced)) => (per_line, coalesced),
        (Err(reason), _) | (_, Err(reason)) => return table.skip("G8-G10", &reason),
    };
    let settings = ["live.sockets_per_organization=100000", "live.handshakes=100000"];
    let server = Runstream::start(on_disk(), Core::Server, &settings);
    let account = server.sign_up("ada");
    let text = format!("{}\n", "x".repeat(199));

    // G9: fewer lines than ticks in each of four runs, so that each line is a frame everywhere.
    let viewers = if effort.is_full { 500 } else { 200 };
    let sessions = server.open_runs(&account, 4);
    let one_line = |port, writer: usize| {
        Load::open(port, 4, &sessions, |n| Request::of_lines(&account.key, &text, 1, writer + n))
    };
    println!(" {viewers} viewers, a line of 200 bytes a frame:");
    let mut pair = [
        Watched {
            name: "durable",
            process: &server.process,
            viewers: Viewers::connect(server.process.port, viewers, &account.token),
            load: one_line(server.process.port, 0),
        },
        Watched {
            name: "Node, per line",
            process: &per_line,
            viewers: Viewers::connect(per_line.port, viewers, ""),
            load: one_line(per_line.port, 0),
        },
    ];
    let frames = (0..effort.rounds).map(|_| {
        let [durable, node] = pair.each_mut().map(|watched| watched.sample(80.0, effort.round).0);
        durable / node
    });
    let frames = Spread::of(frames.collect::<Vec<_>>());
    drop(pair);
    let bound = Bound::AtMost { reach: 0.6, aim: 0.45 };
    table.add("G9", format!("CPU per frame delivered ÷ Node, {viewers} viewers, 200 B"), frames, bound);

    // G10: ten lines a request, 400 lines a second in one run. All deliver them all, at what cost?
    let viewers = viewers / 5;
    println!(" {viewers} viewers, 400 lines a second:");
    let ten_lines =
        |port| Load::open(port, 4, &sessions[..1], |n| Request::of_lines(&account.key, &text, 10, 16 + n));
    let mut three = [
        ("durable", &server.process, account.token.as_str()),
        ("Node, per line", &per_line, ""),
        ("Node, the same coalescing", &coalesced, ""),
    ]
    .map(|(name, process, token)| Watched {
        name,
        process,
        viewers: Viewers::connect(process.port, viewers, token),
        load: ten_lines(process.port),
    });
    let mut lines = Vec::new();
    for _ in 0..effort.rounds {
        lines.push(three.each_mut().map(|watched| watched.sample(40.0, effort.round).1));
    }
    drop(three);
    let against = |other: usize| Spread::of(lines.iter().map(|figures| figures[other] / figures[0]));
    let bound = Bound::AtLeast { reach: 8.0, aim: 15.0 };
    table.add("G10", "lines delivered per CPU second ÷ Node emitting per line", against(1), bound);
    let bound = Bound::AtLeast { reach: 1.0, aim: 1.3 };
    table.add("G10", "lines delivered per CPU second ÷ Node coalescing", against(2), bound);

    // G8: sockets that only are there.
    let idle = if effort.is_full { 5_000 } else { 1_000 };
    let [durable, node] =
        [(&server.process, account.token.as_str()), (&coalesced, "")].map(|(process, token)| {
            let before = process.resident_bytes();
            let viewers = Viewers::connect(process.port, idle, token);
            std::thread::sleep(Duration::from_secs(2));
            let grown = process.resident_bytes().saturating_sub(before) as f64 / idle as f64 / 1024.0;
            drop(viewers);
            grown
        });
    println!(" {idle} idle viewers: {durable:.1} KiB each, on Node {node:.1} KiB");
    let bound = Bound::AtMost { reach: 1.05, aim: 0.8 };
    table.add("G8", format!("memory per idle viewer ÷ Node, {idle}"), durable / node, bound);
}
