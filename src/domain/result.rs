//! A test's result as the run's document shows it: attempts collapsed into one entry per test.
//! Source: API reference, ingest 6.1.

use serde::{Deserialize, Serialize};

use super::batch::TestStatus;
use crate::clock::UnixMs;

/// One test of a run, its attempts collapsed; `seq` counts the run's recorded results from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    /// Position of the last attempt among the run's recorded results, from 1.
    pub seq: u64,
    /// Position of the first attempt: the order of `tests[]`.
    pub first_seq: u64,
    /// The reporter's id; opaque.
    pub test_id: String,
    /// Last title seen, leading empty path segments removed.
    pub name: Option<String>,
    /// File of the last begin, if any.
    pub file: Option<String>,
    /// Last attempt.
    pub status: TestStatus,
    /// Milliseconds, last attempt.
    pub duration_ms: u64,
    /// Error text, last attempt.
    pub error: Option<String>,
    /// Client time of the last attempt, Unix milliseconds.
    pub timestamp_ms: UnixMs,
    /// Number of attempts.
    pub attempt_count: u32,
    /// Hash of the normalised error, for grouping.
    pub error_hash: Option<String>,
    /// JSON object of the last attempt that carried one.
    pub runtime_context: Option<String>,
    /// JSON object with the additions of E4, of the last attempt that carried one.
    pub extra: Option<String>,
    /// Whether it was quarantined when the run was finished.
    pub is_quarantined: bool,
}

impl TestResult {
    /// About how many bytes it takes as JSON, for budgets.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// Member names, punctuation, numbers.
        const FRAME: usize = 160;
        let texts =
            [&self.name, &self.file, &self.error, &self.error_hash, &self.runtime_context, &self.extra];
        FRAME + self.test_id.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}
