//! The refusal when a plan's limit is reached. It has no retry time: that is how clients tell a quota from a rate
//! limit. Source: API reference, identity 8.2.

use serde_json::json;

use crate::http::{Failure, Kind};

/// Where a dashboard sends people who want a larger plan.
const UPGRADE_URL: &str = "/settings?tab=billing";

/// 429 with `error`: `used` of `limit` `what` are used.
pub(super) fn plan_limit(error: &'static str, what: &str, used: u64, limit: u64) -> Failure {
    let message = format!("{used} of {limit} {what} are used");
    let usage = json!({ "used": used, "limit": limit, "percentUsed": percent(used, limit) });
    Failure::new(Kind::TooManyRequests, error, message).with("usage", usage).with("upgradeUrl", UPGRADE_URL)
}

/// Rounded half up; 0 if the limit is 0.
const fn percent(used: u64, limit: u64) -> u64 {
    let doubled = used.saturating_mul(200).saturating_add(limit);
    match doubled.checked_div(limit.saturating_mul(2)) {
        Some(percent) => percent,
        None => 0,
    }
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

    #[test]
    fn percentages_are_rounded() {
        for (used, limit, expected) in
            [(41, 50, 82), (1, 3, 33), (2, 3, 67), (1, 200, 1), (4, 3, 133), (7, 0, 0)]
        {
            assert_eq!(percent(used, limit), expected, "{used} of {limit}");
        }
    }
}
