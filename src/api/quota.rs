//! The refusal when a plan's limit is reached. It has no retry time: that is how clients tell a quota from a rate
//! limit. Source: API reference, identity 8.2.

use serde_json::json;

use crate::domain::usage::Share;
use crate::http::{Failure, Kind};

/// Where a dashboard sends people who want a larger plan.
const UPGRADE_URL: &str = "/settings?tab=billing";

/// 429 with `error`: `used` of `limit` `what` are used.
pub(super) fn plan_limit(error: &'static str, what: &str, used: u64, limit: u64) -> Failure {
    let message = format!("{used} of {limit} {what} are used");
    let usage = json!({ "used": used, "limit": limit, "percentUsed": Share { used, limit }.percent() });
    Failure::new(Kind::TooManyRequests, error, message).with("usage", usage).with("upgradeUrl", UPGRADE_URL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_has_usage_and_no_retry_time() {
        let failure = plan_limit("Project limit exceeded", "projects", 1, 1);
        let body: serde_json::Value = serde_json::from_slice(&failure.body()).unwrap();
        assert_eq!(body["usage"], json!({ "used": 1, "limit": 1, "percentUsed": 100 }));
        assert_eq!((&body["upgradeUrl"], &body["retryAfter"]), (&json!(UPGRADE_URL), &json!(null)));
        let answer = failure.response::<Vec<u8>>();
        assert!(answer.status() == 429 && !answer.headers().contains_key("retry-after"));
    }
}
