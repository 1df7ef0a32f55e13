//! What the demo makes before it can send: an organization with its first member, a project and an API key, all through
//! the HTTP API as a person would.

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::DemoError;
use crate::cli::client::{Answer, Client};

/// Who runs the demo.
#[derive(Debug)]
pub(in crate::cli) struct Account {
    /// For signing in.
    pub(in crate::cli) email: String,
    /// For signing in.
    pub(in crate::cli) password: String,
    /// Of the session that made it all.
    pub(in crate::cli) token: String,
    /// Of the project.
    pub(in crate::cli) project: String,
    /// The key's secret.
    pub(in crate::cli) key: String,
}

impl Account {
    /// Signs up with a name and a password nobody else has, and makes a project and a key.
    pub(in crate::cli) async fn create(client: &Client) -> Result<Self, DemoError> {
        let [first, second]: [u32; 2] = rand::random();
        let email = format!("demo-{first:08x}@runstream.test");
        let password = format!("Demo-{second:08x}!");
        let body = json!({
            "email": email, "password": password, "name": "Demo", "organizationName": format!("Demo {first:08x}"),
        });
        let answer = post(client, "/api/auth/signup", &body).await?;
        let token = text(&answer, "/token")?;
        let member = with_token(client, &token)?;
        let answer = post(&member, "/api/projects", &json!({ "name": "Web shop" })).await?;
        let project = text(&answer, "/project/id")?;
        let answer = post(&member, "/api/auth/api-keys", &json!({ "name": "demo" })).await?;
        let key = text(&answer, "/apiKey")?;
        Ok(Self { email, password, token, project, key })
    }
}

/// A client that signs its requests with a token.
pub(in crate::cli) fn with_token(client: &Client, token: &str) -> Result<Client, DemoError> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let value = value.map_err(|_error| DemoError::Unexpected("token".into()))?;
    Ok(client.clone().with_header(AUTHORIZATION, value))
}

/// A client that signs its requests with an API key.
pub(in crate::cli) fn with_key(client: &Client, key: &str) -> Result<Client, DemoError> {
    let value = HeaderValue::try_from(key).map_err(|_error| DemoError::Unexpected("API key".into()))?;
    Ok(client.clone().with_header(HeaderName::from_static("x-api-key"), value))
}

/// Sends a request that has to succeed.
pub(super) async fn post(client: &Client, path: &str, body: &Value) -> Result<Answer, DemoError> {
    let answer = client.call(Method::POST, path, Some(body)).await?;
    if answer.status.is_success() { Ok(answer) } else { Err(DemoError::refused(path, &answer)) }
}

/// Reads something that has to be there.
pub(super) async fn get(client: &Client, path: &str) -> Result<Answer, DemoError> {
    let answer = client.call(Method::GET, path, None).await?;
    if answer.status.is_success() { Ok(answer) } else { Err(DemoError::refused(path, &answer)) }
}

/// The text at `pointer` of an answer.
pub(super) fn text(answer: &Answer, pointer: &str) -> Result<String, DemoError> {
    let text = answer.body.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| DemoError::Unexpected(format!("answer without {pointer}")))
}
