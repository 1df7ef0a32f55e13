//! One session of the library, from its first request on. It lives in that request's extensions, so it is gone when
//! the library forgets the session.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use socketioxide::socket::Sid;
use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::bell::{self, Bell};
use super::edge::Owner;
use super::entry::Entry;
use super::scissors::Scissors;
use super::viewers::Viewer;
use super::wire::Wire;
use crate::domain::id::OrgId;

/// See the module.
pub(super) struct Session {
    /// Cuts the connection of a session that began as a WebSocket.
    pub(super) scissors: Arc<Scissors>,
    pub(super) membership: Mutex<Membership>,
    /// What the token and the cursor of its CONNECT came to, until that is acted upon.
    entry: Mutex<Option<Entry>>,
    pid: Mutex<Option<String>>,
    viewer: OnceLock<Weak<Viewer>>,
    /// The query of the last poll that was answered.
    polled: Mutex<Option<String>>,
    listed: OnceLock<(Sid, Weak<Shared>)>,
}

/// Whether it is among the viewers.
pub(super) enum Membership {
    /// Not known who it is; counts against the handshakes.
    Stranger(#[expect(dead_code, reason = "held, and given back by letting go")] OwnedSemaphorePermit),
    Member(OrgId),
    Gone,
}

impl Session {
    pub(super) fn new(handshake: OwnedSemaphorePermit) -> Self {
        Self {
            scissors: Arc::default(),
            membership: Mutex::new(Membership::Stranger(handshake)),
            entry: Mutex::default(),
            pid: Mutex::default(),
            viewer: OnceLock::new(),
            polled: Mutex::default(),
            listed: OnceLock::new(),
        }
    }

    /// Makes a polling session findable by its id, which its answer to the first poll has told: an upgrade can come
    /// before the CONNECT.
    pub(super) fn list(self: &Arc<Self>, sid: Sid, shared: &Arc<Shared>) {
        shared.polling.insert(sid, Arc::downgrade(self));
        // Once per session: there is one first poll.
        let _first = self.listed.set((sid, Arc::downgrade(shared))).is_ok();
    }

    /// Decides what the CONNECT answer will say.
    pub(super) fn enter(&self, entry: Entry) {
        *self.pid.lock().unwrap_or_else(PoisonError::into_inner) = entry.pid.map(|pid| pid.to_string());
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }

    /// What [`Session::enter`] was told; once.
    pub(super) fn take_entry(&self) -> Option<Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The `pid` of its CONNECT answer.
    pub(super) fn pid(&self) -> Option<String> {
        self.pid.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its viewer, once it was let in.
    pub(super) fn viewer(&self) -> Option<Arc<Viewer>> {
        self.viewer.get()?.upgrade()
    }

    pub(super) fn set_viewer(&self, viewer: &Arc<Viewer>) {
        // Once: it is let in under the lock of its membership.
        let _first = self.viewer.set(Arc::downgrade(viewer)).is_ok();
    }

    /// Whether this poll is a repetition of the last one that was answered. Clients mark each poll with a stamp; a
    /// browser that lost the answer with its connection may ask again by itself, and what was lost is not known here.
    pub(super) fn repeats(&self, query: &str) -> bool {
        let stamped = query.split('&').any(|pair| pair.starts_with("t="));
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        stamped && polled.replace(query.to_owned()).is_some_and(|last| last == query)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((sid, shared)) = self.listed.take()
            && let Some(shared) = shared.upgrade()
        {
            shared.polling.remove(&sid);
        }
    }
}

/// A session as the owner of its upgraded connection.
pub(super) struct Connection {
    pub(super) session: Arc<Session>,
    /// Of a session that upgrades from polling: how the library is told to look at it, and what to do at the end.
    pub(super) upgrade: Option<(Sid, Weak<Shared>)>,
    pub(super) goodbye: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(goodbye) = self.goodbye.take() {
            goodbye();
        }
    }
}

impl Owner for Connection {
    fn pid(&self) -> Option<String> {
        self.session.pid()
    }

    fn probed(&self) {
        // It comes out when the upgrade is complete, since nobody polls any more. A session that is not let in yet
        // has its welcome to come.
        let Some((sid, shared)) = &self.upgrade else { return };
        let socket = shared.upgrade().and_then(|shared| shared.io.get_socket(*sid));
        if let Some(socket) = socket
            && let Err(error) = socket.emit(bell::NAME, &Bell::Look)
        {
            tracing::debug!(%error, "no bell for an upgrade");
        }
    }

    fn heard(&self, bell: Bell, wire: &Arc<Wire>) {
        if let Some(viewer) = self.session.viewer() {
            viewer.act(viewer.seat.heard_on(bell, wire));
        }
    }

    fn gone(&self, wire: &Arc<Wire>) {
        if let Some(viewer) = self.session.viewer() {
            viewer.seat.detach(wire);
        }
    }
}
