//! Checks a run's results against what was acknowledged: one per test that ended, in the order of their ends.

use serde_json::Value;

use super::Verification;
use crate::cli::bench::ledger::Run;
use crate::cli::bench::mix::{Id, Kind, Mix};

/// The state of one run's check.
pub(super) struct ResultsCheck<'a> {
    mix: &'a Mix,
    run: &'a Run,
    /// Number of the last end that was seen.
    last: Option<u32>,
    /// Results of acknowledged ends, found as they were sent.
    right: u64,
    wrong: u64,
    finding: Option<String>,
}

impl<'a> ResultsCheck<'a> {
    /// A check at the begin of the list.
    pub(super) const fn new(mix: &'a Mix, run: &'a Run) -> Self {
        Self { mix, run, last: None, right: 0, wrong: 0, finding: None }
    }

    /// Takes in the next results.
    pub(super) fn push(&mut self, results: &[Value]) {
        for result in results {
            match self.judge(result) {
                Ok(acknowledged) => self.right += u64::from(acknowledged),
                Err(reason) => {
                    self.wrong += 1;
                    self.finding.get_or_insert_with(|| format!("{reason}: {}", shown(result)));
                }
            }
        }
    }

    /// The list is over: adds what was found to `found`.
    pub(super) fn finish(self, found: &mut Verification) {
        let ends = self.run.acknowledged.iter().filter(|seq| matches!(self.mix.kind(*seq), Kind::End { .. }));
        let missing = (ends.count() as u64).saturating_sub(self.right);
        found.results_wrong += self.wrong.max(missing);
        if let Some(finding) = self.finding {
            found.find(self.run, finding);
        } else if missing > 0 {
            found.find(self.run, format!("{missing} results are missing"));
        }
    }

    /// Whether a result belongs to an acknowledged end, or why it is wrong.
    fn judge(&mut self, result: &Value) -> Result<bool, &'static str> {
        let text = |name: &str| result.get(name).and_then(Value::as_str);
        let number = |name: &str| result.get(name).and_then(Value::as_u64);
        let id = text("testId").and_then(Id::parse).ok_or("a result that was not sent")?;
        let end = self.mix.end_of(id.seq).ok_or("a result that was not sent")?;
        if id != self.mix.id(self.run.number, id.seq) || end >= self.run.next {
            return Err("a result that was not sent");
        }
        if self.last.is_some_and(|last| end <= last) && !self.run.uncertain.contains(end) {
            return Err("a result out of order or doubled");
        }
        self.last = self.last.max(Some(end));
        let Kind::End { failed, .. } = self.mix.kind(end) else { return Err("a result that was not sent") };
        let is_right = text("status") == Some(if failed { "failed" } else { "passed" })
            && number("duration") == Some(Mix::duration_ms(end))
            && number("attemptCount").is_none_or(|attempts| attempts == 1)
            && text("error").map(str::to_owned) == failed.then(|| self.mix.error(self.run.number, end))
            && result.get("runtimeContext").is_some_and(Value::is_object) == failed;
        match (is_right, self.run.acknowledged.contains(end), self.run.uncertain.contains(end)) {
            (false, ..) => Err("a result that is not as it was sent"),
            (true, true, _) => Ok(true),
            (true, false, true) => Ok(false),
            (true, false, false) => Err("a result of an event that was refused"),
        }
    }
}

fn shown(result: &Value) -> String {
    result.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::bench::mix::MixSettings;

    fn mix() -> Mix {
        Mix::new(MixSettings { log_bytes: (30, 60), tests_percent: 20, failures_percent: 50 }, 5, 0)
    }

    fn wrong(change: impl FnOnce(&mut Vec<Value>)) -> u64 {
        let mix = mix();
        let mut run = Run::new(9, "s".into(), "t".into());
        run.next = 400;
        run.acknowledged.push(0, 400);
        let ends = (0..400).filter_map(|seq| match mix.kind(seq) {
            Kind::End { begin, failed } => Some((seq, begin, failed)),
            _ => None,
        });
        let mut results: Vec<_> = ends
            .map(|(seq, begin, failed)| {
                json!({
                    "testId": mix.shown(9, begin), "status": if failed { "failed" } else { "passed" },
                    "duration": Mix::duration_ms(seq), "attemptCount": 1,
                    "error": failed.then(|| mix.error(9, seq)), "runtimeContext": failed.then(|| json!({})),
                })
            })
            .collect();
        assert_eq!(results.len(), 40);
        change(&mut results);
        let (mut check, mut found) = (ResultsCheck::new(&mix, &run), Verification::default());
        results.chunks(7).for_each(|page| check.push(page));
        check.finish(&mut found);
        assert_eq!(found.findings.is_empty(), found.results_wrong == 0, "{found:?}");
        found.results_wrong
    }

    #[test]
    fn results_are_there_once_in_order_and_as_sent() {
        assert_eq!(wrong(|_| {}), 0);
        assert_eq!(wrong(|results| drop(results.remove(3))), 1);
        assert_eq!(wrong(|results| results.insert(3, results[3].clone())), 1);
        assert_eq!(wrong(|results| results.swap(3, 4)), 1);
        assert_eq!(wrong(|results| results[3]["duration"] = json!(1)), 1);
        assert_eq!(wrong(|results| results[3]["attemptCount"] = json!(2)), 1);
        assert_eq!(wrong(|results| results[3]["testId"] = json!("x")), 1);
        assert_eq!(wrong(|results| results[1]["error"] = json!("another")), 1);
        assert_eq!(wrong(Vec::clear), 40);
    }
}
