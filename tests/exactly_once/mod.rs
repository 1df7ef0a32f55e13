//! Nothing counts twice and nothing is lost: requests sent again after a lost answer, over a restart, at the same time;
//! and batches that only look alike. Source: API reference, ingest 7 (replay rule) and 4; product additions, E6.

mod clock;
mod numbers;
mod sockets;
mod teardown;

use http::Method;
use runstream::cli::client::{Answer, Client};
use serde_json::{Value, json};

use crate::support::stage::{Organization, Run, get};

/// The body of an event request with one line of log, and a batch number if there is one.
fn line(run: &Run, text: &str, number: Option<&str>) -> Value {
    let event = json!({ "type": "log", "chunk": text, "timestamp": 1_774_000_000_000_i64 });
    let mut body = json!({ "sessionId": run.session, "events": [event] });
    if let Some(number) = number {
        body["batch"] = number.into();
    }
    body
}

async fn event(client: &Client, body: &Value) -> Answer {
    client.call(Method::POST, "/api/ingest/event", Some(body)).await.unwrap()
}

/// Sends a body that must be answered 200.
async fn accepted(client: &Client, body: &Value) {
    let answer = event(client, body).await;
    assert_eq!(answer.status, 200, "{} for {body}", answer.body);
}

async fn text(organization: &Organization, run: &Run) -> String {
    get(&organization.member, &run.path("/logs")).await["data"]["output"].as_str().unwrap().to_owned()
}

/// Batches stored, and batches recognised.
async fn counts(organization: &Organization, run: &Run) -> (u64, u64) {
    let report = get(&organization.member, &run.path("/completeness")).await;
    let count = |name: &str| report["data"]["batches"][name].as_u64().unwrap();
    (count("stored"), count("replayed"))
}
