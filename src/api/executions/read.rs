//! Reading runs: one function per question, apart from how it is asked over HTTP. A run that is still being fed is read
//! from the same places as one that is over: the store for text and results, its actor for what only counts in memory.

use std::sync::Arc;

use super::model::{ExecutionDetail, ExecutionList, ExecutionStatus, ListQuery, LogText, TestList, position};
use crate::actors::{Engine, EngineError};
use crate::api::reply::failed;
use crate::domain::execution::Execution;
use crate::domain::id::{OrgId, TaskId};
use crate::domain::view::{CompletenessView, ExecutionView, TestResultView};
use crate::http::{Failure, Paging, Query};
use crate::limits::{
    LIST_ITEM_RESULTS_MAX, LIST_RESULTS_BYTES_MAX, LOG_PAGE_UNITS_DEFAULT, LOG_PAGE_UNITS_MAX,
    TESTS_PAGE_DEFAULT, TESTS_PAGE_MAX,
};
use crate::store::contract::{Store, StoreError};

/// Where runs are read from. Cheap to clone.
#[derive(Clone)]
pub(super) struct Runs {
    /// What is remembered.
    pub(super) store: Arc<dyn Store>,
    /// What is alive.
    pub(super) engine: Engine,
}

/// A run that does not answer in time may do so later; anything else has the endpoint's own name.
pub(super) fn engine_failure(error: &'static str, cause: EngineError) -> Failure {
    match cause {
        EngineError::Busy { retry_after_s } => {
            Failure::unavailable("The run does not answer right now", retry_after_s)
        }
        cause => Failure::internal(error, cause),
    }
}

/// The answer for a run that does not exist, was deleted, or belongs to another organization.
fn not_found() -> Failure {
    Failure::not_found("Execution not found", "There is no such run in this organization")
}

impl Runs {
    /// The run with this task id.
    ///
    /// # Errors
    /// 404 `Execution not found`; 500 with `error`.
    pub(super) async fn find(
        &self,
        org: OrgId,
        task: &str,
        error: &'static str,
    ) -> Result<Execution, Failure> {
        let found = self.store.execution_by_task(org, &TaskId::from(task)).await.map_err(failed(error))?;
        found.ok_or_else(not_found)
    }

    /// A page of the organization's runs.
    ///
    /// # Errors
    /// 400 for an unusable date; 500 `Failed to fetch executions`.
    pub(super) async fn list(&self, org: OrgId, query: &Query<'_>) -> Result<ExecutionList, Failure> {
        const ERROR: &str = "Failed to fetch executions";
        let ListQuery { filter, page } = ListQuery::parse(query)?;
        let found =
            self.store.executions(org, &filter, page.limit, page.offset).await.map_err(failed(ERROR))?;
        let mut executions = Vec::with_capacity(found.executions.len());
        let mut room = LIST_RESULTS_BYTES_MAX;
        for execution in &found.executions {
            executions.push(self.list_item(execution, &mut room).await.map_err(failed(ERROR))?);
        }
        Ok(ExecutionList { executions, total: found.total, limit: page.limit, offset: page.offset })
    }

    /// A run as a list shows it: with its results as long as the page has `room` (bytes) for them.
    async fn list_item(&self, execution: &Execution, room: &mut usize) -> Result<ExecutionView, StoreError> {
        let mut view = ExecutionView::from(execution);
        if !execution.status.is_final() {
            return Ok(view);
        }
        let count = execution.completeness.as_ref().map_or(0, |completeness| completeness.results);
        if count <= LIST_ITEM_RESULTS_MAX && *room > 0 {
            let results = self.store.all_results(execution.org, execution.id).await?;
            let bytes = results.iter().map(crate::domain::result::TestResult::bytes).sum();
            if let Some(left) = room.checked_sub(bytes) {
                *room = left;
                view.tests = results.into_iter().map(TestResultView::from).collect();
                return Ok(view);
            }
            *room = 0;
        }
        view.tests_omitted = true;
        Ok(view)
    }

