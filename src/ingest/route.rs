//! The three requests of this door.

use http::Method;

use crate::http::Tier;
use crate::limits;

/// Which request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST /api/ingest/setup`.
    Setup,
    /// `POST /api/ingest/event`.
    Event,
    /// `POST /api/ingest/teardown`.
    Teardown,
}

impl Route {
    /// Every route.
    pub(super) const ALL: [Self; 3] = [Self::Setup, Self::Event, Self::Teardown];

    /// The route of a request, if it is one of this door's.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.path() == path && *method == Method::POST)
    }

    /// Its path.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Setup => "/api/ingest/setup",
            Self::Event => "/api/ingest/event",
            Self::Teardown => "/api/ingest/teardown",
        }
    }

    /// Its name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Event => "event",
            Self::Teardown => "teardown",
        }
    }

    /// The tier it counts in.
    pub(super) const fn tier(self) -> Tier {
        match self {
            Self::Event => Tier::IngestEvent,
            Self::Setup | Self::Teardown => Tier::IngestLifecycle,
        }
    }

    /// Bytes of its body.
    pub(super) const fn body_bytes_max(self) -> usize {
        match self {
            Self::Event => limits::EVENT_BODY_BYTES_MAX,
            Self::Setup | Self::Teardown => limits::LIFECYCLE_BODY_BYTES_MAX,
        }
    }

    /// What is wrong when its body is not what was asked for.
    pub(super) const fn invalid(self) -> &'static str {
        match self {
            Self::Setup => "Invalid setup payload",
            Self::Event => "Invalid event batch",
            Self::Teardown => "Invalid teardown payload",
        }
    }

    /// What is wrong when the server is at fault.
    pub(super) const fn fault(self) -> &'static str {
        match self {
            Self::Setup => "Internal server error while creating ingest session",
            Self::Event => "Internal server error while storing events",
            Self::Teardown => "Internal server error during teardown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_posts_to_the_exact_paths_are_routed() {
        for route in Route::ALL {
            assert_eq!(Route::of(&Method::POST, route.path()), Some(route));
            assert_eq!(Route::of(&Method::GET, route.path()), None);
            assert_eq!(Route::of(&Method::POST, &format!("{}/", route.path())), None);
        }
        assert_eq!(Route::of(&Method::POST, "/api/ingest/"), None);
    }
}
