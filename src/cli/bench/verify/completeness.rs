//! Compares a run's completeness report with what the sender knows.

use serde_json::Value;

use crate::cli::bench::ledger::{Ranges, Run};
use crate::cli::bench::mix::{Kind, Mix};

/// What the sender knows of some events.
#[derive(Debug, Default)]
struct Known {
    events: u64,
    text_bytes: u64,
    results: u64,
    failed: u64,
    begins: u64,
    /// Ends whose begin is among them.
    pairs: u64,
}

fn known(mix: &Mix, run: u32, events: &Ranges) -> Known {
    let (mut known, mut line, mut open) = (Known::default(), String::new(), None);
    for seq in events.iter() {
        line.clear();
        mix.push_text(run, seq, &mut line);
        known.events += 1;
        known.text_bytes += line.len() as u64;
        match mix.kind(seq) {
            Kind::Log => {}
            Kind::Begin => {
                known.begins += 1;
                open = Some(seq);
            }
            Kind::End { begin, failed } => {
                known.results += 1;
                known.failed += u64::from(failed);
                known.pairs += u64::from(open == Some(begin));
            }
        }
    }
    known
}

/// Every counter of `report` that is not what it has to be. A counter that the report does not have is none.
pub(super) fn differences(mix: &Mix, run: &Run, report: &Value) -> Vec<String> {
    let certain = known(mix, run.number, &run.acknowledged);
    let uncertain = known(mix, run.number, &run.uncertain);
    let mut differences = Vec::new();
    let mut check = |name: &str, least: u64, more: u64| {
        let told = report.pointer(name).and_then(Value::as_u64);
        if let Some(told) = told.filter(|told| !(least..=least + more).contains(told)) {
            let expected = if more == 0 { least.to_string() } else { format!("{least} to {}", least + more) };
            differences.push(format!(
                "{} is {told}, not {expected}",
                name.trim_start_matches('/').replace('/', ".")
            ));
        }
    };
    let is_certain = uncertain.events == 0;
    check("/events/stored", certain.events, uncertain.events);
    check("/events/rejected", 0, 0);
    check("/events/cut", 0, 0);
    check("/bytes/log", certain.text_bytes, uncertain.text_bytes);
    check("/tests/results", certain.results, uncertain.results);
    check("/tests/resultsDropped", 0, 0);
    check("/tests/failedAttempts", certain.failed, uncertain.failed);
    if is_certain {
        check("/batches/stored", run.batches, 0);
        check("/tests/begunWithoutEnd", certain.begins - certain.pairs, 0);
        check("/tests/endedWithoutBegin", certain.results - certain.pairs, 0);
    }
    let whole = is_certain && run.refusals == 0 && run.dropped() == 0;
    let paired = certain.begins == certain.pairs && certain.results == certain.pairs;
    let told = report.get("complete").and_then(Value::as_bool);
    if whole && told == Some(!paired) {
        differences.push(format!(
            "complete is {}, reasons {}",
            !paired,
            report.get("reasons").unwrap_or(&Value::Null)
        ));
    } else if run.dropped() > 0 && told == Some(true) {
        differences.push("complete although events were given up".into());
    }
    differences
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::bench::mix::MixSettings;

    #[test]
    fn each_counter_is_compared() {
        let settings = MixSettings { log_bytes: (30, 60), tests_percent: 20, failures_percent: 50 };
        let mix = Mix::new(settings, 5, 0);
        let mut run = Run::new(9, "s".into(), "t".into());
        run.next = 400;
        run.batches = 4;
        run.acknowledged.push(0, 400);
        let text: String = (0..400).fold(String::new(), |mut text, seq| {
            mix.push_text(9, seq, &mut text);
            text
        });
        let report = json!({
            "complete": true, "reasons": [], "batches": { "stored": 4 }, "bytes": { "log": text.len() },
            "events": { "stored": 400, "rejected": 0, "cut": 0 },
            "tests": {
                "results": 40, "resultsDropped": 0, "failedAttempts": 20, "begunWithoutEnd": 0, "endedWithoutBegin": 0,
            },
        });
        assert_eq!(differences(&mix, &run, &report), Vec::<String>::new());
        assert_eq!(differences(&mix, &run, &json!({})), Vec::<String>::new(), "nothing told, nothing wrong");
        for counter in [
            "/complete",
            "/batches/stored",
            "/bytes/log",
            "/events/stored",
            "/events/rejected",
            "/events/cut",
            "/tests/results",
            "/tests/resultsDropped",
            "/tests/failedAttempts",
            "/tests/begunWithoutEnd",
            "/tests/endedWithoutBegin",
        ] {
            let mut report = report.clone();
            let value = report.pointer_mut(counter).unwrap();
            *value = if value.is_boolean() { json!(false) } else { json!(value.as_u64().unwrap() + 1) };
            assert_eq!(differences(&mix, &run, &report).len(), 1, "{counter}");
        }
        run.next = 500;
        assert_eq!(differences(&mix, &run, &report), ["complete although events were given up"]);
        run.uncertain.push(400, 500);
        assert_eq!(differences(&mix, &run, &report).len(), 1);
    }
}
