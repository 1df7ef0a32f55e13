//! A store that cannot say how much of its plan an organization has used: nobody passes a limit that was not looked at.

use std::sync::{Arc, Mutex};

use super::harness::Rig;
use crate::actors::{EngineError, EngineSettings};
use crate::domain::plan::Plan;
use crate::store::contract::{Store, StoreError, StoreResult};

/// A store one of whose methods may fail.
struct Unsure<S: ?Sized> {
    inner: Arc<S>,
    failing: Arc<Mutex<Option<&'static str>>>,
}

impl<S: ?Sized> Unsure<S> {
    fn inner(&self) -> &S {
        &self.inner
    }

    async fn around<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let failing = *self.failing.lock().unwrap();
        if failing == Some(method) {
            return Err(StoreError::Unavailable("nobody knows".into()));
        }
        call.await
    }
}

crate::decorate_store!(Unsure);

#[tokio::test]
async fn a_limit_that_cannot_be_looked_at_is_no_pass() {
    let failing = Arc::new(Mutex::new(None));
    let unsure = |inner: Arc<dyn Store>| -> Arc<dyn Store> {
        Arc::new(Unsure { inner, failing: Arc::clone(&failing) })
    };
    let rig = Rig::over(EngineSettings { plan: Plan::Free, ..EngineSettings::default() }, unsure).await;
    for method in ["storage_used", "count_runs", "take_run_place"] {
        *failing.lock().unwrap() = Some(method);
        let refused = rig.engine.set_up(rig.org, rig.user, rig.setup()).await;
        assert_eq!(refused.unwrap_err(), EngineError::Busy { retry_after_s: 2 }, "{method}");
    }
    *failing.lock().unwrap() = None;
    assert_eq!(rig.store.count_runs(rig.org, 0, i64::MAX).await, Ok(0), "none was opened");
    // Nor did what was refused take a place.
    for _ in 0..50 {
        rig.open().await;
    }
    assert_eq!(rig.store.count_runs(rig.org, 0, i64::MAX).await, Ok(50));
}
