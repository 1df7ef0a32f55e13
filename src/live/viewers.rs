//! Who is watching. A session is in its organization's room exactly while its membership says so, whatever order
//! connecting, joining and leaving happen in.

use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use socketioxide::extract::SocketRef;
use socketioxide::socket::Sid;
use tokio::sync::OwnedSemaphorePermit;

use super::edge::Scissors;
use crate::access::Caller;
use crate::domain::id::OrgId;

/// One session of the library, from its first request on; lives in that request's extensions.
pub(super) struct Session {
    /// Cuts the connection of a session that began as a WebSocket.
    pub(super) scissors: Arc<Scissors>,
    membership: Mutex<Membership>,
}

enum Membership {
    /// Not known who it is; counts against the handshakes.
    Stranger(#[expect(dead_code, reason = "held, and given back by letting go")] OwnedSemaphorePermit),
    Member(OrgId),
    Gone,
}

/// A socket in its organization's room.
pub(super) struct Viewer {
    pub(super) socket: SocketRef,
    pub(super) caller: Caller,
    pub(super) session: Arc<Session>,
}

/// Why a socket was not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// Its organization has as many viewers as it may have.
    Full,
    /// It left while its token was checked.
    Gone,
}

/// Everybody who is watching.
pub(super) struct Viewers {
    by_socket: DashMap<Sid, Arc<Viewer>>,
    per_organization: DashMap<OrgId, usize>,
    per_organization_max: usize,
}

/// The room of an organization.
pub(super) fn room(org: OrgId) -> String {
    format!("org:{org}")
}

impl Session {
    pub(super) fn new(handshake: OwnedSemaphorePermit) -> Self {
        Self { scissors: Arc::default(), membership: Mutex::new(Membership::Stranger(handshake)) }
    }
}

impl Viewers {
    pub(super) fn new(per_organization_max: usize) -> Self {
        Self { by_socket: DashMap::new(), per_organization: DashMap::new(), per_organization_max }
    }

    /// Lets a socket into its organization's room, unless it has left already.
    pub(super) fn admit(
        &self,
        socket: &SocketRef,
        session: &Arc<Session>,
        caller: Caller,
    ) -> Result<(), NotAdmitted> {
        let org = caller.org;
        let mut membership = session.membership.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*membership, Membership::Stranger(_)) {
            return Err(NotAdmitted::Gone);
        }
        {
            let mut watching = self.per_organization.entry(org).or_default();
            if *watching >= self.per_organization_max {
                return Err(NotAdmitted::Full);
            }
            *watching += 1;
        }
        socket.join(room(org));
        let viewer = Viewer { socket: socket.clone(), caller, session: session.clone() };
        self.by_socket.insert(socket.id, Arc::new(viewer));
        *membership = Membership::Member(org);
        Ok(())
    }

    /// Notes that a socket has left, and takes it out of its room.
    pub(super) fn leave(&self, sid: Sid, session: &Session) {
        let mut membership = session.membership.lock().unwrap_or_else(PoisonError::into_inner);
        if let Membership::Member(org) = std::mem::replace(&mut *membership, Membership::Gone) {
            if let Some((_, viewer)) = self.by_socket.remove(&sid) {
                viewer.socket.leave_all();
            }
            if let Some(mut watching) = self.per_organization.get_mut(&org) {
                *watching = watching.saturating_sub(1);
            }
            self.per_organization.remove_if(&org, |_, watching| *watching == 0);
        }
    }

    /// How many sockets of the organization are watching.
    pub(super) fn watching(&self, org: OrgId) -> usize {
        self.per_organization.get(&org).map_or(0, |watching| *watching)
    }

    pub(super) fn len(&self) -> usize {
        self.by_socket.len()
    }

    /// All of them, as they are now.
    pub(super) fn all(&self) -> Vec<Arc<Viewer>> {
        self.by_socket.iter().map(|entry| entry.value().clone()).collect()
    }
}
