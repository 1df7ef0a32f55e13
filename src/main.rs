//! The `runstream` binary: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser;
use runstream::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
