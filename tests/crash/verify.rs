//! The ledgers against what the server kept.

use std::collections::HashMap;

use http::{Method, StatusCode};
use serde_json::Value;

use super::process::Account;
use super::reporter::{Fate, Ledger, Run};

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) runs: usize,
    pub(crate) finished: usize,
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) unknown_but_stored: usize,
}

/// Compares every run as each of several servers shows it.
pub(crate) async fn all(accounts: &[&Account], ledgers: &[Ledger]) -> Totals {
    let mut totals = Totals::default();
    for account in accounts {
        totals = Totals::default();
        for run in ledgers.iter().flatten() {
            let stored = one(account, run, &mut totals).await;
            let completeness = completeness(accounts, run).await;
            assert_eq!(completeness["data"]["batches"]["stored"], stored, "{}: {completeness}", run.task);
        }
    }
    totals
}

/// What became of what a run sent. Until it is settled only the server that owns it knows.
async fn completeness(accounts: &[&Account], run: &Run) -> Value {
    let path = format!("/api/executions/{}/completeness", run.task);
    for account in accounts {
        let answer = account.client.call(Method::GET, &path, None).await.unwrap();
        if answer.status == StatusCode::OK {
            return answer.body;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    }
    panic!("{}: no server owns it", run.task);
}

/// Compares a run; how many of its batches are stored.
async fn one(account: &Account, run: &Run, totals: &mut Totals) -> usize {
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
    if let Some(answered) = &run.answered {
        totals.finished += 1;
        let status = account.get(&format!("/api/executions/{}/status", run.task)).await;
        assert_eq!(status["data"]["status"], answered.as_str(), "{}", run.task);
    }
    stored
}

/// Test id → number of attempts.
async fn tests(account: &Account, task: &str) -> HashMap<String, u64> {
    let answer = account.get(&format!("/api/executions/{task}/tests?limit=1000")).await;
    let tests = answer["data"]["tests"].as_array().unwrap().iter();
    let entry =
        |test: &Value| (test["testId"].as_str().unwrap().to_owned(), test["attemptCount"].as_u64().unwrap());
    tests.map(entry).collect()
}
