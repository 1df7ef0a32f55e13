//! What may be asked for on the command line, checked whole before anything starts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::lane::OnRefusal;
use super::load::Shape;
use super::mix::{LOG_BYTES, MixSettings};
use crate::limits;

/// Connections that are used if not said otherwise, sessions permitting.
const CONNECTIONS_DEFAULT: u32 = 32;
/// Measured time of a single load, and of each of several steps.
const DURATION_DEFAULT: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(4)];

/// Where the load goes.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// Start a server of its own for the test: temporary data, raised tiers, an account, a project and a key.
    #[arg(long)]
    pub(super) serve: bool,
    /// The server's URL.
    #[arg(long, env = "RUNSTREAM_URL", default_value = "http://localhost:3000")]
    pub(super) url: String,
    /// An API key.
    #[arg(long, env = "RUNSTREAM_API_KEY", hide_env_values = true)]
    pub(super) key: Option<String>,
    /// Id of the project that gets the runs.
    #[arg(long, env = "RUNSTREAM_PROJECT")]
    pub(super) project: Option<String>,
}

/// What is sent.
#[derive(Debug, Args)]
pub(super) struct MixArgs {
    /// Streams of events, each a run of its own; a batch waits for the one before it in its stream.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) sessions: u32,
    /// Connections that carry the sessions; at most as many. As many as sessions up to 32 if absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) connections: Option<u32>,
    /// Threads that drive the connections; each may take a core.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) threads: u32,
    /// Events of a batch.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=limits::EVENTS_PER_BATCH_MAX as i64))]
    pub(super) events_per_batch: u32,
    /// Bytes of a log chunk, or of the shortest and the longest: 28 to 8192.
    #[arg(long, default_value = "60-200", value_name = "N|MIN-MAX", value_parser = log_bytes)]
    pub(super) log_bytes: (u32, u32),
    /// How many of a hundred events begin or end a test; the others are log text.
    #[arg(long, default_value_t = 10, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) tests: u32,
    /// How many of a hundred tests fail, with error and context.
    #[arg(long, default_value_t = 5, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) failures: u32,
    /// What to do with a batch that is refused with 429 or 503.
    #[arg(long, value_enum, default_value_t = OnRefusal::Wait)]
    pub(super) on_refusal: OnRefusal,
}

/// How fast, and for how long. Without `--rate`, `--saturate` and `--ramp` every connection sends as soon as it has its
/// answer (closed loop).
#[derive(Debug, Args)]
pub(super) struct PaceArgs {
    /// Events a second, at constant intervals whatever the server does; latency counts from when a batch was due.
    #[arg(long, value_name = "EVENTS/S", value_parser = rate, conflicts_with_all = ["saturate", "ramp"])]
    pub(super) rate: Option<f64>,
    /// Find the highest rate whose p99 stays below `--p99`; a rate fails if it fails twice.
    #[arg(long, requires = "p99", conflicts_with = "ramp")]
    pub(super) saturate: bool,
    /// A step at each of STEPS rising rates, events a second.
    #[arg(long, value_name = "FROM-TO/STEPS", value_parser = ramp)]
    pub(super) ramp: Option<Ramp>,
    /// Limit of the 99th percentile in milliseconds: what `--saturate` holds, what other steps are marked by.
    #[arg(long, value_name = "MS", value_parser = p99)]
    pub(super) p99: Option<f64>,
    /// How long to measure, as `30`, `500ms`, `2m`; with --saturate and --ramp each step. 10 s, and 4 s a step if absent.
    #[arg(long, value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// How long to send before measuring; with --saturate and --ramp before each step.
    #[arg(long, default_value = "1s", value_parser = warm_up)]
    pub(super) warm_up: Duration,
}

/// What becomes of the result.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Do not read back what was sent.
    #[arg(long)]
    pub(super) no_verify: bool,
    /// Print the report as JSON instead of the table.
    #[arg(long)]
    pub(super) json: bool,
    /// Write the report as one page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Write the curve of latency over rate as one picture (with --saturate or --ramp).
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
}

/// Rising rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Ramp {
    /// The first, events a second.
    pub(super) from: f64,
    /// The last.
    pub(super) to: f64,
    /// How many.
    pub(super) steps: u32,
}

impl Ramp {
    /// The rates.
    pub(super) fn rates(self) -> impl Iterator<Item = f64> {
        let gaps = f64::from(self.steps.saturating_sub(1).max(1));
        (0..self.steps).map(move |step| self.from + (self.to - self.from) * f64::from(step) / gaps)
    }
}

/// How the load is paced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pacing {
    /// As fast as answers come.
    Closed,
    /// So many events a second.
    Rate(f64),
    /// One rate after the other.
    Ramp(Ramp),
    /// The highest rate that holds the limit.
    Saturate,
}

/// A load that makes sense.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// How it is spread.
    pub(super) shape: Shape,
    /// What is sent.
    pub(super) mix: MixSettings,
    /// How it is paced.
    pub(super) pacing: Pacing,
    /// Limit of the p99, in milliseconds.
    pub(super) p99_ms: Option<f64>,
    /// Measured time of a step.
    pub(super) duration: Duration,
    /// Time before it.
    pub(super) warm_up: Duration,
}

