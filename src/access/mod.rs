//! Who calls and how often: tokens and API keys become a [`Caller`], requests are counted against their tiers.
//!
//! Start at [`Access::identify`]: it is the only way from a request to an organization. Everything that voids a
//! credential goes through [`Access`] too ([`Access::revoke_token`], [`Access::revoke_key`], [`Access::voiding`]),
//! so that the caches here never let in what was voided, and open connections hear of it ([`Access::revocations`]).
//! Nothing here reads a body or writes an answer; who may do what is decided by [`Caller::require`] alone.

mod address;
mod cache;
mod identify;
mod key;
mod password;
mod sealing;
mod secrets;
mod settings;
#[cfg(test)]
mod tests;
mod tier;
mod token;

use std::sync::Arc;

use tokio::sync::{Mutex, broadcast, mpsc};

use crate::clock::{Clock, UnixMs};
use crate::domain::account::{AuditEntry, KeyHash, User};
use crate::domain::id::{ApiKeyId, OrgId, UserId};
use crate::domain::role::Role;
use crate::http::{Failure, Kind};
use crate::limits::{KEY_USE_MARKS_WAITING_MAX, REVOCATIONS_WAITING_MAX};
use crate::store::contract::{Acceptance, Credentials, StoreResult};

use cache::Cache;
use identify::{Account, KnownKey};
use key::KeyHasher;
use token::Tokens;

pub use address::{MalformedNetwork, Network, client_address};
pub use identify::{API_KEY_HEADER, Accept, Presented, invalid_token, the_one};
pub use key::NewKey;
pub use password::{PasswordError, PasswordSettings, Passwords, Turn};
pub use sealing::{begin_key_change, end_key_change};
pub use secrets::{ConfiguredSecrets, Secret, SecretError, Secrets};
pub use settings::AccessSettings;
pub use tier::{RATE_LIMIT, RATE_REMAINING, RATE_RESET, Tiers, WINDOW_MS, rate_headers, rate_limit_exceeded};
pub use token::IssuedToken;

/// A verified identity. There is no other way to an organization than through one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The organization.
    pub org: OrgId,
    /// The person, or the owner of the key.
    pub user: UserId,
    /// The stored role, not what a token claims.
    pub role: Role,
    /// What was presented.
    pub credential: Credential,
}

/// What a caller presented.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A token.
    Token {
        /// Its `jti`.
        id: String,
        /// When it expires; Unix milliseconds.
        expires_ms: UnixMs,
        /// The account's `credentials_valid_from_ms` when it was accepted; a later one voids it.
        credentials_from_ms: UnixMs,
    },
    /// An API key.
    Key(ApiKeyId),
}

impl Caller {
    /// Lets pass who has one of the `allowed` roles.
    ///
    /// # Errors
    /// 403 `Insufficient permissions`; the message names the allowed roles and the caller's.
    pub fn require(&self, allowed: &[Role]) -> Result<(), Failure> {
        if allowed.contains(&self.role) {
            return Ok(());
        }
        let names = allowed.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" or ");
        let message = format!("This needs the role {names}; yours is {}", self.role);
        Err(Failure::new(Kind::Forbidden, "Insufficient permissions", message))
    }
}

/// Something that was accepted and no longer is, or is only with another role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// The token with this `jti`.
    Token(String),
    /// An API key.
    Key(ApiKeyId),
    /// Anything of this account may have changed: ask [`Access::still_valid`].
    User(UserId),
}

/// Who calls. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Credentials>,
    clock: Arc<dyn Clock>,
    settings: AccessSettings,
    tokens: Tokens,
    keys: KeyHasher,
    known_keys: Cache<KeyHash, Arc<KnownKey>>,
    accounts: Cache<UserId, Account>,
    revoked: Cache<String, bool>,
    revocations: broadcast::Sender<Revocation>,
    used_keys: mpsc::Sender<KeyUse>,
    used_keys_waiting: Mutex<mpsc::Receiver<KeyUse>>,
}

/// A key's use: its organization, the key, the moment.
type KeyUse = (OrgId, ApiKeyId, UnixMs);

