//! Reads everything back after the load and proves that each acknowledged event is stored exactly once and in order,
//! that live text equals stored text, and that each run's completeness report agrees. In pages: what is held is one
//! page and the ranges of event numbers.

mod completeness;
mod results;
mod text;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::Value;

use self::results::ResultsCheck;
use self::text::TextCheck;
use super::BenchError;
use super::follow::{Digest, Followed};
use super::ledger::Run;
use super::mix::Mix;
use super::opener::{Opener, patiently, succeeded};
use super::pace::Stop;
use crate::limits;

/// UTF-16 units of log text asked for at once.
const TEXT_PAGE: u64 = 512 << 10;
/// Results asked for at once.
const RESULTS_PAGE: usize = 1_000;
/// How soon an interrupt is seen.
const STOP_SEEN_AFTER: Duration = Duration::from_millis(100);

/// What reading back found. A fault of any kind is a failed run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verification {
    /// Whether there is no fault.
    pub(super) passed: bool,
    /// Runs read back.
    pub(super) runs: u64,
    /// Events acknowledged.
    pub(super) acknowledged: u64,
    /// Of these, found once and in order.
    pub(super) in_order: u64,
    /// Acknowledged and not stored.
    pub(super) missing: u64,
    /// Stored more than once.
    pub(super) duplicated: u64,
    /// Stored after an event that was acknowledged later.
    pub(super) reordered: u64,
    /// Stored and never sent, refused for good, or not as it was sent.
    pub(super) wrong: u64,
    /// Events whose answer was lost, and which are stored: no fault.
    pub(super) uncertain_stored: u64,
    /// Tests whose stored result is not what was sent, missing or doubled.
    pub(super) results_wrong: u64,
    /// Runs whose completeness report disagrees.
    pub(super) reports_wrong: u64,
    /// Runs that have no completeness report: the server knows none.
    pub(super) reports_absent: u64,
    /// Comparisons of live text with stored text: one for each run and each who watched it.
    pub(super) live_compared: u64,
    /// Of these, those that differ, or whose live text broke off.
    pub(super) live_wrong: u64,
    /// Bytes of log text read back.
    pub(super) text_bytes: u64,
    /// How long it took.
    pub(super) seconds: f64,
    /// The first faults in words.
    pub(super) findings: Vec<String>,
}

impl Verification {
    /// Describes a fault, if there is room.
    fn find(&mut self, run: &Run, what: impl Into<String>) {
        if self.findings.len() < limits::BENCH_FINDINGS_MAX {
            self.findings.push(format!("run {}: {}", run.task, what.into()));
        }
    }

    fn faults(&self) -> u64 {
        self.missing
            + self.duplicated
            + self.reordered
            + self.wrong
            + self.results_wrong
            + self.reports_wrong
            + self.live_wrong
    }
}

/// Reads back `runs`, which have ended. `live` gives what each viewer saw of a run. `None` if it was interrupted: what
/// was not looked at is not proved.
///
/// # Errors
/// If the server cannot be read.
pub(super) async fn verify(
    opener: &Arc<Opener>,
    runs: Vec<Run>,
    mut live: impl FnMut(&str) -> Vec<Followed>,
    progress: &ProgressBar,
) -> Result<Option<Verification>, BenchError> {
    let begun = Instant::now();
    let mut found = Verification::default();
    let reader = Reader { opener, mix: &opener.mix };
    let count = runs.len();
    for (index, mut run) in runs.into_iter().enumerate() {
        progress.set_message(format!("reading back run {} of {count}", index + 1));
        let follower = run.followed.take();
        let read = async {
            let stored = reader.run(&run, &mut found).await?;
            let mut followed = live(&run.task);
            if let Some(follower) = follower {
                followed.push(follower.seen(stored.units).await);
            }
            compare_live(&run, &stored, &followed, &mut found);
            Ok::<_, BenchError>(())
        };
        tokio::select! {
            read = read => read?,
            () = stopped(&opener.stop) => return Ok(None),
        }
        found.runs += 1;
    }
    found.passed = found.faults() == 0;
    found.seconds = begun.elapsed().as_secs_f64();
    Ok(Some(found))
}

