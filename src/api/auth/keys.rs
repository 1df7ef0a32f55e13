//! API keys.

use axum::extract::State;
use serde_json::{Value, json};

use super::key_model::{ApiKeys, KeyCreated, KeyName, KeyView};
use crate::access::Credential;
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Client, Segment, Valid, Viewer};
use crate::api::reply::{Reply, created, failed, ok};
use crate::domain::account::ApiKey;
use crate::domain::id::ApiKeyId;
use crate::domain::role::Role;
use crate::http::envelope::Message;
use crate::http::{Failure, Kind};
use crate::limits::API_KEYS_PER_USER_MAX;
use crate::store::contract::{Conflict, StoreError};

const CREATE_FAILED: &str = "Failed to create API key";
const REVOKE_FAILED: &str = "Failed to revoke API key";

pub(super) async fn create_api_key(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Client(ip): Client,
    Valid(KeyName { name }): Valid<KeyName>,
) -> Reply<KeyCreated> {
    // Not before the account's credentials count: the clock of the node that voided the older ones may be ahead.
    let now_ms = match &caller.credential {
        Credential::Token { credentials_from_ms, .. } => app.now_ms().max(*credentials_from_ms),
        Credential::Key(_) => app.now_ms(),
    };
    let new = app.access.generate_key();
    let key = ApiKey {
        id: ApiKeyId::generate(now_ms),
        org: caller.org,
        owner: caller.user,
        name,
        prefix: new.prefix,
        hash: new.hash,
        created_ms: now_ms,
        last_used_ms: None,
    };
    let audit = Actor::of(&caller, ip, now_ms).did("apikey.created", ("apiKey", key.id), &key_details(&key));
    let stored = app.store.create_key(key.clone(), API_KEYS_PER_USER_MAX, audit).await;
    stored.map_err(|error| match error {
        StoreError::Conflict(Conflict::KeyLimit) => key_limit(),
        other => failed(CREATE_FAILED)(other),
    })?;
    let message = "Store this key now; it is not shown again";
    Ok(created(KeyCreated { message, api_key: new.text, data: key.into() }).secret())
}

pub(super) async fn list_api_keys(State(app): State<App>, Viewer(caller): Viewer) -> Reply<ApiKeys> {
    let keys = app.store.keys_of(caller.org, caller.user).await.map_err(failed("Failed to list API keys"))?;
    Ok(ok(ApiKeys { data: keys.into_iter().map(KeyView::from).collect() }))
}

pub(super) async fn revoke_api_key(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Client(ip): Client,
    Segment(id): Segment,
) -> Reply<Message> {
    let malformed = |_| Failure::bad_request("Invalid key ID", "A key's id is 24 lower-case hex characters");
    let id: ApiKeyId = id.parse().map_err(malformed)?;
    let key = app.store.key(caller.org, id).await.map_err(failed(REVOKE_FAILED))?;
    let may_revoke = |key: &ApiKey| key.owner == caller.user || caller.role == Role::Admin;
    let key = key.filter(may_revoke).ok_or_else(no_such_key)?;
    let audit =
        Actor::of(&caller, ip, app.now_ms()).did("apikey.revoked", ("apiKey", id), &key_details(&key));
    if !app.access.revoke_key(caller.org, id, audit).await.map_err(failed(REVOKE_FAILED))? {
        return Err(no_such_key());
    }
    Ok(ok(Message { message: "Key revoked" }))
}

/// What the audit log tells of a key.
pub(in crate::api) fn key_details(key: &ApiKey) -> Value {
    json!({ "name": key.name, "prefix": key.prefix, "ownerId": key.owner })
}

pub(in crate::api) fn key_limit() -> Failure {
    let message = format!("There are {API_KEYS_PER_USER_MAX} keys of this owner already; revoke one first");
    Failure::new(Kind::Conflict, "API key limit reached", message)
}

pub(in crate::api) fn no_such_key() -> Failure {
    Failure::not_found("API key not found", "There is no such key, or it is not yours")
}
