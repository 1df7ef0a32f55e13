//! Projects.

use runstream::domain::plan::Plan;
use runstream::domain::role::Role;
use serde_json::{Value, json};

use crate::support::site::{Answer, Person, Site};

async fn create(site: &Site, person: &Person, body: &Value) -> Answer {
    site.post("/api/projects").token(&person.token).json(body).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn projects_are_created_listed_and_shown() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let empty = site.get("/api/projects").token(&rosa.token).send().await.expect(200);
    assert_eq!(empty, json!({ "success": true, "projects": [] }));
    let first = create(&site, &rosa, &json!({ "name": "  Web Shop " })).await.expect(201);
    let id = first["project"]["id"].as_str().unwrap();
    let moment = "2026-03-20T09:46:40.123Z";
    let expected =
        json!({ "id": id, "name": "Web Shop", "slug": "web-shop", "createdAt": moment, "updatedAt": moment });
    assert_eq!(first, json!({ "success": true, "project": expected }));
    site.advance(1);
    create(&site, &rosa, &json!({ "name": "Čau!" })).await.expect(201);
    let listed = site.get("/api/projects").token(&rosa.token).send().await.expect(200);
    assert_eq!(listed["projects"][1], expected, "newest first");
    assert_eq!(listed["projects"][0]["slug"], "au");
    let shown = site.get(&format!("/api/projects/{id}")).key(&site.key(&rosa).await).send().await.expect(200);
    assert_eq!(shown, json!({ "success": true, "project": expected }));
    let entry = site.audit(&rosa).await.into_iter().rfind(|entry| entry.action == "project.created").unwrap();
    assert_eq!((entry.target_type.as_str(), entry.target_id.as_str()), ("project", id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_fail_has_its_error() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    create(&site, &rosa, &json!({ "name": "Web Shop" })).await.expect(201);
    for (body, status, error) in [
        ("", 400, "Project name is required"),
        ("[]", 400, "Project name is required"),
        ("{}", 400, "Project name is required"),
        (r#"{"name":"  "}"#, 400, "Project name is required"),
        (r#"{"name":7}"#, 400, "Project name is required"),
        ("{", 400, "Invalid JSON"),
        (
            r#"{"name":"web  SHOP!"}"#,
            409,
            "A project with a similar name already exists in this organization",
        ),
    ] {
        let asked = site.post("/api/projects").token(&rosa.token).body("application/json", body);
        assert_eq!(asked.send().await.failure(), (status, error.to_owned()), "{body}");
    }
    let answer = create(&site, &rosa, &json!({ "name": "x".repeat(101) })).await;
    assert_eq!(answer.failure(), (400, "Project name must be 100 characters or less".to_owned()));
    assert_eq!(create(&site, &rosa, &json!({ "name": "é".repeat(100) })).await.status, 201);
    for id in ["690a11b2c3d4e5f607182930", "x", "%FF"] {
        let answer = site.get(&format!("/api/projects/{id}")).token(&rosa.token).send().await;
        assert_eq!(answer.failure(), (404, "Project not found".to_owned()), "{id}");
    }
    // The same name is free in another organization.
    let ivo = site.sign_up("ivo").await;
    assert_eq!(create(&site, &ivo, &json!({ "name": "Web Shop" })).await.status, 201);
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    assert_eq!(
        create(&site, &vera, &json!({ "name": "Hers" })).await.failure().1,
        "Insufficient permissions"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plan_bounds_projects_also_in_a_race_and_is_no_rate_limit() {
    let site = Site::start_with(|settings| settings.engine.plan = Plan::Starter).await;
    let rosa = site.sign_up("rosa").await;
    let names: Vec<_> = (0..8).map(|n| json!({ "name": format!("project {n}") })).collect();
    let all = futures_util::future::join_all(names.iter().map(|body| create(&site, &rosa, body))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 201).count(), 3);
    let refused = all.iter().find(|answer| answer.status != 201).unwrap();
    assert_eq!(refused.failure(), (429, "Project limit exceeded".to_owned()));
    let body = refused.json();
    assert_eq!((&body["limit"], &body["current"]), (&json!(3), &json!(3)));
    assert_eq!(body["usage"], json!({ "used": 3, "limit": 3, "percentUsed": 100 }));
    assert_eq!(body["upgradeUrl"], "/settings?tab=billing");
    assert!(body.get("retryAfter").is_none() && refused.header("retry-after").is_none());
    // The plan comes before the name that is taken.
    let taken = create(&site, &rosa, &names[0]).await;
    assert_eq!(taken.failure().1, "Project limit exceeded");
}
