//! The rows of this door in the table of all endpoints: for the document and the tests that walk them. The shapes of
//! bodies here are for the document; what is taken beyond them is in `domain::setup`, `parse` and `domain::teardown`.

use http::{Method, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::{EventAnswer, SetupReply, TeardownReply};
use super::route::Route;
use crate::domain::execution::{CiContext, Delivery, Summary};
use crate::domain::role::Role;
use crate::http::envelope::Data;
use crate::http::{Callers, Endpoint};

/// Opens a run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetupBody {
    /// Project, 24 hexadecimal characters.
    pub project_id: String,
    /// Name of the run, at most 200 characters.
    pub run_name: Option<String>,
    /// `playwright`, `jest`, `vitest`, `cypress` or any other lower-case identifier.
    pub framework: String,
    /// Version of the reporter.
    pub reporter_version: String,
    /// Tests that will be run, at most 100 000.
    pub total_tests: u32,
    /// `development`, `staging` or `production`.
    pub environment: Option<String>,
    /// What the CI system tells.
    pub ci_context: Option<CiContext>,
    /// Group of the run, at most 128 characters.
    pub group_name: Option<String>,
}

/// A batch of events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventBody {
    /// The session, as the setup gave it.
    pub session_id: String,
    /// `<writer>:<n>`: a batch that was applied under this number is not applied again.
    pub batch: Option<String>,
    /// 1 to 1000 events, each with a `type` of `log`, `test-begin`, `test-end` or `status`.
    pub events: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// Ends a run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TeardownBody {
    /// The session.
    pub session_id: String,
    /// `PASSED` or `FAILED`.
    pub status: String,
    /// What the reporter counted.
    pub summary: Summary,
    /// What the reporter says of its own delivery.
    pub delivery: Option<Delivery>,
}

/// The rows.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let row = |route: Route, id| {
        let callers = Callers::TokenOrKey(Role::Developer);
        Endpoint::new(Method::POST, route.path(), callers, Some(route.tier()), id)
            .up_to(route.body_bytes_max())
            .fails([
                (StatusCode::BAD_REQUEST, route.invalid()),
                (StatusCode::INTERNAL_SERVER_ERROR, route.fault()),
                (StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"),
            ])
    };
    let no_session = [(StatusCode::NOT_FOUND, "Session not found or expired")];
    vec![
        row(Route::Setup, "setup_ingest")
            .about("Opens a run and a session to feed it")
            .takes::<SetupBody>()
            .gives::<Data<SetupReply>>(StatusCode::CREATED)
            .fails([
                (StatusCode::FORBIDDEN, "Project not found or access denied"),
                (StatusCode::TOO_MANY_REQUESTS, "Test run limit exceeded"),
                (StatusCode::TOO_MANY_REQUESTS, "Storage limit exceeded"),
            ]),
        row(Route::Event, "ingest_events")
            .about("Stores a batch of events; answered when it is durable")
            .takes::<EventBody>()
            .gives::<EventAnswer>(StatusCode::OK)
            .fails(no_session),
        row(Route::Teardown, "teardown_ingest")
            .about("Ends a session and with it its run")
            .takes::<TeardownBody>()
            .gives::<TeardownReply>(StatusCode::OK)
            .fails(no_session),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_row() {
        let rows = endpoints();
        let paths: Vec<_> = rows.iter().map(|row| (row.path, row.body_bytes_max)).collect();
        assert_eq!(paths, Route::ALL.map(|route| (route.path(), route.body_bytes_max())));
    }
}
