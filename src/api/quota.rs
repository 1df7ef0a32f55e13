//! The refusal when a plan's limit is reached. It has no retry time: that is how clients tell a quota from a rate
//! limit. Source: API reference, identity 8.2.

use serde_json::json;

use super::App;
use super::reply::failed;
use crate::domain::id::OrgId;
use crate::domain::plan::{Plan, UNLIMITED};
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

/// Members that an organization may have, as the store counts them: what is unlimited has no number.
pub(super) fn members_max(app: &App) -> u64 {
    members_of(app.settings.plan)
}

/// Members that an organization may have with this plan.
pub(super) fn members_of(plan: Plan) -> u64 {
    match plan.limits().max_users {
        UNLIMITED => u64::MAX,
        max => max,
    }
}

/// 403 `User limit reached`, or what kept the members from being counted.
pub(super) async fn user_limit(app: &App, org: OrgId, error: &'static str) -> Failure {
    match app.store.member_count(org).await {
        Ok(used) => {
            let limit = app.settings.plan.limits().max_users;
            Failure { kind: Kind::Forbidden, ..plan_limit("User limit reached", "members", used, limit) }
        }
        Err(cause) => failed(error)(cause),
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
}
