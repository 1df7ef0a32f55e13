//! The report as lines for a terminal.

use super::load::BOTTLENECK_CPU;
use super::numbers::shown_rate;
use super::report::{Report, StepReport};
use super::verify::Verification;
use crate::cli::demo::grouped;

/// The report's text.
pub(super) fn table(report: &Report) -> String {
    let mut lines = vec![format!(
        "{:>10}{:>11}{:>10}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}  {}",
        "offered/s",
        "events/s",
        "batches/s",
        "MB/s",
        "p50 ms",
        "p90",
        "p99",
        "p99.9",
        "max",
        "cpu %",
        "notes"
    )];
    let steps = report.steps.iter().enumerate();
    lines.extend(steps.map(|(index, step)| row(step, report.headline == Some(index))));
    lines.push(String::new());
    if let Some(saturation) = &report.saturation {
        let limit = saturation.p99_ms;
        lines.push(match saturation.events_per_second {
            Some(rate) => format!("highest rate with p99 below {limit} ms: {} events/s", shown_rate(rate)),
            None => format!("no rate holds a p99 of {limit} ms"),
        });
    }
    if let Some(live) = &report.live {
        lines.extend(live.lines());
    }
    if report.generator_was_bottleneck {
        lines.push(bottleneck());
    }
    if report.interrupted {
        lines.push("interrupted: this is what was measured until then, and it was not read back".into());
    }
    if let Some(verification) = &report.verification {
        lines.extend(verdict(verification));
    }
    lines.join("\n") + "\n"
}

/// What is said of a generator that was the limit.
pub(super) fn bottleneck() -> String {
    format!(
        "THE GENERATOR WAS THE LIMIT: a thread of it used more than {:.0} % of its core, so the server may do more than \
         the marked steps say; give it --threads or a machine of its own",
        BOTTLENECK_CPU * 100.0
    )
}

fn row(step: &StepReport, is_headline: bool) -> String {
    let latency = &step.latency_ms;
    format!(
        "{:>10}{:>11}{:>10}{:>8.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>7.0}  {}",
        step.offered_per_second.map_or_else(|| "closed".to_owned(), shown_rate),
        shown_rate(step.events_per_second),
        shown_rate(step.batches_per_second),
        step.bytes_per_second / 1e6,
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p999,
        latency.max,
        step.generator_cpu * 100.0,
        notes(step, is_headline),
    )
    .trim_end()
    .to_owned()
}

/// What there is to say of a step in words.
pub(super) fn notes(step: &StepReport, is_headline: bool) -> String {
    let mut notes = Vec::new();
    match step.met {
        Some(true) => notes.push("holds the limit".to_owned()),
        Some(false) => notes.push("over the limit".to_owned()),
        None => {}
    }
    if is_headline {
        notes.push("best".to_owned());
    }
    for (count, what) in [
        (step.refused_by_tier, "refused (429)"),
        (step.refused_by_pressure, "refused (503)"),
        (step.given_up, "given up"),
        (step.failed, "failed"),
        (step.unsent, "not sent in time"),
    ] {
        if count > 0 {
            notes.push(format!("{} {what}", grouped(count)));
        }
    }
    if let Some(trouble) = &step.trouble {
        notes.push(trouble.clone());
    }
    if step.generator_bound {
        notes.push("generator-bound".to_owned());
    }
    notes.join(", ")
}

/// What is said of the reading back.
pub(super) fn verdict(found: &Verification) -> Vec<String> {
    let mut lines = vec![format!(
        "read back {} of {} acknowledged events in order from {} runs ({:.1} MB of log, {:.1} s)",
        grouped(found.in_order),
        grouped(found.acknowledged),
        grouped(found.runs),
        super::numbers::per_second(found.text_bytes, std::time::Duration::from_secs(1)) / 1e6,
        found.seconds,
    )];
    lines.push(match found.live_compared {
        0 => "live text was not compared: the server has no stream of it, or nobody watched".to_owned(),
        compared => format!(
            "live text equals stored text in {} of {} comparisons, one for each run and each who watched it",
            grouped(compared - found.live_wrong),
            grouped(compared)
        ),
    });
    for (count, what) in [
        (found.uncertain_stored, "events whose answer was lost are stored (no fault)"),
        (found.missing, "ACKNOWLEDGED EVENTS ARE MISSING"),
        (found.duplicated, "EVENTS ARE STORED MORE THAN ONCE"),
        (found.reordered, "EVENTS ARE OUT OF ORDER"),
        (found.wrong, "LINES ARE NOT WHAT WAS SENT"),
        (found.results_wrong, "RESULTS ARE WRONG"),
        (found.reports_wrong, "COMPLETENESS REPORTS DISAGREE"),
        (found.reports_absent, "runs have no completeness report"),
    ] {
        if count > 0 {
            lines.push(format!("{} {what}", grouped(count)));
        }
    }
    lines.extend(found.findings.iter().map(|finding| format!("  {finding}")));
    lines.push(match (found.passed, found.reports_absent) {
        (false, _) => "VERIFICATION FAILED".to_owned(),
        (true, 0) => "verified".to_owned(),
        (true, _) => "verified, as far as the server lets it be: without completeness reports".to_owned(),
    });
    lines
}
