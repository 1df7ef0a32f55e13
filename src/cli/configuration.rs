//! `runstream config`, and the arguments by which every subcommand finds its settings.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::WRONG_USAGE;
use crate::config::{Configuration, Flag, Problems, Sources};

/// Show the effective settings and where each came from. Secrets are masked.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  all settings are fine
  2  some are not; each is named with its place

Examples:
  runstream config
  RUNSTREAM_SERVER_PORT=8080 runstream config --set log.format=json
  runstream config --defaults > runstream.toml")]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print the documented defaults instead: a file to start from.
    #[arg(long)]
    defaults: bool,
}

/// Where settings come from.
#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Settings file; `RUNSTREAM_CONFIG` names one too, and `runstream.toml` in the working folder is read if present.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Address to listen on (`server.address`).
    #[arg(long, global = true)]
    address: Option<String>,
    /// Port to listen on (`server.port`).
    #[arg(long, global = true)]
    port: Option<String>,
    /// Folder to keep everything in (`data.folder`).
    #[arg(long, value_name = "FOLDER", global = true)]
    data: Option<String>,
    /// Any other setting, as `section.name=value`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, global = true)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("wanted: section.name=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl SettingsArgs {
    /// Reads and checks all settings.
    pub(super) fn load(&self) -> Result<Configuration, Problems> {
        let named = [
            ("server.address", "--address", &self.address),
            ("server.port", "--port", &self.port),
            ("data.folder", "--data", &self.data),
        ];
        let named = named.into_iter().filter_map(|(key, shown, value)| {
            let value = value.clone()?;
            Some(Flag { key: key.to_owned(), value, shown: shown.to_owned() })
        });
        let others = self.set.iter().map(|(key, value)| Flag {
            key: key.clone(),
            value: value.clone(),
            shown: format!("--set {key}"),
        });
        Configuration::load(&Sources::of_process(self.config.clone(), named.chain(others).collect()))
    }
}

/// Says what is wrong with the settings.
pub(super) fn wrong_settings(problems: &Problems) -> ExitCode {
    eprintln!("runstream: {problems}");
    ExitCode::from(WRONG_USAGE)
}

pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    if args.defaults {
        print!("{}", crate::config::DEFAULTS);
        return ExitCode::SUCCESS;
    }
    let configuration = match args.settings.load() {
        Ok(configuration) => configuration,
        Err(problems) => return wrong_settings(&problems),
    };
    let lines: Vec<_> = configuration
        .effective()
        .into_iter()
        .map(|line| (format!("{} = {}", line.key, line.value), line.origin))
        .collect();
    let width = lines.iter().map(|(setting, _)| setting.chars().count()).filter(|width| *width < 60).max();
    for (setting, origin) in &lines {
        println!("{setting:<width$}  # {origin}", width = width.unwrap_or(0));
    }
    ExitCode::SUCCESS
}
