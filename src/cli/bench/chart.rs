//! Drawings for the page: plain SVG, coloured by the page's style.

use std::fmt::Write;

use super::numbers::shown_rate;
use super::page::Escaped;
use super::report::{Bar, StepReport};

/// Size of a drawing, in its own units.
pub(super) const WIDTH: f64 = 760.0;
/// See [`WIDTH`].
pub(super) const HEIGHT: f64 = 300.0;
/// Room for what stands beside the axes.
const LEFT: f64 = 64.0;
/// See [`LEFT`].
const BOTTOM: f64 = 44.0;
/// See [`LEFT`].
const TOP: f64 = 26.0;
/// See [`LEFT`].
const RIGHT: f64 = 34.0;

/// Latencies over an axis of powers.
#[derive(Debug, Clone, Copy)]
struct Logarithmic {
    least: f64,
    most: f64,
}

impl Logarithmic {
    /// An axis on which all of `values` lie, from one power of ten to another.
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        if least > most {
            return Self { least: 0.0, most: 1.0 };
        }
        let (least, most) = (least.log10().floor(), most.log10().ceil());
        Self { least, most: most.max(least + 1.0) }
    }

    /// Where `value` lies, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        ((value.max(1e-9).log10() - self.least) / (self.most - self.least)).clamp(0.0, 1.0)
    }

    /// The powers of ten on it.
    fn marks(self) -> impl Iterator<Item = f64> {
        let mut power = self.least;
        std::iter::from_fn(move || {
            (power <= self.most).then(|| {
                let mark = 10_f64.powf(power);
                power += 1.0;
                mark
            })
        })
    }
}

fn across(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn up(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
}

/// A drawing with its axes; `label` is for those who cannot see it.
struct Drawing {
    svg: String,
}

impl Drawing {
    fn new(label: &str, below: &str, beside: &str) -> Self {
        let svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n\
             <line class=\"axis\" x1=\"{LEFT}\" y1=\"{TOP}\" x2=\"{LEFT}\" y2=\"{base}\"/>\n\
             <line class=\"axis\" x1=\"{LEFT}\" y1=\"{base}\" x2=\"{right}\" y2=\"{base}\"/>\n\
             <text x=\"{right}\" y=\"{below_y}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{LEFT}\" y=\"{above}\" text-anchor=\"middle\">{}</text>\n",
            Escaped(label),
            Escaped(below),
            Escaped(beside),
            base = up(0.0),
            right = WIDTH - RIGHT,
            below_y = HEIGHT - 6.0,
            above = TOP - 12.0,
        );
        Self { svg }
    }

    /// Adds what `arguments` write.
    fn add(&mut self, arguments: std::fmt::Arguments<'_>) {
        if self.svg.write_fmt(arguments).is_ok() {
            self.svg.push('\n');
        }
    }

    fn mark_below(&mut self, share: f64, text: &str) {
        let (x, y) = (across(share), up(0.0) + 16.0);
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
            Escaped(text)
        ));
    }

    fn mark_beside(&mut self, share: f64, text: &str) {
        let y = up(share);
        let (left, right) = (LEFT, WIDTH - RIGHT);
        self.add(format_args!(
            "<line class=\"axis\" x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" opacity=\"0.5\"/>"
        ));
        let (x, y) = (LEFT - 6.0, y + 4.0);
        self.add(format_args!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", Escaped(text)));
    }

    fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

fn shown_ms(ms: f64) -> String {
    format!("{ms} ms")
}

/// The median and the p99 over the acknowledged rate, for loads of several steps with a rate.
pub(super) fn curve(steps: &[StepReport], limit_ms: Option<f64>) -> Option<String> {
    let mut points: Vec<_> = steps.iter().filter(|step| step.offered_per_second.is_some()).collect();
    if points.len() < 2 {
        return None;
    }
    let offered = |step: &StepReport| step.offered_per_second.unwrap_or(0.0);
    points.sort_by(|one, other| offered(one).total_cmp(&offered(other)));
    let most = points.iter().map(|step| offered(step)).fold(1.0, f64::max);
    let latencies = points.iter().flat_map(|step| [step.latency_ms.p50, step.latency_ms.p99]).chain(limit_ms);
    let axis = Logarithmic::over(latencies);
    let mut drawing = Drawing::new(
        "Median and 99th percentile of the latency over the offered rate",
        "offered events/s; line: p99, dashed: median",
        "",
    );
    for mark in axis.marks() {
        drawing.mark_beside(axis.place(mark), &shown_ms(mark));
    }
    for quarter in [0.25, 0.5, 0.75, 1.0] {
        drawing.mark_below(quarter, &shown_rate(most * quarter));
    }
    let mut line = |class: &str, latency: &dyn Fn(&StepReport) -> f64| {
        let points: Vec<_> = points
            .iter()
            .map(|step| {
                let (x, y) = (across(offered(step) / most), up(axis.place(latency(step))));
                format!("{x:.1},{y:.1}")
            })
            .collect();
        drawing.add(format_args!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" ")));
    };
    line("curve other", &|step| step.latency_ms.p50);
    line("curve", &|step| step.latency_ms.p99);
    for step in &points {
        let (x, y) = (across(offered(step) / most), up(axis.place(step.latency_ms.p99)));
        let class = if step.met == Some(false) { "over" } else { "dot" };
        let told = format!("{} events/s: p99 {:.2} ms", shown_rate(offered(step)), step.latency_ms.p99);
        drawing.add(format_args!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{}</title></circle>",
            Escaped(told)
        ));
    }
    if let Some(limit) = limit_ms {
        let (y, right) = (up(axis.place(limit)), WIDTH - RIGHT);
        drawing.add(format_args!(
            "<line class=\"limit\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"><title>limit {limit} ms</title></line>"
        ));
    }
    Some(drawing.finish())
}

