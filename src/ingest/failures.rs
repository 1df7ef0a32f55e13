//! What the engine and the parser say, in the words of the contract. Source: API reference, ingest 1.4, 2 to 4;
//! identity 8.2.

use super::parse::ParseError;
use crate::actors::{EngineError, LimitedResource, PlanLimitHit};
use crate::http::{Failure, Finding, Kind};

/// Where a dashboard lets people change their plan.
const UPGRADE_URL: &str = "/settings?tab=billing";

/// The engine's refusal as an answer; `fault` is the endpoint's own text for what should not happen.
pub(super) fn of_engine(error: EngineError, fault: &'static str) -> Failure {
    match error {
        EngineError::SessionNotFound | EngineError::NotFound => session_not_found(),
        EngineError::ProjectNotFound => Failure::new(
            Kind::Forbidden,
            "Project not found or access denied",
            "Your organization has no project with this id",
        ),
        EngineError::Limit(hit) => plan_limit(hit),
        EngineError::TooManyGaps => invalid(
            "Invalid event batch",
            vec![Finding::new("batch", "too many numbers before it were never sent")],
        ),
        EngineError::Busy { retry_after_s } => busy(retry_after_s),
        EngineError::Store(cause) => Failure::internal(fault, cause),
    }
}

/// 404 for a session that is unknown, over, or somebody else's.
pub(super) fn session_not_found() -> Failure {
    Failure::not_found(
        "Session not found or expired",
        "There is no open session with this id; set up a new one",
    )
}

/// 503: nothing was lost that was not sent again.
pub(super) fn busy(retry_after_s: u64) -> Failure {
    Failure::unavailable("The server is under pressure; send the same request again", retry_after_s)
}

/// The parser's refusal as an answer; `error` is the endpoint's own text for an envelope that is none.
pub(super) fn of_parser(refused: ParseError, error: &'static str) -> Failure {
    match refused {
        ParseError::NotJson => Failure::bad_request("Invalid JSON", "The request's body is no JSON"),
        ParseError::Envelope(findings) => invalid(error, findings),
    }
}

/// 400 with what is wrong.
pub(super) fn invalid(error: &'static str, findings: Vec<Finding>) -> Failure {
    let message = findings.first().map_or_else(String::new, |first| match first.field.as_str() {
        "" => format!("The request's body {}", first.message),
        field => format!("{field}: {}", first.message),
    });
    Failure::bad_request(error, message).with_details(findings)
}

/// 429 for a plan that is used up. Without a retry time: that, and the address, tell it from a rate limit.
fn plan_limit(hit: PlanLimitHit) -> Failure {
    let PlanLimitHit { resource, used, limit } = hit;
    let (error, what) = match resource {
        LimitedResource::TestRuns => ("Test run limit exceeded", "test runs used this period"),
        LimitedResource::Storage => ("Storage limit exceeded", "bytes of storage used"),
    };
    let usage = serde_json::json!({ "used": used, "limit": limit, "percentUsed": 100 });
    Failure::new(Kind::TooManyRequests, error, format!("{used} of {limit} {what}"))
        .with("upgradeUrl", UPGRADE_URL)
        .with("usage", usage)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::contract::StoreError;

    fn answer(error: EngineError) -> (u16, Option<String>, Value) {
        let response = of_engine(error, "Internal server error during teardown").response::<Vec<u8>>();
        let retry = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), retry, serde_json::from_slice(response.body()).unwrap())
    }

    #[test]
    fn every_refusal_of_the_engine_has_its_answer() {
        let check = |error, status, text: &str, retry: Option<&str>| {
            let (found_status, found_retry, body) = answer(error);
            assert_eq!((found_status, found_retry.as_deref(), &body["error"]), (status, retry, &json!(text)));
            assert_eq!(body["success"], false);
        };
        check(EngineError::SessionNotFound, 404, "Session not found or expired", None);
        check(EngineError::NotFound, 404, "Session not found or expired", None);
        check(EngineError::ProjectNotFound, 403, "Project not found or access denied", None);
        check(EngineError::TooManyGaps, 400, "Invalid event batch", None);
        check(EngineError::Busy { retry_after_s: 5 }, 503, "Service unavailable", Some("5"));
        let damaged = EngineError::Store(StoreError::Damaged("segment 7 of /secret/path".to_owned()));
        check(damaged.clone(), 500, "Internal server error during teardown", None);
        assert!(!answer(damaged).2.to_string().contains("secret"), "the cause stays in the log");
    }

    #[test]
    fn a_used_up_plan_names_its_numbers_and_no_retry_time() {
        let hit = |resource| EngineError::Limit(PlanLimitHit { resource, used: 50, limit: 50 });
        let expected = json!({
            "success": false, "error": "Test run limit exceeded", "message": "50 of 50 test runs used this period",
            "upgradeUrl": "/settings?tab=billing", "usage": { "used": 50, "limit": 50, "percentUsed": 100 },
        });
        assert_eq!(answer(hit(LimitedResource::TestRuns)), (429, None, expected));
        assert_eq!(answer(hit(LimitedResource::Storage)).2["error"], "Storage limit exceeded");
    }

    #[test]
    fn findings_are_told_and_the_first_is_the_message() {
        let body = |failure: Failure| serde_json::from_slice::<Value>(&failure.body()).unwrap();
        let findings =
            vec![Finding::new("framework", "not one of the allowed values"), Finding::new("x", "y")];
        let expected = json!({
            "success": false, "error": "Invalid setup payload",
            "message": "framework: not one of the allowed values",
            "details": [
                { "field": "framework", "message": "not one of the allowed values" }, { "field": "x", "message": "y" },
            ],
        });
        assert_eq!(body(invalid("Invalid setup payload", findings)), expected);
        let whole = ParseError::Envelope(vec![Finding::new("", "must be an object")]);
        assert_eq!(
            body(of_parser(whole, "Invalid event batch"))["message"],
            "The request's body must be an object"
        );
        assert_eq!(body(of_parser(ParseError::NotJson, "Invalid event batch"))["error"], "Invalid JSON");
    }
}
