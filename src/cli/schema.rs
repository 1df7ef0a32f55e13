//! `runstream schema`: what outsiders depend on, as it is in this binary.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::failed;
use crate::server::api_document;

/// Print the API document (OpenAPI 3.1).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runstream schema > openapi.json
  runstream schema > schema/openapi.json      in the repository, after a change of an endpoint")]
pub(super) struct SchemaArgs {}

pub(super) fn run(_args: &SchemaArgs) -> ExitCode {
    match io::stdout().write_all(&api_document()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}
