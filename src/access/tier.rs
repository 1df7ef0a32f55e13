//! The rate tiers: numbers, windows and keys stand here only, and so do the headers and the refusal they lead to. The
//! counters themselves belong to the organization's actor. Source: API reference, identity 1.9.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Caller, Credential};
use crate::actors::bucket::{Quota, Verdict};
use crate::actors::buckets::{BucketKey, IngestTier, IpBuckets};
use crate::clock::UnixMs;
use crate::domain::time::IsoMs;
use crate::http::{Failure, Kind, Tier};

/// Window of every tier: one minute.
pub const WINDOW_MS: u32 = 60_000;

/// `X-RateLimit-Limit`: the tier's maximum.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// `X-RateLimit-Remaining`: requests left.
pub const RATE_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// `X-RateLimit-Reset`: end of the window, ISO 8601.
pub const RATE_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The number of each tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiers {
    /// Of [`Tier::Auth`].
    pub auth: Quota,
    /// Of [`Tier::Api`].
    pub api: Quota,
    /// Of [`Tier::Strict`].
    pub strict: Quota,
    /// Of [`Tier::Monitor`].
    pub monitor: Quota,
    /// Of [`Tier::IngestEvent`].
    pub ingest_event: Quota,
    /// Of [`Tier::IngestLifecycle`].
    pub ingest_lifecycle: Quota,
    /// Ingest requests with a credential that is none: per client address, apart from the `auth` tier, so that a
    /// misconfigured CI job cannot lock people out.
    pub failed_credentials: Quota,
}

impl Default for Tiers {
    fn default() -> Self {
        let a_minute = |capacity| Quota { capacity, window_ms: WINDOW_MS };
        Self {
            auth: a_minute(5),
            api: a_minute(100),
            strict: a_minute(10),
            monitor: a_minute(60),
            ingest_event: a_minute(500),
            ingest_lifecycle: a_minute(100),
            failed_credentials: a_minute(30),
        }
    }
}

impl Tiers {
    /// Name of the counter of refused ingest credentials.
    pub const FAILED_CREDENTIALS: &'static str = "failed-credentials";

    /// How often `tier` admits.
    #[must_use]
    pub const fn quota(&self, tier: Tier) -> Quota {
        match tier {
            Tier::Auth => self.auth,
            Tier::Api => self.api,
            Tier::Strict => self.strict,
            Tier::Monitor => self.monitor,
            Tier::IngestEvent => self.ingest_event,
            Tier::IngestLifecycle => self.ingest_lifecycle,
        }
    }

    /// Which of its organization's counters a request of `caller` takes from, and how much that holds. The monitor is
    /// no caller and counts by [`Tiers::of_address`].
    #[must_use]
    pub fn of_caller(&self, tier: Tier, caller: &Caller) -> (BucketKey, Quota) {
        let ingest = |tier| match caller.credential {
            Credential::Key(key) => BucketKey::Key(key, tier),
            Credential::Token { .. } => BucketKey::Organization(tier),
        };
        let key = match tier {
            Tier::Auth => BucketKey::Auth(caller.user),
            Tier::Api | Tier::Monitor => BucketKey::Api,
            Tier::Strict => BucketKey::Strict,
            Tier::IngestEvent => ingest(IngestTier::Event),
            Tier::IngestLifecycle => ingest(IngestTier::Lifecycle),
        };
        (key, self.quota(tier))
    }

    /// Which counter of its address a request without an identity takes from, and how much that holds.
    #[must_use]
    pub const fn of_address(&self, tier: Tier) -> (&'static str, Quota) {
        (tier.name(), self.quota(tier))
    }

