//! Whether the server can do its work: real round trips to the store, the counters and the actors, each bounded in
//! time. Probing costs a sync, so callers within a moment share an outcome, and a probe that hangs is asked after again
//! instead of being started anew.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::Mutex;

use crate::actors::Engine;
use crate::actors::bucket::Quota;
use crate::clock::{Clock, UnixMs};
use crate::limits::{PROBE_CACHE, PROBE_TIMEOUT};
use crate::store::contract::{RunState, Store};

/// The outcome of the probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Report {
    pub(super) store: bool,
    pub(super) counters: bool,
    pub(super) actors: bool,
    /// Finished runs that wait to be folded; 0 if the store cannot tell.
    pub(super) queued: usize,
}

impl Report {
    pub(super) const fn is_well(self) -> bool {
        self.store && self.counters && self.actors
    }
}

type Probe<T> = Shared<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Probes on demand.
pub(in crate::api) struct Health {
    store: Arc<dyn Store>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<(UnixMs, Report)>,
    /// A probe of the store that has not come back yet.
    pending: Option<Probe<Option<usize>>>,
}

impl Health {
    pub(in crate::api) fn new(store: Arc<dyn Store>, engine: Engine, clock: Arc<dyn Clock>) -> Self {
        Self { store, engine, clock, timeout: PROBE_TIMEOUT, state: Mutex::default() }
    }

    /// How the server is, at most [`PROBE_CACHE`] ago.
    pub(super) async fn report(&self) -> Report {
        // Whoever comes while probes are under way waits for their outcome here.
        let mut state = self.state.lock().await;
        let now_ms = self.clock.now_ms();
        let fresh_ms = 0..i64::try_from(PROBE_CACHE.as_millis()).unwrap_or(0);
        if let Some((probed_ms, report)) = state.last
            && fresh_ms.contains(&now_ms.saturating_sub(probed_ms))
        {
            return report;
        }
        let pending = state.pending.take().unwrap_or_else(|| self.probe_store());
        let in_time = |probe: Probe<Option<usize>>| async move {
            tokio::time::timeout(self.timeout, probe.clone()).await.map_err(|_| probe)
        };
        let actors =
            async { matches!(tokio::time::timeout(self.timeout, self.engine.probe()).await, Ok(Ok(()))) };
        let (store, actors) = tokio::join!(in_time(pending), actors);
        let queued = match store {
            Ok(queued) => queued,
            Err(still_pending) => {
                state.pending = Some(still_pending);
                None
            }
        };
        let report = Report {
            store: queued.is_some(),
            counters: self.counters_count(now_ms),
            actors,
            queued: queued.unwrap_or(0),
        };
        state.last = Some((self.clock.now_ms(), report));
        report
    }

    /// A write and a read of the store, and how many finished runs it has yet to fold; `None` if it fails.
    fn probe_store(&self) -> Probe<Option<usize>> {
        let store = Arc::clone(&self.store);
        let probe = async move {
            let probed = async {
                store.probe().await?;
                store.unsettled_runs().await
            };
            match probed.await {
                Ok(runs) => Some(runs.iter().filter(|run| run.state == RunState::Closed).count()),
                Err(error) => {
                    tracing::warn!(%error, "the store is not healthy");
                    None
                }
            }
        };
        probe.boxed().shared()
    }

    /// The counters are a table in memory: they work if they take a count.
    fn counters_count(&self, now_ms: UnixMs) -> bool {
        let quota = Quota { capacity: Quota::CAPACITY_MAX, window_ms: 1 };
        self.engine.public_buckets().take("health", IpAddr::V4(Ipv4Addr::UNSPECIFIED), quota, now_ms).admitted
    }
}
