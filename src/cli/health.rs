//! `runstream health`: asks a server how it is, for container health checks and scripts; the image needs no other
//! client for it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{Method, StatusCode};

use super::client::{Answer, Client, ClientError};
use super::configuration::{SettingsArgs, wrong_settings};
use super::{FAILED, failed, in_runtime};
use crate::dial::TcpDial;
use crate::server::local_url;

/// Ask a server how it is.
///
/// Without `--url` the server of these settings on this machine is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  it is healthy
  1  it is not, or does not answer
  2  wrong usage or configuration

Examples:
  runstream health
  runstream health --url http://ci.example:3000")]
pub(super) struct HealthArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The server's URL.
    #[arg(long)]
    url: Option<String>,
    /// How long to wait for its answer, in seconds.
    #[arg(long, default_value_t = 5)]
    timeout_s: u64,
}

pub(super) fn run(args: HealthArgs) -> ExitCode {
    let url = match args.url {
        Some(url) => url,
        None => match args.settings.load() {
            Ok(configuration) => {
                let server = configuration.settings.server;
                local_url((server.address, server.port).into(), &server.base_path)
            }
            Err(problems) => return wrong_settings(&problems),
        },
    };
    let timeout = Duration::from_secs(args.timeout_s);
    in_runtime(async move {
        match tokio::time::timeout(timeout, ask(&url, timeout)).await {
            Ok(Ok(answer)) => {
                println!("{}", answer.body);
                ExitCode::from(if answer.status == StatusCode::OK { 0 } else { FAILED })
            }
            Ok(Err(error)) => failed(&error),
            Err(_elapsed) => {
                eprintln!("runstream: no answer from {url} within {} s", timeout.as_secs());
                ExitCode::from(FAILED)
            }
        }
    })
}

async fn ask(url: &str, timeout: Duration) -> Result<Answer, ClientError> {
    Client::new(Arc::new(TcpDial { timeout }), url)?.call(Method::GET, "/health", None).await
}
