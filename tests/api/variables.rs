//! Environment variables: rows 14.7 to 14.11 of the reference.

use runstream::domain::role::Role;
use serde_json::{Value, json};

use crate::support::site::{Answer, Person, Site};

const MASK: &str = "********";
const SECRET: &str = "tea-leaves-and-honey";

/// A site, somebody, the path of a project's variables.
async fn start() -> (Site, Person, String) {
    let site = Site::start_with(|settings| settings.access.tiers.api.capacity = 10_000).await;
    let rosa = site.sign_up("rosa").await;
    let project = site.project(&rosa, "Web Shop").await;
    (site, rosa, format!("/api/projects/{project}/env"))
}

async fn create(site: &Site, person: &Person, env: &str, body: &Value) -> Answer {
    site.post(env).token(&person.token).json(body).send().await
}

async fn update(site: &Site, person: &Person, path: &str, body: &Value) -> Answer {
    site.put(path).token(&person.token).json(body).send().await
}

/// A new secret's path.
async fn secret(site: &Site, person: &Person, env: &str, key: &str) -> String {
    let made = json!({ "key": key, "value": SECRET, "isSecret": true });
    let made = create(site, person, env, &made).await.expect(201);
    format!("{env}/{}", made["data"]["id"].as_str().unwrap())
}

