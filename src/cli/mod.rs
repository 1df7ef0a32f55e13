//! The command line: one file per subcommand. A subcommand turns its arguments into calls of the rooms above and their
//! outcome into lines for a person; it holds no rule of its own. Everything that ends the process ends it here, with an
//! exit code that the help documents.

mod admin;
mod bench;
mod completions;
mod configuration;
mod health;
mod routes;
mod schema;
mod secrets;
mod serve;
mod store;

pub mod client;
pub mod demo;
pub mod socket;
pub mod sse;
pub mod tail;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};

use self::admin::{AuditArgs, InviteArgs, KeyArgs, OrgArgs, ProjectArgs, UserArgs};
use self::bench::BenchArgs;
use self::client::Client;
use self::completions::CompletionsArgs;
use self::configuration::ConfigArgs;
use self::demo::{Demo, DemoArgs};
use self::health::HealthArgs;
use self::routes::RoutesArgs;
use self::schema::SchemaArgs;
use self::secrets::SecretsArgs;
use self::serve::ServeArgs;
use self::store::StoreArgs;
use self::tail::{Tail, TailArgs};
use crate::clock::{Clock, SystemClock};
use crate::dial::TcpDial;

/// How long connecting to a server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Something failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const WRONG_USAGE: u8 = 2;
/// The store failed while serving: nothing could be acknowledged any more.
const STORE_FAILED: u8 = 3;

/// Takes test results and logs while the tests run, keeps them, shows them live.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Exit codes:
  0  done
  1  failed; the reason is on standard error
  2  wrong usage or configuration
  3  serve: the store failed, nothing could be acknowledged any more
  `tail`, `bench` and `store` have further ones, see their --help

Examples:
  runstream demo --once      the whole journey in a minute
  runstream serve            a server on http://127.0.0.1:3000
  runstream tail             the newest run's log, as it grows
  runstream org create       an organization with its first administrator"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(ServeArgs),
    Demo(DemoArgs),
    Tail(TailArgs),
    Bench(Box<BenchArgs>),
    Org(OrgArgs),
    User(UserArgs),
    Key(KeyArgs),
    Invite(InviteArgs),
    Project(ProjectArgs),
    Audit(AuditArgs),
    Routes(RoutesArgs),
    Schema(SchemaArgs),
    Secrets(SecretsArgs),
    Store(StoreArgs),
    Config(ConfigArgs),
    Health(HealthArgs),
    Completions(CompletionsArgs),
}

impl Cli {
    /// Runs the subcommand to its end.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        match self.command {
            Command::Serve(args) => serve::run(&args),
            Command::Demo(args) => in_runtime(show_demo(args, clock)),
            Command::Tail(args) => in_runtime(follow(args, clock)),
            Command::Bench(args) => in_runtime(bench::run(*args, clock)),
            Command::Org(args) => args.run(),
            Command::User(args) => args.run(),
            Command::Key(args) => args.run(),
            Command::Invite(args) => args.run(),
            Command::Project(args) => args.run(),
            Command::Audit(args) => args.run(),
            Command::Routes(args) => routes::run(&args),
            Command::Schema(args) => schema::run(&args),
            Command::Secrets(args) => secrets::run(&args),
            Command::Store(args) => store::run(&args, clock),
            Command::Config(args) => configuration::run(&args),
            Command::Health(args) => health::run(args),
            Command::Completions(args) => completions::run(&args),
        }
    }
}

async fn show_demo(args: DemoArgs, clock: Arc<dyn Clock>) -> ExitCode {
    match Demo::run(&args, clock).await {
        Ok(demo) => {
            let agrees = demo.agrees;
            if !args.once {
                serve::told_to_end().await;
            }
            match demo.shut_down().await {
                Ok(()) => ExitCode::from(if agrees { 0 } else { FAILED }),
                Err(error) => failed(&error),
            }
        }
        Err(error) => failed(&error),
    }
}

async fn follow(args: TailArgs, clock: Arc<dyn Clock>) -> ExitCode {
    let client = Client::new(Arc::new(TcpDial { timeout: CONNECT_TIMEOUT }), &args.url)
        .map_err(tail::TailError::Client)
        .and_then(|client| tail::with_credential(client, &args));
    let client = match client {
        Ok(client) => client,
        Err(error) => return failed(&error),
    };
    let (mut out, mut notes) = (std::io::stdout(), std::io::stderr());
    let tail = Tail { client: &client, clock: clock.as_ref(), out: &mut out, notes: &mut notes };
    match tail.run(&args).await {
        Ok(status) => ExitCode::from(tail::exit_code(status)),
        Err(error) => failed(&error),
    }
}

/// Runs `work` on all cores.
fn in_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => failed(&error),
    }
}

/// Says why, with all causes, and fails.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("runstream: {error}");
    ExitCode::from(FAILED)
}