    /// One run with everything there is about it.
    ///
    /// # Errors
    /// 404 `Execution not found`; 500 `Failed to fetch execution`.
    pub(super) async fn detail(&self, org: OrgId, task: &str) -> Result<ExecutionDetail, Failure> {
        const ERROR: &str = "Failed to fetch execution";
        let execution = self.find(org, task, ERROR).await?;
        let mut view = ExecutionView::from(&execution);
        if execution.status.is_final() {
            let results = self.store.all_results(org, execution.id).await.map_err(failed(ERROR))?;
            view.tests = results.into_iter().map(TestResultView::from).collect();
        }
        let text = self.store.whole_text(org, execution.id).await.map_err(failed(ERROR))?;
        view.output = Some(text.unwrap_or_default().text);
        view.completeness = Some(self.completeness_of(&execution, ERROR).await?);
        Ok(ExecutionDetail { execution: view })
    }

    /// A run's status.
    ///
    /// # Errors
    /// 404 `Execution not found`; 500 `Failed to fetch execution`.
    pub(super) async fn status(&self, org: OrgId, task: &str) -> Result<ExecutionStatus, Failure> {
        let execution = self.find(org, task, "Failed to fetch execution").await?;
        Ok(ExecutionStatus { task_id: execution.task_id.to_string(), status: execution.status })
    }

    /// A run's log text: the whole of it, or with `from` or `limit` (UTF-16 units) a part.
    ///
    /// # Errors
    /// 400 `Invalid from`; 404 `Execution not found`; 500 `Failed to fetch logs`.
    pub(super) async fn logs(&self, org: OrgId, task: &str, query: &Query<'_>) -> Result<LogText, Failure> {
        const ERROR: &str = "Failed to fetch logs";
        let from = position(query.get("from"), "Invalid from")?;
        let limit = query.count("limit");
        let execution = self.find(org, task, ERROR).await?;
        if from.is_none() && limit.is_none() {
            let text =
                self.store.whole_text(org, execution.id).await.map_err(failed(ERROR))?.unwrap_or_default();
            return Ok(LogText { output: text.text, from: None, next: None, length: text.length });
        }
        let limit = limit.map_or(LOG_PAGE_UNITS_DEFAULT, |limit| limit as u64).clamp(1, LOG_PAGE_UNITS_MAX);
        let page =
            self.store.text(org, execution.id, from.unwrap_or(0), limit).await.map_err(failed(ERROR))?;
        let page = page.unwrap_or_default();
        Ok(LogText { output: page.text, from: Some(page.from), next: Some(page.next), length: page.length })
    }

    /// A page of a run's results, while it runs and afterwards.
    ///
    /// # Errors
    /// 400 `Invalid after`; 404 `Execution not found`; 500 `Failed to fetch tests`.
    pub(super) async fn tests(&self, org: OrgId, task: &str, query: &Query<'_>) -> Result<TestList, Failure> {
        const ERROR: &str = "Failed to fetch tests";
        let after = position(query.get("after"), "Invalid after")?.unwrap_or(0);
        let limit = query.page(Paging { default: TESTS_PAGE_DEFAULT, max: TESTS_PAGE_MAX }).limit;
        // The status is read first: with a final one the results that follow are all there.
        let execution = self.find(org, task, ERROR).await?;
        let results = self.store.results(org, execution.id, after, limit).await.map_err(failed(ERROR))?;
        let next = results.last().map_or(after, |last| last.seq);
        let tests = results.into_iter().map(TestResultView::with_seq).collect();
        Ok(TestList { tests, next, status: execution.status })
    }

    /// What a run sent and what became of it.
    ///
    /// # Errors
    /// 404 `Execution not found`; 500 `Failed to fetch completeness`; 503 if the run's actor does not answer in time.
    pub(super) async fn completeness(&self, org: OrgId, task: &str) -> Result<CompletenessView, Failure> {
        const ERROR: &str = "Failed to fetch completeness";
        let execution = self.find(org, task, ERROR).await?;
        self.completeness_of(&execution, ERROR).await
    }

    async fn completeness_of(
        &self,
        execution: &Execution,
        error: &'static str,
    ) -> Result<CompletenessView, Failure> {
        let counts = self.engine.completeness(execution.org, execution.id).await;
        let counts = counts.map_err(|cause| engine_failure(error, cause))?;
        Ok(CompletenessView::new(&counts.unwrap_or_default(), execution.status))
    }
}
