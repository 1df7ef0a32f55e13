//! Plans.

use runstream::domain::plan::Plan;
use serde_json::json;

use crate::support::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plans_are_those_of_the_reference() {
    let site = Site::start().await;
    let plan = |id: &str,
                price: serde_json::Value,
                limits: [serde_json::Value; 5],
                more: (&str, bool, bool)| {
        let name = format!("{}{}", id[..1].to_uppercase(), &id[1..]);
        let [runs, projects, users, concurrent, bytes] = limits;
        json!({
            "id": id, "name": name, "price": price, "interval": "month",
            "features": {
                "maxTestRuns": runs, "maxProjects": projects, "maxUsers": users, "maxConcurrentRuns": concurrent,
                "maxStorageBytes": bytes, "aiAnalysis": true, "support": more.0, "sso": more.1, "auditLogs": more.2,
            },
        })
    };
    let unlimited = || json!("Unlimited");
    let n = |number: u64| json!(number);
    let expected = json!({ "success": true, "plans": [
        plan("free", n(0), [n(50), n(1), n(3), n(1), n(524_288_000)], ("Community", false, false)),
        plan("starter", n(29), [n(250), n(3), n(5), n(2), n(2_147_483_648)], ("Email", false, false)),
        plan("team", n(99), [n(1_000), unlimited(), n(20), n(5), n(10_737_418_240)], ("Email", false, false)),
        plan("business", n(299), [n(2_500), unlimited(), n(100), n(15), n(53_687_091_200)], ("Priority", false, true)),
        plan(
            "enterprise",
            json!(null),
            [unlimited(), unlimited(), unlimited(), unlimited(), n(536_870_912_000)],
            ("Dedicated 24/7", true, true),
        ),
    ]});
    let answer = site.get("/api/billing/plans").send().await;
    assert_eq!(answer.rate(), Some((100, 99)));
    assert_eq!(answer.expect(200), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_the_plan_of_the_deployment() {
    for (plan, name, price) in
        [(Plan::Team, "Team", json!(99)), (Plan::Enterprise, "Enterprise", json!(null))]
    {
        let site = Site::start_with(|settings| settings.engine.plan = plan).await;
        let rosa = site.sign_up("rosa").await;
        let told = site.get("/api/billing/subscription").token(&rosa.token).send().await.expect(200);
        let expected = json!({
            "plan": plan.as_str(), "planName": name, "price": price, "status": "active", "currentPeriodStart": null,
            "currentPeriodEnd": null, "cancelAtPeriodEnd": null, "nextBillingDate": null, "stripeCustomerId": null,
            "stripeSubscriptionId": null, "lastPaymentDate": null, "lastPaymentAmount": null,
        });
        assert_eq!(told, json!({ "success": true, "subscription": expected }));
    }
}
