//! G8 to G10: what viewers cost, idle, stalled and while text comes, beside stock Socket.IO on Node and beside the room
//! broadcast of the library that this server is built on.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bodies::Request;
use crate::load::{Load, Pace};
use crate::machine::{Core, Process};
use crate::rounds::{Effort, Spread};
use crate::subjects::runstream::{Account, Runstream};
use crate::subjects::{node, on_disk, room};
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
    let one_line = |port| Load::open(port, 4, &sessions, |n| Request::of_lines(&account.key, &text, 1, n));
    println!(" {viewers} viewers, a line of 200 bytes a frame:");
    let broadcast = room(Core::Server);
    let mut three = [
        ("durable", &server.process, account.token.as_str()),
        ("Node, per line", &per_line, ""),
        ("room broadcast", &broadcast, ""),
    ]
    .map(|(name, process, token)| Watched {
        name,
        process,
        viewers: Viewers::connect(process.port, viewers, token),
        load: one_line(process.port),
    });
    let mut frames = Vec::new();
    for _ in 0..effort.rounds {
        frames.push(three.each_mut().map(|watched| watched.sample(80.0, effort.round).0));
    }
    drop(three);
    let against = |other: usize| Spread::of(frames.iter().map(|figures| figures[0] / figures[other]));
    let bound = Bound::AtMost { reach: 0.6, aim: 0.45 };
    table.add("G9", format!("CPU per frame delivered ÷ Node, {viewers} viewers, 200 B"), against(1), bound);
    let bound = Bound::AtMost { reach: 0.85, aim: 0.7 };
    table.add(
        "G9",
        format!("CPU per frame delivered ÷ the library's room broadcast, {viewers} viewers"),
        against(2),
        bound,
    );

    // G10: ten lines a request, 400 lines a second in one run. All deliver them all, at what cost?
    let viewers = viewers * 2 / 5;
    println!(" {viewers} viewers, 400 lines a second:");
    let ten_lines =
        |port| Load::open(port, 4, &sessions[..1], |n| Request::of_lines(&account.key, &text, 10, 16 + n));
    let mut four = [
        ("durable", &server.process, account.token.as_str()),
        ("Node, per line", &per_line, ""),
        ("Node, the same coalescing", &coalesced, ""),
        ("room broadcast", &broadcast, ""),
    ]
    .map(|(name, process, token)| Watched {
        name,
        process,
        viewers: Viewers::connect(process.port, viewers, token),
        load: ten_lines(process.port),
    });
    let counts = || {
        let count = |name| server.metric(name).unwrap_or_default();
        (count("runstream_live_windows_total"), count("runstream_live_frames_total"))
    };
    let before = counts();
    let mut lines = Vec::new();
    for _ in 0..effort.rounds {
        lines.push(four.each_mut().map(|watched| watched.sample(40.0, effort.round).1));
    }
    let after = counts();
    drop(four);
    let against = |other: usize| Spread::of(lines.iter().map(|figures| figures[other] / figures[0]));
    let bound = Bound::AtLeast { reach: 8.0, aim: 15.0 };
    table.add("G10", "lines delivered per CPU second ÷ Node emitting per line", against(1), bound);
    let bound = Bound::AtLeast { reach: 1.0, aim: 1.3 };
    table.add("G10", "lines delivered per CPU second ÷ Node coalescing", against(2), bound);
    let burst = Spread::of(lines.iter().zip(&frames).map(|(lines, frames)| lines[0] / frames[2]));
    let bound = Bound::AtMost { reach: 0.45, aim: 0.3 };
    table.add("G10", "CPU per line in bursts ÷ the room broadcast's per frame above", burst, bound);
    let burst = Spread::of(lines.iter().map(|figures| figures[0] / figures[3]));
    table.tell("G10", "CPU per line in bursts ÷ the room broadcasting the same bursts line by line", burst);
    // One run prints, so a window is one frame for each viewer.
    let windows = (after.0 - before.0) / ((after.1 - before.1) / viewers as f64);
    let bound = Bound::AtMost { reach: 1.01, aim: 1.01 };
    table.add("G10", "windows encoded ÷ windows each viewer got", windows, bound);

    stalled(&server, &account, table);
    delays(&server, &account, &broadcast, effort, table);

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

