//! The comparison for ourselves: each goal of speed as a ratio of two subjects that were measured in turns, in one run,
//! on one machine.
//!
//! ```text
//! cargo bench --bench compare -- [NAME ...] [--quick | --full]
//! cargo bench --bench compare -- against PROGRAM [--quick | --full]
//! cargo bench --bench compare -- steady MINUTES [REQUESTS_PER_SECOND]
//! ```
//!
//! Without a name everything runs; the names are those of [`goals::ALL`]. Quick (the default) takes three rounds of a
//! second, full takes seven of three seconds after one to warm up. What is measured has one core, the load another.
//! CPU time is what the kernel charged the measured process with. It prints a table and ends with 1 if a goal is missed.
//! With `against` it measures this build of the server beside another one: before and after a change. `steady` feeds the
//! server for that long, at half of what it can take or at the given rate, and tells twelve times where memory, files,
//! latency and recovery stand; it judges nothing.
//! A subject that this machine lacks (Node, Redis) is named, and its rows are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench ends at the first thing that is wrong, and is not part of the interface"
)]

mod bodies;
mod goals;
mod load;
mod machine;
mod rounds;
mod subjects;
mod table;
mod viewers;
mod wire;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use machine::{Core, run_on};
use rounds::Effort;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["subject", "null"] => subjects::null::serve(None),
        ["subject", "room"] => subjects::room::serve(),
        ["subject", "shape", folder] => subjects::shape::serve(Path::new(folder)),
        ["subject", "null", folder] => subjects::null::serve(Some(Path::new(folder))),
        _ => return compare(&words),
    }
    ExitCode::SUCCESS
}

fn compare(words: &[&str]) -> ExitCode {
    let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
    let effort = match options[..] {
        [] | ["--quick"] => Effort::QUICK,
        ["--full"] => Effort::FULL,
        _ => return usage(),
    };
    if let ["against", program] = names[..] {
        run_on(Core::Load);
        println!("{}", goals::against(Path::new(program), &effort));
        return ExitCode::SUCCESS;
    }
    if let ["steady", minutes, ref rate @ ..] = names[..] {
        let rate = match rate {
            [] => Ok(None),
            [rate] => rate.parse().map(Some),
            _ => return usage(),
        };
        let (Ok(minutes), Ok(rate)) = (minutes.parse(), rate) else { return usage() };
        run_on(Core::Load);
        goals::steady(minutes, rate);
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| names.is_empty() || names == ["all"] || names.contains(&name);
    if names.iter().any(|name| *name != "all" && goals::ALL.iter().all(|(known, _)| known != name)) {
        return usage();
    }
    run_on(Core::Load);
    let begun = Instant::now();
    let floor = subjects::floor::measure(Duration::from_secs(1));
    println!("a sync of 4 KiB takes {:.2?}, at the 99th percentile {:.2?}", floor.p50, floor.p99);
    let mut table = table::Table::default();
    for (name, measure) in goals::ALL {
        if chosen(name) {
            println!("\n{name}:");
            measure(&effort, &mut table);
        }
    }
    println!("\n{table}\n{} rounds of {:?}, {:.0?} in all", effort.rounds, effort.round, begun.elapsed());
    if table.is_missed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn usage() -> ExitCode {
    let names: Vec<_> = goals::ALL.iter().map(|(name, _)| *name).collect();
    eprintln!(
        "compare [{} | all | against PROGRAM | steady MINUTES [RATE]] [--quick | --full]",
        names.join(" | ")
    );
    ExitCode::from(2)
}
