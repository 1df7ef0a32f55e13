//! The rows of nodes: registering, beating, letting go, and finding out whether another one is dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use uuid::Uuid;

use super::lease::LeaseSettings;
use crate::clock::Uptime;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::scylla::Cql;
use crate::store::scylla::statement::{Prepared, Purpose, Spec};

/// What is known of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It is fenced, for ever.
    Dead,
    /// It had this heartbeat, first seen then; and it was seen to change last then.
    Beating { heartbeat: i64, since: Duration, changed: Option<Duration> },
}

/// The rows of nodes.
pub(in crate::store::scylla) struct Nodes {
    cql: Arc<Cql>,
    settings: LeaseSettings,
    uptime: Arc<dyn Uptime>,
    register: Prepared,
    beat: Prepared,
    fence: Prepared,
    fence_own: Prepared,
    look: Prepared,
    seen: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<Option<Seen>>>>>,
}

impl Nodes {
    pub(in crate::store::scylla) async fn prepare(
        cql: Arc<Cql>,
        settings: LeaseSettings,
        uptime: Arc<dyn Uptime>,
    ) -> StoreResult<Self> {
        let conditional = |text| Spec { text, purpose: Purpose::Conditional };
        let register = cql.prepare(conditional(
            "INSERT INTO node (incarnation, heartbeat, is_fenced) VALUES (?, 0, false) IF NOT EXISTS",
        ));
        let beat = cql
            .prepare(conditional("UPDATE node SET heartbeat = ? WHERE incarnation = ? IF is_fenced = false"));
        let fence = cql
            .prepare(conditional("UPDATE node SET is_fenced = true WHERE incarnation = ? IF heartbeat = ?"));
        let fence_own = cql.prepare(conditional(
            "UPDATE node SET is_fenced = true WHERE incarnation = ? IF is_fenced = false",
        ));
        let look = cql.prepare(Spec {
            text: "SELECT heartbeat, is_fenced FROM node WHERE incarnation = ?",
            purpose: Purpose::SerialRead,
        });
        let (register, beat, fence, fence_own, look) =
            tokio::try_join!(register, beat, fence, fence_own, look)?;
        let seen = Mutex::default();
        Ok(Self { cql, settings, uptime, register, beat, fence, fence_own, look, seen })
    }

    /// Registers a new life.
    pub(super) async fn register(&self, incarnation: Uuid) -> StoreResult<()> {
        match self.cql.applied(&self.register, (incarnation,)).await {
            Ok(true) => Ok(()),
            // Nobody else has this name: an answer before was lost.
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One heartbeat; `false` if the node is fenced.
    pub(super) async fn beat(&self, incarnation: Uuid, number: i64) -> StoreResult<bool> {
        self.cql.applied(&self.beat, (number, incarnation)).await
    }

    /// Says that a life of this process is over.
    pub(super) async fn fence_own(&self, incarnation: Uuid) -> StoreResult<()> {
        self.cql.applied(&self.fence_own, (incarnation,)).await.map(drop)
    }

    /// Whether a node is dead; fences it if it has shown the same heartbeat for long enough. Takes that long for one that
    /// is, and about two heartbeats for one that is not, unless that was found out shortly before.
    pub(in crate::store::scylla) async fn is_dead(&self, incarnation: Uuid) -> StoreResult<bool> {
        let known = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(seen.entry(incarnation).or_default())
        };
        // One looks, the others wait for what it sees.
        let mut known = known.lock().await;
        loop {
            let now = self.uptime.since_boot();
            match *known {
                Some(Seen::Dead) => return Ok(true),
                Some(Seen::Beating { changed: Some(changed), .. })
                    if now.saturating_sub(changed) < self.settings.heartbeat * 2 =>
                {
                    return Ok(false);
                }
                _ => {}
            }
            let row: Option<(Option<i64>, Option<bool>)> = self.cql.first(&self.look, (incarnation,)).await?;
            let heartbeat = match row {
                Some((Some(heartbeat), Some(false))) => heartbeat,
                _ => {
                    *known = Some(Seen::Dead);
                    continue;
                }
            };
            // The moment after the look: what is seen was so at that moment or before.
            let now = self.uptime.since_boot();
            *known = Some(match *known {
                Some(Seen::Beating { heartbeat: before, since, .. }) if before == heartbeat => {
                    if now.saturating_sub(since) >= self.settings.dead_after
                        && self.cql.applied(&self.fence, (incarnation, heartbeat)).await?
                    {
                        tracing::warn!(node = %incarnation, "a node that was silent is declared dead");
                        *known = Some(Seen::Dead);
                        continue;
                    }
                    Seen::Beating { heartbeat, since, changed: None }
                }
                Some(Seen::Beating { .. }) => Seen::Beating { heartbeat, since: now, changed: Some(now) },
                _ => Seen::Beating { heartbeat, since: now, changed: None },
            });
            if !matches!(*known, Some(Seen::Beating { changed: Some(_), .. })) {
                tokio::time::sleep(self.settings.heartbeat / 2).await;
            }
        }
    }

    /// The nodes that are alive. Takes `dead_after` if one has died without saying so.
    pub(in crate::store::scylla) async fn living(&self) -> StoreResult<Vec<Uuid>> {
        let all = self
            .cql
            .prepare(Spec { text: "SELECT incarnation, is_fenced FROM node", purpose: Purpose::Read });
        let rows: Vec<(Uuid, Option<bool>)> = self.cql.first_rows(&all.await?, (), usize::MAX).await?;
        let unfenced = rows.into_iter().filter(|(_, is_fenced)| *is_fenced == Some(false));
        let judged = unfenced.map(|(incarnation, _)| async move {
            Ok::<_, StoreError>((incarnation, self.is_dead(incarnation).await?))
        });
        let judged = try_join_all(judged).await?.into_iter();
        Ok(judged.filter(|(_, is_dead)| !is_dead).map(|(incarnation, _)| incarnation).collect())
    }

    /// What an owner's claim that may not be taken over is answered.
    pub(in crate::store::scylla) fn owned_elsewhere(incarnation: Uuid) -> StoreError {
        StoreError::Unavailable(format!("node {incarnation} has it"))
    }
}
