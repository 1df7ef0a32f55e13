//! Settings of projects: rows 14.4 to 14.6 of the reference.

use runstream::domain::role::Role;
use serde_json::{Value, json};

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, Person, Site};

on_each_store_beneath! {
    settings_are_saved_field_by_field_and_audited_by_name,
}

async fn save(site: &Site, person: &Person, project: &str, body: &Value) -> Answer {
    site.put(&format!("/api/projects/{project}/settings")).token(&person.token).json(body).send().await
}

async fn shown(site: &Site, person: &Person, project: &str) -> Value {
    let path = format!("/api/projects/{project}/settings");
    site.get(&path).token(&person.token).send().await.expect(200)
}

fn empty() -> Value {
    json!({
        "dockerImage": "", "targetUrls": { "dev": "", "staging": "", "prod": "" }, "defaultTestFolder": "",
        "autoQuarantineEnabled": false,
    })
}

async fn settings_are_saved_field_by_field_and_audited_by_name(beneath: &Beneath) {
    let site = Site::start_with(|settings| beneath.choose(settings)).await;
    let rosa = site.sign_up("rosa").await;
    let project = site.project(&rosa, "Web Shop").await;
    assert_eq!(shown(&site, &rosa, &project).await, json!({ "success": true, "settings": empty() }));

    let full = json!({
        "dockerImage": " registry.test/e2e:5 ", "targetUrls": { "staging": "https://stage.shop.test", "other": 7 },
        "defaultTestFolder": " tests/e2e ", "autoQuarantineEnabled": true, "unknown": [1],
    });
    let expected = json!({
        "dockerImage": "registry.test/e2e:5",
        "targetUrls": { "dev": "", "staging": "https://stage.shop.test", "prod": "" },
        "defaultTestFolder": "tests/e2e", "autoQuarantineEnabled": true,
    });
    let saved = save(&site, &rosa, &project, &full).await.expect(200);
    assert_eq!(saved, json!({ "success": true, "settings": expected }));
    assert_eq!(shown(&site, &rosa, &project).await, saved);

    // Absent fields stay; addresses are replaced whole; empty texts clear.
    let change = json!({ "targetUrls": { "dev": "http://localhost:8080" }, "dockerImage": "" });
    let settings = save(&site, &rosa, &project, &change).await.expect(200)["settings"].clone();
    assert_eq!(
        settings,
        json!({
            "dockerImage": "", "targetUrls": { "dev": "http://localhost:8080", "staging": "", "prod": "" },
            "defaultTestFolder": "tests/e2e", "autoQuarantineEnabled": true,
        })
    );
    save(&site, &rosa, &project, &json!({})).await.expect(200);
    let bare = site.put(&format!("/api/projects/{project}/settings")).token(&rosa.token).send().await;
    assert_eq!(bare.expect(200)["settings"], settings);

    let audit = site.audit(&rosa).await;
    let entries: Vec<_> = audit.iter().filter(|entry| entry.action == "project.settings_updated").collect();
    assert_eq!(entries.len(), 2, "what changes nothing is no change");
    assert!(entries.iter().all(|entry| entry.target_type == "project" && entry.target_id == project));
    let details: Vec<Value> =
        entries.iter().map(|entry| serde_json::from_str(&entry.details).unwrap()).collect();
    let all = ["dockerImage", "targetUrls", "defaultTestFolder", "autoQuarantineEnabled"];
    assert!(
        details.contains(&json!({ "changed": all })) && details.contains(&json!({ "changed": all[..2] }))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_setting_that_is_not_allowed_is_told() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let project = site.project(&rosa, "Web Shop").await;
    let fields = |answer: &Answer| -> Vec<String> {
        assert_eq!(answer.failure(), (400, "Invalid settings".to_owned()));
        let details = answer.json()["details"].as_array().unwrap().clone();
        assert!(details.iter().all(|finding| !finding["message"].as_str().unwrap().is_empty()));
        details.into_iter().map(|finding| finding["field"].as_str().unwrap().to_owned()).collect()
    };
    for (body, expected) in [
        (json!({ "dockerImage": 5 }), vec!["dockerImage"]),
        (json!({ "dockerImage": null }), vec!["dockerImage"]),
        (json!({ "dockerImage": "x".repeat(257) }), vec!["dockerImage"]),
        (json!({ "defaultTestFolder": "x".repeat(257) }), vec!["defaultTestFolder"]),
        (json!({ "defaultTestFolder": [] }), vec!["defaultTestFolder"]),
        (json!({ "autoQuarantineEnabled": "true" }), vec!["autoQuarantineEnabled"]),
        (json!({ "targetUrls": "https://a.test" }), vec!["targetUrls"]),
        (json!({ "targetUrls": null }), vec!["targetUrls"]),
        (json!({ "targetUrls": { "dev": "ftp://a.test" } }), vec!["targetUrls.dev"]),
        (json!({ "targetUrls": { "dev": "javascript:alert(1)" } }), vec!["targetUrls.dev"]),
        (json!({ "targetUrls": { "dev": "shop.test" } }), vec!["targetUrls.dev"]),
        (json!({ "targetUrls": { "dev": "http:shop.test" } }), vec!["targetUrls.dev"]),
        (json!({ "targetUrls": { "dev": "https://" } }), vec!["targetUrls.dev"]),
        (json!({ "targetUrls": { "prod": null } }), vec!["targetUrls.prod"]),
        (
            json!({ "targetUrls": { "staging": format!("https://a.test/{}", "x".repeat(2_034)) } }),
            vec!["targetUrls.staging"],
        ),
        (
            json!({ "dockerImage": 1, "autoQuarantineEnabled": 1, "targetUrls": { "dev": 1 } }),
            vec!["dockerImage", "targetUrls.dev", "autoQuarantineEnabled"],
        ),
    ] {
        site.advance(1);
        let answer = save(&site, &rosa, &project, &body).await;
        assert_eq!(fields(&answer), expected, "{body}");
    }
    let longest = json!({
        "dockerImage": "é".repeat(256), "defaultTestFolder": "x".repeat(256),
        "targetUrls": { "staging": format!("https://a.test/{}", "x".repeat(2_033)) },
    });
    save(&site, &rosa, &project, &longest).await.expect(200);
    site.advance(61);
    for (body, error) in [("[]", "Invalid settings"), ("7", "Invalid settings"), ("{", "Invalid JSON")] {
        let asked = site.put(&format!("/api/projects/{project}/settings")).token(&rosa.token);
        let answer = asked.body("application/json", body).send().await;
        assert_eq!(answer.failure(), (400, error.to_owned()), "{body}");
    }
    for id in ["690a11b2c3d4e5f607182930", "x", &project.to_uppercase()] {
        let read = site.get(&format!("/api/projects/{id}/settings")).token(&rosa.token).send().await;
        assert_eq!(read.failure(), (404, "Project not found".to_owned()), "{id}");
        let written = save(&site, &rosa, id, &json!({})).await;
        assert_eq!(written.failure(), (404, "Project not found".to_owned()), "{id}");
    }
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    shown(&site, &vera, &project).await;
    assert_eq!(save(&site, &vera, &project, &json!({})).await.failure().1, "Insufficient permissions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_begin_with_the_settings_of_the_oldest_project() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let form = async || site.get("/api/project-settings").token(&rosa.token).send().await.expect(200);
    assert_eq!(form().await, json!({ "success": true, "settings": empty(), "projectId": null }));
    let first = site.project(&rosa, "Web Shop").await;
    site.advance(1);
    let second = site.project(&rosa, "Mobile Shop").await;
    save(&site, &rosa, &second, &json!({ "dockerImage": "second" })).await.expect(200);
    assert_eq!(form().await, json!({ "success": true, "settings": empty(), "projectId": first }));
    save(&site, &rosa, &first, &json!({ "dockerImage": "first" })).await.expect(200);
    assert_eq!(form().await["settings"]["dockerImage"], "first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switch_of_the_gate_reaches_the_project_that_runs_read() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    let project = site.project(&rosa, "Web Shop").await;
    let org = site.stored(&rosa).await.org;
    for on in [true, false] {
        save(&site, &rosa, &project, &json!({ "autoQuarantineEnabled": on })).await.expect(200);
        let stored = site.store().project(org, project.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.auto_quarantine, on);
    }
}
