//! The API of a running server, as an administrator uses it.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::failure::AdminError;
use super::shown::text;
use super::{Reach, secret};
use crate::cli::CONNECT_TIMEOUT;
use crate::cli::client::Client;
use crate::dial::TcpDial;
use crate::domain::email;
use crate::domain::id::UserId;

/// A server, and who is signed in there.
pub(super) struct Api {
    client: Client,
}

impl Api {
    /// The server at `url`, where nobody is signed in.
    pub(super) fn at(url: &str) -> Result<Self, AdminError> {
        Ok(Self { client: Client::new(Arc::new(TcpDial { timeout: CONNECT_TIMEOUT }), url)? })
    }

    /// The same server with the token that is given, or one for the account that is named.
    pub(super) async fn signed_in(self, reach: &Reach) -> Result<Self, AdminError> {
        let token = match &reach.signed_in_as {
            Some(email) => {
                let password = secret::of_signing_in(reach)?.ok_or(AdminError::Usage(
                    "give the password to sign in with in RUNSTREAM_PASSWORD or by --password-file",
                ))?;
                text(&self.sign_in(email, &password).await?, "/token")?
            }
            None => secret::token().ok_or(AdminError::Usage(
                "sign in with --as EMAIL, or put a token into RUNSTREAM_TOKEN (`runstream user sign-in`)",
            ))?,
        };
        let wrong = AdminError::Usage("the token in RUNSTREAM_TOKEN is none");
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_error| wrong)?;
        value.set_sensitive(true);
        Ok(Self { client: self.client.with_header(AUTHORIZATION, value) })
    }

    /// Signs in; what the server answers.
    pub(super) async fn sign_in(&self, email: &str, password: &str) -> Result<Value, AdminError> {
        self.post("/api/auth/login", json!({ "email": email, "password": password })).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, AdminError> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value, AdminError> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Result<Value, AdminError> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Value, AdminError> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, AdminError> {
        let answer = self.client.call(method, path, body.as_ref()).await?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let member =
            |name: &str| answer.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(AdminError::Refused { status: answer.status, error: member("error"), message: member("message") })
    }

    /// The member with this id or e-mail address, as listed.
    pub(super) async fn member(&self, who: &str) -> Result<Value, AdminError> {
        let users = self.get("/api/users").await?;
        let users = users.get("users").and_then(Value::as_array).ok_or(AdminError::Foreign("/users"))?;
        let address = email::normalise(who);
        let is_meant = |user: &&Value| {
            let is = |name: &str, wanted: &str| user.get(name).and_then(Value::as_str) == Some(wanted);
            is("id", who) || address.as_ref().is_some_and(|address| is("email", address))
        };
        let found = users.iter().find(is_meant).cloned();
        found.ok_or_else(|| AdminError::Absent(format!("the organization has no member {who}")))
    }

    /// The id of the member with this id or e-mail address. An id is not looked for: the server says if there is none.
    pub(super) async fn member_id(&self, who: &str) -> Result<String, AdminError> {
        match who.parse::<UserId>() {
            Ok(id) => Ok(id.to_string()),
            Err(_) => text(&self.member(who).await?, "/id"),
        }
    }
}