/// How many batches took how long; bars beyond the p99 are marked.
pub(super) fn histogram(bars: &[Bar], p99_ms: f64) -> Option<String> {
    let most = bars.iter().map(|bar| bar.count).max().filter(|most| *most > 0)?;
    let mut drawing = Drawing::new(
        "Histogram of latencies",
        "latency, up to; marked: beyond the 99th percentile",
        "batches, logarithmic",
    );
    let share = |index: usize| per(index, bars.len());
    for (index, bar) in bars.iter().enumerate() {
        let (x, width) = (across(share(index)) + 1.0, across(share(index + 1)) - across(share(index)) - 2.0);
        // A bar of one batch has to be seen beside one of a million.
        let height = if bar.count == 0 { 0.0 } else { (ln(bar.count) + 0.3) / (ln(most) + 0.3) };
        let class = if bar.up_to_ms > p99_ms * 1.05 { "over" } else { "bar" };
        drawing.add(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{} up to {:.2} ms</title></rect>",
            up(height),
            up(0.0) - up(height),
            bar.count,
            bar.up_to_ms,
        ));
    }
    let every = bars.len().div_ceil(8).max(1);
    for (index, bar) in bars.iter().enumerate().filter(|(index, _)| index % every == 0) {
        drawing.mark_below(share(index) + share(1) / 2.0, &format!("{:.1} ms", bar.up_to_ms));
    }
    drawing.mark_beside(1.0, &crate::cli::demo::grouped(most));
    Some(drawing.finish())
}

#[expect(clippy::cast_precision_loss, reason = "a histogram has some dozens of bars")]
fn per(index: usize, count: usize) -> f64 {
    index as f64 / count.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "for the height of a bar")]
fn ln(count: u64) -> f64 {
    (count as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_its_values_between_powers_of_ten() {
        let axis = Logarithmic::over([0.4, 37.0].into_iter());
        assert_eq!(
            axis.marks().map(|mark| (mark * 10.0).round()).collect::<Vec<_>>(),
            [1.0, 10.0, 100.0, 1_000.0]
        );
        assert!((axis.place(1.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!((axis.place(0.001), axis.place(1e9)), (0.0, 1.0));
        let empty = Logarithmic::over(std::iter::empty());
        assert_eq!(empty.marks().count(), 2);
    }

    #[test]
    fn every_bar_with_something_in_it_is_seen() {
        let bars = [1, 1_000_000, 0].map(|count| Bar { up_to_ms: 1.0, count });
        let svg = histogram(&bars, 0.5).unwrap();
        let heights: Vec<f64> = svg
            .match_indices("height=\"")
            .filter_map(|(at, _)| svg[at + 8..].split('"').next()?.parse().ok())
            .collect();
        assert_eq!(heights.len(), 3, "{svg}");
        assert!(heights[0] > 2.0 && heights[1] > heights[0] && heights[2] == 0.0, "{heights:?}");
        assert_eq!(histogram(&[], 1.0), None);
    }
}
