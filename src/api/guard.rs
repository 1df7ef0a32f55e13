//! What happens to every request before its handler, in the order of the API reference (identity 1.10): body size and
//! media type, credential, `api` tier, role, the stricter tier. The handler's arguments then check the JSON, the handler
//! itself the path and the rest. Every answer to a counted request tells where its client stands.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, header};
use http_body::Body as _;
use tracing::Instrument;

use super::App;
use super::extract::Client;
use crate::access::{Accept, Caller, Presented, client_address, rate_headers, rate_limit_exceeded, the_one};
use crate::actors::bucket::{Quota, Verdict};
use crate::domain::role::Role;
use crate::http::body::{Discarding, discard, too_large};
use crate::http::endpoint::BodyRule;
use crate::http::{Callers, Endpoint, Failure, Kind, Peer, Tier};
use crate::limits::BODY_TIMEOUT;
use crate::telemetry;

/// Where a monitor presents its secret.
const MONITOR_SECRET: HeaderName = HeaderName::from_static("x-agnox-monitor-secret");

/// The guard of one row.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) app: App,
    pub(super) endpoint: Arc<Endpoint>,
}

/// Lets a request through to its handler, or answers it.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let span = tracing::info_span!("endpoint", id = guard.endpoint.id);
    guard.answer(request, next).instrument(span).await
}

/// Where the client stands in the strictest tier its request was counted in.
type Standing = Option<Verdict>;

impl Guard {
    async fn answer(&self, mut request: Request, next: Next) -> Response {
        let mut standing = Standing::None;
        let mut response = match self.admit(&mut request, &mut standing).await {
            Ok(()) => next.run(request).await,
            Err(failure) => {
                let failure = match self.endpoint.failure_member {
                    Some((name, value)) => failure.with(name, value),
                    None => failure,
                };
                let response = failure.into_response();
                if !request.headers().contains_key(header::EXPECT) {
                    // What the client does wrong here is nothing new: it has its answer.
                    let _incomplete = discard(request.into_body(), &Discarding::DEFAULT).await;
                }
                response
            }
        };
        if let Some(verdict) = standing {
            rate_headers(&verdict, response.headers_mut());
        }
        response
    }

    async fn admit(&self, request: &mut Request, standing: &mut Standing) -> Result<(), Failure> {
        self.check_body(request)?;
        let client = self.client(request)?;
        match self.endpoint.callers {
            Callers::Public => {
                if let Some(tier) = self.endpoint.tier {
                    self.count_address(tier, client, standing)?;
                }
            }
            Callers::Secret => {
                self.count_address(Tier::Monitor, client, standing)?;
                self.check_secret(request.headers())?;
            }
            Callers::Token(least) => {
                let caller = self.app.access.identify(request.headers(), Accept::TokenOnly).await?;
                self.check_caller(&caller, least, standing)?;
                request.extensions_mut().insert(caller);
            }
            Callers::TokenOrKey(least) => {
                let caller = self.app.access.identify(request.headers(), Accept::TokenOrKey).await?;
                self.check_caller(&caller, least, standing)?;
                request.extensions_mut().insert(caller);
            }
        }
        request.extensions_mut().insert(Client(client));
        request.extensions_mut().insert(Arc::clone(&self.endpoint));
        if self.endpoint.body == BodyRule::Unused {
            let body = std::mem::take(request.body_mut());
            let bytes_max = self.endpoint.body_bytes_max;
            discard(body, &Discarding { bytes_max, pause_max: BODY_TIMEOUT, time: BODY_TIMEOUT }).await?;
        }
        Ok(())
    }

    /// Size as far as it is announced, and media type. A body without a length is counted as it comes.
    fn check_body(&self, request: &Request) -> Result<(), Failure> {
        if request.body().is_end_stream() {
            return Ok(());
        }
        let bytes = request.body().size_hint().lower();
        if usize::try_from(bytes).is_ok_and(|bytes| bytes <= self.endpoint.body_bytes_max) {
            check_media_type(request.headers())
        } else {
            Err(too_large(self.endpoint.body_bytes_max))
        }
    }

    fn client(&self, request: &Request) -> Result<IpAddr, Failure> {
        let peer = request.extensions().get::<Peer>();
        let Peer(peer) =
            peer.ok_or_else(|| Failure::internal("Internal Server Error", "no peer in the request"))?;
        Ok(client_address(peer.ip(), request.headers(), &self.app.access.settings().trusted_proxies))
    }

    fn check_secret(&self, headers: &HeaderMap) -> Result<(), Failure> {
        match (&self.app.settings.monitor_secret, the_one(headers, &MONITOR_SECRET)) {
            (Some(secret), Presented::One(presented)) if secret.matches(presented) => Ok(()),
            _ => {
                let message = "The monitor's secret is missing or wrong";
                Err(Failure::new(Kind::Unauthenticated, "Unauthorized", message))
            }
        }
    }

    fn check_caller(&self, caller: &Caller, least: Role, standing: &mut Standing) -> Result<(), Failure> {
        let stricter = self.endpoint.tier.filter(|tier| *tier != Tier::Api);
        if self.endpoint.tier.is_some() {
            self.count_caller(Tier::Api, caller, standing)?;
        }
        caller.require(at_least(least))?;
        match stricter {
            Some(tier) => self.count_caller(tier, caller, standing),
            None => Ok(()),
        }
    }

    fn count_caller(&self, tier: Tier, caller: &Caller, standing: &mut Standing) -> Result<(), Failure> {
        let (key, quota) = self.app.access.settings().tiers.of_caller(tier, caller);
        let verdict = self.app.engine.buckets(caller.org).take(key, quota, self.app.now_ms());
        self.judge(tier, verdict, quota, standing)
    }

    fn count_address(&self, tier: Tier, client: IpAddr, standing: &mut Standing) -> Result<(), Failure> {
        let (name, quota) = self.app.access.settings().tiers.of_address(tier);
        let verdict = self.app.engine.public_buckets().take(name, client, quota, self.app.now_ms());
        self.judge(tier, verdict, quota, standing)
    }

    fn judge(
        &self,
        tier: Tier,
        verdict: Verdict,
        quota: Quota,
        standing: &mut Standing,
    ) -> Result<(), Failure> {
        *standing = Some(verdict);
        if verdict.admitted {
            return Ok(());
        }
        metrics::counter!(telemetry::name::RATE_LIMITED, "tier" => tier.name()).increment(1);
        Err(rate_limit_exceeded(&verdict, quota.window_ms, self.app.now_ms()))
    }
}

/// The roles from `least` on.
const fn at_least(least: Role) -> &'static [Role] {
    match least {
        Role::Viewer => &[Role::Viewer, Role::Developer, Role::Admin],
        Role::Developer => &[Role::Developer, Role::Admin],
        Role::Admin => &[Role::Admin],
    }
}

/// A body must be JSON, and not compressed.
fn check_media_type(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or_default());
    let media_type = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    let plain = text(header::CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
    if plain && media_type.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "The request's body must be application/json, not compressed";
    Err(Failure::new(Kind::UnsupportedMediaType, "Unsupported media type", message))
}