/// Reports text, more than the system takes for a socket that is not read.
fn flood(server: &Runstream, account: &Account) {
    // Some 10 MB: a chunk has 32 KiB.
    let text = format!("{}\n", "y".repeat((32 << 10) - 1));
    let sessions = server.open_runs(account, 4);
    let port = server.process.port;
    let mut load = Load::open(port, 4, &sessions, |n| Request::of_lines(&account.key, &text, 4, 32 + n));
    load.run(Pace::Open(30.0), Duration::from_millis(2_600));
}

/// What sockets cost that take nothing: the growth of memory while much text goes by, with them and without.
fn stalled(server: &Runstream, account: &Account, table: &mut Table) {
    const SOCKETS: usize = 50;
    let grown = [0, SOCKETS].map(|sockets| {
        let mut healthy = Viewers::connect(server.process.port, 1, &account.token);
        let stalled = Viewers::connect(server.process.port, sockets, &account.token);
        let before = server.process.resident_bytes();
        let until = Instant::now() + Duration::from_secs(3);
        std::thread::scope(|scope| {
            scope.spawn(|| healthy.watch(until));
            flood(server, account);
        });
        let grown = server.process.resident_bytes().saturating_sub(before);
        drop((healthy, stalled));
        std::thread::sleep(Duration::from_secs(1));
        grown as f64 / 1024.0
    });
    let each = (grown[1] - grown[0]).max(0.0) / SOCKETS as f64;
    println!(" 10 MB went by: {:.0} KiB more, with {SOCKETS} stalled sockets {:.0} KiB", grown[0], grown[1]);
    let bound = Bound::AtMost { reach: 64.0, aim: 16.0 };
    table.add(
        "G10",
        format!("KiB of memory per stalled viewer, {SOCKETS} beside one that reads"),
        each,
        bound,
    );
}

/// From the acknowledgement of a batch to the frame with its last event, at 1 000 lines a second: beside an echo of the
/// same library, and beside viewers that take nothing.
fn delays(server: &Runstream, account: &Account, broadcast: &Process, effort: &Effort, table: &mut Table) {
    const VIEWERS: usize = 100;
    let seconds = effort.round.as_secs().max(2);
    let p99 = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runstream"));
        command.args(["bench", "live", "--url", &format!("http://127.0.0.1:{}", server.process.port)]);
        command.args(["--key", &account.key, "--token", &account.token, "--project", &account.project]);
        command.args([
            "--viewers",
            &VIEWERS.to_string(),
            "--rate",
            "1000",
            "--events-per-batch",
            "10",
            "--json",
        ]);
        command.args(["--duration", &seconds.to_string(), "--warm-up", "500ms"]);
        let said = command.env_clear().stderr(Stdio::inherit()).output().unwrap();
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(report["live"]["gaps"], 0);
        report["live"]["receiptMs"]["p99"].as_f64().unwrap()
    };
    let (mut beside_echo, mut beside_stalled) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut echoes = Viewers::echoes(broadcast.port, 1_000);
        echoes.sort_unstable();
        let echo = echoes[echoes.len() * 99 / 100].as_secs_f64() * 1e3;
        let alone = p99();
        let stalled = Viewers::connect(server.process.port, VIEWERS / 10, &account.token);
        flood(server, account);
        let with = p99();
        drop(stalled);
        let tick = runstream::limits::FEED_TICK.as_secs_f64() * 1e3;
        println!("  p99 to the frame {alone:.1} ms, with stalled viewers {with:.1} ms; an echo {echo:.2} ms");
        beside_echo.push((alone - tick).max(0.0) / echo);
        beside_stalled.push(with / alone);
    }
    table.add(
        "G22",
        format!(
            "p99 from the answer to the frame, less a tick, ÷ an echo's p99, {VIEWERS} viewers, 1 000 lines/s"
        ),
        Spread::of(beside_echo),
        Bound::AtMost { reach: 3.0, aim: 2.0 },
    );
    table.add(
        "G11",
        "the same p99 beside 10 % of viewers that take nothing ÷ without them",
        Spread::of(beside_stalled),
        Bound::AtMost { reach: 1.3, aim: 1.1 },
    );
}
