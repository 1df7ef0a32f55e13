//! `runstream serve`.

use std::process::ExitCode;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::{SettingsArgs, wrong_settings};
use super::{STORE_FAILED, failed, in_runtime};
use crate::config::Settings;
use crate::server::{RunningServer, Seams, Server};
use crate::telemetry;

/// Serve.
///
/// Needs no configuration: listens on 127.0.0.1:3000 and keeps everything in ./runstream-data. SIGTERM or Ctrl-C ends it
/// in order: requests in flight are finished, what was acknowledged is kept. A second one ends it at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  ended in order
  1  could not start, or was told twice to end
  2  wrong usage or configuration; every problem is named
  3  the store failed, nothing could be acknowledged any more

Examples:
  runstream serve
  runstream serve --address 0.0.0.0 --port 8080 --data /var/lib/runstream
  RUNSTREAM_SERVER_PORT=8080 runstream serve --set rates.ingest_event_per_minute=5000")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let settings = match args.settings.load() {
        Ok(configuration) => configuration.settings,
        Err(problems) => return wrong_settings(&problems),
    };
    if let Err(error) = telemetry::start_logging(&settings.log) {
        return failed(&error);
    }
    allow_open_files(settings.connections.max);
    let code = in_runtime(serve(settings));
    if code != ExitCode::SUCCESS {
        tracing::error!("ended");
    }
    code
}

async fn serve(settings: Settings) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    let server = match Server::start(settings, Seams::default()).await {
        Ok(server) => server,
        Err(error) => return failed(&error),
    };
    greet(&server);
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "ending"),
        reason = server.failed() => {
            eprintln!("runstream: the store failed: {reason}; nothing can be acknowledged any more");
            // Not in order: what is in memory must not be written by a store that cannot keep it.
            std::process::exit(i32::from(STORE_FAILED));
        }
    }
    tokio::select! {
        closed = server.shut_down() => match closed {
            Ok(()) => {
                tracing::info!("ended in order");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        },
        name = signals.next() => {
            eprintln!("runstream: {name} again, ending at once");
            // What is still running is not waited for.
            std::process::exit(i32::from(super::FAILED));
        }
    }
}

/// Resolves when the process is told to end.
pub(super) async fn told_to_end() {
    match Signals::listen() {
        Ok(mut signals) => drop(signals.next().await),
        // Without signals the process ends as the system ends it.
        Err(_) => std::future::pending().await,
    }
}

/// The signals that end a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Files that a server has open besides its connections: the journal, the store's tables, logs.
const OTHER_FILES: u64 = 1_024;

/// Raises this process's limit of open files as far as the system allows, and says so if that is too little for
/// `connections`.
fn allow_open_files(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = OTHER_FILES.saturating_add(connections as u64);
    if allowed < wanted {
        tracing::warn!(allowed, wanted, "the limit of open files is too low for connections.max");
    }
}

/// Says where the server is, and on the first start how to go on.
fn greet(server: &RunningServer) {
    let url = server.base_url();
    if !server.is_first_start() {
        println!("runstream {} listens on {url}", env!("CARGO_PKG_VERSION"));
        return;
    }
    let steps = include_str!("first_steps.sh").replace("@URL@", &url);
    println!(
        "runstream {} listens on {url} for the first time. How to go on, in another terminal:\n\n{steps}\n\
         API reference: {url}/docs   settings: runstream config   kept in: {}",
        env!("CARGO_PKG_VERSION"),
        server.data_folder().display(),
    );
}