    /// Counts an ingest request of `ip` whose credential was refused with `failure`: what to answer instead, and where
    /// the address stands if it was counted. Good credentials of the same address pass all the same: behind one
    /// address sit many runners.
    pub fn count_failed_credential(
        &self,
        failure: Failure,
        buckets: &IpBuckets,
        ip: IpAddr,
        now_ms: UnixMs,
    ) -> (Failure, Option<Verdict>) {
        if failure.kind != Kind::Unauthenticated {
            return (failure, None);
        }
        let quota = self.failed_credentials;
        let verdict = buckets.take(Self::FAILED_CREDENTIALS, ip, quota, now_ms);
        let answer =
            if verdict.admitted { failure } else { rate_limit_exceeded(&verdict, quota.window_ms, now_ms) };
        (answer, Some(verdict))
    }
}

/// Tells the client where it stands. For every answer to a request that was counted, refusals included; with two tiers
/// the stricter one is told.
pub fn rate_headers(verdict: &Verdict, headers: &mut HeaderMap) {
    if let Some((limit, reset)) = window_headers(verdict) {
        headers.insert(RATE_LIMIT, limit);
        headers.insert(RATE_REMAINING, remaining(verdict.remaining));
        headers.insert(RATE_RESET, reset);
    }
}

/// A number as a header's value: a small one is written once for the whole process, others in memory of exactly their
/// size.
fn remaining(number: u32) -> HeaderValue {
    const SMALL: u32 = 1 << 10;
    static WRITTEN: LazyLock<Vec<HeaderValue>> =
        LazyLock::new(|| (0..SMALL).map(HeaderValue::from).collect());
    if let Some(written) = WRITTEN.get(number as usize) {
        return written.clone();
    }
    let digits = Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes());
    // Digits can stand in a header.
    HeaderValue::from_maybe_shared(digits).unwrap_or_else(|_| number.into())
}

/// Limit and end of a window. All requests of a window have the same ones, so each thread keeps the last it wrote.
fn window_headers(verdict: &Verdict) -> Option<(HeaderValue, HeaderValue)> {
    type Written = ((u32, UnixMs), (HeaderValue, HeaderValue));
    thread_local!(static LAST: RefCell<Option<Written>> = const { RefCell::new(None) });
    let of = (verdict.limit, verdict.reset_ms);
    LAST.with_borrow_mut(|last| {
        if let Some((written_of, headers)) = last
            && *written_of == of
        {
            return Some(headers.clone());
        }
        // A moment prints as digits and punctuation of ASCII.
        let reset = HeaderValue::try_from(IsoMs(verdict.reset_ms).to_string()).ok()?;
        let headers = (verdict.limit.into(), reset);
        *last = Some((of, headers.clone()));
        Some(headers)
    })
}