impl Access {
    /// Access to the accounts of `store` (an `Arc<dyn Store>` fits), with tokens and keys made by `secrets`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Credentials>,
        clock: Arc<dyn Clock>,
        secrets: &Secrets,
        settings: AccessSettings,
    ) -> Self {
        let (entries_max, lifetime) = (settings.cache_entries_max, settings.cache_lifetime);
        let (used_keys, used_keys_waiting) = mpsc::channel(KEY_USE_MARKS_WAITING_MAX);
        let inner = Inner {
            store,
            clock,
            tokens: Tokens::new(&secrets.token),
            keys: KeyHasher::new(&secrets.key_hash),
            known_keys: Cache::new(entries_max, lifetime),
            accounts: Cache::new(entries_max, lifetime),
            revoked: Cache::new(entries_max, lifetime),
            revocations: broadcast::Sender::new(REVOCATIONS_WAITING_MAX),
            used_keys,
            used_keys_waiting: Mutex::new(used_keys_waiting),
            settings,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &AccessSettings {
        &self.inner.settings
    }

    /// Makes a token for `user`, who has just proved to be that.
    ///
    /// # Errors
    /// 500 if it cannot be signed.
    pub fn issue_token(&self, user: &User) -> Result<IssuedToken, Failure> {
        let lifetime_s = i64::try_from(self.inner.settings.token_lifetime.as_secs()).unwrap_or(i64::MAX);
        let issued = self.inner.tokens.sign(user, self.now_ms(), lifetime_s);
        issued.map_err(|error| Failure::internal("Internal Server Error", error))
    }

    /// Makes an API key; it is one once its hash is stored.
    #[must_use]
    pub fn generate_key(&self) -> NewKey {
        self.inner.keys.generate()
    }

    /// Revokes the token `id` (a `jti`) that would expire at `expires_ms`, and stores `audit`. When this returns, it is
    /// refused everywhere. Doing it again changes nothing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke_token(&self, id: &str, expires_ms: UnixMs, audit: AuditEntry) -> StoreResult<()> {
        let revoked = self.inner.store.revoke_token(id, expires_ms, audit).await;
        // Also after a failure: the outcome may be unknown.
        self.inner.revoked.drop_key(&id.to_owned());
        self.announce(Revocation::Token(id.to_owned()));
        revoked
    }

    /// Revokes an API key and stores `audit`; `false` if `org` has none such. When this returns, it is refused.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn revoke_key(&self, org: OrgId, key: ApiKeyId, audit: AuditEntry) -> StoreResult<bool> {
        let revoked = self.inner.store.revoke_key(org, key, audit).await;
        self.inner.known_keys.drop_if(|_, known| known.id == key);
        self.announce(Revocation::Key(key));
        revoked
    }

    /// Makes a `change` of the store that may take rights or credentials from `user`. When this returns, the account's
    /// next request sees the change, whatever credential it carries, and its open connections are looked at.
    ///
    /// # Errors
    /// Those of the change.
    pub async fn voiding<T>(
        &self,
        user: UserId,
        change: impl Future<Output = StoreResult<T>>,
    ) -> StoreResult<T> {
        let changed = change.await;
        // Also after a failure: the outcome may be unknown.
        self.inner.accounts.drop_key(&user);
        self.inner.known_keys.drop_if(|_, known| known.owner == user);
        self.announce(Revocation::User(user));
        changed
    }

    /// Moves an account into the organization that invites it; see [`crate::store::contract::Invitations`]. When this
    /// returns, everything that was issued to the account before is refused.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn accept_invitation(&self, acceptance: Acceptance) -> StoreResult<Option<User>> {
        let user = acceptance.user;
        let moved = self.inner.store.accept_invitation(acceptance).await;
        // Also after a failure: the outcome may be unknown.
        self.inner.accounts.drop_key(&user);
        self.inner.known_keys.drop_if(|_, known| known.owner == user);
        self.announce(Revocation::User(user));
        moved
    }

    /// Hears of everything that is voided from now on. A receiver that has missed some (`Lagged`) must ask
    /// [`Access::still_valid`] about everybody it serves.
    #[must_use]
    pub fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.inner.revocations.subscribe()
    }

    /// Writes down which keys were used. Runs until it is dropped; the composition root keeps one running.
    pub async fn mark_used_keys(&self) {
        let mut waiting = self.inner.used_keys_waiting.lock().await;
        while let Some((org, key, used_ms)) = waiting.recv().await {
            if let Err(error) = self.inner.store.mark_key_used(org, key, used_ms).await {
                tracing::warn!(key.id = %key, %error, "the use of an api key was not marked");
            }
        }
    }

    fn announce(&self, revocation: Revocation) {
        // An error only means that nobody listens.
        let _nobody = self.inner.revocations.send(revocation);
    }

    fn now_ms(&self) -> UnixMs {
        self.inner.clock.now_ms()
    }
}
