//! Collapsed results of runs that are not settled, kept for a while: paging through them does not begin anew each time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::id::ExecutionId;
use crate::domain::result::TestResult;

/// Bytes of collapsed results that are kept.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// Collapsed results of runs that were asked for lately.
#[derive(Default)]
pub(in crate::store) struct Collapsed {
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    of: Version,
    results: Arc<[TestResult]>,
    bytes: usize,
}

/// A run at a point of its life: more segments or another closure may change its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Version {
    pub(in crate::store) execution: ExecutionId,
    pub(in crate::store) segments: usize,
    pub(in crate::store) revision: u32,
}

impl Collapsed {
    /// What is kept of the run at this point.
    pub(in crate::store) fn get(&self, version: Version) -> Option<Arc<[TestResult]>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|kept| kept.of == version).map(|kept| Arc::clone(&kept.results))
    }

    /// Keeps the results of the run at this point instead of older ones.
    pub(in crate::store) fn keep(&self, version: Version, results: &Arc<[TestResult]>) {
        let bytes = results.iter().map(bytes_of).sum();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.of.execution != version.execution);
        let mut total: usize = bytes + kept.iter().map(|kept| kept.bytes).sum::<usize>();
        while total > KEPT_BYTES_MAX
            && let Some(oldest) = kept.pop_front()
        {
            total -= oldest.bytes;
        }
        if bytes <= KEPT_BYTES_MAX {
            kept.push_back(Kept { of: version, results: Arc::clone(results), bytes });
        }
    }

    /// Forgets what is kept of a run.
    pub(in crate::store) fn forget(&self, execution: ExecutionId) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.of.execution != execution);
    }
}

/// Bytes of memory that a result takes, roughly; also what it counts as stored.
pub(in crate::store) fn bytes_of(result: &TestResult) -> usize {
    let texts = [
        &result.name,
        &result.file,
        &result.error,
        &result.error_hash,
        &result.runtime_context,
        &result.extra,
    ];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    size_of::<TestResult>() + result.test_id.len() + texts
}
