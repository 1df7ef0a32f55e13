//! Logs and metrics. Every metric's name, kind and meaning stands in [`METRICS`]: rooms record under the constants of
//! [`name`], `/metrics` renders them, and nothing else decides what is measured. The recorder is the process's, as the
//! `metrics` crate wants it; two servers in one test process add to the same counters.

use std::io::IsTerminal;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// Names of metrics.
#[expect(missing_docs, reason = "their meaning stands in METRICS, once")]
pub mod name {
    pub const HTTP_CONNECTIONS: &str = "runstream_http_connections";
    pub const HTTP_REQUESTS: &str = "runstream_http_requests_total";
    pub const INGEST_REQUESTS: &str = "runstream_ingest_requests_total";
    pub const INGEST_EVENTS: &str = "runstream_ingest_events_total";
    pub const INGEST_BYTES: &str = "runstream_ingest_bytes_total";
    pub const INGEST_ACK_SECONDS: &str = "runstream_ingest_ack_seconds";
    pub const INGEST_REPLAYED: &str = "runstream_ingest_replayed_total";
    pub const INGEST_REFUSED: &str = "runstream_ingest_refused_total";
    pub const BUDGET_USED_BYTES: &str = "runstream_ingest_budget_used_bytes";
    pub const BUDGET_BYTES: &str = "runstream_ingest_budget_bytes";
    pub const JOURNAL_SYNC_SECONDS: &str = "runstream_journal_sync_seconds";
    pub const JOURNAL_SYNC_RECORDS: &str = "runstream_journal_sync_records";
    pub const JOURNAL_WRITTEN_BYTES: &str = "runstream_journal_written_bytes_total";
    pub const JOURNAL_FILES: &str = "runstream_journal_files";
    pub const JOURNAL_REFUSED: &str = "runstream_journal_refused_total";
    pub const JOURNAL_MOVED_SEGMENTS: &str = "runstream_journal_moved_segments_total";
    pub const RUNS_UNSETTLED: &str = "runstream_runs_unsettled";
    pub const STORE_SECONDS: &str = "runstream_store_seconds";
    pub const RECOVERY_SECONDS: &str = "runstream_recovery_seconds";
    pub const ACTORS: &str = "runstream_actors";
    pub const ACTOR_FAILURES: &str = "runstream_actor_failures_total";
    pub const FINISH_STEP_SECONDS: &str = "runstream_finish_step_seconds";
    pub const LIVE_SOCKETS: &str = "runstream_live_sockets";
    pub const LIVE_FRAMES: &str = "runstream_live_frames_total";
    pub const LIVE_WINDOWS: &str = "runstream_live_windows_total";
    pub const LIVE_RETURNS: &str = "runstream_live_returns_total";
    pub const LIVE_STREAMS: &str = "runstream_live_streams";
    pub const MAIL_LETTERS: &str = "runstream_mail_letters_total";
    pub const MAIL_QUEUED: &str = "runstream_mail_queued";
    pub const MAIL_OLDEST_SECONDS: &str = "runstream_mail_oldest_seconds";
    pub const MAIL_REFUSED: &str = "runstream_mail_refused_total";
    pub const RATE_LIMITED: &str = "runstream_rate_limited_total";
    pub const PROCESS_RESIDENT_BYTES: &str = "process_resident_memory_bytes";
    pub const PROCESS_OPEN_FILES: &str = "process_open_fds";
    pub const PROCESS_THREADS: &str = "process_threads";
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations per bucket; its name ends in the unit.
    Histogram,
}

