//! The end of a run: by teardown, by silence, and once more when something arrives late.
//! Source: API reference, ingest 4, 5 and 6.3.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::actor::{Run, passed};
use super::append::LOST_APPEND;
use super::message::TornDown;
use super::state::millis;
use super::update;
use crate::actors::deps::Deps;
use crate::actors::error::EngineError;
use crate::actors::feed::Told;
use crate::actors::finish::FinishedRun;
use crate::clock::UnixMs;
use crate::domain::batch::TestStatus;
use crate::domain::execution::{Completeness, Execution, ItemStatus, SessionStatus, Status, Summary};
use crate::domain::gate::{self, Evidence};
use crate::domain::result::TestResult;
use crate::domain::segment::Refusals;
use crate::domain::teardown::TeardownRequest;
use crate::limits;
use crate::store::contract::{ClosedRun, SessionEnd};

impl Run {
    /// Finishes the run. Whatever reached the mailbox before is stored first; a run that is closed already answers what
    /// it answered then. If the store fails the run stays open and a later teardown can succeed.
    pub(super) async fn tear_down(
        &mut self,
        request: TeardownRequest,
        now_ms: UnixMs,
    ) -> Result<TornDown, EngineError> {
        self.quiesce().await;
        let state = self.loaded.as_ref().map_err(Clone::clone)?;
        let task = state.execution.task_id.clone();
        if let Some(closed) = &state.closure {
            let ended = closed.sessions.iter().find(|ended| ended.session == request.session);
            return match ended {
                Some(ended) if !closed.completeness.orphaned && ended.expires_ms > now_ms => {
                    Ok(TornDown { task, status: ended.answered })
                }
                _ => Err(EngineError::SessionNotFound),
            };
        }
        let heard_ms = state.last_heard_ms(request.session).ok_or(EngineError::SessionNotFound)?;
        if passed(heard_ms, self.deps.settings.session_lifetime, now_ms) {
            return Err(EngineError::SessionNotFound);
        }
        let completeness = state.completeness(request.delivery, false);
        let (status, quarantined) = if request.passed {
            (Status::Passed, self.quarantined().await?.1.into_iter().collect())
        } else {
            self.gate(&completeness, &request.summary).await?
        };
        let end = SessionEnd {
            session: request.session,
            status: if status == Status::Passed { SessionStatus::Completed } else { SessionStatus::Failed },
            summary: Some(request.summary),
            delivery: request.delivery,
            answered: status,
            expires_ms: now_ms.saturating_add(millis(self.deps.settings.session_archive)),
        };
        let Summary { total, passed, failed, .. } = request.summary;
        let closed = ClosedRun {
            org: self.org,
            execution: self.id,
            revision: 1,
            status,
            gated: status == Status::Passed && !request.passed,
            end_ms: now_ms,
            completeness,
            quarantined,
            item_status: if status == Status::Passed { ItemStatus::Passed } else { ItemStatus::Failed },
            cycle_summary: (total, passed, failed),
            sessions: vec![end],
            // Given when it is stored.
            feed_seq: 0,
        };
        self.close(closed).await?;
        Ok(TornDown { task, status })
    }

    /// Ends the run as orphaned if its time is over. Nobody waits for it; a failed store is tried by the next sweep.
    pub(super) async fn expire(&mut self, now_ms: UnixMs) {
        self.quiesce().await;
        let Ok(state) = &self.loaded else { return };
        let heard_ms = state.heard_ms();
        if state.closure.is_some() || !passed(heard_ms, self.deps.settings.session_lifetime, now_ms) {
            return;
        }
        let completeness = state.completeness(None, true);
        let session = state.execution.ingest.session;
        let announced = u64::from(state.execution.ingest.total_tests);
        let results = match self.current_results().await {
            Ok(results) => results,
            Err(error) => return tracing::warn!(execution.id = %self.id, %error, "orphan could not be read"),
        };
        let count =
            |wanted: fn(TestStatus) -> bool| results.iter().filter(|one| wanted(one.status)).count() as u64;
        let closed = ClosedRun {
            org: self.org,
            execution: self.id,
            revision: 1,
            status: Status::Cancelled,
            gated: false,
            end_ms: heard_ms,
            completeness,
            quarantined: Vec::new(),
            item_status: ItemStatus::Error,
            cycle_summary: (
                announced.max(results.len() as u64),
                count(|status| status == TestStatus::Passed),
                count(TestStatus::is_failure),
            ),
            sessions: vec![SessionEnd {
                session,
                status: SessionStatus::Failed,
                summary: None,
                delivery: None,
                answered: Status::Cancelled,
                expires_ms: now_ms.saturating_add(millis(self.deps.settings.session_archive)),
            }],
            // Given when it is stored.
            feed_seq: 0,
        };
        if let Err(error) = self.close(closed).await {
            tracing::warn!(execution.id = %self.id, %error, "orphan could not be closed");
        }
    }

    /// Closes the run anew after late events: its counters have changed, and a failing result that came late turns a
    /// run that the quality gate had let pass back to `FAILED`; never the reverse.
    pub(super) async fn close_again(&mut self) {
        self.late = false;
        let Ok(state) = &self.loaded else { return };
        let Some(previous) = state.closure.clone() else { return };
        let completeness = state.completeness(previous.completeness.delivery, previous.completeness.orphaned);
        let mut closed = ClosedRun { revision: previous.revision + 1, completeness, feed_seq: 0, ..previous };
        let summary = closed.sessions.first().and_then(|ended| ended.summary);
        if let (true, Some(summary)) = (closed.gated, summary) {
            match self.gate(&closed.completeness, &summary).await {
                Ok((Status::Failed, quarantined)) => {
                    closed.status = Status::Failed;
                    closed.gated = false;
                    closed.quarantined = quarantined;
                    closed.item_status = ItemStatus::Failed;
                    closed.sessions.iter_mut().for_each(|ended| ended.status = SessionStatus::Failed);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(execution.id = %self.id, %error, "late events could not be judged")
                }
            }
        }
        if let Err(error) = self.close(closed).await {
            tracing::warn!(execution.id = %self.id, %error, "late events are stored, the closure is not renewed");
        }
    }

