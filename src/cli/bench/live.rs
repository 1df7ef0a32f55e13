//! `runstream bench live`: viewers on the live channel while a load runs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use http::Method;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::acks::Acks;
use super::args::{MixArgs, OutputArgs, PaceArgs, Plan, TargetArgs};
use super::ingest::{self, opener, progress_bar, stopped_by_interrupt};
use super::lane::{CpuMeter, LaneRuntime};
use super::load::{BOTTLENECK_CPU, Load};
use super::opener::{patiently, succeeded};
use super::pace::Stop;
use super::report::Report;
use super::target::Target;
use super::verify::verify;
use super::viewer::{self, Seen};
use super::{BenchError, search};
use crate::cli::client::Client;
use crate::cli::socket::{LiveSocket, Place};
use crate::clock::Clock;
use crate::domain::time::IsoMs;
use crate::limits;

/// Measure how fast live text reaches viewers while a load runs.
///
/// Viewers are Socket.IO connections over WebSocket that watch the whole organization. Measured is the time from a batch's
/// acknowledgement to the frame with its last event, for each viewer. The load is that of `bench ingest` and is verified as
/// there; what each viewer saw of each run is compared with what is stored, where it missed nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
The live channel takes a sign-in, not a key: give --email and a password, or a token. The account has to be of the key's
organization. For raising a server's limits see `runstream bench ingest --help`; live sockets per organization are
live.sockets_per_organization.

Exit codes: those of `runstream bench ingest`

Examples:
  runstream bench live --serve --viewers 50 --rate 2000
  RUNSTREAM_PASSWORD=… runstream bench live --url http://ci.example:3000 --key pk_live_… --project 69bd2a7f4c1e8830a5d7f912 \\
    --email dev@example.com --rate 1000 --duration 60s
  runstream bench live --serve --viewers 10 --rate 1000 --html live.html")]
pub(super) struct LiveArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Viewers.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=limits::LIVE_SOCKETS_PER_ORG_MAX as i64))]
    viewers: u32,
    /// Address to sign in with.
    #[arg(long, env = "RUNSTREAM_EMAIL")]
    email: Option<String>,
    /// File with the password; the variable RUNSTREAM_PASSWORD does as well.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The password; only for the variable, as a command line can be read by others.
    #[arg(long, env = "RUNSTREAM_PASSWORD", hide_env_values = true, hide = true)]
    password: Option<String>,
    /// A token, as signing in returns it; used instead of signing in.
    #[arg(long, env = "RUNSTREAM_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    mix: MixArgs,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it to its end.
