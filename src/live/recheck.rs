//! Looks after viewers: whoever may no longer watch is told so and disconnected, at once when a revocation is
//! announced, and within [`limits::LIVE_RECHECK`] in any case (expiry, suspension, another server's revocation).

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use super::handshake::Refusal;
use super::viewers::Viewer;
use crate::access::{Caller, Credential, Revocation};
use crate::clock::Clock;
use crate::domain::id::UserId;
use crate::limits;

/// Tokens that are looked at together.
const CHECKS_AT_ONCE: usize = 32;

/// Runs until the channel is gone.
pub(super) async fn run(shared: Weak<Shared>, clock: Arc<dyn Clock>) {
    let Some(mut revocations) = shared.upgrade().map(|shared| shared.doorkeeper.revocations()) else {
        return;
    };
    let mut announced = true;
    loop {
        let what = tokio::select! {
            () = clock.sleep(limits::LIVE_RECHECK) => None,
            revoked = revocations.recv(), if announced => match revoked {
                Ok(revoked) => Some(revoked),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => { announced = false; continue }
            },
        };
        let Some(strong) = shared.upgrade() else { return };
        strong.recheck(what.as_ref()).await;
        if what.is_none() {
            strong.look_for_stragglers().await;
        }
    }
}

impl Shared {
    /// Looks at every viewer, or at those that a revocation is about.
    async fn recheck(&self, what: Option<&Revocation>) {
        // A page opens several sockets with one token: one look serves them all.
        let mut by_credential: HashMap<(UserId, Credential), Vec<Arc<Viewer>>> = HashMap::new();
        for viewer in self.viewers.all() {
            if !self.is_here(&viewer.socket) {
                // It left in the one instant in which the library tells nobody.
                self.viewers.leave(viewer.socket.id, &viewer.session);
            } else if what.is_none_or(|what| concerns(what, &viewer.caller)) {
                let key = (viewer.caller.user, viewer.caller.credential.clone());
                by_credential.entry(key).or_default().push(viewer);
            }
        }
        stream::iter(by_credential.into_values())
            .for_each_concurrent(CHECKS_AT_ONCE, |viewers| self.recheck_credential(viewers))
            .await;
    }

    /// Tells all viewers how far their feed has come. They know it from its ticks; but a poll can be given up in the
    /// middle, and a tick can end between a viewer's arrival and its first look.
    async fn look_for_stragglers(&self) {
        let Ok(feeds) = self.source.feeds() else { return };
        for (org, audience) in self.viewers.audiences() {
            match tokio::time::timeout(limits::LIVE_RECHECK, feeds.head(org)).await {
                Ok(Ok(head)) => audience.for_each(|viewer| viewer.seat.told(head.sealed)),
                Ok(Err(error)) => {
                    tracing::warn!(%error, org.id = %org, "a feed does not say where it stands")
                }
                Err(_) => tracing::warn!(org.id = %org, "a feed takes long to say where it stands"),
            }
        }
    }

    /// Looks at the viewers of one credential.
    async fn recheck_credential(&self, viewers: Vec<Arc<Viewer>>) {
        let Some(first) = viewers.first() else { return };
        let look = tokio::time::timeout(limits::LIVE_RECHECK, self.doorkeeper.still_valid(&first.caller));
        let refusal = match look.await.unwrap_or(Err(Refusal::Unavailable)) {
            Ok(()) => return,
            Err(refusal) => refusal,
        };
        tracing::info!(
            org.id = %first.caller.org,
            user.id = %first.caller.user,
            sockets = viewers.len(),
            reason = ?refusal,
            "live viewers lose their connection"
        );
        for viewer in viewers {
            match refusal {
                Refusal::Invalid => self.expel(&viewer.socket),
                // Nobody may watch unchecked; a client that only loses its connection comes back and asks again.
                Refusal::Unavailable => self.hang_up(viewer.socket.id, &viewer.session).await,
            }
        }
    }
}

fn concerns(revoked: &Revocation, caller: &Caller) -> bool {
    match (revoked, &caller.credential) {
        (Revocation::Token(revoked), Credential::Token { id, .. }) => revoked == id,
        (Revocation::User(user), _) => *user == caller.user,
        // Nobody watches with an API key.
        (Revocation::Key(_), _) | (Revocation::Token(_), Credential::Key(_)) => false,
    }
}
