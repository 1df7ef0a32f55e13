//! Who may watch: the token of the CONNECT packet decides. A socket that is let in hears `auth-success`, any other
//! `auth-error`, and then it is disconnected.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use serde::Serialize;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::socket::DisconnectReason;
use tokio::sync::broadcast;

use super::Shared;
use super::bell::Bell;
use super::cursor::Cursor;
use super::entry::{Auth, NoEntry};
use super::session::Session;
use super::viewers::NotAdmitted;
use crate::access::{Access, Caller, Revocation};
use crate::domain::id::{OrgId, UserId};
use crate::domain::role::Role;
use crate::http::{Failure, Kind};
use crate::limits;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Malformed, forged, expired, revoked, or of an account that may not sign in.
    Invalid,
    /// It could not be checked now.
    Unavailable,
}

/// What the live channel asks of those who know tokens.
#[async_trait]
pub trait Doorkeeper: Send + Sync + 'static {
    /// Whom a token belongs to. API keys are no tokens.
    async fn verify(&self, token: &str) -> Result<Caller, Refusal>;

    /// Whether a caller may still watch: the token neither expired nor revoked, the account active and still in the
    /// same organization. Reads past any cache.
    async fn still_valid(&self, caller: &Caller) -> Result<(), Refusal>;

    /// Speaks whenever a token or an account loses its validity.
    fn revocations(&self) -> broadcast::Receiver<Revocation>;
}

#[async_trait]
impl Doorkeeper for Access {
    async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        self.identify_token(token).await.map_err(Refusal::from)
    }

    async fn still_valid(&self, caller: &Caller) -> Result<(), Refusal> {
        Self::still_valid(self, caller).await.map(drop).map_err(Refusal::from)
    }

    fn revocations(&self) -> broadcast::Receiver<Revocation> {
        Self::revocations(self)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Unauthenticated | Kind::Forbidden => Self::Invalid,
            _ => Self::Unavailable,
        }
    }
}

/// `auth-success`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthSuccess {
    message: &'static str,
    organization_id: OrgId,
    user_id: UserId,
    role: Role,
    /// Where its events start.
    cursor: String,
}

/// `auth-error`.
#[derive(Serialize)]
struct AuthError {
    error: &'static str,
}

const NO_TOKEN: &str = "Authentication required";
const BAD_TOKEN: &str = "Invalid or expired token";
const TOO_MANY: &str = "Too many connections";

/// Opens `/`, the only namespace. Viewers have nothing to say after the handshake: no event has a handler.
pub(super) fn open_namespace(shared: &Arc<Shared>) {
    let (before, then) = (Arc::downgrade(shared), Arc::downgrade(shared));
    let connected = async move |socket: SocketRef| connected(then, socket).await;
    // Runs before the CONNECT answer is queued, which has to say whether the cursor was taken.
    let connecting = async move |socket: SocketRef, TryData(auth): TryData<Auth>| {
        if let (Some(shared), Some(session)) = (before.upgrade(), session_of(&socket)) {
            session.enter(shared.entry(&auth.unwrap_or_default()).await);
        }
        Ok::<(), std::convert::Infallible>(())
    };
    shared.io.ns("/", connected.with(connecting));
}

fn session_of(socket: &SocketRef) -> Option<Arc<Session>> {
    let session = socket.req_parts().extensions.get::<Arc<Session>>().cloned();
    if session.is_none() {
        tracing::error!("a live session without its record");
    }
    session
}

async fn connected(shared: Weak<Shared>, socket: SocketRef) {
    let (Some(session), Some(strong)) = (session_of(&socket), shared.upgrade()) else { return };
    watch_leaving(shared, &socket, session.clone());
    // It may have left before anybody watched for that.
    if !strong.is_here(&socket) {
        return strong.viewers.leave(socket.id, &session);
    }
    let entry = session.take_entry();
    match entry.as_ref().map(|entry| entry.verdict.clone()) {
        Some(Ok((caller, cursor))) => strong.welcome(&socket, &session, caller, cursor),
        Some(Err(NoEntry::NoToken)) => strong.refuse(&socket, NO_TOKEN),
        Some(Err(NoEntry::BadToken)) => strong.refuse(&socket, BAD_TOKEN),
        // Without a word: a client that is told to go stays away, one that loses its connection comes back.
        Some(Err(NoEntry::Unavailable)) | None => strong.hang_up(socket.id, &session).await,
    }
}

/// A session that leaves its namespace has no business left; one whose connection is gone needs no more care.
fn watch_leaving(shared: Weak<Shared>, socket: &SocketRef, session: Arc<Session>) {
    socket.on_disconnect(async move |socket: SocketRef, reason: DisconnectReason| {
        let Some(strong) = shared.upgrade() else { return };
        strong.viewers.leave(socket.id, &session);
        if matches!(reason, DisconnectReason::ClientNSDisconnect | DisconnectReason::ServerNSDisconnect) {
            let sid = socket.id;
            tokio::spawn(async move {
                tokio::time::sleep(limits::LIVE_FAREWELL).await;
                strong.hang_up(sid, &session).await;
            });
        }
    });
}

impl Shared {
    /// Whether the library still knows this socket.
    pub(super) fn is_here(&self, socket: &SocketRef) -> bool {
        socket.connected() && self.io.get_socket(socket.id).is_some()
    }

    fn welcome(&self, socket: &SocketRef, session: &Arc<Session>, caller: Caller, cursor: Cursor) {
        let success = AuthSuccess {
            message: "Connected to organization channel",
            organization_id: caller.org,
            user_id: caller.user,
            role: caller.role,
            cursor: cursor.to_string(),
        };
        match self.viewers.admit(socket, session, caller, cursor) {
            Ok(viewer) => {
                if let Err(error) = socket.emit("auth-success", &success) {
                    tracing::debug!(%error, "a live viewer left while it was let in");
                }
                // Frames follow when this has passed.
                viewer.ring(Bell::Welcome);
            }
            Err(NotAdmitted::Full) => self.refuse(socket, TOO_MANY),
            Err(NotAdmitted::Gone) => {}
        }
    }

    /// `auth-error` to a viewer whose token is not valid any more.
    pub(super) fn expel(&self, socket: &SocketRef) {
        self.refuse(socket, BAD_TOKEN);
    }

    fn refuse(&self, socket: &SocketRef, error: &'static str) {
        if let Some(viewer) = self.viewers.find(socket.id) {
            viewer.seat.end();
        }
        let told = socket.emit("auth-error", &AuthError { error }).is_ok();
        if socket.clone().disconnect().is_err() || !told {
            // Its queue is full, or it is gone: there is no telling it anything.
            if let Some(session) = socket.req_parts().extensions.get::<Arc<Session>>() {
                session.scissors.cut();
            }
            if let Some(upgrade) = self.upgrades.get(&socket.id) {
                upgrade.cut();
            }
        }
    }
}
