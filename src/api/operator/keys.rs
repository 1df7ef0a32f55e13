//! API keys: listed, made, revoked.

use serde::Serialize;
use serde_json::{Value, json};

use super::{FAILED, Operator, Who, read, under};
use crate::api::auth::{KeyName, KeyView, NewKeyView, key_details, key_limit, no_such_key};
use crate::api::reply::failed;
use crate::domain::account::ApiKey;
use crate::domain::id::{ApiKeyId, OrgId};
use crate::http::Failure;
use crate::limits::API_KEYS_PER_USER_MAX;
use crate::store::contract::{Conflict, StoreError};

/// A key and whose it is.
#[derive(Serialize)]
struct OwnedKey {
    #[serde(flatten)]
    key: KeyView,
    owner: String,
}

impl Operator {
    /// The keys of all members, or of one: `{data: […]}`.
    ///
    /// # Errors
    /// 404 if the organization has no such member.
    pub async fn keys(&self, org: OrgId, owner: Option<Who<'_>>) -> Result<Value, Failure> {
        let owners = match owner {
            Some(who) => vec![self.find(org, who).await?],
            None => self.store().members(org).await.map_err(failed(FAILED))?,
        };
        let mut keys = Vec::new();
        for owner in owners {
            let owned = self.store().keys_of(org, owner.id).await.map_err(failed(FAILED))?;
            let shown = owned.into_iter().map(|key| OwnedKey { key: key.into(), owner: owner.email.clone() });
            keys.extend(shown);
        }
        under("data", &keys)
    }

    /// Makes a key that acts as `owner`; `body` may have a `name`. `{apiKey, data: {…}}`.
    ///
    /// # Errors
    /// Those of the endpoint, and 404 if the organization has no such member.
    pub async fn create_key(&self, org: OrgId, owner: Who<'_>, body: Value) -> Result<Value, Failure> {
        let KeyName { name } = read(body)?;
        let owner = self.find(org, owner).await?;
        let (actor, new) = (self.actor(org), self.parts.access.generate_key());
        // Not before the account's credentials count.
        let created_ms = actor.now_ms.max(owner.credentials_valid_from_ms);
        let key = ApiKey {
            id: ApiKeyId::generate(created_ms),
            org,
            owner: owner.id,
            name,
            prefix: new.prefix,
            hash: new.hash,
            created_ms,
            last_used_ms: None,
        };
        let audit = actor.did("apikey.created", ("apiKey", key.id), &key_details(&key));
        let stored = self.store().create_key(key.clone(), API_KEYS_PER_USER_MAX, audit).await;
        stored.map_err(|error| match error {
            StoreError::Conflict(Conflict::KeyLimit) => key_limit(),
            other => failed(FAILED)(other),
        })?;
        Ok(json!({ "apiKey": new.text, "data": NewKeyView::from(key) }))
    }

    /// Revokes a key by its id: `{data: {…}}`, as it was.
    ///
    /// # Errors
    /// 404 if the organization has none such.
    pub async fn revoke_key(&self, org: OrgId, id: &str) -> Result<Value, Failure> {
        let id: ApiKeyId = id.parse().map_err(|_malformed| no_such_key())?;
        let key = self.store().key(org, id).await.map_err(failed(FAILED))?.ok_or_else(no_such_key)?;
        let audit = self.actor(org).did("apikey.revoked", ("apiKey", id), &key_details(&key));
        if !self.store().revoke_key(org, id, audit).await.map_err(failed(FAILED))? {
            return Err(no_such_key());
        }
        under("data", &KeyView::from(key))
    }
}
