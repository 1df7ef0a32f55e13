//! The headers of every answer: what browsers must and must not do with it, and who may read it from another origin.
//! The server applies them to the answers of all doors, failures included. Source: API reference, identity 1.7 and 1.8.

use std::collections::HashSet;

use http::header::{self, Entry, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};

/// What an operator decides about the headers.
#[derive(Debug, Clone)]
pub struct HeaderSettings {
    /// Whether the deployment is reached over TLS only, so that browsers are told to insist on it.
    pub production: bool,
    /// Origins that may call from a browser, as `https://dash.example.com`. There is no wildcard.
    pub origins: Vec<String>,
}

impl Default for HeaderSettings {
    fn default() -> Self {
        let origins = ["http://localhost:8080", "http://localhost:5173", "http://localhost:3000"];
        Self { production: false, origins: origins.map(str::to_owned).into() }
    }
}

/// A configured origin that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an origin: scheme://host[:port] without a path is wanted, and no wildcard")]
pub struct NotAnOrigin(String);

/// The headers of every answer, prepared.
#[derive(Debug, Clone)]
pub struct CommonHeaders {
    security: HeaderMap,
    origins: HashSet<HeaderValue>,
}

const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const EXPOSED: &str = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After";
const METHODS: &str = "GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS";
/// What the contract allows, and the header with which a viewer of `/live` continues where it was cut off.
const REQUEST_HEADERS: &str = "authorization, content-type, x-api-key, last-event-id";
/// How long a browser may remember a preflight; seconds.
const PREFLIGHT_MAX_AGE: &str = "600";

