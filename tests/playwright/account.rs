//! Reads the accounts of a run: the runner's JSON report, and the events that the reporter sent.

use std::collections::BTreeMap;

use serde_json::Value;

/// One attempt of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) status: String,
    pub(super) duration: u64,
    pub(super) error: Option<String>,
    pub(super) stdout: Vec<String>,
    pub(super) stderr: Vec<String>,
}

/// What the runner says.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Attempts in order, by project and title path joined as a reporter joins them.
    pub(super) tests: BTreeMap<String, Vec<Attempt>>,
}

impl Truth {
    pub(super) fn of(report: &Value) -> Self {
        let mut truth = Self::default();
        for file in report["suites"].as_array().unwrap() {
            truth.add_suite(file, &[]);
        }
        truth
    }

    fn add_suite(&mut self, suite: &Value, above: &[&str]) {
        let path = [above, &[suite["title"].as_str().unwrap()]].concat();
        for inner in suite["suites"].as_array().into_iter().flatten() {
            self.add_suite(inner, &path);
        }
        for spec in suite["specs"].as_array().into_iter().flatten() {
            for test in spec["tests"].as_array().unwrap() {
                let project = test["projectName"].as_str().unwrap();
                let title = spec["title"].as_str().unwrap();
                // The root of a title path is nameless, so that it begins with a separator.
                let name = [&["", project], &path[..], &[title]].concat().join(" › ");
                let attempts = test["results"].as_array().unwrap().iter().map(attempt).collect();
                assert!(self.tests.insert(name, attempts).is_none(), "two tests of one name");
            }
        }
    }
}

fn attempt(result: &Value) -> Attempt {
    let chunks = |stream: &str| {
        let chunks = result[stream].as_array().unwrap().iter();
        chunks.map(chunk_text).collect()
    };
    Attempt {
        status: result["status"].as_str().unwrap().to_owned(),
        duration: result["duration"].as_u64().unwrap(),
        error: result["error"]["message"].as_str().map(str::to_owned),
        stdout: chunks("stdout"),
        stderr: chunks("stderr"),
    }
}

/// A chunk as text; what is not UTF-8 stands there as Base64.
fn chunk_text(chunk: &Value) -> String {
    match chunk["buffer"].as_str() {
        Some(encoded) => String::from_utf8_lossy(&from_base64(encoded)).into_owned(),
        None => chunk["text"].as_str().unwrap().to_owned(),
    }
}

fn from_base64(encoded: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for symbol in encoded.bytes().filter(|symbol| *symbol != b'=') {
        bits = bits << 6 | ALPHABET.iter().position(|known| *known == symbol).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// A title as results are named: cut, then without the separators it begins with.
pub(super) fn stored_name(title: &str) -> String {
    let kept: String = title.chars().take(1_000).collect();
    kept.trim_start_matches([' ', '›']).to_owned()
}

/// An error text as it is kept.
pub(super) fn cut(error: &str) -> String {
    if error.chars().count() <= 8_192 {
        return error.to_owned();
    }
    format!("{}…[truncated]", error.chars().take(8_192).collect::<String>())
}

/// The log text of each batch, by the line formats of the contract.
pub(super) fn rendered(batches: &Value) -> Vec<String> {
    let batches = batches.as_array().unwrap().iter();
    batches.map(|batch| batch.as_array().unwrap().iter().map(line).collect()).collect()
}

fn line(event: &Value) -> String {
    let text = |member: &str| event[member].as_str().unwrap();
    let mut line = match text("type") {
        "log" => text("chunk").to_owned(),
        "test-begin" => format!("▶ RUNNING  {}", text("title").chars().take(1_000).collect::<String>()),
        "test-end" => {
            let icon = match text("status") {
                "passed" => '✔',
                "skipped" => '–',
                _ => '✘',
            };
            let status = text("status").to_uppercase();
            let head = format!("{icon} {status:<8} {} ({}ms)", text("testId"), event["duration"]);
            match event["error"].as_str() {
                Some(error) if !error.is_empty() => format!("{head}\n  Error: {}", cut(error)),
                _ => head,
            }
        }
        other => panic!("the reporter sends no {other}"),
    };
    if !line.ends_with('\n') {
        line.push('\n');
    }
    line
}

/// Whether `log` is made of all `pieces`, each used once. Requests that were in flight together may have arrived in
/// any order, so a piece may stand a few places from where it was sent.
pub(super) fn pieces_fit(log: &str, pieces: &[String]) -> bool {
    const IN_FLIGHT_MAX: usize = 6;
    if pieces.is_empty() {
        return log.is_empty();
    }
    (0..pieces.len().min(IN_FLIGHT_MAX)).any(|at| {
        log.strip_prefix(pieces[at].as_str()).is_some_and(|rest| {
            let left: Vec<String> = pieces
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != at)
                .map(|(_, piece)| piece.clone())
                .collect();
            pieces_fit(rest, &left)
        })
    })
}
