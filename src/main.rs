//! The `runstream` binary: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use runstream::cli::Cli;

/// Batches are made on one thread and let go on another; the C library's allocator spends a fifth of the server's time
/// on that, this one half as much.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