    /// Folds the run and ends its time in memory.
    pub(super) async fn settle(&mut self) -> Result<(), EngineError> {
        // Refusals since the run was closed are counted by closing it once more.
        self.late |= self.loaded.as_ref().is_ok_and(|state| state.unsaved_refusals != Refusals::default());
        self.quiesce().await;
        let session = self.loaded.as_ref().map_err(Clone::clone)?.execution.ingest.session;
        self.deps.store.settle(self.org, self.id).await?;
        self.deps.directory.sessions.remove(&session);
        self.flight.advance(|progress| progress.settled = true);
        Ok(())
    }

    /// What arrived so far, or what had arrived when the run was closed.
    pub(super) fn completeness(&self) -> Result<Completeness, EngineError> {
        let state = self.loaded.as_ref().map_err(Clone::clone)?;
        Ok(match &state.closure {
            Some(closed) => state.completeness(closed.completeness.delivery, closed.completeness.orphaned),
            None => state.completeness(None, false),
        })
    }

    async fn close(&mut self, closed: ClosedRun) -> Result<(), EngineError> {
        let state = self.loaded.as_ref().map_err(Clone::clone)?;
        let mut execution = state.execution.clone();
        execution.status = closed.status;
        execution.end_ms = Some(closed.end_ms);
        execution.completeness = Some(closed.completeness.clone());
        let execution = Arc::new(execution);
        // Goes to its end even if this actor does not: a number of the feed hangs on it.
        let storing = tokio::spawn(store_closure(Arc::clone(&self.deps), Arc::clone(&execution), closed));
        let closed = storing.await.unwrap_or(Err(LOST_APPEND))?;
        let Ok(state) = &mut self.loaded else { return Ok(()) };
        state.execution = (*execution).clone();
        let first = closed.revision == 1;
        state.closure = Some(closed.clone());
        self.tell_progress();
        let finished = FinishedRun { execution, closed: Arc::new(closed) };
        if first {
            self.deps.finished(finished);
        }
        Ok(())
    }

    /// The effective status of a run that its reporter calls failed, and which of its tests are quarantined.
    async fn gate(
        &self,
        completeness: &Completeness,
        summary: &Summary,
    ) -> Result<(Status, Vec<String>), EngineError> {
        let (auto_quarantine, quarantined) = self.quarantined().await?;
        let evidence = Evidence { auto_quarantine, quarantined: &quarantined, counts: completeness, summary };
        // Without a quarantined test the gate stays shut whatever failed, and nothing needs to be read.
        let results = if quarantined.is_empty() { Vec::new() } else { self.current_results().await? };
        let failing = results.iter().filter(|result| result.status.is_failure());
        let status = gate::effective_status(false, evidence, failing.map(|result| result.test_id.as_str()));
        Ok((status, quarantined.into_iter().collect()))
    }

    /// Whether the project lets quarantined failures pass, and the tests quarantined in the run's group.
    async fn quarantined(&self) -> Result<(bool, HashSet<String>), EngineError> {
        let state = self.loaded.as_ref().map_err(Clone::clone)?;
        let execution = &state.execution;
        let project = self.deps.store.project(self.org, execution.project).await?;
        let group = execution.group_name.as_deref().unwrap_or(NO_GROUP);
        let tests = self.deps.store.quarantined_tests(self.org, execution.project, group).await?;
        Ok((project.is_some_and(|project| project.auto_quarantine), tests))
    }

    /// The results so far, one entry per test.
    async fn current_results(&self) -> Result<Vec<TestResult>, EngineError> {
        let mut latest = HashMap::new();
        let mut after = 0;
        loop {
            let page = self.deps.store.results(self.org, self.id, after, limits::RESULTS_PAGE).await?;
            let Some(last) = page.last() else { return Ok(latest.into_values().collect()) };
            after = last.seq;
            latest.extend(page.into_iter().map(|result| (result.test_id.clone(), result)));
        }
    }
}

/// Makes a closure durable and tells viewers.
async fn store_closure(
    deps: Arc<Deps>,
    execution: Arc<Execution>,
    mut closed: ClosedRun,
) -> Result<ClosedRun, EngineError> {
    let feed = deps.feed(closed.org);
    let ticket = feed.reserve().await?;
    closed.feed_seq = ticket.seq();
    match deps.store.close_run(closed.clone()).await {
        Ok(true) => {
            let body =
                if feed.has_viewers() { Some(final_update(&deps, &execution, &closed).await) } else { None };
            let at = (closed.completeness.log_units, closed.completeness.log_bytes);
            let task = execution.task_id.clone();
            ticket.durable(Told { execution: execution.id, task, at, body });
        }
        // It was closed before by a call whose outcome did not become known.
        Ok(false) => ticket.void(),
        Err(error) => {
            ticket.failed(&error);
            return Err(error.into());
        }
    }
    Ok(closed)
}

async fn final_update(deps: &Deps, execution: &Execution, closed: &ClosedRun) -> String {
    let few = closed.completeness.results <= limits::UPDATE_RESULTS_MAX;
    let results = match few {
        true => deps.store.all_results(closed.org, closed.execution).await.ok(),
        false => None,
    };
    update::closed(execution, closed, results)
}

/// The group of runs that have none.
const NO_GROUP: &str = "external-ci";
