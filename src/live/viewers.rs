//! Who is watching. A session is in its organization's audience exactly while its membership says so, whatever order
//! connecting, joining and leaving happen in.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use socketioxide::extract::SocketRef;
use socketioxide::socket::Sid;

use super::bell::{self, Bell};
use super::cursor::Cursor;
use super::delivery::Counters;
use super::encoding::Encoded;
use super::pump;
use super::seat::{Due, Seat};
use super::session::{Membership, Session};
use super::windows::Windows;
use crate::access::Caller;
use crate::actors::feed::{FeedError, Feeds};
use crate::domain::id::OrgId;

/// Where feeds are read, and what went out. Set once, after the engine has started.
#[derive(Default)]
pub(super) struct Source {
    feeds: OnceLock<Weak<dyn Feeds>>,
    pub(super) counters: Counters,
}

impl Source {
    pub(super) fn attach(&self, feeds: &Arc<dyn Feeds>) {
        if self.feeds.set(Arc::downgrade(feeds)).is_err() {
            tracing::error!("the live channel has its feeds already");
        }
    }

    /// # Errors
    /// `Unavailable` while there are none.
    pub(super) fn feeds(&self) -> Result<Arc<dyn Feeds>, FeedError> {
        let feeds = self.feeds.get().and_then(Weak::upgrade);
        feeds.ok_or_else(|| FeedError::Unavailable("the engine is not running".to_owned()))
    }
}

/// The viewers of one organization, and what they share.
pub(super) struct Audience {
    org: OrgId,
    source: Arc<Source>,
    windows: Arc<Windows>,
    members: RwLock<HashMap<Sid, Arc<Viewer>>>,
}

impl Audience {
    fn new(org: OrgId, source: Arc<Source>, windows: Arc<Windows>) -> Self {
        Self { org, source, windows, members: RwLock::default() }
    }

    fn members(&self) -> RwLockReadGuard<'_, HashMap<Sid, Arc<Viewer>>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The window that somebody at `cursor` needs next.
    ///
    /// # Errors
    /// Those of [`Feeds::window`].
    pub(super) async fn next(&self, cursor: &Cursor) -> Result<Option<Arc<Encoded>>, FeedError> {
        let feeds = self.source.feeds()?;
        self.windows.next(&*feeds, self.org, cursor).await
    }

    /// Notes that frames went out.
    pub(super) fn count(&self, frames: u64) {
        self.source.counters.count(frames);
    }

    /// Does with each viewer what `look` finds due.
    pub(super) fn for_each(&self, mut look: impl FnMut(&Arc<Viewer>) -> Due) {
        for viewer in self.members().values() {
            viewer.act(look(viewer));
        }
    }
}

/// A socket in its organization's audience.
pub(super) struct Viewer {
    pub(super) socket: SocketRef,
    pub(super) caller: Caller,
    pub(super) session: Arc<Session>,
    pub(super) audience: Arc<Audience>,
    pub(super) seat: Seat,
}

impl Viewer {
    /// Does what is due.
    pub(super) fn act(self: &Arc<Self>, due: Due) {
        match due {
            Due::Nothing => {}
            Due::Pump(wire) => drop(tokio::spawn(pump::run(Arc::clone(self), wire))),
            Due::Ring => self.ring(Bell::Look),
        }
    }

    /// Puts a bell into the library's queue. If that fails it is going away, or it is rung again in time.
    pub(super) fn ring(&self, bell: Bell) {
        if let Err(error) = self.socket.emit(bell::NAME, &bell) {
            self.seat.not_rung();
            tracing::debug!(%error, "no bell for a live viewer");
        }
    }
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
    /// Looked at for each segment of an organization.
    audiences: DashMap<OrgId, Arc<Audience>, RandomState>,
    /// Of audiences, and of those who are about to be let in: after a restart all viewers come back at the same time.
    windows: DashMap<OrgId, Weak<Windows>>,
    per_organization_max: usize,
    source: Arc<Source>,
}

impl Viewers {
    pub(super) fn new(per_organization_max: usize, source: Arc<Source>) -> Self {
        Self {
            by_socket: DashMap::new(),
            audiences: DashMap::default(),
            windows: DashMap::new(),
            per_organization_max,
            source,
        }
    }

    /// The windows of an organization, which are kept for as long as somebody holds them.
    pub(super) fn windows(&self, org: OrgId) -> Arc<Windows> {
        let mut place = self.windows.entry(org).or_default();
        place.upgrade().unwrap_or_else(|| {
            let windows = Arc::default();
            *place = Arc::downgrade(&windows);
            windows
        })
    }

    /// Lets a socket into its organization's audience, unless it has left already.
    pub(super) fn admit(
        &self,
        socket: &SocketRef,
        session: &Arc<Session>,
        caller: Caller,
        cursor: Cursor,
    ) -> Result<Arc<Viewer>, NotAdmitted> {
        let org = caller.org;
        let mut membership = session.membership.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*membership, Membership::Stranger(_)) {
            return Err(NotAdmitted::Gone);
        }
        let windows = self.windows(org);
        // Held until it is in: an audience goes with its last member.
        let place = self.audiences.entry(org);
        let audience =
            place.or_insert_with(|| Arc::new(Audience::new(org, Arc::clone(&self.source), windows)));
        let mut members = audience.members.write().unwrap_or_else(PoisonError::into_inner);
        if members.len() >= self.per_organization_max {
            return Err(NotAdmitted::Full);
        }
        let viewer = Arc::new(Viewer {
            socket: socket.clone(),
            caller,
            session: Arc::clone(session),
            audience: Arc::clone(&audience),
            seat: Seat::at(cursor),
        });
        session.set_viewer(&viewer);
        members.insert(socket.id, Arc::clone(&viewer));
        self.by_socket.insert(socket.id, Arc::clone(&viewer));
        *membership = Membership::Member(org);
        Ok(viewer)
    }

    /// Notes that a socket has left.
    pub(super) fn leave(&self, sid: Sid, session: &Session) {
        let mut membership = session.membership.lock().unwrap_or_else(PoisonError::into_inner);
        if let Membership::Member(org) = std::mem::replace(&mut *membership, Membership::Gone) {
            if let Some((_, viewer)) = self.by_socket.remove(&sid) {
                viewer.seat.end();
            }
            self.audiences.remove_if(&org, |_, audience| {
                let mut members = audience.members.write().unwrap_or_else(PoisonError::into_inner);
                members.remove(&sid);
                members.is_empty()
            });
            self.windows.remove_if(&org, |_, windows| windows.strong_count() == 0);
        }
    }

    /// Those who watch an organization, if anybody does.
    pub(super) fn audience(&self, org: OrgId) -> Option<Arc<Audience>> {
        self.audiences.get(&org).map(|audience| Arc::clone(&audience))
    }

    /// All organizations that are watched.
    pub(super) fn audiences(&self) -> Vec<(OrgId, Arc<Audience>)> {
        self.audiences.iter().map(|entry| (*entry.key(), Arc::clone(entry.value()))).collect()
    }

    /// Whether anybody of the organization is watching.
    pub(super) fn watched(&self, org: OrgId) -> bool {
        self.audiences.contains_key(&org)
    }

    pub(super) fn find(&self, sid: Sid) -> Option<Arc<Viewer>> {
        self.by_socket.get(&sid).map(|viewer| Arc::clone(&viewer))
    }

    pub(super) fn len(&self) -> usize {
        self.by_socket.len()
    }

    /// All of them, as they are now.
    pub(super) fn all(&self) -> Vec<Arc<Viewer>> {
        self.by_socket.iter().map(|entry| entry.value().clone()).collect()
    }
}
