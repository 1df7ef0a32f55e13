//! `runstream bench`: a load generator for servers of this interface, and a judge of what they made of the load.
//!
//! A load is made of *sessions*, each a stream of events that goes into one run after the other; *senders*, each a
//! connection that serves some sessions; and *lanes*, each a thread that drives some connections. `mix` says what event
//! number n of a run is, `session` makes batches of them, `wire` sends them, `ledger` remembers what was acknowledged,
//! `pace` says when, `stats` what it took. `load` runs one step, `search` several. `verify` then reads everything back,
//! and `report` is the result, which `table` and `page` show. Start reading at `ingest`.
//!
//! Nothing here has a door of its own into the server: every byte goes through a socket, also with `--serve`.

mod acks;
mod args;
mod chart;
mod follow;
mod ingest;
mod lane;
mod ledger;
mod live;
mod load;
mod mix;
mod numbers;
mod opener;
mod own;
mod pace;
mod page;
mod report;
mod search;
mod session;
mod stats;
mod table;
mod target;
mod verify;
mod viewer;
mod wire;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use self::ingest::IngestArgs;
use self::live::LiveArgs;
use super::client::ClientError;
use super::demo::DemoError;
use super::socket::SocketError;
use crate::clock::Clock;
use crate::server::StartError;

/// The server lost, doubled, reordered or changed something.
const NOT_VERIFIED: u8 = 4;
/// No rate holds the limit.
const NOT_HELD: u8 = 5;
/// Ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Measure a server under load, and prove that it kept everything.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    Ingest(IngestArgs),
    Live(LiveArgs),
}

/// Why a bench could not go on.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The server of its own did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The account for it could not be made.
    #[error(transparent)]
    Account(#[from] DemoError),
    /// The server cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The live channel failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The server refused what should have been fine.
    #[error("the server refused {what}: {answer}")]
    Refused {
        /// Which request.
        what: String,
        /// Status and body.
        answer: String,
    },
    /// Too many batches failed.
    #[error("too many batches failed; the first: {0}")]
    Failures(String),
    /// An answer is not what the documents say, or a part of the bench broke.
    #[error("unexpected: {0}")]
    Unexpected(String),
    /// No thread.
    #[error("no runtime: {0}")]
    Runtime(#[source] io::Error),
    /// No place for the data.
    #[error("no data folder: {0}")]
    DataFolder(#[source] io::Error),
    /// The page cannot be written, or nobody reads what is printed.
    #[error("cannot write {0}: {1}")]
    Write(String, #[source] io::Error),
}

/// Runs a bench to its end.
pub(super) async fn run(args: BenchArgs, clock: Arc<dyn Clock>) -> ExitCode {
    let outcome = match &args.command {
        BenchCommand::Ingest(args) => ingest::run(args, clock).await,
        BenchCommand::Live(args) => live::run(args, clock).await,
    };
    match outcome {
        Ok(code) => code,
        Err(BenchError::Usage(problem)) => {
            eprintln!("runstream: {problem}");
            ExitCode::from(super::WRONG_USAGE)
        }
        Err(error) => super::failed(&error),
    }
}
