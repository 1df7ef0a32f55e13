//! `runstream secrets`: the keys that seal what is stored.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::configuration::{SettingsArgs, wrong_settings};
use super::{FAILED, failed, in_runtime};
use crate::server::{KeyChange, Seams, change_sealing_key};

/// Change the key that seals stored secrets.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  everything is sealed with the current key
  1  failed, or some values could not be read; the reason is on standard error

Examples:
  runstream secrets rotate                           the server is stopped; its data folder holds the keys
  runstream secrets rotate --config cluster.toml     a new key stands first in access.sealing_keys of every server")]
pub(super) struct SecretsArgs {
    #[command(subcommand)]
    command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
enum SecretsCommand {
    /// Seal everything with a new key: one that is made, or the first of access.sealing_keys. It may be stopped and begun
    /// again; older keys are kept until nothing needs them.
    Rotate(SettingsArgs),
}

pub(super) fn run(args: &SecretsArgs) -> ExitCode {
    let SecretsCommand::Rotate(settings) = &args.command;
    let settings = match settings.load() {
        Ok(configuration) => configuration.settings,
        Err(problems) => return wrong_settings(&problems),
    };
    in_runtime(async move {
        // In a box: the futures of the stores are large.
        match Box::pin(change_sealing_key(&settings, &Seams::default())).await {
            Ok(change) => tell(&change),
            Err(error) => failed(&error),
        }
    })
}

fn tell(change: &KeyChange) -> ExitCode {
    let resealed = &change.resealed;
    println!(
        "{} of {} values sealed anew with the key {}",
        resealed.total(),
        resealed.values,
        change.current
    );
    for (kind, count) in &resealed.by_kind {
        println!("  {kind}: {count}");
    }
    if change.removed > 0 {
        println!("{} older keys removed from the data folder", change.removed);
    }
    if change.is_configured {
        for key in &change.unused {
            println!("nothing is sealed with the key {key} any more: take it out of access.sealing_keys");
        }
    }
    let others = resealed.keys_in_use.iter().filter(|key| **key != change.current);
    for key in others {
        eprintln!("runstream: some values are still sealed with the key {key}; it is kept");
    }
    for (org, name, error) in &resealed.unreadable {
        eprintln!("runstream: {name} of organization {org}: {error}");
    }
    if resealed.unreadable.is_empty() && resealed.keys_in_use.iter().all(|key| *key == change.current) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}
