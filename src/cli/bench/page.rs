//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere; readable offline, in
//! the dark, and on paper. Every text from outside is escaped.

use std::fmt::{self, Display};

use super::chart::{HEIGHT, WIDTH, curve, histogram};
use super::numbers::shown_rate;
use super::report::{Report, StepReport};
use super::table;

const STYLE: &str = include_str!("page.css");

/// A text as HTML shows it, in content and in quoted attributes.
pub(super) struct Escaped<T>(pub(super) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.to_string().chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("runstream bench {}: {}", report.command, report.target);
    let parts = [
        verdict(report),
        section("Rates and latencies", &steps(report)),
        chart("Latency over rate", curve(&report.steps, report.settings.p99_ms)),
        headline(report).map_or_else(String::new, |step| {
            chart("Latencies of the best step", histogram(&step.histogram, step.latency_ms.p99))
        }),
        live(report),
        report
            .verification
            .as_ref()
            .map_or_else(String::new, |found| section("Read back", &list(table::verdict(found).iter()))),
        section("Settings", &settings(report)),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p>{} &middot; runstream {}</p>\n{}</body>\n</html>\n",
        Escaped(&report.started_at),
        Escaped(report.version),
        parts.concat(),
        title = Escaped(&title),
    )
}

fn headline(report: &Report) -> Option<&StepReport> {
    report.headline.and_then(|index| report.steps.get(index))
}

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{content}</section>\n", Escaped(title))
}

fn chart(title: &str, drawn: Option<String>) -> String {
    drawn.map_or_else(String::new, |svg| section(title, &svg))
}

fn list<T: Display>(items: impl Iterator<Item = T>) -> String {
    let items: String = items.map(|item| format!("<li>{}</li>\n", Escaped(item))).collect();
    format!("<ul>\n{items}</ul>\n")
}

/// The curve of latency over rate as a picture that needs no page; `None` for loads without several rates.
pub(super) fn picture(report: &Report) -> Option<String> {
    let drawn = curve(&report.steps, report.settings.p99_ms)?;
    // What the page gives to its drawings, they take along.
    let opening = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\"");
    let drawn = drawn.replacen("<svg", &opening, 1);
    let (head, rest) = drawn.split_once('\n')?;
    let ground = "<rect width=\"100%\" height=\"100%\" style=\"fill: var(--paper)\"/>";
    Some(format!("{head}\n<style>\n{STYLE}</style>\n{ground}\n{rest}"))
}

/// The outcome in large letters.
fn verdict(report: &Report) -> String {
    let mut lines = Vec::new();
    let best = headline(report);
    match (&report.saturation, best) {
        (Some(limit), Some(best)) => lines.push((
            true,
            format!("{} events/s with p99 below {} ms", shown_rate(best.events_per_second), limit.p99_ms),
        )),
        (Some(limit), None) => lines.push((false, format!("no rate holds a p99 of {} ms", limit.p99_ms))),
        (None, Some(best)) => lines.push((
            true,
            format!("{} events/s, p99 {:.1} ms", shown_rate(best.events_per_second), best.latency_ms.p99),
        )),
        (None, None) => {}
    }
    match &report.verification {
        Some(found) if found.passed => {
            lines.push((true, "everything acknowledged is stored once and in order".into()))
        }
        Some(_) => lines.push((false, "verification failed".into())),
        None => lines.push((false, "not read back".into())),
    }
    if report.generator_was_bottleneck {
        lines.push((false, table::bottleneck()));
    }
    if report.interrupted {
        lines.push((false, "interrupted: this is what was measured until then".into()));
    }
    let line = |(good, text): (bool, String)| {
        format!("<p class=\"{}\">{}</p>\n", if good { "good" } else { "bad" }, Escaped(text))
    };
    lines.into_iter().map(line).collect()
}

fn steps(report: &Report) -> String {
    const HEADS: [&str; 11] = [
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
        "notes",
    ];
    let row = |(index, step): (usize, &StepReport)| {
        let latency = &step.latency_ms;
        let cells = [
            step.offered_per_second.map_or_else(|| "closed loop".to_owned(), shown_rate),
            shown_rate(step.events_per_second),
            shown_rate(step.batches_per_second),
            format!("{:.2}", step.bytes_per_second / 1e6),
            format!("{:.2}", latency.p50),
            format!("{:.2}", latency.p90),
            format!("{:.2}", latency.p99),
            format!("{:.2}", latency.p999),
            format!("{:.2}", latency.max),
            format!("{:.0}", step.generator_cpu * 100.0),
            table::notes(step, report.headline == Some(index)),
        ];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", Escaped(cell))).collect();
        format!("<tr{}>{cells}</tr>\n", if report.headline == Some(index) { " class=\"best\"" } else { "" })
    };
    let heads: String = HEADS.iter().map(|head| format!("<th>{head}</th>")).collect();
    let rows: String = report.steps.iter().enumerate().map(row).collect();
    format!("<table>\n<tr>{heads}</tr>\n{rows}</table>\n")
}

fn live(report: &Report) -> String {
    report.live.as_ref().map_or_else(String::new, |live| section("Live viewers", &list(live.lines().iter())))
}

fn settings(report: &Report) -> String {
    let settings = serde_json::to_value(&report.settings).unwrap_or_default();
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "none".to_owned(),
        other => other.to_string(),
    };
    let members = settings.as_object().into_iter().flatten();
    let row = |(name, value): (&String, &serde_json::Value)| {
        format!("<tr><th>{}</th><td>{}</td></tr>\n", Escaped(name), Escaped(shown(value)))
    };
    let rows: String = members.map(row).collect();
    format!(
        "<table class=\"settings\">\n<tr><th>target</th><td>{}</td></tr>\n{rows}</table>\n",
        Escaped(&report.target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_text() {
        let shown = Escaped("<script>alert('&\"')</script>").to_string();
        assert_eq!(shown, "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;");
    }
}
