//! The way of a request, in the order of the contract: size and media type, credential, tier, role, then the body
//! (budget first), JSON, envelope, and what the engine says. Source: API reference, ingest 1.3.
//!
//! Every connection holds the future of its request, and it is moved and touched as a whole: what an event request that
//! goes well does not need is in boxes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body::Body as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::body::{Frames, Promised, Received, Reception, Unread};
use super::budget::{self, Budget};
use super::meters::Meters;
use super::parse::{self, EventRequest};
use super::route::Route;
use super::settings::IngestSettings;
use super::{failures, glance, reply, rollback};
use crate::access::{Accept, Access, Caller, client_address, rate_headers, rate_limit_exceeded};
use crate::actors::bucket::Verdict;
use crate::actors::buckets::BucketKey;
use crate::actors::{Delivered, Engine, EngineError, Refusal};
use crate::clock::{Clock, UnixMs};
use crate::domain::batch::Receipt;
use crate::domain::id::SessionId;
use crate::domain::role::Role;
use crate::domain::setup::SetupRequest;
use crate::domain::teardown::TeardownRequest;
use crate::http::body::{Discarding, discard};
use crate::http::envelope::{self, Data};
use crate::http::{Body, Failure, Kind, Outgoing};
use crate::limits;

/// Who may send runs.
const REPORTERS: [Role; 2] = [Role::Admin, Role::Developer];

/// The door for reporters. Cheap to clone.
#[derive(Clone)]
pub struct IngestDoor {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    access: Access,
    clock: Arc<dyn Clock>,
    settings: IngestSettings,
    reception: Reception,
    meters: Meters,
}

/// Where a request stands after it was counted.
struct Admitted {
    caller: Caller,
    verdict: Verdict,
    /// Until when it may wait: reporters give up a little later.
    deadline: Instant,
}

type Answered = Result<Response<Outgoing>, Failure>;

impl IngestDoor {
    /// A door into `engine` for whom `access` knows.
    #[must_use]
    pub fn new(engine: Engine, access: Access, clock: Arc<dyn Clock>, settings: IngestSettings) -> Self {
        let reception = Reception {
            budget: Budget::new(settings.budget_bytes, settings.budget_wait),
            timeout: settings.body_timeout,
            heavy: Semaphore::new(limits::HEAVY_BODIES_PARALLEL),
        };
        let meters = Meters::new();
        Self { inner: Arc::new(Inner { engine, access, clock, settings, reception, meters }) }
    }

    /// The byte budget, for gauges.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.inner.reception.budget
    }

    /// Whether a path is one of this door's to answer, known to it or not.
    #[must_use]
    pub fn is_below(path: &str) -> bool {
        path.starts_with("/api/ingest/")
    }

    /// Answers a request from `peer`. It always does, in the envelope.
    pub async fn answer<B>(&self, request: Request<B>, peer: IpAddr) -> Response<Outgoing>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, mut body) = request.into_parts();
        let Some(route) = Route::of(&parts.method, parts.uri.path()) else {
            return Failure::not_found("Not Found", "There is nothing at this path").response();
        };
        let begun = Instant::now();
        let (answered, verdict) = self.inner.handle(route, &mut parts, &mut body, peer).await;
        let mut response = answered.unwrap_or_else(|failure| {
            if let Some(cause) = &failure.source
                && failure.kind == Kind::Internal
            {
                tracing::error!(endpoint = route.name(), %cause, "an ingest request failed");
            }
            failure.response()
        });
        // A client that still sends while it is answered and cut off would see a broken connection and no answer. One
        // that waits to be asked for its body is simply not asked, and one that took too long has had its time.
        if !body.is_end_stream()
            && response.status() != StatusCode::REQUEST_TIMEOUT
            && !parts.headers.contains_key(header::EXPECT)
        {
            drop(Box::pin(discard(Body::new(body), &Discarding::DEFAULT)).await);
        }
        reply::give_room(&mut response, &mut parts.headers);
        if let Some(verdict) = verdict {
            rate_headers(&verdict, response.headers_mut());
        }
        self.inner.meters.answered(route, response.status(), begun.elapsed());
        response
    }
}