impl CommonHeaders {
    /// Prepares the headers.
    ///
    /// # Errors
    /// The first configured origin that is none.
    pub fn new(settings: &HeaderSettings) -> Result<Self, NotAnOrigin> {
        let mut security = HeaderMap::new();
        let fixed = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "strict-origin-when-cross-origin"),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        ];
        security.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        if settings.production {
            let value = HeaderValue::from_static("max-age=31536000; includeSubDomains; preload");
            security.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
        let origins = settings.origins.iter().map(|origin| check_origin(origin)).collect::<Result<_, _>>()?;
        Ok(Self { security, origins })
    }

    /// The part that does not depend on the request.
    #[must_use]
    pub fn security(&self) -> &HeaderMap {
        &self.security
    }

    /// Whether browsers of this origin may call; the same list counts for Socket.IO.
    #[must_use]
    pub fn allows_origin(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin)
    }

    /// The answer to a CORS preflight, or `None` if the request is none. An origin that is not allowed gets the same
    /// status without the permission: it is the browser that blocks.
    pub fn preflight<B: Default>(&self, method: &Method, request: &HeaderMap) -> Option<Response<B>> {
        if *method != Method::OPTIONS || !request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let origin = request.get(header::ORIGIN)?;
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.allows_origin(origin) {
            let permission = [
                (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
                (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE),
            ];
            let permission = permission.map(|(name, value)| (name, HeaderValue::from_static(value)));
            response.headers_mut().extend(permission);
        }
        Some(response)
    }

    /// Adds the common headers to an answer; `origin` is the request's `Origin`. What a door has set stays, except that
    /// CORS headers are this function's alone.
    pub fn dress(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        for (name, value) in &self.security {
            answer.entry(name).or_insert_with(|| value.clone());
        }
        // Also without an origin: a cache must not hand this answer to a page of an allowed one.
        append_vary_origin(answer);
        for name in [header::ACCESS_CONTROL_ALLOW_ORIGIN, header::ACCESS_CONTROL_ALLOW_CREDENTIALS] {
            answer.remove(name);
        }
        let Some(origin) = origin.filter(|origin| self.allows_origin(origin)) else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Marks an answer that carries a credential: no cache may keep it.
pub fn forbid_caching(answer: &mut HeaderMap) {
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn append_vary_origin(answer: &mut HeaderMap) {
    let names_origin = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(',').any(|name| name.trim().eq_ignore_ascii_case("origin"))
    };
    let origin = HeaderValue::from_static("Origin");
    match answer.entry(header::VARY) {
        Entry::Vacant(place) => {
            place.insert(origin);
        }
        Entry::Occupied(mut named) => {
            if !named.iter().any(names_origin) {
                named.append(origin);
            }
        }
    }
}

/// An origin exactly as a browser writes it.
fn check_origin(origin: &str) -> Result<HeaderValue, NotAnOrigin> {
    let wrong = || NotAnOrigin(origin.to_owned());
    let url = url::Url::parse(origin).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.origin().ascii_serialization() != origin {
        return Err(wrong());
    }
    HeaderValue::from_str(origin).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn common(production: bool) -> CommonHeaders {
        CommonHeaders::new(&HeaderSettings { production, ..HeaderSettings::default() }).unwrap()
    }

    fn dressed(origin: Option<&'static str>) -> HeaderMap {
        let mut answer = HeaderMap::new();
        common(false).dress(origin.map(HeaderValue::from_static).as_ref(), &mut answer);
        answer
    }

    #[test]
    fn every_answer_has_the_security_headers_and_production_insists_on_tls() {
        let answer = dressed(None);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
        ] {
            assert_eq!(answer[name], value);
        }
        let policy = answer["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self' data:",
            "connect-src 'self'",
        ] {
            assert!(policy.split("; ").any(|directive| directive == part), "{part} is not in {policy}");
        }
        assert!(!answer.contains_key("strict-transport-security"));
        assert_eq!(
            common(true).security()["strict-transport-security"],
            "max-age=31536000; includeSubDomains; preload"
        );
    }

    #[test]
    fn only_listed_origins_get_permission() {
        let answer = dressed(Some("http://localhost:5173"));
        assert_eq!(answer["access-control-allow-origin"], "http://localhost:5173");
        assert_eq!(answer["access-control-allow-credentials"], "true");
        assert_eq!(answer["vary"], "Origin");
        assert_eq!(answer["access-control-expose-headers"], EXPOSED);
        for other in [None, Some("https://evil.test"), Some("http://localhost:5173.evil.test"), Some("null")]
        {
            let answer = dressed(other);
            let cors = answer.keys().filter(|name| name.as_str().starts_with("access-control"));
            assert_eq!(cors.count(), 0, "{other:?}");
        }
    }

    #[test]
    fn a_door_keeps_its_own_headers_but_not_its_own_permission() {
        let mut answer = HeaderMap::new();
        answer.insert("x-frame-options", HeaderValue::from_static("SAMEORIGIN"));
        answer.insert("vary", HeaderValue::from_static("accept, ORIGIN"));
        answer.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        common(false).dress(None, &mut answer);
        assert_eq!(answer["x-frame-options"], "SAMEORIGIN");
        assert_eq!(answer.get_all("vary").iter().count(), 1);
        assert!(!answer.contains_key("access-control-allow-origin"));
    }

    #[test]
    fn a_preflight_is_answered_and_nothing_else_is() {
        let check = |method: Method, pairs: &[(&'static str, &'static str)]| {
            let mut request = HeaderMap::new();
            request.extend(
                pairs
                    .iter()
                    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
            );
            common(false).preflight::<Vec<u8>>(&method, &request)
        };
        let asks = ("access-control-request-method", "POST");
        let allowed = check(Method::OPTIONS, &[asks, ("origin", "http://localhost:8080")]).unwrap();
        assert_eq!(allowed.status(), 204);
        assert_eq!(allowed.headers()["access-control-allow-methods"], METHODS);
        for name in ["authorization", "content-type", "x-api-key"] {
            let names = allowed.headers()["access-control-allow-headers"].to_str().unwrap();
            assert!(names.split(", ").any(|allowed| allowed == name));
        }
        let other = check(Method::OPTIONS, &[asks, ("origin", "https://evil.test")]).unwrap();
        assert_eq!((other.status().as_u16(), other.headers().len()), (204, 0));
        assert!(check(Method::GET, &[asks, ("origin", "http://localhost:8080")]).is_none());
        assert!(check(Method::OPTIONS, &[("origin", "http://localhost:8080")]).is_none());
        assert!(check(Method::OPTIONS, &[asks]).is_none());
    }

    #[test]
    fn configured_origins_are_checked() {
        for wrong in
            ["*", "localhost:3000", "http://a.test/", "http://a.test/x", "HTTP://a.test", "ftp://a", ""]
        {
            let settings = HeaderSettings { production: false, origins: vec![wrong.to_owned()] };
            assert_eq!(CommonHeaders::new(&settings).unwrap_err(), NotAnOrigin(wrong.to_owned()));
        }
    }
}
