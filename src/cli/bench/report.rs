//! The result of a bench as data: what `--json` prints, and what table and page are made from. Its shape is an interface:
//! `schema` changes when a member changes its meaning or goes.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::args::{Pacing, Plan};
use super::load::{BOTTLENECK_CPU, Shape};
use super::mix::MixSettings;
use super::numbers::{micros_as_ms, per_second};
use super::search::Steps;
use super::stats::Step;
use super::verify::Verification;

/// Version of the report's shape.
const SCHEMA: u32 = 1;
/// Width of the first bar of a histogram, in microseconds; each further one is wider by [`BAR_GROWTH`].
const BAR_MICROS: u64 = 100;
/// See [`BAR_MICROS`].
const BAR_GROWTH: f64 = 1.3;

/// A bench, finished or interrupted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Version of this shape.
    pub(super) schema: u32,
    /// `ingest` or `live`.
    pub(super) command: &'static str,
    /// Of this program.
    pub(super) version: &'static str,
    /// When it began, ISO 8601.
    pub(super) started_at: String,
    /// Host, port and path of the server.
    pub(super) target: String,
    /// What was asked for.
    pub(super) settings: Settings,
    /// What was measured, in order of time.
    pub(super) steps: Vec<StepReport>,
    /// Index of the step that is the result.
    pub(super) headline: Option<usize>,
    /// Where a limit was searched for: events a second of the best step that held it.
    pub(super) saturation: Option<Saturation>,
    /// What viewers saw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live: Option<super::viewer::LiveReport>,
    /// What reading back found; absent if it was not asked for, or the load was interrupted.
    pub(super) verification: Option<Verification>,
    /// Whether the generator itself was the limit in a step that is reported.
    pub(super) generator_was_bottleneck: bool,
    /// Whether it was ended early.
    pub(super) interrupted: bool,
}

/// What was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    /// `closed`, `rate`, `ramp` or `saturate`.
    pub(super) mode: &'static str,
    /// Limit of the p99 in milliseconds.
    pub(super) p99_ms: Option<f64>,
    /// Measured seconds of a step.
    pub(super) duration_s: f64,
    /// Seconds before it.
    pub(super) warm_up_s: f64,
    /// How the load is spread.
    #[serde(flatten)]
    pub(super) shape: Shape,
    /// What was sent.
    #[serde(flatten)]
    pub(super) mix: MixSettings,
}

/// The outcome of a search.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Saturation {
    /// The limit.
    pub(super) p99_ms: f64,
    /// Events a second; absent if no rate held it.
    pub(super) events_per_second: Option<f64>,
}

/// One step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepReport {
    /// Events a second that were due; absent in the closed loop.
    pub(super) offered_per_second: Option<f64>,
    /// Events a second that were acknowledged.
    pub(super) events_per_second: f64,
    /// Batches a second that were acknowledged.
    pub(super) batches_per_second: f64,
    /// Body bytes a second of them.
    pub(super) bytes_per_second: f64,
    /// Measured seconds.
    pub(super) seconds: f64,
    /// Of batches; in the open loop from when they were due.
    pub(super) latency_ms: Latency,
    /// Answers 429.
    pub(super) refused_by_tier: u64,
    /// Answers 503.
    pub(super) refused_by_pressure: u64,
    /// Batches given up after a refusal.
    pub(super) given_up: u64,
    /// Batches whose answer was lost, or that could not be sent.
    pub(super) failed: u64,
    /// Batches that were due and never sent.
    pub(super) unsent: u64,
    /// What went wrong first.
    pub(super) trouble: Option<String>,
    /// Share of its core that the busiest thread of the generator used.
    pub(super) generator_cpu: f64,
    /// Whether that is so much that the generator may be what limits.
    pub(super) generator_bound: bool,
    /// Whether the limit was held, where there is one.
    pub(super) met: Option<bool>,
    /// How many batches took how long.
    pub(super) histogram: Vec<Bar>,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    /// Batches.
    pub(super) count: u64,
    /// Average.
    pub(super) mean: f64,
    /// Median.
    pub(super) p50: f64,
    /// 90th percentile.
    pub(super) p90: f64,
    /// 99th percentile.
    pub(super) p99: f64,
    /// 99.9th percentile.
    pub(super) p999: f64,
    /// Longest.
    pub(super) max: f64,
}

impl Latency {
    /// Of a histogram of microseconds.
    pub(super) fn of(latencies: &Histogram<u64>) -> Self {
        let at = |quantile| micros_as_ms(latencies.value_at_quantile(quantile));
        Self {
            count: latencies.len(),
            mean: latencies.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros_as_ms(latencies.max()),
        }
    }
}