/// The refusal of a request that `verdict` did not admit.
#[must_use]
pub fn rate_limit_exceeded(verdict: &Verdict, window_ms: u32, now_ms: UnixMs) -> Failure {
    let wait_ms = u64::try_from(verdict.reset_ms.saturating_sub(now_ms)).unwrap_or(0);
    let wait_s = wait_ms.div_ceil(1000).max(1);
    Failure::new(
        Kind::TooManyRequests,
        "Rate limit exceeded",
        format!("Too many requests, retry in {wait_s} s"),
    )
    .retry_after(wait_s)
    .with("limit", verdict.limit)
    .with("window", window_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ApiKeyId, OrgId, UserId};
    use crate::domain::role::Role;

    #[test]
    fn the_numbers_are_the_contracts() {
        let tiers = Tiers::default();
        let all =
            [Tier::Auth, Tier::Api, Tier::Strict, Tier::Monitor, Tier::IngestEvent, Tier::IngestLifecycle];
        let numbers = all.map(|tier| (tier.name(), tiers.quota(tier).capacity, tiers.quota(tier).window_ms));
        let expected = [
            ("auth", 5, 60_000),
            ("api", 100, 60_000),
            ("strict", 10, 60_000),
            ("monitor", 60, 60_000),
            ("ingest-event", 500, 60_000),
            ("ingest-lifecycle", 100, 60_000),
        ];
        assert_eq!(numbers, expected);
        assert_eq!(tiers.failed_credentials.capacity, 30);
    }

    #[test]
    fn each_tier_counts_what_the_contract_says() {
        let tiers = Tiers::default();
        let (key, user) = (ApiKeyId::generate(1), UserId::generate(1));
        let caller = |credential| Caller { org: OrgId::generate(1), user, role: Role::Developer, credential };
        let token = Credential::Token { id: "t".into(), expires_ms: 1, credentials_from_ms: 0 };
        let (by_key, by_token) = (caller(Credential::Key(key)), caller(token));
        let check = |tier, caller, expected| assert_eq!(tiers.of_caller(tier, caller).0, expected);
        check(Tier::IngestEvent, &by_key, BucketKey::Key(key, IngestTier::Event));
        check(Tier::IngestLifecycle, &by_key, BucketKey::Key(key, IngestTier::Lifecycle));
        check(Tier::IngestEvent, &by_token, BucketKey::Organization(IngestTier::Event));
        check(Tier::IngestLifecycle, &by_token, BucketKey::Organization(IngestTier::Lifecycle));
        for caller in [&by_key, &by_token] {
            check(Tier::Api, caller, BucketKey::Api);
            check(Tier::Strict, caller, BucketKey::Strict);
            check(Tier::Auth, caller, BucketKey::Auth(user));
        }
        assert_eq!(tiers.of_address(Tier::Auth), ("auth", Quota { capacity: 5, window_ms: 60_000 }));
    }

    #[test]
    fn the_31st_refused_credential_of_an_address_is_told_to_wait() {
        let (tiers, buckets) = (Tiers::default(), IpBuckets::default());
        let ip = IpAddr::from([192, 0, 2, 1]);
        let count = |kind, now_ms| {
            let failure = Failure::new(kind, "Invalid API key", "no");
            let (answer, verdict) = tiers.count_failed_credential(failure, &buckets, ip, now_ms);
            (answer.error.into_owned(), verdict.map(|verdict| verdict.remaining))
        };
        for left in (0..30).rev() {
            assert_eq!(count(Kind::Unauthenticated, 1_000), ("Invalid API key".to_owned(), Some(left)));
        }
        assert_eq!(count(Kind::Unauthenticated, 60_999), ("Rate limit exceeded".to_owned(), Some(0)));
        assert_eq!(count(Kind::Unavailable, 60_999), ("Invalid API key".to_owned(), None), "not counted");
        assert_eq!(count(Kind::Unauthenticated, 61_000), ("Invalid API key".to_owned(), Some(29)));
        assert!(buckets.take("auth", ip, tiers.auth, 60_999).admitted, "people still log in");
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let reset_ms = 1_774_000_037_000;
        let verdict = Verdict { admitted: false, limit: 100, remaining: 0, reset_ms };
        let body = |now_ms| {
            let failure = rate_limit_exceeded(&verdict, 60_000, now_ms);
            let body = serde_json::from_slice::<serde_json::Value>(&failure.body()).unwrap();
            (failure.response::<Vec<u8>>().headers()["retry-after"].to_str().unwrap().to_owned(), body)
        };
        let expected = serde_json::json!({
            "success": false, "error": "Rate limit exceeded", "message": "Too many requests, retry in 37 s",
            "retryAfter": 37, "limit": 100, "window": 60_000,
        });
        assert_eq!(body(1_774_000_000_000), ("37".to_owned(), expected));
        assert_eq!(body(1_774_000_036_001).0, "1");
        assert_eq!(body(reset_ms).0, "1", "never zero");
        assert_eq!(body(reset_ms + 5_000).0, "1");
    }

    #[test]
    fn headers_tell_limit_rest_and_reset() {
        let mut headers = HeaderMap::new();
        let verdict = Verdict { admitted: true, limit: 500, remaining: 499, reset_ms: 1_774_000_037_250 };
        rate_headers(&verdict, &mut headers);
        let told =
            ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"].map(|name| &headers[name]);
        assert_eq!(told, ["500", "499", "2026-03-20T09:47:17.250Z"]);
    }
}
