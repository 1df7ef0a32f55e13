//! A row of the endpoint table: the description and the handler. The handler's name is the operation id.

use axum::handler::Handler;
use axum::routing::{MethodRouter, on};
use http::Method;

use super::App;
use crate::http::{Callers, Endpoint, Tier};

/// One endpoint with its handler.
pub struct Route {
    /// The description.
    pub endpoint: Endpoint,
    pub(super) handler: MethodRouter<App>,
}

impl Route {
    /// Completes the description.
    #[must_use]
    pub(super) fn with(mut self, describe: impl FnOnce(Endpoint) -> Endpoint) -> Self {
        self.endpoint = describe(self.endpoint);
        self
    }
}

macro_rules! row {
    ($(#[$doc:meta])* $name:ident, $method:ident) => {
        $(#[$doc])*
        pub(super) fn $name<H, T>(
            path: &'static str,
            callers: Callers,
            tier: impl Into<Option<Tier>>,
            handler: H,
        ) -> Route
        where
            H: Handler<T, App>,
            T: 'static,
        {
            let endpoint = Endpoint::new(Method::$method, path, callers, tier.into(), name_of::<H>());
            Route { endpoint, handler: on(axum::routing::MethodFilter::$method, handler) }
        }
    };
}

row! {
    /// A row that reads; `HEAD` is answered too.
    get, GET
}
row! {
    /// A row that creates or acts.
    post, POST
}
row! {
    /// A row that changes parts.
    patch, PATCH
}
row! {
    /// A row that replaces or changes.
    put, PUT
}
row! {
    /// A row that removes.
    delete, DELETE
}

/// The name of a function by its type: `sign_up` of `runstream::api::auth::handlers::sign_up`. The locked API
/// document would show it if a compiler ever named it otherwise.
fn name_of<H>() -> &'static str {
    let path = std::any::type_name::<H>();
    path.rsplit("::").next().unwrap_or(path)
}
