//! `runstream bench ingest`: a load on the ingest endpoints, then the proof that it was kept.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::{MixArgs, OutputArgs, PaceArgs, Pacing, Plan, TargetArgs};
use super::load::Load;
use super::mix::Mix;
use super::opener::Opener;
use super::pace::Stop;
use super::report::Report;
use super::target::Target;
use super::verify::verify;
use super::{BenchError, INTERRUPTED, NOT_HELD, NOT_VERIFIED, page, search, table};
use crate::clock::Clock;
use crate::domain::time::IsoMs;

/// Measure how much a server takes in, and prove that it kept it.
///
/// Sends batches of log text and test results into runs of its own, measures how long they take to be acknowledged, and
/// then reads everything back: each acknowledged event has to be stored exactly once and in order, live text has to equal
/// stored text, and each run's completeness report has to agree. A failed verification is a failed run.
#[derive(Debug, Args)]
#[command(after_help = "\
Limits: a server admits so many requests a minute (429 beyond), and this is the server's business, not the key's. For a
test raise the tiers where it runs; reading back counts in the api tier:
  runstream serve --set rates.ingest_event_per_minute=4000000 --set rates.ingest_lifecycle_per_minute=100000 \\
    --set rates.api_per_minute=1000000
or in its runstream.toml, section [rates], or as RUNSTREAM_RATES_INGEST_EVENT_PER_MINUTE. `runstream config` shows what is
in effect. With --serve this is done already.

Exit codes:
  0    measured, and everything was kept
  1    failed; the reason is on standard error
  2    wrong usage
  4    verification failed: the server lost, doubled, reordered or changed something
  5    --saturate: no rate holds the limit
  130  interrupted; what was measured until then is printed

Examples:
  runstream bench ingest --serve
  runstream bench ingest --serve --saturate --p99 20 --html report.html
  runstream bench ingest --url http://ci.example:3000 --key pk_live_… --project 69bd2a7f4c1e8830a5d7f912 --rate 5000
  runstream bench ingest --serve --ramp 1000-50000/8 --events-per-batch 100 --log-bytes 64-512 --json > report.json")]
pub(super) struct IngestArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    mix: MixArgs,
    /// Sessions whose live text is followed and compared with what is stored; each costs the server a stream.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    follow: u32,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it to its end.
pub(super) async fn run(args: &IngestArgs, clock: Arc<dyn Clock>) -> Result<ExitCode, BenchError> {
    let plan = Plan::new(&args.mix, &args.pace, &args.output).map_err(BenchError::Usage)?;
    let target = Target::prepare(&args.target, Arc::clone(&clock)).await?;
    let report = measure(args, &plan, &target, clock.as_ref()).await;
    target.end().await;
    let report = report?;
    print(&report, &args.output)?;
    Ok(exit_code(&report))
}

async fn measure(
    args: &IngestArgs,
    plan: &Plan,
    target: &Target,
    clock: &dyn Clock,
) -> Result<Report, BenchError> {
    let stop = stopped_by_interrupt();
    let progress = progress_bar(plan);
    let opener = opener(plan, target, clock, &stop, if args.output.no_verify { 0 } else { args.follow })?;
    let started_at = IsoMs(clock.now_ms()).to_string();
    let mut load = Load::open(plan.shape, Arc::clone(&opener), &target.key, progress.clone(), None).await?;
    let is_stopped = || stop.load(Ordering::Relaxed);
    let steps = search::run(&mut load, plan, is_stopped).await?;
    let mut report = Report::new("ingest", started_at, target.name(), plan, &steps);
    let runs = load.close().await?;
    report.interrupted = is_stopped();
    if !args.output.no_verify && !report.interrupted {
        report.verification = verify(&opener, runs, |_task| Vec::new(), &progress).await?;
        report.interrupted = is_stopped();
    }
    progress.finish_and_clear();
    Ok(report)
}

/// Makes runs of `plan` on `target`.
pub(super) fn opener(
    plan: &Plan,
    target: &Target,
    clock: &dyn Clock,
    stop: &Stop,
    follows: u32,
) -> Result<Arc<Opener>, BenchError> {
    Ok(Arc::new(Opener {
        client: target.reporter()?,
        project: target.project.clone(),
        mix: Arc::new(Mix::new(plan.mix, rand::random(), clock.now_ms())),
        runtime: tokio::runtime::Handle::current(),
        stop: Arc::clone(stop),
        follows,
        opened: AtomicU32::new(0),
    }))
}

/// Set by the first Ctrl-C; the second ends the process at once.
pub(super) fn stopped_by_interrupt() -> Stop {
    let stop = Stop::default();
    let told = Arc::clone(&stop);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.store(true, Ordering::Relaxed);
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(i32::from(INTERRUPTED));
            }
        }
    });
    stop
}

/// Hidden by itself where standard error is no terminal.
pub(super) fn progress_bar(plan: &Plan) -> ProgressBar {
    let steps = match plan.pacing {
        Pacing::Closed | Pacing::Rate(_) => 1,
        Pacing::Ramp(ramp) => ramp.steps,
        // What a search usually takes; a longer one leaves the bar full.
        Pacing::Saturate => 12,
    };
    let whole = (plan.duration + plan.warm_up).saturating_mul(steps);
    let progress = ProgressBar::new(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX));
    // The template is a constant; should it not parse, the plain bar does as well.
    if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/dim} {elapsed} {msg}") {
        progress.set_style(style);
    }
    if std::io::stderr().is_terminal() {
        progress.enable_steady_tick(Duration::from_millis(200));
    }
    progress
}

/// Prints the report and writes its page, as asked for.
pub(super) fn print(report: &Report, output: &OutputArgs) -> Result<(), BenchError> {
    let text = if output.json {
        let json = serde_json::to_string_pretty(report);
        json.map_err(|error| BenchError::Unexpected(error.to_string()))? + "\n"
    } else {
        table::table(report)
    };
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| BenchError::Write("the report".into(), error))?;
    let write = |file: &Path, text: String| {
        std::fs::write(file, text).map_err(|error| BenchError::Write(file.display().to_string(), error))
    };
    if let Some(file) = &output.html {
        write(file, page::page(report))?;
    }
    if let Some(file) = &output.svg {
        let picture = page::picture(report).ok_or_else(|| {
            BenchError::Unexpected("too few steps for a picture of latency over rate".into())
        })?;
        write(file, picture)?;
    }
    Ok(())
}

/// The exit code that tells a script how it went.
pub(super) fn exit_code(report: &Report) -> ExitCode {
    let is_wrong = report.verification.as_ref().is_some_and(|found| !found.passed);
    let is_not_held = report.saturation.as_ref().is_some_and(|found| found.events_per_second.is_none());
    match () {
        () if report.interrupted => ExitCode::from(INTERRUPTED),
        () if is_wrong => ExitCode::from(NOT_VERIFIED),
        () if is_not_held => ExitCode::from(NOT_HELD),
        () => ExitCode::SUCCESS,
    }
}
