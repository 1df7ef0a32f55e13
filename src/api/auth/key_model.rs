//! Bodies in and out of the endpoints of API keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{NAME_CHARS_MAX, invalid_name};
use crate::api::extract::{FromMembers, Members};
use crate::domain::account::ApiKey;
use crate::domain::time::IsoMs;
use crate::http::Failure;

/// What a key without a name is called.
const UNNAMED_KEY: &str = "Unnamed Key";

/// How a new key is called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub(in crate::api) struct KeyName {
    /// `Unnamed Key` if absent or blank.
    #[schema(max_length = 100, required = false, default = "Unnamed Key")]
    pub(in crate::api) name: String,
}

impl FromMembers for KeyName {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let name = match members.get("name") {
            None => "",
            Some(name) => name.as_str().ok_or_else(invalid_key_name)?.trim(),
        };
        match name.chars().count() {
            0 => Ok(Self { name: UNNAMED_KEY.to_owned() }),
            1..=NAME_CHARS_MAX => Ok(Self { name: name.to_owned() }),
            _ => Err(invalid_key_name()),
        }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyCreated {
    pub(super) message: &'static str,
    /// The key itself, shown this once.
    #[schema(pattern = "^pk_live_[0-9a-f]{48}$")]
    pub(super) api_key: String,
    pub(super) data: NewKeyView,
}

/// What is known of a new key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct NewKeyView {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    name: String,
    /// First characters of the key and `...`.
    prefix: String,
    created_at: IsoMs,
}

/// The caller's keys.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiKeys {
    pub(super) data: Vec<KeyView>,
}

/// What is known of a key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct KeyView {
    #[serde(flatten)]
    key: NewKeyView,
    /// At most a minute stale.
    last_used: Option<IsoMs>,
}

impl From<ApiKey> for NewKeyView {
    fn from(key: ApiKey) -> Self {
        Self { id: key.id.to_string(), name: key.name, prefix: key.prefix, created_at: IsoMs(key.created_ms) }
    }
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self { last_used: key.last_used_ms.map(IsoMs), key: key.into() }
    }
}

fn invalid_key_name() -> Failure {
    invalid_name("The key's name must be a text of at most 100 characters")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_key_is_named_or_unnamed() {
        let name = |body: Value| {
            let Value::Object(members) = body else { panic!("{body} is no object") };
            KeyName::from_members(members).map(|key| key.name).map_err(|failure| failure.error.into_owned())
        };
        assert_eq!(name(json!({ "name": " nightly " })).as_deref(), Ok("nightly"));
        for blank in [json!({}), json!({ "name": "" }), json!({ "name": " \t" })] {
            assert_eq!(name(blank).as_deref(), Ok("Unnamed Key"));
        }
        for bad in [json!({ "name": 7 }), json!({ "name": null }), json!({ "name": "x".repeat(101) })] {
            assert_eq!(name(bad), Err("Invalid name".to_owned()));
        }
    }
}
