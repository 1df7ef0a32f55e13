//! What handlers work with: everything is handed in by the composition root.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::executions::LiveStreams;
use super::system::health::Health;
use crate::access::{Access, Passwords, Secret};
use crate::actors::Engine;
use crate::clock::{Clock, UnixMs};
use crate::dial::Resolve;
use crate::domain::plan::Plan;
use crate::domain::seal::Sealer;
use crate::jobs::mail::Mail;
use crate::jobs::watch::UsageWatch;
use crate::store::contract::Store;

/// What an operator may set of this door.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The plan of every organization of this deployment.
    pub plan: Plan,
    /// What a monitor presents at `/api/system/monitor-status`; without one nobody gets in there.
    pub monitor_secret: Option<Secret>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self { plan: Plan::Enterprise, monitor_secret: None }
    }
}

/// What the composition root hands in.
pub struct Parts {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is alive.
    pub engine: Engine,
    /// Who calls.
    pub access: Access,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Where names lead.
    pub resolver: Arc<dyn Resolve>,
    /// Seals secrets before they are stored.
    pub sealer: Sealer,
    /// Writes letters, and says whether they were sent.
    pub mail: Mail,
    /// Is told of what is made and limited by a plan.
    pub usage: UsageWatch,
    /// This door's settings.
    pub settings: ApiSettings,
    /// Renders `/metrics`.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// The API document over all doors, as [`super::document::render`] writes it.
    pub document: Bytes,
}

/// The state of every handler. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// [`Parts`] and what this door keeps for itself. Handlers see it through the [`App`].
pub struct Inner {
    parts: Parts,
    /// When this door was opened; Unix milliseconds.
    pub(super) opened_ms: UnixMs,
    pub(super) health: Health,
    /// Open live streams.
    pub(super) streams: LiveStreams,
}

impl App {
    /// The state made of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let opened_ms = parts.clock.now_ms();
        let health = Health::new(Arc::clone(&parts.store), parts.engine.clone(), Arc::clone(&parts.clock));
        Self(Arc::new(Inner { parts, opened_ms, health, streams: LiveStreams::default() }))
    }

    /// Ends the answers that would go on by themselves, the live streams; for a server that is about to end. Their
    /// clients come back with their last id.
    pub fn end_streams(&self) {
        self.streams.close();
    }

    /// The present moment; Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> UnixMs {
        self.clock.now_ms()
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
