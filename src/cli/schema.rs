//! `runstream schema`: what outsiders depend on, as it is in this binary: the API document, and the tables of a cluster.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::configuration::{SettingsArgs, wrong_settings};
use super::{failed, in_runtime};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::server::api_document;
use crate::store::scylla::schema::{self, STEPS, SchemaStatus};

/// Print the API document (OpenAPI 3.1), or prepare the tables of a cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runstream schema > openapi.json
  runstream schema > schema/openapi.json      in the repository, after a change of an endpoint
  runstream schema apply --set scylla.nodes=db1,db2,db3 --set scylla.replication=dc1:3
  runstream schema status --config cluster.toml
  runstream schema print > tables.cql")]
pub(super) struct SchemaArgs {
    #[command(subcommand)]
    command: Option<Tables>,
}

/// What can be done about the tables of a cluster.
#[derive(Debug, Subcommand)]
enum Tables {
    /// Create keyspace and tables, or bring them up to this binary. Several may run at once.
    Apply(SettingsArgs),
    /// Show what the cluster has of them, what is missing, and what its replication means.
    Status(SettingsArgs),
    /// Print the statements that create the tables.
    Print,
}

pub(super) fn run(args: &SchemaArgs) -> ExitCode {
    match &args.command {
        None => print(&api_document()),
        Some(Tables::Print) => {
            let texts =
                STEPS.iter().map(|step| format!("-- {:03}_{}\n\n{}", step.number, step.name, step.text));
            print(texts.collect::<Vec<_>>().join("\n").as_bytes())
        }
        Some(Tables::Apply(settings)) => with_settings(settings, apply),
        Some(Tables::Status(settings)) => with_settings(settings, status),
    }
}

fn print(bytes: &[u8]) -> ExitCode {
    match io::stdout().write_all(bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn with_settings(args: &SettingsArgs, work: impl AsyncFnOnce(Settings) -> ExitCode) -> ExitCode {
    match args.load() {
        Ok(configuration) => in_runtime(work(configuration.settings)),
        Err(problems) => wrong_settings(&problems),
    }
}

async fn apply(settings: Settings) -> ExitCode {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let applied = match schema::apply(&settings.scylla, &settings.keyspace, Arc::clone(&clock)).await {
        Ok(applied) => applied,
        Err(error) => return failed(&error),
    };
    match applied.as_slice() {
        [] => println!("nothing to apply"),
        applied => applied.iter().for_each(|number| println!("applied step {number}")),
    }
    status(settings).await
}

async fn status(settings: Settings) -> ExitCode {
    match schema::status(&settings.scylla, Arc::new(SystemClock)).await {
        Ok(status) => {
            show(&settings.scylla.keyspace, &status);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn show(keyspace: &str, status: &SchemaStatus) {
    if !status.has_keyspace {
        println!("no keyspace {keyspace:?}");
    }
    for (number, name) in &status.applied {
        println!("{number:03}_{name}  applied");
    }
    for (number, name) in &status.pending {
        println!("{number:03}_{name}  missing: `runstream schema apply` adds it");
    }
    if let Some(durability) = &status.durability {
        println!(
            "keyspace {keyspace:?}: {} in datacenter {:?}",
            if durability.replicas == 1 {
                "1 replica".to_owned()
            } else {
                format!("{} replicas", durability.replicas)
            },
            durability.datacenter
        );
        for warning in durability.warnings() {
            println!("warning: {warning}");
        }
    }
}
