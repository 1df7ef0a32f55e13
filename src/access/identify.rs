//! From the headers of a request to a [`Caller`]. Source: API reference, identity 1.11, 2.1 to 2.4; ingest 1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use http::{HeaderMap, HeaderName, header};
use subtle::ConstantTimeEq;

use super::{Access, Caller, Credential};
use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, KeyHash, User};
use crate::domain::id::{ApiKeyId, OrgId, UserId};
use crate::domain::role::{AccountStatus, Role};
use crate::http::{Failure, Kind};
use crate::limits::{API_KEY_BYTES_MAX, KEY_USE_MARK_INTERVAL};
use crate::store::contract::StoreError;

/// The header of an API key.
pub const API_KEY_HEADER: &str = "x-api-key";
const API_KEY: HeaderName = HeaderName::from_static(API_KEY_HEADER);
/// Seconds after which to come back when credentials cannot be checked.
const RETRY_AFTER_S: u64 = 1;

/// Which credentials an endpoint takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accept {
    /// Tokens only; an API key is no credential there.
    TokenOnly,
    /// API keys and tokens. A key is looked at first, and alone.
    TokenOrKey,
}

/// What is cached of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    org: OrgId,
    role: Role,
    status: AccountStatus,
    credentials_valid_from_ms: UnixMs,
}

impl From<&User> for Account {
    fn from(user: &User) -> Self {
        Self {
            org: user.org,
            role: user.role,
            status: user.status,
            credentials_valid_from_ms: user.credentials_valid_from_ms,
        }
    }
}

/// What is cached of an API key.
#[derive(Debug)]
pub(super) struct KnownKey {
    pub(super) id: ApiKeyId,
    org: OrgId,
    pub(super) owner: UserId,
    created_ms: UnixMs,
    /// When its use was last marked; Unix milliseconds.
    marked_ms: AtomicI64,
}

impl From<&ApiKey> for KnownKey {
    fn from(key: &ApiKey) -> Self {
        let marked_ms = AtomicI64::new(key.last_used_ms.unwrap_or(0));
        Self { id: key.id, org: key.org, owner: key.owner, created_ms: key.created_ms, marked_ms }
    }
}

impl Access {
    /// Who sends these headers, if `accept` takes what they carry. Counts nothing and needs no body. Of two headers
    /// of one kind neither counts.
    ///
    /// # Errors
    /// 401 `Authentication required`, `Invalid token` or `Invalid API key`; 403 `Account suspended`; 503
    /// `Service unavailable` if that cannot be found out now.
    pub async fn identify(&self, headers: &HeaderMap, accept: Accept) -> Result<Caller, Failure> {
        if accept == Accept::TokenOrKey {
            match the_one(headers, &API_KEY) {
                Presented::Nothing => {}
                Presented::One(key) => return self.identify_key(key).await,
                Presented::Several => return Err(invalid_key()),
            }
        }
        let bearer = match the_one(headers, &header::AUTHORIZATION) {
            Presented::Nothing => None,
            Presented::One(value) => token_of(value),
            Presented::Several => return Err(invalid_token()),
        };
        match bearer {
            None => Err(authentication_required()),
            Some(token) => match std::str::from_utf8(token) {
                // In boxes, here and below: what is mostly not needed would make every request's future larger.
                Ok(token) => Box::pin(self.identify_token(token)).await,
                Err(_) => Err(invalid_token()),
            },
        }
    }

    /// Who presents this token. For doors where it does not arrive in a header.
    ///
    /// # Errors
    /// As [`Access::identify`].
    pub async fn identify_token(&self, token: &str) -> Result<Caller, Failure> {
        let Ok(claims) = self.inner.tokens.verify(token, self.now_ms()) else { return Err(invalid_token()) };
        if self.is_revoked(&claims.jti).await? {
            return Err(invalid_token());
        }
        let now_ms = self.now_ms();
        let Some(account) = self.account(claims.user_id, now_ms).await? else { return Err(invalid_token()) };
        let is_member = account.org.to_string() == claims.organization_id;
        if !is_member || !claims.is_since(account.credentials_valid_from_ms) {
            return Err(invalid_token());
        }
        if account.status == AccountStatus::Suspended {
            return Err(suspended());
        }
        let expires_ms = claims.expires_ms();
        let credential = Credential::Token {
            id: claims.jti,
            expires_ms,
            credentials_from_ms: account.credentials_valid_from_ms,
        };
        Ok(Caller { org: account.org, user: claims.user_id, role: account.role, credential })
    }

    /// Who presents this API key.
    ///
    /// # Errors
    /// 401 `Invalid API key`, 503.
    async fn identify_key(&self, text: &[u8]) -> Result<Caller, Failure> {
        if text.len() > API_KEY_BYTES_MAX {
            return Err(invalid_key());
        }
        let recalled = self.inner.keys.recall(text);
        let hash = recalled.unwrap_or_else(|| self.inner.keys.hash(text));
        let now_ms = self.now_ms();
        let Some(key) = self.known_key(&hash, now_ms).await? else { return Err(invalid_key()) };
        if recalled.is_none() {
            self.inner.keys.remember(text, hash);
        }
        let owner = self.account(key.owner, now_ms).await?;
        let role = role_through(owner, key.org, key.created_ms).ok_or_else(invalid_key)?;
        self.mark_use(&key, now_ms);
        Ok(Caller { org: key.org, user: key.owner, role, credential: Credential::Key(key.id) })
    }

