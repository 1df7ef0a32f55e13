//! A store that now and then does not say what it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::store::contract::{StoreError, StoreResult};

/// Of the changes of runs, every few fail: some before they are made and some after.
pub(super) struct Lossy<S: ?Sized> {
    inner: Arc<S>,
    changes: AtomicU32,
}

impl<S: ?Sized> Lossy<S> {
    pub(super) fn new(inner: Arc<S>) -> Self {
        Self { inner, changes: AtomicU32::new(0) }
    }

    fn inner(&self) -> &S {
        &self.inner
    }

    async fn around<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let lost = || Err(StoreError::Unavailable("nobody knows".into()));
        if !matches!(method, "append" | "open_run" | "close_run" | "abandon_run") {
            return call.await;
        }
        match self.changes.fetch_add(1, Ordering::AcqRel) % 7 {
            3 => lost(),
            5 => {
                call.await?;
                lost()
            }
            _ => call.await,
        }
    }
}

crate::decorate_store!(Lossy);
