//! The table of goals, with what was measured and one verdict each.

use std::fmt;

use crate::rounds::Spread;

/// What a figure has to reach, and where it should go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost { reach: f64, aim: f64 },
    AtLeast { reach: f64, aim: f64 },
}

/// A goal's row.
struct Row {
    goal: &'static str,
    measure: String,
    measured: String,
    bound: Option<Bound>,
    verdict: String,
}

/// The rows so far.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    missed: bool,
}

impl Table {
    /// Judges what was measured for `goal`.
    pub(crate) fn add(
        &mut self,
        goal: &'static str,
        measure: impl Into<String>,
        measured: impl Into<Spread>,
        bound: Bound,
    ) {
        let spread = measured.into();
        let value = spread.median;
        let (is_reached, is_at_aim) = match bound {
            Bound::AtMost { reach, aim } => (value <= reach, value <= aim),
            Bound::AtLeast { reach, aim } => (value >= reach, value >= aim),
        };
        // A figure that could not be computed reaches nothing.
        self.missed |= !is_reached;
        let verdict = match (is_reached, is_at_aim) {
            (true, true) => "aim",
            (true, false) => "reached",
            (false, _) => "MISSED",
        };
        let (measure, measured) = (measure.into(), spread.to_string());
        self.rows.push(Row { goal, measure, measured, bound: Some(bound), verdict: verdict.into() });
    }

    /// Tells of a figure that no goal bounds.
    pub(crate) fn tell(
        &mut self,
        goal: &'static str,
        measure: impl Into<String>,
        measured: impl fmt::Display,
    ) {
        let (measure, measured) = (measure.into(), measured.to_string());
        self.rows.push(Row { goal, measure, measured, bound: None, verdict: String::new() });
    }

    /// Says why a goal could not be measured.
    pub(crate) fn skip(&mut self, goal: &'static str, reason: &str) {
        let reason = reason.lines().next().unwrap_or_default();
        let verdict = format!("skipped: {reason}");
        self.rows.push(Row { goal, measure: String::new(), measured: String::new(), bound: None, verdict });
    }

    /// Whether any goal was missed.
    pub(crate) fn is_missed(&self) -> bool {
        self.missed
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| goal | measure | measured: median (range) | reach | aim | verdict |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for Row { goal, measure, measured, bound, verdict } in &self.rows {
            let (reach, aim) = match bound {
                Some(Bound::AtMost { reach, aim }) => (format!("≤ {reach}"), format!("≤ {aim}")),
                Some(Bound::AtLeast { reach, aim }) => (format!("≥ {reach}"), format!("≥ {aim}")),
                None => Default::default(),
            };
            writeln!(f, "| {goal} | {measure} | {measured} | {reach} | {aim} | {verdict} |")?;
        }
        Ok(())
    }
}