    /// Whether a caller who was identified before still is one, for connections that outlive a request: the caller
    /// with the role of now. Reads past the caches: such a connection asks every few seconds, and those few seconds
    /// are all the contract gives it.
    ///
    /// # Errors
    /// As [`Access::identify`].
    pub async fn still_valid(&self, caller: &Caller) -> Result<Caller, Failure> {
        match &caller.credential {
            Credential::Token { id, expires_ms, credentials_from_ms } => {
                if self.now_ms() >= *expires_ms || self.read_revoked(id).await? {
                    return Err(invalid_token());
                }
                let account = self.read_account(caller.user).await?.ok_or_else(invalid_token)?;
                if account.org != caller.org || account.credentials_valid_from_ms > *credentials_from_ms {
                    return Err(invalid_token());
                }
                if account.status == AccountStatus::Suspended {
                    return Err(suspended());
                }
                Ok(Caller { role: account.role, ..caller.clone() })
            }
            Credential::Key(id) => {
                let read = self.inner.store.key(caller.org, *id).await;
                let key = read.map_err(cannot_check)?.ok_or_else(invalid_key)?;
                let owner = self.read_account(key.owner).await?;
                let role = role_through(owner, key.org, key.created_ms).ok_or_else(invalid_key)?;
                Ok(Caller { role, ..caller.clone() })
            }
        }
    }

    async fn known_key(&self, hash: &KeyHash, now_ms: UnixMs) -> Result<Option<Arc<KnownKey>>, Failure> {
        let cache = &self.inner.known_keys;
        if let Some(key) = cache.get(hash, now_ms) {
            return Ok(Some(key));
        }
        let read = async {
            let before = cache.before_read(self.now_ms());
            let found = self.inner.store.key_by_hash(hash).await.map_err(cannot_check)?;
            let key = found.filter(|key| bool::from(key.hash.ct_eq(hash)));
            Ok(key.map(|key| cache.keep(*hash, Arc::new(KnownKey::from(&key)), before)))
        };
        Box::pin(read).await
    }

    async fn account(&self, user: UserId, now_ms: UnixMs) -> Result<Option<Account>, Failure> {
        let cache = &self.inner.accounts;
        if let Some(account) = cache.get(&user, now_ms) {
            return Ok(Some(account));
        }
        let read = async {
            let before = cache.before_read(self.now_ms());
            let found = self.read_account(user).await?;
            Ok(found.map(|found| cache.keep(user, found, before)))
        };
        Box::pin(read).await
    }

    async fn read_account(&self, user: UserId) -> Result<Option<Account>, Failure> {
        let found = self.inner.store.user(user).await.map_err(cannot_check)?;
        Ok(found.as_ref().map(Account::from))
    }

    async fn is_revoked(&self, token: &str) -> Result<bool, Failure> {
        let cache = &self.inner.revoked;
        let token = token.to_owned();
        if let Some(is_revoked) = cache.get(&token, self.now_ms()) {
            return Ok(is_revoked);
        }
        let before = cache.before_read(self.now_ms());
        let is_revoked = self.read_revoked(&token).await?;
        Ok(cache.keep(token, is_revoked, before))
    }

    async fn read_revoked(&self, token: &str) -> Result<bool, Failure> {
        self.inner.store.is_token_revoked(token).await.map_err(cannot_check)
    }

    /// Notes that a key was used, at most once a minute, for [`Access::mark_used_keys`] to write down.
    fn mark_use(&self, key: &KnownKey, now_ms: UnixMs) {
        let marked_ms = key.marked_ms.load(Ordering::Relaxed);
        let interval_ms = i64::try_from(KEY_USE_MARK_INTERVAL.as_millis()).unwrap_or(i64::MAX);
        let is_due = now_ms.saturating_sub(marked_ms) >= interval_ms;
        if is_due
            && key.marked_ms.compare_exchange(marked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            // A full queue loses a mark; the next use after a minute makes up for it.
            let _lost = self.inner.used_keys.try_send((key.org, key.id, now_ms));
        }
    }
}

/// The role that a key of this owner, made in `org` at `created_ms`, acts with; `None` if it no longer acts at all.
fn role_through(owner: Option<Account>, org: OrgId, created_ms: UnixMs) -> Option<Role> {
    let owner = owner.filter(|owner| {
        owner.status == AccountStatus::Active
            && owner.org == org
            && created_ms >= owner.credentials_valid_from_ms
    });
    owner.map(|owner| owner.role)
}

/// What a header holds that may be there once.
pub enum Presented<'h> {
    /// It is not there.
    Nothing,
    /// The value of the only one.
    One(&'h [u8]),
    /// Whoever stands in front of this server may have looked at another one of them.
    Several,
}

/// What these headers hold under the name of a credential.
#[must_use]
pub fn the_one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Presented<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Presented::Nothing,
        (Some(value), None) => Presented::One(value.as_bytes()),
        (Some(_), Some(_)) => Presented::Several,
    }
}

/// The token of an `Authorization` header; `None` if it holds something else.
fn token_of(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

fn authentication_required() -> Failure {
    Failure::new(
        Kind::Unauthenticated,
        "Authentication required",
        "Send a token or, where accepted, an API key",
    )
}

/// What is told of a token that is not accepted, or whose account is gone.
#[must_use]
pub fn invalid_token() -> Failure {
    Failure::new(Kind::Unauthenticated, "Invalid token", "The token is not valid or is over; sign in again")
}

fn invalid_key() -> Failure {
    Failure::new(Kind::Unauthenticated, "Invalid API key", "The API key is not valid or was revoked")
}

fn suspended() -> Failure {
    Failure::new(Kind::Forbidden, "Account suspended", "This account is suspended; ask an administrator")
}

/// Closed on failure: who cannot be checked is not let in.
fn cannot_check(error: StoreError) -> Failure {
    Failure::unavailable("Credentials cannot be checked right now", RETRY_AFTER_S).because(error)
}
