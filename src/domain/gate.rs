//! The quality gate: when a failed run counts as passed because everything that failed is known to be flaky. It errs
//! on the side of failing: whatever may be missing could be a failure. Source: API reference, ingest 6.2 and 6.3.

use std::collections::HashSet;

use super::execution::{Completeness, Status, Summary};

/// What the gate looks at.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The project's `autoQuarantineEnabled`.
    pub auto_quarantine: bool,
    /// Tests that are quarantined, as they were before this run.
    pub quarantined: &'a HashSet<String>,
    /// What arrived of the run.
    pub counts: &'a Completeness,
    /// What the client counted.
    pub summary: &'a Summary,
}

/// Why a failed run stays failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The project does not want it.
    SwitchedOff,
    /// No test is known to have failed: a crash, a global timeout, lost batches.
    NoFailure,
    /// A test failed that is not quarantined.
    NotQuarantined,
    /// Something of the run is missing, and it might have been a failure.
    Incomplete,
}

/// Whether a run that the client calls failed counts as passed. `failing` are the tests whose last attempt failed or
/// timed out, attempts collapsed.
///
/// # Errors
/// The first condition that does not hold.
pub fn bypass<'a>(
    evidence: Evidence<'_>,
    failing: impl IntoIterator<Item = &'a str>,
) -> Result<(), Obstacle> {
    if !evidence.auto_quarantine {
        return Err(Obstacle::SwitchedOff);
    }
    let mut failing = failing.into_iter().peekable();
    if failing.peek().is_none() {
        return Err(Obstacle::NoFailure);
    }
    if !failing.all(|test| evidence.quarantined.contains(test)) {
        return Err(Obstacle::NotQuarantined);
    }
    if is_missing_anything(evidence.counts, evidence.summary) {
        return Err(Obstacle::Incomplete);
    }
    Ok(())
}

/// The status that a teardown leads to. What the client calls passed is not second-guessed: a test that failed and
/// passed on a retry is a pass.
#[must_use]
pub fn effective_status<'a>(
    client_passed: bool,
    evidence: Evidence<'_>,
    failing: impl IntoIterator<Item = &'a str>,
) -> Status {
    if client_passed || bypass(evidence, failing).is_ok() { Status::Passed } else { Status::Failed }
}

fn is_missing_anything(counts: &Completeness, summary: &Summary) -> bool {
    let delivery = counts.delivery.unwrap_or_default();
    let losses = [
        counts.begun_without_end,
        counts.events_rejected,
        counts.results_dropped,
        counts.batches_refused_tier,
        counts.batches_refused_pressure,
        counts.batches_rejected,
        delivery.dropped_events,
        delivery.spooled,
    ];
    losses.iter().any(|loss| *loss > 0) || counts.orphaned || counts.failed_attempts < summary.failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::execution::Delivery;

    struct Case {
        auto_quarantine: bool,
        failing: Vec<&'static str>,
        quarantined: Vec<&'static str>,
        counts: Completeness,
        summary: Summary,
    }

    /// Two flaky tests failed, one of them twice, and all of it arrived.
    fn flaky() -> Case {
        Case {
            auto_quarantine: true,
            failing: vec!["a", "b"],
            quarantined: vec!["a", "b", "c"],
            counts: Completeness { failed_attempts: 3, ended_without_begin: 2, ..Completeness::default() },
            summary: Summary { total: 5, passed: 3, failed: 3, skipped: 1, duration: 1 },
        }
    }

    fn judge(case: &Case) -> Result<(), Obstacle> {
        let quarantined = case.quarantined.iter().map(|test| (*test).to_owned()).collect();
        let evidence = Evidence {
            auto_quarantine: case.auto_quarantine,
            quarantined: &quarantined,
            counts: &case.counts,
            summary: &case.summary,
        };
        let verdict = bypass(evidence, case.failing.iter().copied());
        let status = if verdict.is_ok() { Status::Passed } else { Status::Failed };
        assert_eq!(effective_status(false, evidence, case.failing.iter().copied()), status);
        assert_eq!(effective_status(true, evidence, case.failing.iter().copied()), Status::Passed);
        verdict
    }

    #[test]
    fn a_complete_run_with_only_quarantined_failures_passes() {
        assert_eq!(judge(&flaky()), Ok(()));
        // More recorded than the client counted is no loss; log text that was cut is none of results.
        let mut case = flaky();
        case.summary.failed = 2;
        case.counts.events_cut = 1;
        case.counts.log_truncated = true;
        case.counts.batches_replayed = 4;
        case.counts.delivery =
            Some(Delivery { sent: 9, retries: 3, dropped_log_bytes: 5, ..Delivery::default() });
        assert_eq!(judge(&case), Ok(()));
    }

    #[test]
    fn the_project_must_want_it() {
        assert_eq!(judge(&Case { auto_quarantine: false, ..flaky() }), Err(Obstacle::SwitchedOff));
    }

    #[test]
    fn a_run_without_a_recorded_failure_stays_failed() {
        assert_eq!(judge(&Case { failing: vec![], ..flaky() }), Err(Obstacle::NoFailure));
    }

    #[test]
    fn every_failing_test_must_be_quarantined() {
        for failing in [vec!["x"], vec!["a", "x"], vec!["x", "a"]] {
            assert_eq!(judge(&Case { failing, ..flaky() }), Err(Obstacle::NotQuarantined));
        }
        assert_eq!(judge(&Case { quarantined: vec![], ..flaky() }), Err(Obstacle::NotQuarantined));
    }

    #[test]
    fn anything_missing_keeps_it_failed() {
        let losses: [fn(&mut Case); 10] = [
            |case| case.counts.begun_without_end = 1,
            |case| case.counts.events_rejected = 1,
            |case| case.counts.results_dropped = 1,
            |case| case.counts.batches_refused_tier = 1,
            |case| case.counts.batches_refused_pressure = 1,
            |case| case.counts.batches_rejected = 1,
            |case| case.counts.orphaned = true,
            |case| case.counts.failed_attempts = 2,
            |case| case.counts.delivery = Some(Delivery { dropped_events: 1, ..Delivery::default() }),
            |case| case.counts.delivery = Some(Delivery { spooled: 1, ..Delivery::default() }),
        ];
        for (index, lose) in losses.into_iter().enumerate() {
            let mut case = flaky();
            lose(&mut case);
            assert_eq!(judge(&case), Err(Obstacle::Incomplete), "loss {index}");
        }
    }

    /// All combinations of the four conditions: only when all hold does the run pass.
    #[test]
    fn one_condition_never_stands_in_for_another() {
        for bits in 0u8..16 {
            let holds = |condition: u8| bits & (1 << condition) != 0;
            let mut case = flaky();
            case.auto_quarantine = holds(0);
            if !holds(1) {
                case.failing.clear();
            }
            if !holds(2) {
                case.quarantined.clear();
            }
            if !holds(3) {
                case.counts.begun_without_end = 1;
            }
            assert_eq!(judge(&case).is_ok(), bits == 15, "{bits:04b}");
        }
    }
}