/// The stored secret behind a variable's path, opened.
async fn opened(site: &Site, person: &Person, path: &str) -> Option<String> {
    let org = site.stored(person).await.org;
    let (project, variable) = path.trim_start_matches("/api/projects/").split_once("/env/").unwrap();
    let name = format!("variable/{project}/{variable}");
    let sealed = site.store().sealed(org, &name).await.unwrap()?;
    let data = site.server.data_folder();
    let secrets = runstream::access::Secrets::load_or_create(data, Default::default()).unwrap();
    Some(secrets.sealer().open(org, &name, &sealed).unwrap().expose().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_are_created_listed_and_masked() {
    let (site, rosa, env) = start().await;
    let none = site.get(&env).token(&rosa.token).send().await.expect(200);
    assert_eq!(none, json!({ "success": true, "data": [] }));
    let moment = "2026-03-20T09:46:40.123Z";
    let made = json!({ "key": " E2E_PASSWORD ", "value": SECRET, "isSecret": true });
    let made = create(&site, &rosa, &env, &made).await.expect(201);
    let secret = json!({
        "id": made["data"]["id"], "key": "E2E_PASSWORD", "value": MASK, "isSecret": true,
        "createdAt": moment, "updatedAt": moment,
    });
    assert_eq!(made, json!({ "success": true, "data": secret }));
    site.advance(1);
    let plain = create(&site, &rosa, &env, &json!({ "key": "CI", "value": " 1 ", "isSecret": "true" })).await;
    let plain = plain.expect(201)["data"].clone();
    assert_eq!((&plain["value"], &plain["isSecret"]), (&json!(" 1 "), &json!(false)), "only true counts");
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    let listed = site.get(&env).token(&vera.token).send().await.expect(200);
    assert_eq!(listed, json!({ "success": true, "data": [secret, plain] }), "oldest first, also for viewers");

    let path = format!("{env}/{}", made["data"]["id"].as_str().unwrap());
    assert_eq!(opened(&site, &rosa, &path).await.as_deref(), Some(SECRET));
    let entry = site.audit(&rosa).await.into_iter().rfind(|entry| entry.action == "envvar.created").unwrap();
    assert_eq!(entry.target_type, "envvar");
    assert!(site.audit(&rosa).await.iter().all(|entry| !entry.details.contains(SECRET)));
    let details: Value = serde_json::from_str(&entry.details).unwrap();
    assert!(details["key"].is_string() && details["isSecret"].is_boolean() && details.get("value").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_not_to_create_has_its_error() {
    let (site, rosa, env) = start().await;
    let invalid = "key must be a valid environment variable name (letters, digits, underscores; cannot start with a digit)";
    let reserved = "Reserved environment variable name";
    create(&site, &rosa, &env, &json!({ "key": "TAKEN", "value": "1" })).await.expect(201);
    for (body, status, error) in [
        (json!({}), 400, invalid),
        (json!([]), 400, invalid),
        (json!({ "key": 7, "value": "1" }), 400, invalid),
        (json!({ "key": "1A", "value": "1" }), 400, invalid),
        (json!({ "key": "A-B", "value": "1" }), 400, invalid),
        (json!({ "key": "A".repeat(129), "value": "1" }), 400, invalid),
        (json!({ "key": "PLATFORM_X", "value": "1" }), 400, reserved),
        (json!({ "key": "TASK_ID", "value": "1" }), 400, reserved),
        (json!({ "key": "FRAMEWORK_AGNOSTIC", "value": "1" }), 400, reserved),
        (json!({ "key": "PLAYWRIGHT_REPORTERS", "value": "1" }), 400, reserved),
        (json!({ "key": "PLAYWRIGHT_JSON_OUTPUT_NAME", "value": "1" }), 400, reserved),
        (json!({ "key": "A" }), 400, "value is required"),
        (json!({ "key": "A", "value": "" }), 400, "value is required"),
        (json!({ "key": "A", "value": null }), 400, "value is required"),
        (json!({ "key": "A", "value": 7 }), 400, "value is required"),
        (json!({ "key": "A", "value": MASK }), 400, "value is required"),
        (json!({ "key": "A", "value": MASK, "isSecret": true }), 400, "value is required"),
        (json!({ "key": "A", "value": "é".repeat(4_097) }), 400, "value must not exceed 4096 characters"),
        (
            json!({ "key": "TAKEN", "value": "1" }),
            409,
            "A variable named \"TAKEN\" already exists for this project",
        ),
    ] {
        let answer = create(&site, &rosa, &env, &body).await;
        assert_eq!(answer.failure(), (status, error.to_owned()), "{body}");
    }
    for body in ["", "[]"] {
        let answer = site.post(&env).token(&rosa.token).body("application/json", body).send().await;
        assert_eq!(answer.failure(), (400, invalid.to_owned()), "{body}");
    }
    let details = create(&site, &rosa, &env, &json!({ "key": "1" })).await.json()["details"].clone();
    assert_eq!(details, json!([{ "field": "key", "message": invalid }]));
    for key in ["BASE_URL", "CI", "taken", "_", &"A".repeat(128)] {
        let body = json!({ "key": key, "value": "é".repeat(4_096) });
        create(&site, &rosa, &env, &body).await.expect(201);
    }
    for (path, status, error) in [
        ("/api/projects/x/env", 400, "Invalid projectId format"),
        ("/api/projects/690A11B2C3D4E5F607182930/env", 400, "Invalid projectId format"),
        ("/api/projects/690a11b2c3d4e5f607182930/env", 404, "Project not found"),
    ] {
        let made = create(&site, &rosa, path, &json!({ "key": "A", "value": "1" })).await;
        assert_eq!(made.failure(), (status, error.to_owned()), "{path}");
        let listed = site.get(path).token(&rosa.token).send().await;
        assert_eq!(listed.failure(), (status, error.to_owned()), "{path}");
    }
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    let hers = create(&site, &vera, &env, &json!({ "key": "HERS", "value": "1" })).await;
    assert_eq!(hers.failure().1, "Insufficient permissions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fifty_first_variable_is_refused_also_in_a_race() {
    let (site, rosa, env) = start().await;
    let bodies: Vec<_> = (0..60).map(|n| json!({ "key": format!("V{n}"), "value": "1" })).collect();
    let made =
        futures_util::future::join_all(bodies.iter().map(|body| create(&site, &rosa, &env, body))).await;
    assert_eq!(made.iter().filter(|answer| answer.status == 201).count(), 50);
    let full = (400, "Maximum of 50 environment variables per project reached".to_owned());
    for refused in made.iter().filter(|answer| answer.status != 201) {
        assert_eq!(refused.failure(), full);
    }
    assert_eq!(create(&site, &rosa, &env, &json!({ "key": "V0", "value": "1" })).await.failure(), full);
    let listed = site.get(&env).token(&rosa.token).send().await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_keeps_seals_or_refuses_the_value() {
    let (site, rosa, env) = start().await;
    let path = secret(&site, &rosa, &env, "PASSWORD").await;
    // Kept: absent, empty, the mask.
    for body in [json!({}), json!({ "value": "" }), json!({ "value": MASK }), json!({ "isSecret": true })] {
        let kept = update(&site, &rosa, &path, &body).await.expect(200);
        assert_eq!(
            (&kept["data"]["value"], &kept["data"]["isSecret"]),
            (&json!(MASK), &json!(true)),
            "{body}"
        );
        assert_eq!(opened(&site, &rosa, &path).await.as_deref(), Some(SECRET), "{body}");
    }
    // Replaced, renamed.
    site.advance(1);
    let body = json!({ "key": "PASS", "value": "new-secret" });
    let changed = update(&site, &rosa, &path, &body).await.expect(200)["data"].clone();
    assert_eq!((&changed["key"], &changed["value"]), (&json!("PASS"), &json!(MASK)));
    assert!(changed["updatedAt"].as_str() > changed["createdAt"].as_str());
    assert_eq!(opened(&site, &rosa, &path).await.as_deref(), Some("new-secret"));
    // Public: with a new value only, and never with the old one.
    let stays = (400, "A new value is required to make a secret variable public".to_owned());
    for body in [
        json!({ "isSecret": false }),
        json!({ "isSecret": false, "value": "" }),
        json!({ "isSecret": false, "value": MASK }),
    ] {
        let refused = update(&site, &rosa, &path, &body).await;
        assert_eq!(refused.failure(), stays, "{body}");
        assert!(!refused.json().to_string().contains("new-secret"));
    }
    let public =
        update(&site, &rosa, &path, &json!({ "isSecret": false, "value": "shown" })).await.expect(200);
    assert_eq!((&public["data"]["value"], &public["data"]["isSecret"]), (&json!("shown"), &json!(false)));
    assert_eq!(opened(&site, &rosa, &path).await, None, "nothing sealed is left");
    // And back without a value: the stored one is sealed.
    let back = update(&site, &rosa, &path, &json!({ "isSecret": true })).await.expect(200);
    assert_eq!(back["data"]["value"], MASK);
    assert_eq!(opened(&site, &rosa, &path).await.as_deref(), Some("shown"));

    let actions = site.audit(&rosa).await;
    let updates: Vec<_> = actions.iter().filter(|entry| entry.action == "envvar.updated").collect();
    assert_eq!(updates.len(), 3, "what changes nothing is no change");
    for entry in updates {
        let details: Value = serde_json::from_str(&entry.details).unwrap();
        assert!(details["key"].is_string() && details["isSecret"].is_boolean());
        assert_eq!(details.as_object().unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_not_to_change_has_its_error() {
    let (site, rosa, env) = start().await;
    let path = secret(&site, &rosa, &env, "PASSWORD").await;
    create(&site, &rosa, &env, &json!({ "key": "TAKEN", "value": "1" })).await.expect(201);
    let invalid = "key must be a valid environment variable name";
    for (body, status, error) in [
        (json!({ "key": "1A" }), 400, invalid),
        (json!({ "key": "" }), 400, invalid),
        (json!({ "key": null }), 400, invalid),
        (json!({ "key": "PLATFORM_X" }), 400, "Reserved environment variable name"),
        (json!({ "value": 7 }), 400, "value is required"),
        (json!({ "value": "x".repeat(4_097) }), 400, "value must not exceed 4096 characters"),
        (json!({ "key": "TAKEN" }), 409, "A variable named \"TAKEN\" already exists for this project"),
        (json!([]), 400, "Invalid request body"),
    ] {
        let answer = update(&site, &rosa, &path, &body).await;
        assert_eq!(answer.failure(), (status, error.to_owned()), "{body}");
    }
    assert_eq!(opened(&site, &rosa, &path).await.as_deref(), Some(SECRET));
    let absent = "690a11b2c3d4e5f607182930";
    for (path, status, error) in [
        (format!("/api/projects/x/env/{absent}"), 400, "Invalid projectId format"),
        ("/api/projects/x/env/x".to_owned(), 400, "Invalid projectId format"),
        (format!("{env}/x"), 400, "Invalid varId format"),
        (format!("/api/projects/{absent}/env/x"), 400, "Invalid varId format"),
        (format!("/api/projects/{absent}/env/{absent}"), 404, "Project not found"),
        (format!("{env}/{absent}"), 404, "Environment variable not found"),
    ] {
        let changed = update(&site, &rosa, &path, &json!({})).await;
        assert_eq!(changed.failure(), (status, error.to_owned()), "{path}");
        let deleted = site.delete(&path).token(&rosa.token).send().await;
        assert_eq!(deleted.failure(), (status, error.to_owned()), "{path}");
    }
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    assert_eq!(update(&site, &vera, &path, &json!({})).await.failure().1, "Insufficient permissions");
    let deleted = site.delete(&path).token(&vera.token).send().await;
    assert_eq!(deleted.failure().1, "Insufficient permissions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_variable_is_gone_with_its_secret() {
    let (site, rosa, env) = start().await;
    let path = secret(&site, &rosa, &env, "PASSWORD").await;
    let deleted = site.delete(&path).token(&rosa.token).send().await.expect(200);
    assert_eq!(deleted, json!({ "success": true, "data": null }));
    assert_eq!(opened(&site, &rosa, &path).await, None);
    let again = site.delete(&path).token(&rosa.token).send().await;
    assert_eq!(again.failure(), (404, "Environment variable not found".to_owned()));
    secret(&site, &rosa, &env, "PASSWORD").await;
    let entry = site.audit(&rosa).await.into_iter().find(|entry| entry.action == "envvar.deleted").unwrap();
    assert_eq!((entry.target_type.as_str(), path.ends_with(&entry.target_id)), ("envvar", true));
    let details: Value = serde_json::from_str(&entry.details).unwrap();
    assert_eq!(details, json!({ "key": "PASSWORD", "isSecret": true }));
}
