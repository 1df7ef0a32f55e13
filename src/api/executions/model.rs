//! What the endpoints about runs are asked and answer with. Source: API reference, executions 1, 2.1 and 3.1.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::execution::{Source, Status};
use crate::domain::time::end_of_day;
use crate::domain::view::{ExecutionView, TestResultView};
use crate::http::{Failure, Page, Paging, Query};
use crate::store::contract::ExecutionFilter;

/// What a list of runs is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListQuery {
    /// Which runs.
    pub(super) filter: ExecutionFilter,
    /// Which part of the list.
    pub(super) page: Page,
}

impl ListQuery {
    /// Reads the parameters of `GET /api/executions`.
    ///
    /// # Errors
    /// 400 `Invalid startAfter` or `Invalid startBefore`. A word that names nothing is no error: it matches nothing.
    pub(super) fn parse(query: &Query<'_>) -> Result<Self, Failure> {
        let start_before_ms = query.time("startBefore", "Invalid startBefore")?;
        let mut filter = ExecutionFilter {
            statuses: query.get("status").and_then(statuses),
            environment: trimmed(query, "environment"),
            start_after_ms: query.time("startAfter", "Invalid startAfter")?,
            // Widened to the end of the day even where it names a time: clients rely on it.
            start_before_ms: start_before_ms.map(end_of_day),
            group_name: trimmed(query, "groupName"),
            source: None,
            project: None,
        };
        if let Some(name) = query.get("source") {
            match [Source::Hosted, Source::ExternalCi].into_iter().find(|source| source.as_str() == name) {
                Some(source) => filter.source = Some(source),
                None => filter.statuses = NOTHING,
            }
        }
        if let Some(text) = query.get("projectId").or_else(|| query.get("project")) {
            match text.parse() {
                Ok(project) => filter.project = Some(project),
                Err(_malformed) => filter.statuses = NOTHING,
            }
        }
        Ok(Self { filter, page: query.page(Paging::default()) })
    }
}

/// A choice of statuses that no run has.
const NOTHING: Option<Vec<Status>> = Some(Vec::new());

/// The statuses of a comma-separated list in any case; `None` if it holds no word at all.
fn statuses(text: &str) -> Option<Vec<Status>> {
    let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty()).peekable();
    words.peek()?;
    let named =
        |word: &str| Status::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(word));
    Some(words.filter_map(named).collect())
}

fn trimmed(query: &Query<'_>, name: &str) -> Option<String> {
    query.get(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A number of at least 0 that a client continues from; unlike a page's bounds it is not guessed at.
///
/// # Errors
/// 400 with `error` for anything else.
pub(super) fn position(text: Option<&str>, error: &'static str) -> Result<Option<u64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    number.map(Some).ok_or_else(|| Failure::bad_request(error, "This must be a whole number of at least 0"))
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExecutionList {
    /// Newest start first. Log text is left out.
    pub(super) executions: Vec<ExecutionView>,
    /// How many there are in all.
    pub(super) total: u64,
    /// Entries asked for, within bounds.
    pub(super) limit: usize,
    /// Entries skipped.
    pub(super) offset: usize,
}

/// One run with everything there is about it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExecutionDetail {
    /// The run.
    pub(super) execution: ExecutionView,
}

/// A run's status.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutionStatus {
    /// The run.
    pub(super) task_id: String,
    /// Its status, after the quality gate.
    pub(super) status: Status,
}

/// A run's log text, whole or in part. Offsets count UTF-16 units from the run's start.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct LogText {
    /// The text.
    pub(super) output: String,
    /// Offset of its first unit; only where a part was asked for. Greater than asked for where the log cap removed text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<u64>,
    /// Offset after its last unit; only where a part was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
    /// Units appended so far.
    pub(super) length: u64,
}

/// A page of a run's results.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TestList {
    /// By `seq`; a later entry of the same test replaces an earlier one.
    pub(super) tests: Vec<TestResultView>,
    /// What to ask for next as `after`.
    pub(super) next: u64,
    /// The run's status.
    pub(super) status: Status,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> ListQuery {
        ListQuery::parse(&Query::parse(Some(query))).unwrap()
    }

    fn filter(query: &str) -> ExecutionFilter {
        parse(query).filter
    }

    #[test]
    fn nothing_asked_for_restricts_nothing() {
        let all = ListQuery { filter: ExecutionFilter::default(), page: Page { limit: 25, offset: 0 } };
        assert_eq!(parse(""), all);
        assert_eq!(parse("status=&environment=+&groupName=%20&source=&projectId=&startAfter="), all);
        assert_eq!(parse("status=%2C+%2C"), all);
        assert_eq!(parse("limit=500&offset=7").page, Page { limit: 100, offset: 7 });
    }

    #[test]
    fn statuses_are_any_of_a_list_in_any_case() {
        let check = |query: &str, wanted: &[Status]| {
            assert_eq!(filter(query).statuses.as_deref(), Some(wanted), "{query}")
        };
        check("status=failed", &[Status::Failed]);
        check("status=Passed,%20UNSTABLE", &[Status::Passed, Status::Unstable]);
        check("status=passed,green", &[Status::Passed]);
        check("status=green", &[]);
    }

    #[test]
    fn words_that_name_nothing_match_nothing() {
        for query in ["source=ci", "source=EXTERNAL-CI", "projectId=nope", "project=690A11B2C3D4E5F607182930"]
        {
            assert_eq!(filter(query).statuses, Some(vec![]), "{query}");
        }
        assert_eq!(filter("source=external-ci").source, Some(Source::ExternalCi));
        assert_eq!(filter("source=agnox-hosted").source, Some(Source::Hosted));
        let id = "690a11b2c3d4e5f607182930";
        assert_eq!(filter(&format!("project={id}")).project, id.parse().ok());
        assert_eq!(filter(&format!("projectId={id}&project=x")).project, id.parse().ok());
    }

    #[test]
    fn texts_are_trimmed_and_days_are_whole() {
        let found = filter("environment=%20Staging%20&groupName=%20Nightly%20");
        assert_eq!(
            (found.environment.as_deref(), found.group_name.as_deref()),
            (Some("Staging"), Some("Nightly"))
        );
        let found = filter("startAfter=2026-03-20T10:00:00Z&startBefore=2026-03-20T10:00:00Z");
        assert_eq!(found.start_after_ms, Some(1_774_000_800_000));
        assert_eq!(found.start_before_ms, Some(1_774_051_199_999));
        assert_eq!(filter("startBefore=2026-03-20").start_before_ms, Some(1_774_051_199_999));
    }

    #[test]
    fn a_date_that_is_none_is_named() {
        for (query, error) in [
            ("startAfter=soon", "Invalid startAfter"),
            ("startBefore=2026-13-01", "Invalid startBefore"),
            ("startAfter=2026-03-20T10:00:00", "Invalid startAfter"),
        ] {
            let failure = ListQuery::parse(&Query::parse(Some(query))).unwrap_err();
            assert_eq!((failure.kind.status().as_u16(), failure.error.as_ref()), (400, error), "{query}");
        }
    }

    #[test]
    fn positions_are_whole_numbers() {
        assert_eq!(position(None, "x").unwrap(), None);
        assert_eq!(position(Some("0"), "x").unwrap(), Some(0));
        assert_eq!(position(Some("18446744073709551615"), "x").unwrap(), Some(u64::MAX));
        for bad in ["-1", "1.5", "+1", "ten", "18446744073709551616", " 1"] {
            assert_eq!(position(Some(bad), "Invalid from").unwrap_err().error, "Invalid from", "{bad}");
        }
    }
}
