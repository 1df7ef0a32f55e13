//! `runstream store copy`: everything of one store into another one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::configuration::wrong_settings;
use super::{FAILED, in_runtime};
use crate::clock::Clock;
use crate::config::{Configuration, Problems, Sources, StoreKind};
use crate::server::{DataFolder, DataFolderError};
use crate::store::copy::{Copied, CopyError, Kind, Side, Watch, copy};
use crate::store::lsm::LsmSettings;

/// A server uses one of the stores.
const IN_USE: u8 = 4;
/// Both stores were read whole and differ.
const DIFFERS: u8 = 5;

/// Move a whole store.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Copy(CopyArgs),
}

/// Copy everything a server keeps into another store, and prove that it is there.
///
/// No server may use either store meanwhile. A copy that was cut off goes on where it was when it is run again; until it is
/// done no server starts on the target. At the end both stores are read whole and compared by counts and checksums.
///
/// Each side is a data folder (the embedded store), or a settings file whose `store.kind` says which store it is. A
/// cluster's keyspace needs its tables: `runstream schema apply`. Give the servers on the target the secrets of the source,
/// or API keys and sign-ins are void and what was sealed is lost: the secrets of the data folder, or those of `[access]`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  copied, both stores hold the same
  1  failed; run it again to go on
  2  wrong usage or settings
  4  a server uses one of the stores
  5  copied, and the stores differ

Examples:
  runstream store copy --from runstream-data --to cluster.toml
  runstream store copy --from cluster.toml --to new-data --json")]
struct CopyArgs {
    /// Data folder or settings file of the store that is read.
    #[arg(long, value_name = "FOLDER|FILE")]
    from: PathBuf,
    /// The same of the store that is written, which has to be empty or hold a part of this copy.
    #[arg(long, value_name = "FOLDER|FILE")]
    to: PathBuf,
    /// Print what was copied as JSON.
    #[arg(long)]
    json: bool,
}

/// Why nothing was copied.
enum Refusal {
    Settings(Problems),
    Folder(DataFolderError),
    Copy(CopyError),
}

pub(super) fn run(args: &StoreArgs, clock: Arc<dyn Clock>) -> ExitCode {
    let StoreCommand::Copy(args) = &args.command;
    in_runtime(async move {
        // In a box: the futures of the driver are large.
        match Box::pin(copy_stores(args, &clock)).await {
            Ok(copied) => {
                show(&copied, args.json);
                ExitCode::SUCCESS
            }
            Err(Refusal::Settings(problems)) => wrong_settings(&problems),
            Err(Refusal::Folder(error)) => {
                let is_used = matches!(error, DataFolderError::InUse { .. });
                refuse(&error, if is_used { IN_USE } else { FAILED })
            }
            Err(Refusal::Copy(error)) => {
                let code = match &error {
                    CopyError::InUse(_) => IN_USE,
                    CopyError::Differs { .. } => DIFFERS,
                    _ => FAILED,
                };
                refuse(&error, code)
            }
        }
    })
}

fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("runstream: {error}");
    ExitCode::from(code)
}

async fn copy_stores(args: &CopyArgs, clock: &Arc<dyn Clock>) -> Result<Copied, Refusal> {
    let from = side(&args.from).map_err(Refusal::Settings)?;
    let to = side(&args.to).map_err(Refusal::Settings)?;
    // A source that is not there is not made.
    let is_there = match &from {
        Side::Embedded(settings) => settings.data.is_dir(),
        Side::Cluster(_) => true,
    };
    let _from_locked = if is_there { lock(&from)? } else { None };
    let _to_locked = lock(&to)?;
    let bar = Bar::new();
    let copied = copy(&from, &to, clock, &bar).await;
    bar.0.finish_and_clear();
    copied.map_err(Refusal::Copy)
}

/// Keeps servers out of a data folder.
fn lock(side: &Side) -> Result<Option<DataFolder>, Refusal> {
    match side {
        Side::Embedded(settings) => DataFolder::open(&settings.data).map(Some).map_err(Refusal::Folder),
        // A lease in the keyspace does it.
        Side::Cluster(_) => Ok(None),
    }
}

/// The store that a path names.
fn side(path: &Path) -> Result<Side, Problems> {
    if path.extension().is_none_or(|ending| ending != "toml") {
        return Ok(Side::Embedded(LsmSettings::at(path)));
    }
    let settings = Configuration::load(&Sources::of_process(Some(path.to_owned()), Vec::new()))?.settings;
    Ok(match settings.store {
        StoreKind::Embedded => Side::Embedded(LsmSettings::at(settings.data_folder)),
        StoreKind::Scylla => Side::Cluster(Box::new(settings.scylla)),
    })
}

/// Shows how far it is, on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {msg} {human_pos} records, {per_sec}, {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar.set_message("opening");
        Self(bar)
    }
}

impl Watch for Bar {
    fn begun(&self, records: u64) {
        let said = match records {
            0 => "copying".to_owned(),
            records => format!("going on after {records} records"),
        };
        // A copy goes on whether or not somebody listens.
        self.0.suspend(|| drop(writeln!(std::io::stderr(), "{said}")));
    }

    fn copied(&self, records: u64) {
        self.0.set_message("copied");
        self.0.set_position(records);
    }

    fn compared(&self, records: u64) {
        self.0.set_message("compared");
        self.0.set_position(records);
    }
}

fn show(copied: &Copied, as_json: bool) {
    let kinds = Kind::ALL.iter().map(|kind| (kind.name(), copied.tally.of(*kind)));
    if as_json {
        let kinds: Vec<_> = kinds
            .map(|(name, count)| {
                let checksum = format!("{:032x}", count.checksum);
                serde_json::json!({"kind": name, "records": count.records, "checksum": checksum})
            })
            .collect();
        let Copied { is_resumed, taken_in, tally } = copied;
        let said = serde_json::json!({
            "resumed": is_resumed, "takenIn": taken_in, "records": tally.records(), "kinds": kinds
        });
        println!("{said:#}");
        return;
    }
    for (name, count) in kinds {
        println!("{name:<20} {:>12}  {:032x}", count.records, count.checksum);
    }
    println!(
        "both stores hold the same {} records, {} of them taken in now",
        copied.tally.records(),
        copied.taken_in
    );
}