impl Plan {
    /// Puts the arguments together.
    ///
    /// # Errors
    /// What does not fit together, in words.
    pub(super) fn new(mix: &MixArgs, pace: &PaceArgs, output: &OutputArgs) -> Result<Self, String> {
        if output.svg.is_some() && !pace.saturate && pace.ramp.is_none() {
            return Err("--svg draws latency over rate: give --saturate or --ramp".into());
        }
        let connections = mix.connections.unwrap_or_else(|| mix.sessions.min(CONNECTIONS_DEFAULT));
        if connections > mix.sessions {
            return Err(format!(
                "--connections {connections} is more than --sessions {}: a session sends one batch at a time",
                mix.sessions
            ));
        }
        if mix.threads > connections {
            return Err(format!("--threads {} is more than the {connections} connections", mix.threads));
        }
        let pacing = match (pace.rate, pace.ramp, pace.saturate) {
            (Some(rate), ..) => Pacing::Rate(rate),
            (None, Some(ramp), _) => Pacing::Ramp(ramp),
            (None, None, true) => Pacing::Saturate,
            (None, None, false) => Pacing::Closed,
        };
        let [single, each] = DURATION_DEFAULT;
        let default = if matches!(pacing, Pacing::Closed | Pacing::Rate(_)) { single } else { each };
        Ok(Self {
            shape: Shape {
                sessions: mix.sessions,
                connections,
                threads: mix.threads,
                events_per_batch: mix.events_per_batch,
                on_refusal: mix.on_refusal,
            },
            mix: MixSettings {
                log_bytes: mix.log_bytes,
                tests_percent: mix.tests,
                failures_percent: mix.failures,
            },
            pacing,
            p99_ms: pace.p99,
            duration: pace.duration.unwrap_or(default),
            warm_up: pace.warm_up,
        })
    }
}

fn log_bytes(text: &str) -> Result<(u32, u32), String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    match (least.parse(), most.parse()) {
        (Ok(least), Ok(most)) if least <= most && LOG_BYTES.contains(&least) && LOG_BYTES.contains(&most) => {
            Ok((least, most))
        }
        _ => Err(format!("a number from {} to {}, or two as 60-200", LOG_BYTES.start(), LOG_BYTES.end())),
    }
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("a number from {least} to {most}")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.1, limits::BENCH_RATE_MAX)
}

fn p99(text: &str) -> Result<f64, String> {
    number(text, 0.1, 60_000.0)
}

fn ramp(text: &str) -> Result<Ramp, String> {
    let parts = text.split_once('/').and_then(|(rates, steps)| Some((rates.split_once('-')?, steps)));
    let ((from, to), steps) = parts.ok_or("as 1000-20000/8: the first rate, the last, how many steps")?;
    let (from, to) = (rate(from)?, rate(to)?);
    match steps.parse() {
        Ok(steps) if (2..=limits::BENCH_RAMP_STEPS_MAX).contains(&steps) && from < to => {
            Ok(Ramp { from, to, steps })
        }
        _ => Err(format!("rates have to rise, in 2 to {} steps", limits::BENCH_RAMP_STEPS_MAX)),
    }
}

fn span(text: &str, least: Duration) -> Result<Duration, String> {
    let (digits, unit) = match text {
        text if text.ends_with("ms") => (text.trim_end_matches("ms"), 0.001),
        text if text.ends_with('s') => (text.trim_end_matches('s'), 1.0),
        text if text.ends_with('m') => (text.trim_end_matches('m'), 60.0),
        text => (text, 1.0),
    };
    let seconds = digits.parse::<f64>().ok().map(|number| number * unit);
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.filter(|span| (least..=limits::BENCH_DURATION_MAX).contains(span)).ok_or_else(|| {
        format!(
            "seconds, or with a unit as 500ms, 30s, 2m; from {least:?} to {} s",
            limits::BENCH_DURATION_MAX.as_secs()
        )
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    span(text, Duration::from_millis(100))
}

fn warm_up(text: &str) -> Result<Duration, String> {
    span(text, Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rates_and_times_are_read_or_refused() {
        assert_eq!(log_bytes("100"), Ok((100, 100)));
        assert_eq!(log_bytes("28-8192"), Ok((28, 8_192)));
        for bad in ["", "27", "8193", "200-100", "-100", "a", "1-2-3"] {
            assert!(log_bytes(bad).is_err(), "{bad}");
        }
        let rising = Ramp { from: 1_000.0, to: 4_000.0, steps: 4 };
        assert_eq!(ramp("1000-4000/4"), Ok(rising));
        assert_eq!(rising.rates().collect::<Vec<_>>(), [1_000.0, 2_000.0, 3_000.0, 4_000.0]);
        for bad in ["", "1000", "1000-2000", "2000-1000/4", "1-2/1", "1-2/51", "1-2/x", "0-2/3", "a-b/3"] {
            assert!(ramp(bad).is_err(), "{bad}");
        }
        let ms = |ms| Ok(Duration::from_millis(ms));
        assert_eq!(
            [duration("30"), duration("1.5s"), duration("250ms"), duration("2m")],
            [ms(30_000), ms(1_500), ms(250), ms(120_000)]
        );
        for bad in ["", "-1", "0", "99ms", "61m", "1h", "inf", "NaN"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(warm_up("0"), ms(0));
        for bad in ["0", "-5", "1e9", "NaN", "inf", ""] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
