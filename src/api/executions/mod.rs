//! Category `executions`: reading runs. `read` holds the answers, `model` what is asked and answered, `live` the stream
//! of a run's text. Source: API reference, executions 1 to 3.

mod live;
mod model;
mod read;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub(super) use self::live::LiveStreams;
use self::live::{LiveDeps, Wanted};
use self::model::{ExecutionDetail, ExecutionList, ExecutionStatus, LogText, TestList, position};
use self::read::Runs;
use super::App;
use super::extract::{Segment, Viewer};
use super::reply::{Reply, ok};
use super::route::{Route, get};
use crate::domain::role::Role;
use crate::domain::view::CompletenessView;
use crate::http::envelope::Data;
use crate::http::{Body, Callers, Failure, Query, Tier};

const ANYBODY: Callers = Callers::TokenOrKey(Role::Viewer);
const UNKNOWN: (StatusCode, &str) = (StatusCode::NOT_FOUND, "Execution not found");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The rows of this category.
pub(super) fn endpoints() -> Vec<Route> {
    vec![
        get("/api/executions", ANYBODY, Tier::Api, list_executions).with(|row| {
            row.about("Runs, newest first, without their log text")
                .asks("limit", "Runs per page, 1 to 100")
                .asks("offset", "Runs to skip")
                .asks("status", "Any of these statuses, separated by commas, in any case")
                .asks("environment", "Environment, whole, in any case")
                .asks("startAfter", "Runs started at this moment or later")
                .asks("startBefore", "Runs started on this day or earlier, UTC")
                .asks("groupName", "Group, exactly")
                .asks("source", "`agnox-hosted` or `external-ci`")
                .asks("projectId", "Project; `project` means the same")
                .gives::<Data<ExecutionList>>(StatusCode::OK)
                .fails([
                    (StatusCode::BAD_REQUEST, "Invalid startAfter"),
                    (StatusCode::BAD_REQUEST, "Invalid startBefore"),
                    (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch executions"),
                ])
        }),
        get("/api/executions/{taskId}", ANYBODY, Tier::Api, get_execution).with(|row| {
            row.about("One run with its results, its log text so far, and its completeness")
                .gives::<Data<ExecutionDetail>>(StatusCode::OK)
                .fails([UNKNOWN, (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch execution")])
        }),
        get("/api/executions/{taskId}/status", ANYBODY, Tier::Api, get_execution_status).with(|row| {
            row.about("A run's status, after the quality gate; for polling")
                .gives::<Data<ExecutionStatus>>(StatusCode::OK)
                .fails([UNKNOWN, (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch execution")])
        }),
        get("/api/executions/{taskId}/logs", ANYBODY, Tier::Api, get_execution_logs).with(|row| {
            row.about("A run's log text so far; whole, or a part of it")
                .asks("from", "Offset in UTF-16 units; the answer then tells `from` and `next`")
                .asks("limit", "UTF-16 units at most, about; the answer then tells `from` and `next`")
                .gives::<Data<LogText>>(StatusCode::OK)
                .fails([
                    (StatusCode::BAD_REQUEST, "Invalid from"),
                    UNKNOWN,
                    (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch logs"),
                ])
        }),
        get("/api/executions/{taskId}/tests", ANYBODY, Tier::Api, list_execution_tests).with(|row| {
            row.about("A run's results by position, while it runs and afterwards")
                .asks("after", "Results whose last attempt is later than this position")
                .asks("limit", "Results per page, 1 to 1000")
                .gives::<Data<TestList>>(StatusCode::OK)
                .fails([
                    (StatusCode::BAD_REQUEST, "Invalid after"),
                    UNKNOWN,
                    (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch tests"),
                ])
        }),
        get("/api/executions/{taskId}/completeness", ANYBODY, Tier::Api, get_execution_completeness).with(|row| {
            row.about("What a run sent and what became of it")
                .gives::<Data<CompletenessView>>(StatusCode::OK)
                .fails([UNKNOWN, (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch completeness")])
        }),
        get("/api/executions/{taskId}/live", ANYBODY, Tier::Api, follow_execution).with(|row| {
            row.about("A run's log text as server-sent events: all of it, then what arrives; events log, status, end")
                .asks("from", "Offset in UTF-16 units to begin at; the header Last-Event-ID wins over it")
                .gives_media("text/event-stream")
                .fails([
                    (StatusCode::BAD_REQUEST, "Invalid from"),
                    (StatusCode::BAD_REQUEST, "Invalid Last-Event-ID"),
                    UNKNOWN,
                    (StatusCode::TOO_MANY_REQUESTS, "Too many live streams"),
                    (StatusCode::INTERNAL_SERVER_ERROR, "Failed to fetch logs"),
                ])
        }),
    ]
}

fn runs(app: &App) -> Runs {
    Runs { store: app.store.clone(), engine: app.engine.clone() }
}

async fn list_executions(
    Viewer(caller): Viewer,
    RawQuery(query): RawQuery,
    State(app): State<App>,
) -> Reply<Data<ExecutionList>> {
    let data = runs(&app).list(caller.org, &Query::parse(query.as_deref())).await?;
    Ok(ok(Data { data }))
}

async fn get_execution(
    Viewer(caller): Viewer,
    Segment(task): Segment,
    State(app): State<App>,
) -> Reply<Data<ExecutionDetail>> {
    let data = runs(&app).detail(caller.org, &task).await?;
    Ok(ok(Data { data }))
}

async fn get_execution_status(
    Viewer(caller): Viewer,
    Segment(task): Segment,
    State(app): State<App>,
) -> Reply<Data<ExecutionStatus>> {
    let data = runs(&app).status(caller.org, &task).await?;
    Ok(ok(Data { data }))
}

async fn get_execution_logs(
    Viewer(caller): Viewer,
    Segment(task): Segment,
    RawQuery(query): RawQuery,
    State(app): State<App>,
) -> Reply<Data<LogText>> {
    let data = runs(&app).logs(caller.org, &task, &Query::parse(query.as_deref())).await?;
    Ok(ok(Data { data }))
}

async fn list_execution_tests(
    Viewer(caller): Viewer,
    Segment(task): Segment,
    RawQuery(query): RawQuery,
    State(app): State<App>,
) -> Reply<Data<TestList>> {
    let data = runs(&app).tests(caller.org, &task, &Query::parse(query.as_deref())).await?;
    Ok(ok(Data { data }))
}

async fn get_execution_completeness(
    Viewer(caller): Viewer,
    Segment(task): Segment,
    State(app): State<App>,
) -> Reply<Data<CompletenessView>> {
    let data = runs(&app).completeness(caller.org, &task).await?;
    Ok(ok(Data { data }))
}

async fn follow_execution(
    Viewer(caller): Viewer,
    Segment(task): Segment,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    State(app): State<App>,
) -> Result<Response, Failure> {
    let query = Query::parse(query.as_deref());
    let from = position(query.get("from"), "Invalid from")?;
    let last =
        headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?")).filter(|id| !id.is_empty());
    let from = position(last, "Invalid Last-Event-ID")?.or(from).unwrap_or(0);
    let runs = runs(&app);
    let execution = runs.find(caller.org, &task, "Failed to fetch logs").await?;
    let wanted = Wanted { caller, execution: execution.id, task: execution.task_id, from };
    let deps =
        LiveDeps { runs, access: app.access.clone(), clock: app.clock.clone(), streams: app.streams.clone() };
    let mut response = Response::new(Body::from_stream(live::follow(deps, wanted).await?));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies of one well-known kind hold back what they take for a page, unless told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