pub(super) async fn run(args: &LiveArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, BenchError> {
    let plan = Plan::new(&args.mix, &args.pace, &args.output).map_err(BenchError::Usage)?;
    let sign_in = SignIn::of(args)?;
    let target = Target::prepare(&args.target, Arc::clone(&clock)).await?;
    let report = measure(args, &plan, &sign_in, &target, clock.as_ref()).await;
    target.end().await;
    let report = report?;
    ingest::print(&report, &args.output)?;
    Ok(ingest::exit_code(&report))
}

/// How the viewers prove who they are.
enum SignIn {
    /// With the account of the server of its own.
    Own,
    /// With a token.
    Token(String),
    /// With address and password.
    Password(String, String),
}

impl SignIn {
    fn of(args: &LiveArgs) -> Result<Self, BenchError> {
        if args.target.serve {
            return Ok(Self::Own);
        }
        if let Some(token) = &args.token {
            return Ok(Self::Token(token.clone()));
        }
        let missing = "the live channel takes a sign-in: give --email and --password-file (or RUNSTREAM_PASSWORD), or --token";
        let email = args.email.clone().ok_or_else(|| BenchError::Usage(missing.into()))?;
        let password = match (&args.password_file, &args.password) {
            (Some(file), _) => {
                let unreadable =
                    |error: std::io::Error| BenchError::Usage(format!("{}: {error}", file.display()));
                let length = std::fs::metadata(file).map_err(unreadable)?.len();
                if length > limits::PASSWORD_FILE_BYTES_MAX {
                    return Err(BenchError::Usage(format!("{}: too long for a password", file.display())));
                }
                let text = std::fs::read_to_string(file).map_err(unreadable)?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, Some(password)) => password.clone(),
            (None, None) => return Err(BenchError::Usage(missing.into())),
        };
        Ok(Self::Password(email, password))
    }

    async fn token(&self, target: &Target, stop: &Stop) -> Result<String, BenchError> {
        match self {
            Self::Own => target.token.clone().ok_or_else(|| BenchError::Unexpected("no token".into())),
            Self::Token(token) => Ok(token.clone()),
            Self::Password(email, password) => {
                let body = json!({ "email": email, "password": password });
                let path = "/api/auth/login";
                let answer = patiently(&target.client, Method::POST, path, Some(&body), stop).await?;
                let answer = succeeded("signing in", answer)?;
                let token = answer.body.get("token").and_then(serde_json::Value::as_str);
                token
                    .map(str::to_owned)
                    .ok_or_else(|| BenchError::Unexpected("a sign-in without a token".into()))
            }
        }
    }
}

async fn measure(
    args: &LiveArgs,
    plan: &Plan,
    sign_in: &SignIn,
    target: &Target,
    clock: &dyn Clock,
) -> Result<Report, BenchError> {
    let stop = stopped_by_interrupt();
    let token = sign_in.token(target, &stop).await?;
    let progress = progress_bar(plan);
    let acks = Arc::new(Acks::default());
    let opener = opener(plan, target, clock, &stop, 0)?;
    let started_at = IsoMs(clock.now_ms()).to_string();
    progress.set_message("viewers sign in");
    let audience = Audience::seat(args.viewers, &target.client, &token, &opener.mix, &acks).await?;
    let mut load =
        Load::open(plan.shape, Arc::clone(&opener), &target.key, progress.clone(), Some(acks)).await?;
    let begun = std::time::Instant::now();
    let is_stopped = || stop.load(Ordering::Relaxed);
    let steps = search::run(&mut load, plan, is_stopped).await?;
    let watched = begun.elapsed();
    let runs = load.close().await?;
    progress.set_message("viewers leave");
    let (mut seen, cpu) = audience.leave().await?;
    let mut report = Report::new("live", started_at, target.name(), plan, &steps);
    report.live = Some(viewer::together(&seen, watched, cpu)?);
    report.generator_was_bottleneck |= cpu > BOTTLENECK_CPU;
    report.interrupted = is_stopped();
    if !args.output.no_verify && !report.interrupted {
        let followed = |task: &str| seen.iter_mut().filter_map(|viewer| viewer.followed(task)).collect();
        report.verification = verify(&opener, runs, followed, &progress).await?;
        report.interrupted = is_stopped();
    }
    progress.finish_and_clear();
    Ok(report)
}

/// The viewers, on a thread of their own.
struct Audience {
    over: watch::Sender<bool>,
    watching: tokio::task::JoinHandle<Result<(Vec<Seen>, f64), BenchError>>,
}

impl Audience {
    /// Signs all viewers in; returns when they watch.
    async fn seat(
        viewers: u32,
        client: &Client,
        token: &str,
        mix: &Arc<super::mix::Mix>,
        acks: &Arc<Acks>,
    ) -> Result<Self, BenchError> {
        let (over, told) = watch::channel(false);
        let (seated, ready) = oneshot::channel();
        let (client, token) = (client.clone(), token.to_owned());
        let (mix, acks) = (Arc::clone(mix), Arc::clone(acks));
        let watching = tokio::task::spawn_blocking(move || {
            let runtime = LaneRuntime::new()?;
            let sockets = runtime.get()?.block_on(async {
                let mut sockets = Vec::new();
                for _ in 0..viewers {
                    sockets.push(LiveSocket::open(&client, &token, Place::default()).await?);
                }
                Ok::<_, BenchError>(sockets)
            })?;
            // Nobody waits only if the bench has been given up.
            let _nobody_waits = seated.send(());
            let cpu = CpuMeter::start();
            let watching = sockets
                .into_iter()
                .map(|socket| viewer::watch(socket, Arc::clone(&mix), Arc::clone(&acks), told.clone()));
            let seen = runtime.get()?.block_on(futures_util::future::join_all(watching));
            Ok((seen, cpu.share()))
        });
        match ready.await {
            Ok(()) => Ok(Self { over, watching }),
            // The thread ended instead: it says why.
            Err(_gone) => match watching.await.map_err(|error| BenchError::Unexpected(error.to_string()))? {
                Ok(_) => Err(BenchError::Unexpected("the viewers left early".into())),
                Err(error) => Err(error),
            },
        }
    }

    /// Ends the watching; what each viewer saw, and the share of its core that their thread took.
    async fn leave(self) -> Result<(Vec<Seen>, f64), BenchError> {
        self.over.send_replace(true);
        self.watching.await.map_err(|error| BenchError::Unexpected(error.to_string()))?
    }
}
