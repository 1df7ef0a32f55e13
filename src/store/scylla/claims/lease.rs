//! The lease of this node: heartbeats while it holds, a new life when it has lapsed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use uuid::Uuid;

use super::nodes::Nodes;
use super::term::{Term, lapsed};
use crate::clock::Uptime;
use crate::limits;
use crate::store::contract::StoreResult;

/// How a lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// After the start of a heartbeat that succeeded a node may acknowledge for this long.
    pub lease: Duration,
    /// A node that has shown the same heartbeat for this long, by the clock of whoever looks, is dead. Safe while the
    /// clocks' rates differ by less than this to `lease`.
    pub dead_after: Duration,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self { heartbeat: limits::HEARTBEAT, lease: limits::LEASE, dead_after: limits::DEAD_AFTER }
    }
}

/// The lease of this node.
pub(in crate::store::scylla) struct Lease {
    nodes: Arc<Nodes>,
    current: watch::Sender<Arc<Term>>,
    beating: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Lease {
    /// Registers this process and keeps its lease until it is dropped or let go.
    pub(in crate::store::scylla) async fn start(
        nodes: Arc<Nodes>,
        settings: LeaseSettings,
        uptime: Arc<dyn Uptime>,
    ) -> StoreResult<Arc<Self>> {
        let term = new_term(&nodes, settings, &uptime).await?;
        let current = watch::Sender::new(Arc::new(term));
        let beating = Beating { nodes: Arc::clone(&nodes), settings, uptime, current: current.clone() };
        let beating = std::sync::Mutex::new(Some(tokio::spawn(beating.run())));
        Ok(Arc::new(Self { nodes, current, beating }))
    }

    /// The life this node has now, which may acknowledge.
    ///
    /// # Errors
    /// `Unavailable` while it has none.
    pub(in crate::store::scylla) fn term(&self) -> StoreResult<Arc<Term>> {
        let term = Arc::clone(&self.current.borrow());
        if term.is_fresh() { Ok(term) } else { Err(lapsed()) }
    }

    /// Sees each new life.
    pub(in crate::store::scylla) fn terms(&self) -> watch::Receiver<Arc<Term>> {
        self.current.subscribe()
    }

    /// Ends the heartbeats and says so, so that nobody has to wait for this node's silence.
    pub(in crate::store::scylla) async fn let_go(&self) -> StoreResult<()> {
        self.stop();
        let term = Arc::clone(&self.current.borrow());
        term.end();
        self.nodes.fence_own(term.incarnation).await
    }

    fn stop(&self) {
        let beating = self.beating.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(beating) = beating {
            beating.abort();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn new_term(nodes: &Nodes, settings: LeaseSettings, uptime: &Arc<dyn Uptime>) -> StoreResult<Term> {
    let incarnation = Uuid::new_v4();
    let began = uptime.since_boot();
    nodes.register(incarnation).await?;
    Ok(Term::new(incarnation, began, settings.lease, Arc::clone(uptime)))
}

/// Keeps the lease.
struct Beating {
    nodes: Arc<Nodes>,
    settings: LeaseSettings,
    uptime: Arc<dyn Uptime>,
    current: watch::Sender<Arc<Term>>,
}

impl Beating {
    async fn run(self) {
        loop {
            let term = Arc::clone(&self.current.borrow());
            self.keep(&term).await;
            term.end();
            tracing::warn!(node = %term.incarnation, "the lease has lapsed");
            let renewed = loop {
                match new_term(&self.nodes, self.settings, &self.uptime).await {
                    Ok(renewed) => break renewed,
                    Err(error) => tracing::warn!(%error, "the node cannot come back yet"),
                }
                tokio::time::sleep(self.settings.heartbeat).await;
            };
            // Its end need not be waited for. If this fails, others find out by its silence.
            if let Err(error) = self.nodes.fence_own(term.incarnation).await {
                tracing::warn!(%error, "the end of a lease could not be told");
            }
            tracing::info!(node = %renewed.incarnation, "the node is back");
            self.current.send_replace(Arc::new(renewed));
        }
    }

    /// Returns when the lease has lapsed.
    ///
    /// Heartbeats do not wait for each other: one that a node of the cluster keeps costs the lease only if all those after
    /// it fail too. Each has a number of its own and is sent once: the row never shows the same number again after
    /// another one, in whatever order they are applied, so that one that is applied late is not taken for another.
    async fn keep(&self, term: &Term) {
        let mut number = 0;
        let mut under_way = FuturesUnordered::new();
        let mut next = Box::pin(tokio::time::sleep(self.settings.heartbeat));
        loop {
            tokio::select! {
                () = &mut next => {
                    if !term.is_fresh() {
                        return;
                    }
                    next = Box::pin(tokio::time::sleep(self.settings.heartbeat));
                    number += 1;
                    under_way.push(self.beat(term, number));
                }
                Some((began, outcome)) = under_way.next() => match outcome {
                    Ok(Ok(true)) if term.is_fresh() => term.renew(began),
                    Ok(Ok(_)) => return,
                    Ok(Err(error)) => tracing::debug!(%error, "a heartbeat failed"),
                    Err(_) => tracing::debug!("a heartbeat took too long"),
                },
            }
        }
    }

    /// One heartbeat, and when it began.
    async fn beat(&self, term: &Term, number: i64) -> (Duration, Result<StoreResult<bool>, Elapsed>) {
        let began = self.uptime.since_boot();
        let beating = self.nodes.beat(term.incarnation, number);
        (began, tokio::time::timeout(self.settings.lease, beating).await)
    }
}
