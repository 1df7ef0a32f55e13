//! The ledgers against what the server kept.

use std::collections::HashMap;

use serde_json::Value;

use super::process::Account;
use super::reporter::{Fate, Ledger, Run};

/// What was compared.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) runs: usize,
    pub(super) finished: usize,
    pub(super) acknowledged: usize,
    pub(super) unknown: usize,
    pub(super) refused: usize,
    pub(super) unknown_but_stored: usize,
}

/// Compares every run.
pub(super) async fn all(account: &Account, ledgers: &[Ledger]) -> Totals {
    let mut totals = Totals::default();
    for run in ledgers.iter().flatten() {
        one(account, run, &mut totals).await;
    }
    totals
}

async fn one(account: &Account, run: &Run, totals: &mut Totals) {
    totals.runs += 1;
    let logs = account.get(&format!("/api/executions/{}/logs", run.task)).await;
    let text = logs["data"]["output"].as_str().unwrap();
    assert_eq!(logs["data"]["length"], text.encode_utf16().count(), "{}", run.task);
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, line) in text.lines().enumerate() {
        places.entry(line).or_default().push(place);
    }
    let tests = tests(account, &run.task).await;
    let mut last_place = 0;
    let mut stored = 0;
    for sent in &run.batches {
        let first = places.get(sent.lines[0].as_str());
        for line in &sent.lines {
            let found = places.get(line.as_str()).map_or(0, Vec::len);
            assert!(found <= 1, "{}: {line:?} is stored {found} times", run.task);
            assert_eq!(found == 1, first.is_some(), "{}: half of a batch is stored", run.task);
        }
        match (sent.fate, first) {
            (Fate::Acknowledged, found) => {
                totals.acknowledged += 1;
                assert!(found.is_some(), "{}: {} was acknowledged and is missing", run.task, sent.test);
            }
            (Fate::Unknown, found) => {
                totals.unknown += 1;
                totals.unknown_but_stored += usize::from(found.is_some());
            }
            (Fate::Refused(_), _) => totals.refused += 1,
        }
        let Some(places) = first else {
            assert!(!tests.contains_key(&sent.test), "{}: a result without its log", run.task);
            continue;
        };
        stored += 1;
        let lines = sent.lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        assert!(text.contains(&lines), "{}: the lines of {} are torn apart", run.task, sent.test);
        assert_eq!(tests.get(&sent.test), Some(&1), "{}: attempts of {}", run.task, sent.test);
        // A batch that its reporter gave up may still be on its way when the next one arrives.
        if run.in_order && sent.fate == Fate::Acknowledged {
            assert!(places[0] >= last_place, "{}: {} stands before an earlier batch", run.task, sent.test);
            last_place = places[0];
        }
    }
    assert_eq!(tests.len(), stored, "{}: results of nobody", run.task);
    let completeness = account.get(&format!("/api/executions/{}/completeness", run.task)).await;
    assert_eq!(completeness["data"]["batches"]["stored"], stored, "{}: {completeness}", run.task);
    if let Some(answered) = &run.answered {
        totals.finished += 1;
        let status = account.get(&format!("/api/executions/{}/status", run.task)).await;
        assert_eq!(status["data"]["status"], answered.as_str(), "{}", run.task);
    }
}

/// Test id → number of attempts.
async fn tests(account: &Account, task: &str) -> HashMap<String, u64> {
    let answer = account.get(&format!("/api/executions/{task}/tests?limit=1000")).await;
    let tests = answer["data"]["tests"].as_array().unwrap().iter();
    let entry =
        |test: &Value| (test["testId"].as_str().unwrap().to_owned(), test["attemptCount"].as_u64().unwrap());
    tests.map(entry).collect()
}
