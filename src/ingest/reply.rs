//! The answers of this door when all is well. Source: API reference, ingest 2 to 4; product E1.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::{Applied, Opened, TornDown};
use crate::http::envelope;
use crate::http::{Failure, JSON_CONTENT_TYPE, Outgoing};
use crate::limits;

/// What this server understands beyond the contract: batch numbers chosen by the client.
const FEATURES: [&str; 1] = ["batch-seq"];

/// Headers that an answer has in the end: room for them is made once.
const HEADERS_EXPECTED: usize = 12;
/// A request's map of headers with more room than this is not kept for others.
const HEADERS_KEPT: usize = 48;

/// What a setup gives.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetupReply {
    /// The session to send events to.
    session_id: String,
    /// The run.
    task_id: String,
    /// Its cycle.
    cycle_id: String,
    /// What the server understands beyond the contract.
    features: &'static [&'static str],
    /// What a reporter should keep to.
    limits: ReporterLimits,
    /// The page of the run, for people.
    url: String,
}

/// What a reporter should keep to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReporterLimits {
    /// Events in one request.
    events_per_batch: usize,
    /// Bytes of an event request's body.
    body_bytes: usize,
    /// Event requests a minute.
    event_requests_per_minute: u64,
}

impl SetupReply {
    /// What to tell of a run that was opened; `page` is where the pages of runs stand.
    pub(super) fn new(opened: &Opened, event_requests_per_minute: u64, page: &str) -> Self {
        Self {
            session_id: opened.session.to_string(),
            task_id: opened.task.to_string(),
            cycle_id: opened.cycle.to_string(),
            features: &FEATURES,
            limits: ReporterLimits {
                events_per_batch: limits::EVENTS_PER_BATCH_MAX,
                body_bytes: limits::EVENT_BODY_BYTES_MAX,
                event_requests_per_minute,
            },
            url: format!("{page}/ui/runs/{}", opened.task),
        }
    }
}

/// The answer to a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventAnswer {
    /// Only when something of it was cut or skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    data: Option<EventReply>,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventReply {
    /// Events stored.
    accepted: u32,
    /// Of these, events that were cut.
    truncated: u32,
    /// Events that could not be used.
    rejected: u32,
}

/// The answer to a batch. The usual one is always the same bytes.
pub(super) fn event(applied: Applied) -> Result<Response<Outgoing>, Failure> {
    let Applied { accepted, truncated, rejected, .. } = applied;
    if truncated > 0 || rejected > 0 {
        let told = EventReply { accepted, truncated, rejected };
        return envelope::success(StatusCode::OK, &EventAnswer { data: Some(told) });
    }
    // Its headers come with their room.
    Ok(Response::new(Bytes::from_static(br#"{"success":true}"#).into()))
}

/// Gives the usual answer its content type, in the map that held the request's headers: hyper reads the connection's next
/// request into the map of an answer, so that one map goes to and fro for as long as the connection lives.
pub(super) fn give_room(response: &mut Response<Outgoing>, request: &mut HeaderMap) {
    if !response.headers().is_empty() {
        return;
    }
    let mut headers = std::mem::take(request);
    if headers.capacity() > HEADERS_KEPT {
        headers = HeaderMap::new();
    }
    headers.clear();
    headers.reserve(HEADERS_EXPECTED);
    headers.insert(http::header::CONTENT_TYPE, JSON_CONTENT_TYPE);
    *response.headers_mut() = headers;
}

/// What a teardown gives; flat and under `data`, since clients know either.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeardownReply {
    /// The effective status.
    status: &'static str,
    /// For people.
    message: &'static str,
    /// The same for newer clients.
    data: TeardownData,
}

/// The run and its effective status.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TeardownData {
    /// The run.
    task_id: String,
    /// The effective status, after the quality gate.
    status: &'static str,
}

/// The answer to a teardown.
pub(super) fn teardown(done: &TornDown) -> Result<Response<Outgoing>, Failure> {
    let status = done.status.as_str();
    let data = TeardownData { task_id: done.task.to_string(), status };
    envelope::success(StatusCode::OK, &TeardownReply { status, message: "Execution completed.", data })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::execution::Status;
    use crate::domain::id::{CycleId, ExecutionId, SessionId, TaskId};

    async fn body(response: Result<Response<Outgoing>, Failure>) -> Value {
        let mut response = response.unwrap();
        give_room(&mut response, &mut HeaderMap::new());
        assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_batch_is_told_of_only_if_something_was_lost() {
        let applied = |truncated, rejected| Applied { accepted: 48, truncated, rejected, replayed: false };
        assert_eq!(body(event(applied(0, 0))).await, json!({ "success": true }));
        let data = json!({ "accepted": 48, "truncated": 1, "rejected": 1 });
        assert_eq!(body(event(applied(1, 1))).await, json!({ "success": true, "data": data }));
        assert_eq!(body(event(applied(0, 2))).await["data"]["rejected"], 2);
    }

    #[tokio::test]
    async fn a_teardown_is_told_twice() {
        let done = TornDown { task: TaskId::from("ingest-1-b1d6c0f2"), status: Status::Passed };
        let expected = json!({
            "success": true, "status": "PASSED", "message": "Execution completed.",
            "data": { "taskId": "ingest-1-b1d6c0f2", "status": "PASSED" },
        });
        assert_eq!(body(teardown(&done)).await, expected);
    }

    #[test]
    fn a_setup_tells_what_a_reporter_may_do() {
        let opened = Opened {
            session: SessionId(uuid::Uuid::nil()),
            task: TaskId::from("ingest-1-00000000"),
            cycle: CycleId::from_bytes([7; 12]),
            execution: ExecutionId::from_bytes([8; 12]),
        };
        let expected = json!({
            "sessionId": "00000000-0000-0000-0000-000000000000", "taskId": "ingest-1-00000000",
            "cycleId": "070707070707070707070707", "features": ["batch-seq"],
            "limits": { "eventsPerBatch": 1000, "bodyBytes": 16_777_216, "eventRequestsPerMinute": 500 },
            "url": "http://ci.test/base/ui/runs/ingest-1-00000000",
        });
        let reply = SetupReply::new(&opened, 500, "http://ci.test/base");
        assert_eq!(serde_json::to_value(reply).unwrap(), expected);
    }
}