/// A bar of a histogram.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bar {
    /// Longest latency in it, in milliseconds.
    pub(super) up_to_ms: f64,
    /// Batches.
    pub(super) count: u64,
}

/// The bars of a histogram of microseconds, without the empty ones at its ends.
pub(super) fn bars(latencies: &Histogram<u64>) -> Vec<Bar> {
    let mut bars: Vec<_> = latencies
        .iter_log(BAR_MICROS, BAR_GROWTH)
        .map(|bar| Bar {
            up_to_ms: micros_as_ms(bar.value_iterated_to()),
            count: bar.count_since_last_iteration(),
        })
        .collect();
    let first = bars.iter().position(|bar| bar.count > 0).unwrap_or(0);
    bars.drain(..first);
    while bars.last().is_some_and(|bar| bar.count == 0) {
        bars.pop();
    }
    bars
}

impl From<&Step> for StepReport {
    fn from(step: &Step) -> Self {
        let stats = &step.stats;
        Self {
            offered_per_second: step.offered,
            events_per_second: step.achieved(),
            batches_per_second: per_second(stats.batches, step.window),
            bytes_per_second: per_second(stats.bytes, step.window),
            seconds: step.window.as_secs_f64(),
            latency_ms: Latency::of(&stats.latencies),
            refused_by_tier: stats.refused_by_tier,
            refused_by_pressure: stats.refused_by_pressure,
            given_up: stats.given_up,
            failed: stats.uncertain,
            unsent: stats.unsent,
            trouble: stats.trouble.clone(),
            generator_cpu: step.generator_cpu,
            generator_bound: step.generator_cpu > BOTTLENECK_CPU,
            met: step.met,
            histogram: bars(&stats.latencies),
        }
    }
}

impl Report {
    /// The report of `steps` that were run by `plan`.
    pub(super) fn new(
        command: &'static str,
        started_at: String,
        target: String,
        plan: &Plan,
        steps: &Steps,
    ) -> Self {
        let reports: Vec<_> = steps.steps.iter().map(StepReport::from).collect();
        let headline = steps.headline.and_then(|index| reports.get(index));
        let mode = match plan.pacing {
            Pacing::Closed => "closed",
            Pacing::Rate(_) => "rate",
            Pacing::Ramp(_) => "ramp",
            Pacing::Saturate => "saturate",
        };
        let is_search = plan.pacing == Pacing::Saturate;
        let saturation = plan.p99_ms.filter(|_| is_search).map(|p99_ms| Saturation {
            p99_ms,
            events_per_second: headline.map(|step| step.events_per_second),
        });
        Self {
            schema: SCHEMA,
            command,
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            target,
            settings: Settings {
                mode,
                p99_ms: plan.p99_ms,
                duration_s: plan.duration.as_secs_f64(),
                warm_up_s: plan.warm_up.as_secs_f64(),
                shape: plan.shape,
                mix: plan.mix,
            },
            headline: steps.headline,
            saturation,
            live: None,
            verification: None,
            generator_was_bottleneck: reports.iter().any(|step| step.generator_bound),
            interrupted: false,
            steps: reports,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::bench::lane::OnRefusal;
    use crate::cli::bench::stats::Stats;
    use crate::cli::bench::table::table;

    fn report(generator_cpu: f64) -> Report {
        let step = Step {
            offered: None,
            window: Duration::from_secs(1),
            stats: Stats { events: 500, batches: 10, ..Stats::default() },
            generator_cpu,
            met: None,
        };
        let plan = Plan {
            shape: Shape {
                sessions: 1,
                connections: 1,
                threads: 1,
                events_per_batch: 50,
                on_refusal: OnRefusal::Wait,
            },
            mix: MixSettings { log_bytes: (60, 60), tests_percent: 0, failures_percent: 0 },
            pacing: Pacing::Closed,
            p99_ms: None,
            duration: Duration::from_secs(1),
            warm_up: Duration::ZERO,
        };
        Report::new(
            "ingest",
            String::new(),
            "t".into(),
            &plan,
            &Steps { steps: vec![step], headline: Some(0) },
        )
    }

    #[test]
    fn a_generator_above_95_percent_of_its_core_marks_the_result() {
        let (bound, free) = (report(0.96), report(0.94));
        assert_eq!((bound.generator_was_bottleneck, free.generator_was_bottleneck), (true, false));
        let (bound, free) = (table(&bound), table(&free));
        assert!(
            bound.contains("generator-bound") && bound.contains("THE GENERATOR WAS THE LIMIT"),
            "{bound}"
        );
        assert!(!free.contains("enerator") && free.contains(" 500 "), "{free}");
    }
}
