//! What a reporter says when it ends a run, checked and mended. Source: API reference, ingest 4; product E7.

use serde_json::{Map, Value};

use super::execution::{Delivery, Summary};
use super::finding::Finding;
use super::id::SessionId;
use super::number;

/// A valid teardown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TeardownRequest {
    /// The session to end.
    pub session: SessionId,
    /// Whether the client says `PASSED`; otherwise it says `FAILED`.
    pub passed: bool,
    /// The client's counters.
    pub summary: Summary,
    /// The client's report on its own delivery, if it sent one.
    pub delivery: Option<Delivery>,
}

impl TeardownRequest {
    /// Checks a request body.
    ///
    /// # Errors
    /// Everything that is wrong with it and cannot be mended, in the order of the contract's table.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Finding>> {
        let Some(fields) = body.as_object() else {
            return Err(vec![Finding::new("", "must be an object")]);
        };
        let mut findings = Vec::new();
        let session = fields.get("sessionId").and_then(Value::as_str).and_then(|id| id.parse().ok());
        if session.is_none() {
            findings.push(Finding::new("sessionId", "must be a UUID"));
        }
        let passed = match fields.get("status").and_then(Value::as_str) {
            Some("PASSED") => Some(true),
            Some("FAILED") => Some(false),
            _ => {
                findings.push(Finding::new("status", "must be PASSED or FAILED"));
                None
            }
        };
        let summary = summary(fields.get("summary"), &mut findings);
        match (session, passed) {
            (Some(session), Some(passed)) if findings.is_empty() => {
                Ok(Self { session, passed, summary, delivery: delivery(fields.get("delivery")) })
            }
            _ => Err(findings),
        }
    }
}

fn summary(value: Option<&Value>, findings: &mut Vec<Finding>) -> Summary {
    let Some(counters) = value.and_then(Value::as_object) else {
        findings.push(Finding::new("summary", "must be an object"));
        return Summary::default();
    };
    let mut counter = |name: &'static str| {
        counted(counters, name).unwrap_or_else(|| {
            findings.push(Finding::new(format!("summary.{name}"), "must be a number"));
            0
        })
    };
    Summary {
        total: counter("total"),
        passed: counter("passed"),
        failed: counter("failed"),
        skipped: counter("skipped"),
        duration: counter("duration"),
    }
}

/// The report is a courtesy: what is missing from it counts as 0, and what is no report is none.
fn delivery(value: Option<&Value>) -> Option<Delivery> {
    let counters = value?.as_object()?;
    let counter = |name| counted(counters, name).unwrap_or(0);
    Some(Delivery {
        sent: counter("sent"),
        dropped_events: counter("droppedEvents"),
        dropped_log_bytes: counter("droppedLogBytes"),
        retries: counter("retries"),
        spooled: counter("spooled"),
    })
}

fn counted(counters: &Map<String, Value>, name: &str) -> Option<u64> {
    counters.get(name).and_then(Value::as_f64).map(number::count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body() -> Value {
        json!({
            "sessionId": "B1D6C0F2-58a3-4e97-8c14-2f7a90e3d5b6", "status": "FAILED",
            "summary": { "total": 5, "passed": 3, "failed": 1, "skipped": 1, "duration": 4211 },
        })
    }

    fn fields(body: &Value) -> Vec<String> {
        let findings = TeardownRequest::from_json(body).expect_err(&body.to_string());
        findings.into_iter().map(|finding| finding.field).collect()
    }

    #[test]
    fn a_plain_teardown_is_read() {
        let request = TeardownRequest::from_json(&body()).unwrap();
        assert_eq!(request.session.to_string(), "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6");
        assert_eq!((request.passed, request.delivery), (false, None));
        let summary = Summary { total: 5, passed: 3, failed: 1, skipped: 1, duration: 4211 };
        assert_eq!(request.summary, summary);
        let mut passed = body();
        passed["status"] = json!("PASSED");
        assert!(TeardownRequest::from_json(&passed).unwrap().passed);
    }

    #[test]
    fn counters_are_mended_but_must_be_there() {
        for name in ["total", "passed", "failed", "skipped", "duration"] {
            for (sent, kept) in
                [(json!(-3), 0), (json!(2.6), 3), (json!(0), 0), (json!(1e300), number::INTEGER_MAX)]
            {
                let mut sent_body = body();
                sent_body["summary"][name] = sent;
                let summary = TeardownRequest::from_json(&sent_body).unwrap().summary;
                assert_eq!(serde_json::to_value(summary).unwrap()[name], json!(kept), "{name}");
            }
            for sent in [Value::Null, json!("3"), json!(true), json!({})] {
                let mut sent_body = body();
                sent_body["summary"][name] = sent;
                assert_eq!(fields(&sent_body), [format!("summary.{name}")]);
            }
        }
    }

    #[test]
    fn everything_wrong_is_named() {
        assert_eq!(fields(&json!({})), ["sessionId", "status", "summary"]);
        assert_eq!(fields(&json!({ "summary": [] })), ["sessionId", "status", "summary"]);
        for wrong in [json!([]), json!(null), json!("x")] {
            assert_eq!(fields(&wrong), [""]);
        }
        for status in [json!("passed"), json!("CANCELLED"), json!(true), Value::Null] {
            let mut sent = body();
            sent["status"] = status;
            assert_eq!(fields(&sent), ["status"]);
        }
        for id in [json!("b1d6c0f258a34e978c142f7a90e3d5b6"), json!(""), json!(5), Value::Null] {
            let mut sent = body();
            sent["sessionId"] = id;
            assert_eq!(fields(&sent), ["sessionId"]);
        }
    }

    #[test]
    fn a_delivery_report_is_taken_as_far_as_it_goes() {
        let mut sent = body();
        sent["delivery"] =
            json!({ "sent": 48, "droppedEvents": -1, "retries": "many", "droppedLogBytes": 9.5 });
        let report = Delivery { sent: 48, dropped_log_bytes: 10, ..Delivery::default() };
        assert_eq!(TeardownRequest::from_json(&sent).unwrap().delivery, Some(report));
        for none in [Value::Null, json!([]), json!("all")] {
            sent["delivery"] = none;
            assert_eq!(TeardownRequest::from_json(&sent).unwrap().delivery, None);
        }
    }
}