impl Inner {
    /// The answer, and where the caller stands if it was counted.
    async fn handle<B>(
        &self,
        route: Route,
        parts: &mut Parts,
        body: &mut B,
        peer: IpAddr,
    ) -> (Answered, Option<Verdict>)
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let promised = match Promised::of(&parts.headers, body.size_hint(), route.body_bytes_max()) {
            Ok(promised) => promised,
            Err(failure) => return (Err(failure), None),
        };
        let deadline = self.engine.deadline();
        let caller = match self.access.identify(&parts.headers, Accept::TokenOrKey).await {
            Ok(caller) => caller,
            Err(failure) => {
                let settings = self.access.settings();
                let tiers = &settings.tiers;
                let ip = client_address(peer, &parts.headers, &settings.trusted_proxies);
                let buckets = self.engine.public_buckets();
                let (failure, verdict) =
                    tiers.count_failed_credential(failure, buckets, ip, self.clock.now_ms());
                return (Err(failure), verdict);
            }
        };
        let (key, quota) = self.access.settings().tiers.of_caller(route.tier(), &caller);
        let verdict = self.engine.buckets(caller.org).take(key, quota, self.clock.now_ms());
        let mut admitted = Admitted { caller, verdict, deadline };
        let answered = self.admitted(route, parts, body, promised, &mut admitted).await;
        (answered, Some(admitted.verdict))
    }

    async fn admitted<B>(
        &self,
        route: Route,
        parts: &mut Parts,
        body: &mut B,
        promised: Promised,
        admitted: &mut Admitted,
    ) -> Answered
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let may_send = admitted.caller.require(&REPORTERS);
        // An event request over its key's limit may still be within its session's own.
        if !admitted.verdict.admitted && (route != Route::Event || may_send.is_err()) {
            return Err(self.over_tier(route, &admitted.verdict));
        }
        may_send?;
        let org = admitted.caller.org;
        let begun = Instant::now();
        let received = match self.reception.receive(org, body, promised).await {
            Ok(received) => received,
            Err(Unread::Refused(failure)) => return Err(failure),
            Err(Unread::NoRoom) => {
                if route == Route::Event && !promised.is_packed() {
                    Box::pin(self.note_lost(admitted, body)).await;
                }
                return Err(failures::busy(1));
            }
        };
        // How long the body took is up to who sends it, and has a limit of its own.
        admitted.deadline += begun.elapsed();
        match route {
            Route::Event => {
                // They lie in the connection's buffer, which is read into again once nobody holds a piece of it: that need
                // not wait for the disk.
                parts.headers.clear();
                parts.uri = Uri::default();
                self.event(admitted, received).await
            }
            Route::Setup => in_time(admitted.deadline, self.set_up(&admitted.caller, parts, &received)).await,
            Route::Teardown => in_time(admitted.deadline, self.tear_down(&admitted.caller, &received)).await,
        }
    }

    async fn event(&self, admitted: &mut Admitted, received: Received) -> Answered {
        let Received { frames, bytes, mut share } = received;
        let org = admitted.caller.org;
        let counted = if admitted.verdict.admitted {
            None
        } else {
            let session = glance::session(&frames);
            if !Box::pin(self.passes_on_its_own(admitted, session)).await {
                self.meters.refused(bytes);
                if let Some(session) = session {
                    Box::pin(self.engine.note_refused(org, session, Refusal::Tier)).await;
                }
                return Err(self.over_tier(Route::Event, &admitted.verdict));
            }
            session
        };
        let received_ms = self.clock.now_ms();
        let parsed = self.parse(frames, bytes, received_ms).await;
        let request = parsed.map_err(|refused| {
            self.meters.refused(bytes);
            failures::of_parser(refused, Route::Event.invalid())
        })?;
        let EventRequest { session, number, batch, findings, digest } = request;
        if counted != Some(session) {
            self.count_session(admitted, session);
        }
        if batch.accepted() == 0 {
            self.meters.refused(bytes);
            let known = Box::pin(self.engine.check_session(org, session)).await;
            known.map_err(|error| failures::of_engine(error, Route::Event.fault()))?;
            Box::pin(self.engine.note_refused(org, session, Refusal::Rejected)).await;
            return Err(failures::invalid(Route::Event.invalid(), findings));
        }
        budget::shrink(&mut share, batch.bytes() + limits::REQUEST_OVERHEAD_BYTES);
        let receipt = Receipt {
            received_ms,
            digest,
            nonce: rand::random(),
            body_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            number,
        };
        let delivered = Delivered { receipt, batch, permit: Some(share) };
        match self.engine.ingest_until(admitted.deadline, org, session, delivered).await {
            Ok(applied) => {
                self.meters.applied(applied, bytes);
                reply::event(applied)
            }
            Err(error) => {
                self.meters.refused(bytes);
                if matches!(error, EngineError::Busy { .. }) {
                    // Whoever is refused has waited: not for this too, if its run is not in memory.
                    let noting = self.engine.note_refused(org, session, Refusal::Pressure);
                    let _given_up = Box::pin(tokio::time::timeout(Duration::ZERO, noting)).await;
                }
                Err(failures::of_engine(error, Route::Event.fault()))
            }
        }
    }

    /// Reads a batch; a large one elsewhere, since it takes longer than others should wait.
    async fn parse(
        &self,
        frames: Frames,
        bytes: usize,
        received_ms: UnixMs,
    ) -> Result<EventRequest, parse::ParseError> {
        if bytes < limits::HEAVY_BODY_BYTES_MIN {
            return parse::events(&frames, received_ms);
        }
        let _place = self.reception.heavy.acquire().await;
        let read = tokio::task::spawn_blocking(move || parse::events(&frames, received_ms)).await;
        // A reader that panicked has not understood the body.
        read.unwrap_or(Err(parse::ParseError::NotJson))
    }

    async fn set_up(&self, caller: &Caller, parts: &Parts, received: &Received) -> Answered {
        let invalid = Route::Setup.invalid();
        let body = parse::value(&received.frames).map_err(|refused| failures::of_parser(refused, invalid))?;
        let request =
            SetupRequest::from_json(&body).map_err(|findings| failures::invalid(invalid, findings))?;
        let told = rollback::open(&self.engine, caller.org, caller.user, request).await;
        let told = told.map_err(|error| failures::of_engine(error, Route::Setup.fault()))?;
        let quota = self.access.settings().tiers.quota(Route::Event.tier());
        let a_minute = u64::from(quota.capacity) * 60_000 / u64::from(quota.window_ms.max(1));
        let page = self.public_url(&parts.headers);
        let data = reply::SetupReply::new(told.opened(), a_minute, &page);
        let response = envelope::success::<Vec<u8>, _>(StatusCode::CREATED, &Data { data })?;
        Ok(response.map(|bytes| Outgoing::Body(Body::new(rollback::Answer::new(bytes.into(), told)))))
    }

    async fn tear_down(&self, caller: &Caller, received: &Received) -> Answered {
        let invalid = Route::Teardown.invalid();
        let body = parse::value(&received.frames).map_err(|refused| failures::of_parser(refused, invalid))?;
        let request =
            TeardownRequest::from_json(&body).map_err(|findings| failures::invalid(invalid, findings))?;
        let done = self.engine.tear_down(caller.org, request).await;
        reply::teardown(&done.map_err(|error| failures::of_engine(error, Route::Teardown.fault()))?)
    }

    /// Whether an event request over its key's limit is within its session's own: as many as a key has, whatever other
    /// sessions of the key send. Sixteen parallel shards would use up one limit between them. Only a session that is
    /// there has one, or made-up names would be as good as a new key. Source: API reference, ingest 9 no. 4.
    async fn passes_on_its_own(&self, admitted: &mut Admitted, session: Option<SessionId>) -> bool {
        let Some(session) = session else { return false };
        if self.engine.check_session(admitted.caller.org, session).await.is_err() {
            return false;
        }
        let verdict = self.count_session(admitted, session);
        if verdict.admitted {
            admitted.verdict = verdict;
        }
        verdict.admitted
    }

    /// Counts an event request against its session's own limit.
    fn count_session(&self, admitted: &Admitted, session: SessionId) -> Verdict {
        let quota = self.access.settings().tiers.quota(Route::Event.tier());
        let buckets = self.engine.buckets(admitted.caller.org);
        buckets.take(BucketKey::Session(session), quota, self.clock.now_ms())
    }

    fn over_tier(&self, route: Route, verdict: &Verdict) -> Failure {
        Meters::over_tier(route.tier());
        let quota = self.access.settings().tiers.quota(route.tier());
        rate_limit_exceeded(verdict, quota.window_ms, self.clock.now_ms())
    }

    /// Finds out whose batch there was no room for, so that its run knows what it lacks.
    async fn note_lost<B>(&self, admitted: &Admitted, body: &mut B)
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(session) = glance::front(body).await {
            self.engine.note_refused(admitted.caller.org, session, Refusal::Pressure).await;
        }
    }

    /// Where people find the pages: as configured, else where the reporter found this server.
    fn public_url(&self, headers: &HeaderMap) -> String {
        if let Some(configured) = &self.settings.public_url {
            return configured.clone();
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        format!("http://{host}{}", self.settings.base_path)
    }
}

/// Refuses what is not answered by `deadline`: a setup is then taken back, a teardown goes on.
async fn in_time(deadline: Instant, answering: impl Future<Output = Answered>) -> Answered {
    Box::pin(tokio::time::timeout_at(deadline, answering)).await.unwrap_or_else(|_| Err(failures::busy(1)))
}
