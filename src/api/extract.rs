//! What handlers take as arguments. Nothing here checks a credential: that is [`super::guard`]'s, and these find what it
//! left in the request.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::request::Parts;
use serde_json::{Map, Value};

use super::App;
use crate::access::Caller;
use crate::domain::role::Role;
use crate::http::body::gather;
use crate::http::endpoint::BodyRule;
use crate::http::{Endpoint, Failure};
use crate::limits::BODY_TIMEOUT;

/// The client's address, as it is counted and audited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) IpAddr);

impl FromRequestParts<App> for Client {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Failure> {
        parts.extensions.get().copied().ok_or_else(|| misconfigured("no client address in the request"))
    }
}

macro_rules! caller_with_role {
    ($(#[$doc:meta])* $name:ident, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(super) struct $name(pub(super) Caller);

        impl FromRequestParts<App> for $name {
            type Rejection = Failure;

            async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Failure> {
                let caller = parts.extensions.get::<Caller>();
                let caller = caller.ok_or_else(|| misconfigured("a row without callers wants one"))?;
                caller.require(&$allowed)?;
                Ok(Self(caller.clone()))
            }
        }
    };
}

caller_with_role! {
    /// Any member.
    Viewer, [Role::Viewer, Role::Developer, Role::Admin]
}
caller_with_role! {
    /// A member who may write.
    Developer, [Role::Developer, Role::Admin]
}

caller_with_role! {
    /// An administrator.
    Admin, [Role::Admin]
}

/// The one parameter of the path, decoded. What cannot be decoded is empty, which no parameter may be.
#[derive(Debug, Clone)]
pub(super) struct Segment(pub(super) String);

impl FromRequestParts<App> for Segment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let segment = Path::<String>::from_request_parts(parts, app).await;
        Ok(Self(segment.map(|Path(text)| text).unwrap_or_default()))
    }
}

/// The two parameters of the path, decoded. What cannot be decoded is empty, which no parameter may be.
#[derive(Debug, Clone)]
pub(super) struct Segments(pub(super) String, pub(super) String);

impl FromRequestParts<App> for Segments {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let segments = Path::<(String, String)>::from_request_parts(parts, app).await;
        let (first, second) = segments.map(|Path(texts)| texts).unwrap_or_default();
        Ok(Self(first, second))
    }
}

/// A request's body as it came: a JSON object's members.
pub(super) type Members = Map<String, Value>;

/// A body that checks itself.
pub(super) trait FromMembers: Sized {
    /// Reads and checks the body.
    ///
    /// # Errors
    /// 400 with the first rule that is broken, in the order of the API reference.
    fn from_members(members: Members) -> Result<Self, Failure>;

    /// What is told when there is no object at all.
    fn absent() -> Failure {
        Failure::bad_request("Invalid request body", "A JSON object is wanted as the request's body")
    }
}

/// A checked body.
#[derive(Debug)]
pub(super) struct Valid<T>(pub(super) T);

impl<T: FromMembers> FromRequest<App> for Valid<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _app: &App) -> Result<Self, Failure> {
        let endpoint = request.extensions().get::<Arc<Endpoint>>().cloned();
        let endpoint = endpoint.ok_or_else(|| misconfigured("no endpoint in the request"))?;
        let bytes = gather(request.into_body(), endpoint.body_bytes_max, BODY_TIMEOUT).await?;
        let members = if bytes.is_empty() {
            if endpoint.body == BodyRule::Required {
                return Err(T::absent());
            }
            Members::new()
        } else {
            match serde_json::from_slice(&bytes) {
                Ok(Value::Object(members)) => members,
                Ok(_) => return Err(T::absent()),
                Err(_) => {
                    return Err(Failure::bad_request("Invalid JSON", "The request's body is not valid JSON"));
                }
            }
        };
        T::from_members(members).map(Self)
    }
}

/// A row and its handler do not fit together: a bug, which the walk over all rows would show.
fn misconfigured(what: &'static str) -> Failure {
    Failure::internal("Internal Server Error", what)
}