/// Every metric: name, kind, meaning (labels in braces).
#[rustfmt::skip]
pub const METRICS: &[(&str, MetricKind, &str)] = {
    use MetricKind::{Counter, Gauge, Histogram};
    &[
        (name::HTTP_CONNECTIONS, Gauge, "Open connections, upgraded ones included"),
        (name::HTTP_REQUESTS, Counter, "Requests answered, by {door} and {status} class"),
        (name::INGEST_REQUESTS, Counter, "Ingest requests, by {endpoint} and {outcome}"),
        (name::INGEST_EVENTS, Counter, "Events received, by {outcome}: stored, cut, rejected"),
        (name::INGEST_BYTES, Counter, "Bytes of ingest bodies, by {outcome}"),
        (name::INGEST_ACK_SECONDS, Histogram, "From the request's head to its durable answer"),
        (name::INGEST_REPLAYED, Counter, "Batches recognised as sent before and not applied again"),
        (name::INGEST_REFUSED, Counter, "Ingest requests refused, by {reason}"),
        (name::BUDGET_USED_BYTES, Gauge, "Bytes of bodies and parsed batches held now"),
        (name::BUDGET_BYTES, Gauge, "Bytes that may be held at the same time"),
        (name::JOURNAL_SYNC_SECONDS, Histogram, "Time of one journal sync"),
        (name::JOURNAL_SYNC_RECORDS, Histogram, "Records made durable by one journal sync"),
        (name::JOURNAL_WRITTEN_BYTES, Counter, "Bytes written to the journal"),
        (name::JOURNAL_FILES, Gauge, "Journal files on disk"),
        (name::JOURNAL_REFUSED, Counter, "Records that were refused because the disk is full"),
        (name::JOURNAL_MOVED_SEGMENTS, Counter, "Segments of old open runs moved out of the journal"),
        (name::RUNS_UNSETTLED, Gauge, "Runs whose segments are not folded yet"),
        (name::STORE_SECONDS, Histogram, "Time of one store call, by {method} and {outcome}"),
        (name::RECOVERY_SECONDS, Gauge, "How long reading the journal took at the last start"),
        (name::ACTORS, Gauge, "Live actors, by {kind}"),
        (name::ACTOR_FAILURES, Counter, "Actors that panicked and come back from the store, by {kind}"),
        (name::FINISH_STEP_SECONDS, Histogram, "Time of one step after a run's end, by {step}"),
        (name::LIVE_SOCKETS, Gauge, "Authenticated live sockets"),
        (name::LIVE_FRAMES, Counter, "Live frames times sockets"),
        (name::LIVE_WINDOWS, Counter, "Live windows encoded, each for all sockets that need it"),
        (name::LIVE_RETURNS, Counter, "Live viewers that came back with a cursor, by {outcome}"),
        (name::LIVE_STREAMS, Gauge, "Open event streams of single runs"),
        (name::MAIL_LETTERS, Counter, "Letters, by {kind} and {outcome}: sent, failed (tried again), given_up, unsent (no mail server)"),
        (name::MAIL_QUEUED, Gauge, "Letters that wait to be sent"),
        (name::MAIL_OLDEST_SECONDS, Gauge, "Age of the oldest letter that waits"),
        (name::MAIL_REFUSED, Counter, "Letters that the full outbox did not take, by {kind}"),
        (name::RATE_LIMITED, Counter, "Requests over a rate tier, by {tier}"),
        (name::PROCESS_RESIDENT_BYTES, Gauge, "Resident memory of the process"),
        (name::PROCESS_OPEN_FILES, Gauge, "Open file descriptors of the process"),
        (name::PROCESS_THREADS, Gauge, "Threads of the process"),
    ]
};

/// Upper bounds of the buckets of metrics ending in `_seconds`: 100 µs to 10 s.
const SECONDS_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds of the buckets of metrics ending in `_records`.
const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Which lines: `level` or `target=level`, comma-separated; checked by [`check_filter`].
    pub filter: String,
    /// How they are written.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// Says what is wrong with a log filter.
///
/// # Errors
/// A sentence for a person.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| error.to_string())
}

/// Starts logging to standard error. The second call in a process changes nothing and is an error.
///
/// # Errors
/// If logging was started before.
pub fn start_logging(settings: &LogSettings) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;

    // What the store's tree says of its files at info is of no use to an operator; a filter that names it still wins.
    let filter = EnvFilter::new(format!("lsm_tree=warn,fjall=warn,{}", settings.filter));
    let terminal = std::io::stderr().is_terminal();
    let text = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if text {
        lines.with_ansi(terminal).with_target(false).finish().try_init()
    } else {
        lines.json().flatten_event(true).finish().try_init()
    }
}

/// Starts counting. Before it every recorded value is thrown away; later calls change nothing.
pub fn start_metrics() {
    handle();
}

/// The metrics as Prometheus text, with the process's own gauges as they are now.
#[must_use]
pub fn render() -> String {
    let handle = handle();
    record_process();
    handle.run_upkeep();
    handle.render()
}

/// Folds gathered observations into their buckets. Called now and then, so that memory stays flat between scrapes.
pub fn fold_observations() {
    handle().run_upkeep();
}

fn handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), COUNT_BUCKETS)
            })
            .expect("bucket bounds are not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed, /metrics stays empty");
        }
        for &(name, kind, meaning) in METRICS {
            match kind {
                MetricKind::Counter => metrics::describe_counter!(name, meaning),
                MetricKind::Gauge => metrics::describe_gauge!(name, meaning),
                MetricKind::Histogram => metrics::describe_histogram!(name, meaning),
            }
        }
        handle
    })
}

/// Resident memory of this process in bytes, if the system tells.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    status_field("VmRSS:").map(|kib| kib << 10)
}

/// A number of `/proc/self/status`.
fn status_field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating-point; these numbers stay far below 2^53"
)]
fn record_process() {
    if let Some(bytes) = resident_bytes() {
        metrics::gauge!(name::PROCESS_RESIDENT_BYTES).set(bytes as f64);
    }
    if let Some(threads) = status_field("Threads:") {
        metrics::gauge!(name::PROCESS_THREADS).set(threads as f64);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!(name::PROCESS_OPEN_FILES).set(files.count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered_with_its_meaning() {
        start_metrics();
        metrics::histogram!(name::JOURNAL_SYNC_SECONDS).record(0.000_3);
        let text = render();
        assert!(text.contains("# HELP runstream_journal_sync_seconds Time of one journal sync"), "{text}");
        assert!(text.contains("runstream_journal_sync_seconds_bucket{le=\"0.0005\"}"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn every_metric_is_listed_once_under_a_name_that_says_its_kind() {
        let mut names = std::collections::HashSet::new();
        for &(name, kind, _) in METRICS {
            assert!(names.insert(name), "{name} is listed twice");
            assert_eq!(kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn a_bad_filter_is_told() {
        assert!(check_filter("info,runstream=debug").is_ok());
        assert!(check_filter("runstream=loud").is_err());
    }
}