/// Resolves when the bench is told to hurry.
async fn stopped(stop: &Stop) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(STOP_SEEN_AFTER).await;
    }
}

fn compare_live(run: &Run, stored: &Digest, followed: &[Followed], found: &mut Verification) {
    for followed in followed {
        match followed {
            Followed::NotOffered => continue,
            Followed::Whole(seen) if **seen == *stored => {}
            Followed::Whole(seen) => {
                found.live_wrong += 1;
                found.find(run, format!("live text ({seen:?}) differs from stored text ({stored:?})"));
            }
            Followed::Broken(reason) => {
                found.live_wrong += 1;
                found.find(run, format!("live text: {reason}"));
            }
        }
        found.live_compared += 1;
    }
}

struct Reader<'a> {
    opener: &'a Opener,
    mix: &'a Mix,
}

impl Reader<'_> {
    /// Checks all that is stored of a run; returns the digest of its log.
    async fn run(&self, run: &Run, found: &mut Verification) -> Result<Digest, BenchError> {
        let stored = self.text(run, found).await?;
        self.results(run, found).await?;
        self.report(run, found).await?;
        Ok(stored)
    }

    /// Checks a run's log; returns its digest.
    async fn text(&self, run: &Run, found: &mut Verification) -> Result<Digest, BenchError> {
        let mut check = TextCheck::new(self.mix, run);
        let (mut digest, mut from) = (Digest::default(), 0);
        loop {
            let path = format!("/api/executions/{}/logs?from={from}&limit={TEXT_PAGE}", run.task);
            let page = succeeded(&path, self.get(&path).await?)?.body;
            let number = |name: &str| page.pointer(&format!("/data/{name}")).and_then(Value::as_u64);
            let Some(text) = page.pointer("/data/output").and_then(Value::as_str) else {
                return Err(BenchError::Unexpected(format!("no text in the answer of {path}")));
            };
            check.push(text);
            digest.add(text);
            found.text_bytes += text.len() as u64;
            // A server that knows no pages gives all of it, and no `next`.
            match (number("next"), number("length")) {
                (Some(next), Some(length)) if next > from && next < length => from = next,
                _ => break,
            }
        }
        check.finish(found);
        Ok(digest)
    }

    /// Checks a run's results.
    async fn results(&self, run: &Run, found: &mut Verification) -> Result<(), BenchError> {
        let (mut check, mut after) = (ResultsCheck::new(self.mix, run), 0);
        loop {
            let path = format!("/api/executions/{}/tests?after={after}&limit={RESULTS_PAGE}", run.task);
            let answer = self.get(&path).await?;
            if answer.status == StatusCode::NOT_FOUND {
                // Another server of this interface may list results with the run only.
                let path = format!("/api/executions/{}", run.task);
                let answer = succeeded(&path, self.get(&path).await?)?;
                check.push(
                    answer.body.pointer("/data/tests").and_then(Value::as_array).map_or(&[], Vec::as_slice),
                );
                break;
            }
            let page = succeeded(&path, answer)?.body;
            let tests = page.pointer("/data/tests").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            check.push(tests);
            match page.pointer("/data/next").and_then(Value::as_u64) {
                Some(next) if next > after && !tests.is_empty() => after = next,
                _ => break,
            }
        }
        check.finish(found);
        Ok(())
    }

    /// Checks a run's completeness report.
    async fn report(&self, run: &Run, found: &mut Verification) -> Result<(), BenchError> {
        let path = format!("/api/executions/{}/completeness", run.task);
        let answer = self.get(&path).await?;
        if answer.status == StatusCode::NOT_FOUND {
            found.reports_absent += 1;
            return Ok(());
        }
        let answer = succeeded(&path, answer)?;
        let report = answer.body.get("data").unwrap_or(&Value::Null);
        let differences = completeness::differences(self.mix, run, report);
        if !differences.is_empty() {
            found.reports_wrong += 1;
            found.find(run, format!("completeness report: {}", differences.join("; ")));
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<crate::cli::client::Answer, BenchError> {
        patiently(&self.opener.client, Method::GET, path, None, &self.opener.stop).await
    }
}
