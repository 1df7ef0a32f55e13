//! The organization: settings, features, usage, audit log.

use runstream::domain::plan::Plan;
use runstream::domain::role::Role;
use serde_json::{Value, json};

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, Person, Site};

on_each_store_beneath! {
    settings_are_saved_shown_and_never_told,
    features_are_merged_and_each_wrong_one_has_its_error,
}

const SLACK: &str = "https://hooks.slack.com/services/T0000000/B00000000/abcdefghijklmnopqrstuvwx";
const TEAMS: &str = "https://pinewood.webhook.office.com/webhookb2/1@2/IncomingWebhook/3/4";
const OUTBOUND: &str = "https://hooks.pinewood.test/runs";

async fn show(site: &Site, person: &Person) -> Value {
    let answer = site.get("/api/organization").token(&person.token).send().await.expect(200);
    assert_eq!(answer["success"], true);
    answer["organization"].clone()
}

async fn update(site: &Site, person: &Person, body: &Value) -> Answer {
    site.patch("/api/organization").token(&person.token).json(body).send().await
}

async fn switch(site: &Site, person: &Person, body: &Value) -> Answer {
    site.patch("/api/organization/features").token(&person.token).json(body).send().await
}

/// `changes` of the newest entry with this action.
async fn changes(site: &Site, person: &Person, action: &str) -> Value {
    let entry = site.audit(person).await.into_iter().find(|entry| entry.action == action).unwrap();
    assert_eq!((entry.target_type.as_str(), entry.target_id), ("organization", entry.org.to_string()));
    serde_json::from_str::<Value>(&entry.details).unwrap()["changes"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_organization_has_the_defaults() {
    let site = Site::start_with(|settings| settings.engine.plan = Plan::Free).await;
    let rosa = site.sign_up("rosa").await;
    let moment = "2026-03-20T09:46:40.123Z";
    let off = json!({ "enabled": false });
    let expected = json!({
        "id": rosa.user["organizationId"], "name": "rosa labs", "slug": "rosa-labs", "plan": "free",
        "limits": {
            "maxProjects": 1, "maxTestRuns": 50, "maxUsers": 3, "maxConcurrentRuns": 1, "maxStorageBytes": 524_288_000,
            "currentStorageUsedBytes": 0,
        },
        "userCount": 1, "userLimit": 3, "aiAnalysisEnabled": true,
        "aiFeatures": {
            "rootCauseAnalysis": true, "autoBugGeneration": false, "flakinessDetective": false, "testOptimizer": false,
            "prRouting": false, "qualityChatbot": false, "specToTest": false, "automationPlanner": false,
        },
        "aiConfig": {
            "defaultModel": "gemini-2.5-flash",
            "byokConfigured": { "gemini": false, "openai": false, "anthropic": false },
        },
        "slackWebhookUrl": null, "slackNotificationEvents": ["FAILED", "ERROR", "UNSTABLE"],
        "msTeamsWebhookUrl": null, "msTeamsNotificationEvents": ["FAILED", "ERROR", "UNSTABLE"],
        "outboundWebhook": null, "webhookSecretConfigured": false,
        "features": { "testCasesEnabled": true, "testCyclesEnabled": true },
        "integrations": {
            "jira": off, "github": off, "gitlab": off, "azure": off, "bitbucket": off, "linear": off, "monday": off,
        },
        "createdAt": moment, "updatedAt": moment,
    });
    assert_eq!(show(&site, &rosa).await, expected);
}

async fn settings_are_saved_shown_and_never_told(beneath: &Beneath) {
    let site = Site::start_with(|settings| beneath.choose(settings)).await;
    let rosa = site.sign_up("rosa").await;
    let viewer = site.member(&rosa, "vera", Role::Viewer).await;
    site.advance(60);
    let body = json!({
        "name": "  Pinewood QA ", "aiAnalysisEnabled": false, "slackWebhookUrl": SLACK,
        "slackNotificationEvents": ["FAILED", "FAILED", "PASSED"], "msTeamsWebhookUrl": TEAMS,
        "msTeamsNotificationEvents": [], "outboundWebhookUrl": OUTBOUND, "outboundWebhookSecret": "s3cret-tea",
        "webhookSecret": "0123456789abcdef", "plan": "free", "slug": "mine", "organizationId": "x",
    });
    let saved = update(&site, &rosa, &body).await.expect(200);
    let outbound = json!({ "url": OUTBOUND, "secretConfigured": true });
    let expected = json!({
        "id": rosa.user["organizationId"], "name": "Pinewood QA", "aiAnalysisEnabled": false,
        "slackWebhookUrl": "configured", "slackNotificationEvents": ["FAILED", "PASSED"],
        "msTeamsWebhookUrl": "configured", "msTeamsNotificationEvents": [], "outboundWebhook": outbound,
    });
    assert_eq!(saved, json!({ "success": true, "message": "Settings saved", "organization": expected }));

    let shown = show(&site, &rosa).await;
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert_eq!(
        (&shown["slug"], &shown["plan"]),
        (&json!("rosa-labs"), &json!("enterprise")),
        "mass assignment"
    );
    assert_eq!(shown["aiFeatures"]["rootCauseAnalysis"], false, "one value under two names");
    assert_eq!(shown["webhookSecretConfigured"], true);
    assert_eq!(shown["updatedAt"], "2026-03-20T09:47:40.123Z");
    let seen = show(&site, &viewer).await;
    assert_eq!(seen["outboundWebhook"], json!({ "url": "configured", "secretConfigured": true }));

    let changed = changes(&site, &rosa, "org.settings_updated").await;
    let expected = json!({
        "name": { "old": "rosa labs", "new": "Pinewood QA" },
        "aiAnalysisEnabled": { "old": true, "new": false },
        "slackNotificationEvents": { "old": ["FAILED", "ERROR", "UNSTABLE"], "new": ["FAILED", "PASSED"] },
        "msTeamsNotificationEvents": { "old": ["FAILED", "ERROR", "UNSTABLE"], "new": [] },
        "slackWebhookUrl": "***", "msTeamsWebhookUrl": "***", "outboundWebhookUrl": "***",
        "outboundWebhookSecret": "***", "webhookSecret": "***",
    });
    assert_eq!(changed, expected);
    let log = site.audit(&rosa).await;
    let toggled = log.iter().find(|entry| entry.action == "org.ai_analysis_toggled").unwrap();
    assert_eq!(toggled.details, json!({ "aiAnalysisEnabled": false }).to_string());
    for secret in ["hooks.slack.com", "office.com", "hooks.pinewood", "s3cret", "0123456789abcdef"] {
        assert!(log.iter().all(|entry| !entry.details.contains(secret)), "{secret} is in the audit log");
        assert!(!seen.to_string().contains(secret), "{secret} is shown to a viewer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn null_and_nothing_clear() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let all = json!({
        "slackWebhookUrl": SLACK, "msTeamsWebhookUrl": TEAMS, "outboundWebhookUrl": OUTBOUND,
        "outboundWebhookSecret": "x", "webhookSecret": "0123456789abcdef",
    });
    for nothing in [json!(null), json!("")] {
        update(&site, &rosa, &all).await.expect(200);
        for name in ["slackWebhookUrl", "msTeamsWebhookUrl"] {
            let saved = update(&site, &rosa, &json!({ (name): nothing })).await.expect(200);
            assert_eq!(saved["organization"][name], json!(null), "{name}");
        }
        let saved = update(&site, &rosa, &json!({ "outboundWebhookUrl": nothing })).await.expect(200);
        assert_eq!(saved["organization"]["outboundWebhook"], json!(null));
        let again = update(&site, &rosa, &json!({ "outboundWebhookUrl": OUTBOUND })).await.expect(200);
        let unsigned = json!({ "url": OUTBOUND, "secretConfigured": false });
        assert_eq!(again["organization"]["outboundWebhook"], unsigned, "the secret went with the address");
    }
    update(&site, &rosa, &all).await.expect(200);
    let both = json!({ "outboundWebhookSecret": null, "webhookSecret": null });
    let saved = update(&site, &rosa, &both).await.expect(200);
    assert_eq!(saved["organization"]["outboundWebhook"]["secretConfigured"], false);
    assert_eq!(show(&site, &rosa).await["webhookSecretConfigured"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_invalid_setting_refuses_all() {
    let site = Site::start_with(|settings| settings.access.tiers.api.capacity = 10_000).await;
    let rosa = site.sign_up("rosa").await;
    let before = show(&site, &rosa).await;
    let refused = async |body: Value, error: &str| {
        let answer = update(&site, &rosa, &body).await;
        assert_eq!(answer.failure(), (400, error.to_owned()), "{body}");
    };
    refused(json!({}), "Missing fields").await;
    refused(json!({ "plan": "free" }), "Missing fields").await;
    let nothing = site.patch("/api/organization").token(&rosa.token).send().await;
    assert_eq!(nothing.failure(), (400, "Missing fields".to_owned()));
    refused(json!([]), "Invalid request body").await;
    let name = |value: Value| json!({ "name": value, "slackNotificationEvents": [] });
    for bad in [json!(null), json!(7), json!("x"), json!("  x "), json!("x".repeat(101))] {
        refused(name(bad), "Invalid name").await;
    }
    for bad in [json!(null), json!("true"), json!(1)] {
        refused(json!({ "name": "Renamed", "aiAnalysisEnabled": bad }), "Invalid aiAnalysisEnabled").await;
    }
    for channel in ["slack", "msTeams"] {
        let (url, events) = (format!("{channel}WebhookUrl"), format!("{channel}NotificationEvents"));
        for bad in
            [json!(7), json!("x"), json!("http://hooks.slack.com/services/T0000000/B00000000/x"), json!([])]
        {
            let body = json!({ "name": "Renamed", (url.as_str()): bad });
            refused(body, &format!("Invalid {url}")).await;
        }
        for bad in [json!(null), json!("FAILED"), json!(["failed"]), json!([7]), json!({})] {
            let body = json!({ "name": "Renamed", (events.as_str()): bad });
            refused(body, &format!("Invalid {events}")).await;
        }
    }
    for bad in [
        json!(7),
        json!("http://hooks.pinewood.test/"),
        json!("https://a:b@hooks.pinewood.test/"),
        json!("https://127.0.0.1/"),
        json!("https://2130706433/"),
        json!("https://0177.0.0.1/"),
        json!("https://[::ffff:10.0.0.7]/"),
        json!("https://localhost/"),
        json!("https://inward.pinewood.test/"),
        json!("https://both.pinewood.test/"),
        json!(format!("{OUTBOUND}{}", "x".repeat(2_048))),
    ] {
        refused(json!({ "name": "Renamed", "outboundWebhookUrl": bad }), "Invalid outboundWebhookUrl").await;
    }
    for bad in [json!(7), json!(""), json!("x".repeat(257))] {
        refused(json!({ "name": "Renamed", "outboundWebhookSecret": bad }), "Invalid outboundWebhookSecret")
            .await;
    }
    for bad in [
        json!(7),
        json!(""),
        json!("x".repeat(15)),
        json!("x".repeat(257)),
        json!("ä".repeat(16)),
        json!("\n".repeat(16)),
    ] {
        refused(json!({ "name": "Renamed", "webhookSecret": bad }), "Invalid webhookSecret").await;
    }
    assert_eq!(show(&site, &rosa).await, before);
    assert!(site.audit(&rosa).await.iter().all(|entry| entry.action != "org.settings_updated"));
    // A name that leads nowhere now is looked up when something is sent.
    update(&site, &rosa, &json!({ "outboundWebhookUrl": "https://later.pinewood.test/" })).await.expect(200);
}

async fn features_are_merged_and_each_wrong_one_has_its_error(beneath: &Beneath) {
    let site = Site::start_with(|settings| beneath.choose(settings)).await;
    let rosa = site.sign_up("rosa").await;
    let body = json!({ "testCyclesEnabled": false, "aiFeatures": { "prRouting": true, "rootCauseAnalysis": false } });
    let flags = json!({
        "rootCauseAnalysis": false, "autoBugGeneration": false, "flakinessDetective": false, "testOptimizer": false,
        "prRouting": true, "qualityChatbot": false, "specToTest": false, "automationPlanner": false,
    });
    let expected = json!({
        "success": true, "features": { "testCasesEnabled": true, "testCyclesEnabled": false }, "aiFeatures": flags,
    });
    assert_eq!(switch(&site, &rosa, &body).await.expect(200), expected);
    site.advance(1);
    assert_eq!(switch(&site, &rosa, &json!({ "aiFeatures": {} })).await.expect(200), expected);
    let shown = show(&site, &rosa).await;
    assert_eq!((&shown["aiFeatures"], &shown["features"]), (&expected["aiFeatures"], &expected["features"]));
    assert_eq!(shown["aiAnalysisEnabled"], false, "one value under two names");
    let saved = update(&site, &rosa, &json!({ "aiAnalysisEnabled": true })).await.expect(200);
    assert_eq!(saved["organization"]["aiAnalysisEnabled"], true);
    assert_eq!(show(&site, &rosa).await["aiFeatures"]["rootCauseAnalysis"], true);

    let entries = site.audit(&rosa).await;
    let first = entries.iter().rfind(|entry| entry.action == "org.features_updated").unwrap();
    let told = json!({ "changes": {
        "testCyclesEnabled": { "old": true, "new": false }, "aiFeatures.prRouting": { "old": false, "new": true },
        "aiFeatures.rootCauseAnalysis": { "old": true, "new": false },
    }});
    assert_eq!(serde_json::from_str::<Value>(&first.details).unwrap(), told);

    for (body, error) in [
        (json!({}), "Missing fields"),
        (json!({ "name": "x" }), "Missing fields"),
        (json!({ "testCasesEnabled": null }), "Invalid testCasesEnabled"),
        (json!({ "testCyclesEnabled": "no" }), "Invalid testCyclesEnabled"),
        (json!({ "aiFeatures": null }), "Invalid aiFeatures"),
        (json!({ "aiFeatures": [] }), "Invalid aiFeatures"),
        (json!({ "aiFeatures": { "mindReading": true } }), "Invalid aiFeatures key"),
        (json!({ "aiFeatures": { "prRouting": 1 } }), "Invalid aiFeatures.prRouting"),
        (
            json!({ "testCasesEnabled": false, "aiFeatures": { "specToTest": null } }),
            "Invalid aiFeatures.specToTest",
        ),
    ] {
        assert_eq!(switch(&site, &rosa, &body).await.failure(), (400, error.to_owned()), "{body}");
    }
    assert_eq!(show(&site, &rosa).await["features"]["testCasesEnabled"], true, "nothing of it was switched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_those_of_the_callers_organization() {
    let site = Site::start().await;
    let (rosa, ivo) = (site.sign_up("rosa").await, site.sign_up("ivo").await);
    let before = show(&site, &ivo).await;
    update(&site, &rosa, &json!({ "name": "Pinewood QA", "outboundWebhookUrl": OUTBOUND })).await.expect(200);
    switch(&site, &rosa, &json!({ "testCasesEnabled": false })).await.expect(200);
    assert_eq!(show(&site, &ivo).await, before);
}

/// Opens `count` runs; their sessions, or what refused the last one.
async fn runs(site: &Site, key: &str, project: &str, count: usize) -> Vec<Value> {
    let setup = json!({
        "projectId": project, "framework": "playwright", "reporterVersion": "1.0.0", "totalTests": 1,
    });
    let mut sessions = Vec::new();
    for _ in 0..count {
        let opened = site.post("/api/ingest/setup").key(key).json(&setup).send().await.expect(201);
        sessions.push(opened["data"]["sessionId"].clone());
    }
    sessions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_counts_the_month_and_tells_what_comes_near() {
    let site = Site::start_with(|settings| settings.engine.plan = Plan::Free).await;
    let rosa = site.sign_up("rosa").await;
    site.member(&rosa, "vera", Role::Viewer).await;
    let project = site.project(&rosa, "Web Shop").await;
    let key = site.key(&rosa).await;
    runs(&site, &key, &project, 41).await;
    let used = site.get("/api/organization/usage").token(&rosa.token).send().await.expect(200);
    let usage = json!({
        "currentPeriod": { "startDate": "2026-03-01T00:00:00.000Z", "endDate": "2026-03-31T23:59:59.999Z" },
        "testRuns": { "used": 41, "limit": 50, "percentUsed": 82 }, "users": { "active": 2, "limit": 3 },
        "projects": { "used": 1, "limit": 1 }, "storage": { "usedBytes": 0, "limitBytes": 524_288_000 },
    });
    let alerts = json!([
        { "type": "critical", "resource": "projects", "percentUsed": 100, "message": "Project limit reached (1/1)" },
        {
            "type": "warning", "resource": "testRuns", "percentUsed": 82,
            "message": "82% of this period's test runs are used",
        },
    ]);
    assert_eq!(used, json!({ "success": true, "usage": usage, "alerts": alerts, "data": usage }));
    let told = site.get("/api/organization/usage/alerts").token(&rosa.token).send().await.expect(200);
    let data = json!({
        "testRuns": { "level": "warning", "percentUsed": 82 }, "users": { "level": null, "percentUsed": 67 },
        "projects": { "level": "exceeded", "percentUsed": 100 }, "storage": { "level": null, "percentUsed": 0 },
    });
    assert_eq!(told, json!({ "success": true, "alerts": alerts, "data": data }));

    // The next month begins at nothing.
    site.advance(12 * 24 * 3600);
    let rosa = site.log_in(&rosa.email).await;
    let used = site.get("/api/organization/usage").token(&rosa.token).send().await.expect(200);
    assert_eq!(used["usage"]["testRuns"], json!({ "used": 0, "limit": 50, "percentUsed": 0 }));
    assert_eq!(used["usage"]["currentPeriod"]["startDate"], "2026-04-01T00:00:00.000Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_log_is_read_filtered_and_paged() {
    let site = Site::start().await;
    let (rosa, ivo) = (site.sign_up("rosa").await, site.sign_up("ivo").await);
    for name in ["One", "Two", "Three"] {
        site.advance(60);
        update(&site, &rosa, &json!({ "name": format!("Pinewood {name}") })).await.expect(200);
    }
    site.advance(60);
    let project = site.project(&rosa, "Web Shop").await;
    let read = async |query: &str| {
        let path = format!("/api/organization/audit-logs{query}");
        site.get(&path).token(&rosa.token).from("203.0.113.9").send().await.expect(200)["data"].clone()
    };
    let all = read("").await;
    assert_eq!((&all["total"], &all["limit"], &all["offset"]), (&json!(5), &json!(50), &json!(0)));
    let actions = |data: &Value| -> Vec<String> {
        let logs = data["logs"].as_array().unwrap();
        logs.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    };
    let settings = "org.settings_updated";
    assert_eq!(actions(&all), ["project.created", settings, settings, settings, "auth.signup"]);
    let first = &all["logs"][3];
    let expected = json!({
        "id": first["id"], "organizationId": rosa.user["organizationId"], "userId": rosa.user["id"],
        "action": settings, "targetType": "organization", "targetId": rosa.user["organizationId"],
        "details": { "changes": { "name": { "old": "rosa labs", "new": "Pinewood One" } } },
        "ip": "127.0.0.1", "timestamp": "2026-03-20T09:47:40.123Z",
    });
    assert_eq!(first, &expected);

    for (query, expected, total) in [
        ("?limit=2&offset=1", vec![settings, settings], 5),
        ("?limit=0", vec!["project.created"], 5),
        ("?offset=5", vec![], 5),
        ("?action=project.created", vec!["project.created"], 1),
        ("?action=project", vec![], 0),
        ("?targetType=organization&limit=1&offset=2", vec![settings], 3),
        ("?targetType=user", vec!["auth.signup"], 1),
        (
            format!("?userId={}", rosa.user["id"].as_str().unwrap()).as_str(),
            actions(&all).iter().map(String::as_str).collect(),
            5,
        ),
        (format!("?userId={}", ivo.user["id"].as_str().unwrap()).as_str(), vec![], 0),
        ("?startDate=2026-03-20T09:48:40.123Z&endDate=2026-03-20T09:48:40.123Z", vec![settings], 1),
        ("?endDate=2026-03-20T09:46:40.123Z", vec!["auth.signup"], 1),
        ("?endDate=2026-03-20", vec![], 0),
        ("?startDate=2026-03-21", vec![], 0),
    ] {
        let data = read(query).await;
        assert_eq!(
            (actions(&data), &data["total"]),
            (expected.into_iter().map(str::to_owned).collect(), &json!(total)),
            "{query}"
        );
    }
    assert_eq!(read("?limit=1000").await["limit"], 100);
    assert!(read("").await["logs"][0]["targetId"] == project.as_str());
    for (query, error) in [
        ("?userId=rosa", "Invalid user ID format"),
        ("?userId=690A11B2C3D4E5F607182930", "Invalid user ID format"),
        ("?startDate=soon", "Invalid date"),
        ("?endDate=2026-03-20T09:48:40", "Invalid date"),
    ] {
        let path = format!("/api/organization/audit-logs{query}");
        let answer = site.get(&path).token(&rosa.token).send().await;
        assert_eq!(answer.failure(), (400, error.to_owned()), "{query}");
    }
    let foreign = site.get("/api/organization/audit-logs").token(&ivo.token).send().await.expect(200);
    assert_eq!(actions(&foreign["data"]), ["auth.signup"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_comes_with_the_larger_plans() {
    for (plan, status) in [
        (Plan::Free, 403),
        (Plan::Starter, 403),
        (Plan::Team, 403),
        (Plan::Business, 200),
        (Plan::Enterprise, 200),
    ] {
        let site = Site::start_with(|settings| settings.engine.plan = plan).await;
        let rosa = site.sign_up("rosa").await;
        let answer = site.get("/api/organization/audit-logs").token(&rosa.token).send().await;
        assert_eq!(answer.status, status, "{plan:?}");
        if status == 403 {
            assert_eq!(answer.failure().1, "Feature not available");
        }
        let (kept, _) = site.store().audit_entries(site.stored(&rosa).await.org, 10, 0).await.unwrap();
        assert_eq!(kept.len(), 1, "entries are kept whatever the plan is");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_plan_refuses_the_next_project_and_the_next_run() {
    let site = Site::start_with(|settings| {
        settings.engine.plan = Plan::Free;
        settings.access.tiers.ingest_lifecycle.capacity = 1_000;
    })
    .await;
    let rosa = site.sign_up("rosa").await;
    let project = site.project(&rosa, "Web Shop").await;
    let more = json!({ "name": "Second Shop" });
    let refused = site.post("/api/projects").token(&rosa.token).json(&more).send().await;
    let usage = |used, limit| json!({ "used": used, "limit": limit, "percentUsed": 100 });
    let expected = json!({
        "success": false, "error": "Project limit exceeded", "message": "1 of 1 projects are used",
        "upgradeUrl": "/settings?tab=billing", "usage": usage(1, 1), "limit": 1, "current": 1,
    });
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(refused.expect(429), expected);

    let key = site.key(&rosa).await;
    runs(&site, &key, &project, 50).await;
    let setup = json!({
        "projectId": project, "framework": "playwright", "reporterVersion": "1.0.0", "totalTests": 1,
    });
    let refused = site.post("/api/ingest/setup").key(&key).json(&setup).send().await;
    let expected = json!({
        "success": false, "error": "Test run limit exceeded", "message": "50 of 50 test runs used this period",
        "upgradeUrl": "/settings?tab=billing", "usage": usage(50, 50),
    });
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(refused.expect(429), expected);
}
