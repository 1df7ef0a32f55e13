//! What this door measures, with the handles made once.

use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram, counter, histogram};

use super::route::Route;
use crate::actors::Applied;
use crate::http::Tier;
use crate::telemetry::name;

/// What may become of a request, the usual first.
const OUTCOMES: [&str; 8] = [
    "accepted",
    "invalid",
    "unauthorized",
    "unknown_session",
    "unusable_body",
    "rate_limited",
    "busy",
    "failed",
];

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 | 201 => "accepted",
        400 => "invalid",
        401 | 403 => "unauthorized",
        404 => "unknown_session",
        408 | 413 | 415 => "unusable_body",
        429 => "rate_limited",
        503 => "busy",
        _ => "failed",
    }
}

/// The counters of the door.
pub(super) struct Meters {
    requests: Vec<(Route, &'static str, Counter)>,
    events_stored: Counter,
    events_cut: Counter,
    events_rejected: Counter,
    bytes_stored: Counter,
    bytes_replayed: Counter,
    bytes_refused: Counter,
    replayed: Counter,
    ack: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        let events = |outcome| counter!(name::INGEST_EVENTS, "outcome" => outcome);
        let bytes = |outcome| counter!(name::INGEST_BYTES, "outcome" => outcome);
        let request = |route: Route, outcome| {
            let counter = counter!(name::INGEST_REQUESTS, "endpoint" => route.name(), "outcome" => outcome);
            (route, outcome, counter)
        };
        // Event requests first: they are looked for most.
        let routes = [Route::Event, Route::Setup, Route::Teardown];
        let requests = routes.into_iter().flat_map(|route| OUTCOMES.map(|outcome| request(route, outcome)));
        Self {
            requests: requests.collect(),
            events_stored: events("stored"),
            events_cut: events("cut"),
            events_rejected: events("rejected"),
            bytes_stored: bytes("stored"),
            bytes_replayed: bytes("replayed"),
            bytes_refused: bytes("refused"),
            replayed: counter!(name::INGEST_REPLAYED),
            ack: histogram!(name::INGEST_ACK_SECONDS),
        }
    }

    /// A request was answered.
    pub(super) fn answered(&self, route: Route, status: StatusCode, took: Duration) {
        let outcome = outcome(status);
        let counted = self.requests.iter().find(|(of, name, _)| (*of, *name) == (route, outcome));
        if let Some((_, _, counter)) = counted {
            counter.increment(1);
        }
        if status.is_success() {
            self.ack.record(took);
        } else {
            counter!(name::INGEST_REFUSED, "reason" => outcome).increment(1);
        }
    }

    /// A batch of `bytes` was applied or recognised.
    pub(super) fn applied(&self, applied: Applied, bytes: usize) {
        if applied.replayed {
            self.replayed.increment(1);
            self.bytes_replayed.increment(bytes as u64);
            return;
        }
        self.bytes_stored.increment(bytes as u64);
        self.events_stored.increment(applied.accepted.into());
        self.events_cut.increment(applied.truncated.into());
        self.events_rejected.increment(applied.rejected.into());
    }

    /// A batch of `bytes` was read and not stored.
    pub(super) fn refused(&self, bytes: usize) {
        self.bytes_refused.increment(bytes as u64);
    }

    /// A request was over its tier.
    pub(super) fn over_tier(tier: Tier) {
        counter!(name::RATE_LIMITED, "tier" => tier.name()).increment(1);
    }
}
