//! A store whose calls are timed: `runstream_store_seconds`, by method and outcome.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use metrics::Histogram;

use super::contract::{StoreError, StoreResult};
use crate::telemetry::name::STORE_SECONDS;

/// Times every call of the store within.
pub struct Observed<S: ?Sized> {
    /// By method and outcome: looking a histogram up by its labels costs more than recording into it.
    histograms: RwLock<HashMap<(&'static str, &'static str), Histogram>>,
    /// That of appends that went well, which are far more than all others.
    appended: OnceLock<Histogram>,
    inner: Arc<S>,
}

impl<S: ?Sized> Observed<S> {
    /// Times the calls of `inner`.
    pub fn new(inner: Arc<S>) -> Self {
        Self { histograms: RwLock::default(), appended: OnceLock::new(), inner }
    }

    fn inner(&self) -> &S {
        &self.inner
    }

    async fn around<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let started = Instant::now();
        let answer = call.await;
        self.record(method, &answer, started);
        answer
    }

    fn record<T>(&self, method: &'static str, answer: &StoreResult<T>, started: Instant) {
        let outcome = answer.as_ref().map_or_else(outcome_of, |_| "ok");
        self.histogram(method, outcome).record(started.elapsed().as_secs_f64());
    }

    fn histogram(&self, method: &'static str, outcome: &'static str) -> Histogram {
        let known = self.histograms.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&(method, outcome)) {
            return known.clone();
        }
        drop(known);
        let new = metrics::histogram!(STORE_SECONDS, "method" => method, "outcome" => outcome);
        let mut known = self.histograms.write().unwrap_or_else(PoisonError::into_inner);
        known.insert((method, outcome), new.clone());
        new
    }
}

fn outcome_of(error: &StoreError) -> &'static str {
    match error {
        StoreError::Conflict(_) => "conflict",
        StoreError::Full(_) => "full",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Damaged(_) => "damaged",
    }
}

crate::decorate_store!(Observed, {
    fn submit(self: Arc<Self>, segment: Arc<Segment>, done: Submitted) {
        let (started, inner) = (Instant::now(), Arc::clone(&self.inner));
        inner.submit(
            segment,
            Box::new(move |answer| {
                match &answer {
                    Ok(()) => self
                        .appended
                        .get_or_init(|| self.histogram("append", "ok"))
                        .record(started.elapsed().as_secs_f64()),
                    Err(_) => self.record("append", &answer, started),
                }
                done(answer);
            }),
        );
    }
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Organization;
    use crate::domain::id::{AuditId, OrgId, ProjectId, UserId};
    use crate::domain::project::Project;
    use crate::fs::OsFs;
    use crate::store::contract::{Accounts as _, Conflict, Projects as _};
    use crate::store::lsm::{LsmSettings, LsmStore};
    use crate::telemetry;

    #[tokio::test]
    async fn calls_are_counted_by_method_and_outcome() {
        telemetry::start_metrics();
        let data = tempfile::tempdir().unwrap();
        let inner = LsmStore::open(LsmSettings::at(data.path()), Arc::new(OsFs)).await.unwrap();
        let store = Observed::new(Arc::new(inner));
        let org = OrgId::generate(1);
        assert_eq!(store.organization(org).await, Ok(None::<Organization>));
        let project = Project {
            id: ProjectId::generate(1),
            org,
            name: "Web Shop".into(),
            slug: "web-shop".into(),
            auto_quarantine: false,
            created_ms: 1,
            updated_ms: 1,
        };
        let audit = crate::domain::account::AuditEntry {
            id: AuditId::generate(1),
            org,
            user: UserId::generate(1),
            action: "project.created".into(),
            target_type: "project".into(),
            target_id: project.id.to_string(),
            details: "{}".into(),
            ip: String::new(),
            timestamp_ms: 1,
        };
        let refused = store.create_project(project, 0, audit).await;
        assert_eq!(refused, Err(StoreError::Conflict(Conflict::ProjectLimit)));
        let text = telemetry::render();
        for labels in
            [r#"method="organization",outcome="ok""#, r#"method="create_project",outcome="conflict""#]
        {
            let line = format!("runstream_store_seconds_count{{{labels}}} ");
            assert!(text.contains(&line), "{line}: {text}");
        }
    }
}
