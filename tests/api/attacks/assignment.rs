//! Members in bodies that nobody asked for: they set nothing, whatever they are called.

use runstream::domain::role::Role;
use serde_json::{Value, json};

use crate::support::site::{Ask, PASSWORD, Person, Site, unlimited};

/// What an attacker would like to set, in favour of `victim`'s organization.
fn wishes(victim: &Person) -> Value {
    let (org, user) = (&victim.user["organizationId"], &victim.user["id"]);
    json!({
        "id": "690a11b2c3d4e5f607182930", "_id": "690a11b2c3d4e5f607182930", "role": "admin", "roles": ["admin"],
        "status": "suspended", "organizationId": org, "organization": org, "orgId": org, "org": org, "tenant": org,
        "userId": user, "ownerId": user, "owner": user, "invitedBy": user, "plan": "free", "planId": "free", "slug": "chosen",
        "limits": { "maxUsers": 999_999, "maxProjects": 999_999 }, "userLimit": 999_999, "isAdmin": true, "admin": true,
        "email": "mallory@pinewood.test", "passwordHash": "x", "password_hash": "x", "credentialsValidFromMs": 0,
        "prefix": "pk_live_mine...", "apiKey": "pk_live_mine", "hash": "00", "lastLoginAt": "2020-01-01T00:00:00.000Z",
        "createdAt": "2020-01-01T00:00:00.000Z", "updatedAt": "2020-01-01T00:00:00.000Z", "accepted": true,
        "expiresAt": "2099-01-01T00:00:00.000Z", "lastUsed": "2020-01-01T00:00:00.000Z", "tokenHash": "00",
        "__proto__": { "role": "admin" }, "constructor": { "prototype": { "role": "admin" } }, "$set": { "role": "admin" },
    })
}

/// `body` with all wishes that it does not hold itself, but those called `but`: this endpoint's own.
fn greedy(victim: &Person, but: &[&str], body: &Value) -> Value {
    let mut all = wishes(victim);
    let members = all.as_object_mut().unwrap();
    for name in but {
        members.remove(*name);
    }
    members.extend(body.as_object().unwrap().clone());
    all
}

async fn ok(asked: Ask<'_>, body: &Value) -> Value {
    let answer = asked.json(body).send().await;
    assert_eq!(answer.status / 100, 2, "{body}: {answer:?}");
    answer.json()
}

/// Everything that can be seen of an organization.
async fn seen(site: &Site, person: &Person) -> Vec<Value> {
    let paths = [
        "/api/auth/me",
        "/api/organization",
        "/api/users",
        "/api/invitations",
        "/api/auth/api-keys",
        "/api/projects",
        "/api/project-settings",
        "/api/executions",
        "/api/billing/subscription",
        "/api/organization/audit-logs",
    ];
    let mut all = Vec::new();
    for path in paths {
        all.push(site.get(path).token(&person.token).send().await.expect(200));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_body_holds_beyond_what_is_asked_for_sets_nothing() {
    let site = Site::start_with(unlimited).await;
    let victim = site.sign_up("victim").await;
    site.project(&victim, "Web Shop").await;
    let before = seen(&site, &victim).await;
    site.advance(1);

    // A member who is invited as a viewer is one, whatever the sign-up says.
    let rosa = site.sign_up("rosa").await;
    let invite = async |email: &str, role: &str| {
        let wanted = json!({ "email": email, "role": role });
        let made = ok(site.post("/api/invitations").token(&rosa.token), &greedy(&victim, &[], &wanted)).await;
        let made = &made["invitation"];
        assert_eq!((&made["email"], &made["role"]), (&json!(email), &json!(role)));
        assert_eq!(made["expiresAt"], "2026-03-27T09:46:41.123Z", "seven days");
        made["inviteUrl"].as_str().unwrap().split_once("token=").unwrap().1.to_owned()
    };
    let sign_up = json!({
        "email": "vera@pinewood.test", "password": PASSWORD, "name": "Vera",
        "inviteToken": invite("vera@pinewood.test", "viewer").await, "organizationName": "",
    });
    let asked = site.post("/api/auth/signup").from(&site.new_address());
    let signed_up = ok(asked, &greedy(&victim, &[], &sign_up)).await;
    let expected = json!({
        "id": signed_up["user"]["id"], "email": "vera@pinewood.test", "name": "Vera", "role": "viewer",
        "organizationId": rosa.user["organizationId"], "organizationName": "rosa labs",
    });
    assert_eq!(signed_up["user"], expected);
    assert_ne!(signed_up["user"]["id"], "690a11b2c3d4e5f607182930");
    let token = signed_up["token"].as_str().unwrap();
    // One who founds an organization has one of its own, on the deployment's plan.
    let founding = json!({ "email": "ada@pinewood.test", "password": PASSWORD, "name": "Ada", "organizationName": "Ada" });
    let asked = site.post("/api/auth/signup").from(&site.new_address());
    let founded = ok(asked, &greedy(&victim, &["invitedBy"], &founding)).await;
    let me = site.get("/api/auth/me").token(founded["token"].as_str().unwrap()).send().await.expect(200);
    let own = &me["data"]["organization"];
    assert_eq!(
        (&own["plan"], &own["slug"], &me["data"]["status"]),
        (&json!("enterprise"), &json!("ada"), &json!("active"))
    );
    assert_ne!(own["id"], victim.user["organizationId"]);
    assert_eq!(me["data"]["lastLoginAt"], json!(null));

    // Her own profile, password and keys.
    let vera = site.get("/api/auth/me").token(token).send().await.expect(200);
    let profile = ok(
        site.patch("/api/auth/profile").token(token),
        &greedy(&victim, &[], &json!({ "name": "Vera V." })),
    )
    .await;
    let expected = json!({ "id": vera["data"]["id"], "name": "Vera V.", "email": "vera@pinewood.test", "role": "viewer" });
    assert_eq!(profile["user"], expected);
    let key =
        ok(site.post("/api/auth/api-keys").token(token), &greedy(&victim, &[], &json!({ "name": "mine" })))
            .await;
    assert_ne!(key["data"]["id"], "690a11b2c3d4e5f607182930");
    let key = key["apiKey"].as_str().unwrap();
    assert!(key.starts_with("pk_live_") && key != "pk_live_mine");
    let refused =
        site.post("/api/projects").key(key).json(&greedy(&victim, &[], &json!({ "name": "x" }))).send().await;
    assert_eq!(refused.failure(), (403, "Insufficient permissions".to_owned()), "it acts as a viewer");

    // The administrator's own organization: nothing but what its settings are.
    let asked = site.patch("/api/organization").token(&rosa.token);
    ok(asked, &greedy(&victim, &[], &json!({ "name": "Rosa's" }))).await;
    let asked = site.patch("/api/organization/features").token(&rosa.token);
    ok(asked, &greedy(&victim, &[], &json!({ "testCasesEnabled": false }))).await;
    let organization =
        site.get("/api/organization").token(&rosa.token).send().await.expect(200)["organization"].clone();
    for (name, expected) in [
        ("id", rosa.user["organizationId"].clone()),
        ("plan", json!("enterprise")),
        ("slug", json!("rosa-labs")),
        ("name", json!("Rosa's")),
        ("userCount", json!(2)),
        ("createdAt", json!("2026-03-20T09:46:41.123Z")),
    ] {
        assert_eq!(organization[name], expected, "{name}");
    }
    // A role, and nothing else of a member.
    let path = format!("/api/users/{}/role", vera["data"]["id"].as_str().unwrap());
    ok(site.patch(&path).token(&rosa.token), &greedy(&victim, &[], &json!({ "role": "developer" }))).await;
    let users = site.get("/api/users").token(&rosa.token).send().await.expect(200);
    let member =
        users["users"].as_array().unwrap().iter().find(|user| user["email"] == "vera@pinewood.test").unwrap();
    assert_eq!(
        (&member["role"], &member["status"], &member["name"]),
        (&json!("developer"), &json!("active"), &json!("Vera V."))
    );

    // Projects, variables and runs are the caller's.
    let asked = site.post("/api/projects").token(token);
    let project = ok(asked, &greedy(&victim, &[], &json!({ "name": "Mine" }))).await["project"].clone();
    assert_eq!(project["name"], "Mine");
    assert_ne!((&project["id"], &project["slug"]), (&json!("690a11b2c3d4e5f607182930"), &json!("chosen")));
    let path = format!("/api/projects/{}", project["id"].as_str().unwrap());
    ok(
        site.put(&format!("{path}/settings")).token(token),
        &greedy(&victim, &[], &json!({ "dockerImage": "a" })),
    )
    .await;
    let others =
        site.get("/api/projects").token(&victim.token).send().await.expect(200)["projects"][0]["id"].clone();
    let variable = json!({ "key": "A", "value": "b", "projectId": others });
    ok(site.post(&format!("{path}/env")).token(token), &greedy(&victim, &[], &variable)).await;
    let listed = site.get(&format!("{path}/env")).token(token).send().await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    let setup = json!({
        "projectId": project["id"], "framework": "playwright", "reporterVersion": "1", "totalTests": 0,
        "taskId": "chosen", "sessionId": "00000000-0000-4000-8000-000000000000",
    });
    let opened =
        ok(site.post("/api/ingest/setup").token(token), &greedy(&victim, &[], &setup)).await["data"].clone();
    assert!(opened["taskId"] != "chosen" && opened["sessionId"] != setup["sessionId"], "{opened}");
    let run = site
        .get(&format!("/api/executions/{}", opened["taskId"].as_str().unwrap()))
        .token(token)
        .send()
        .await
        .expect(200);
    assert_eq!(run["data"]["execution"]["organizationId"], rosa.user["organizationId"]);

    // Who accepts an invitation gets what it is to.
    let bob = site.sign_up("bob").await;
    let accepting = json!({ "token": invite(&bob.email, "viewer").await });
    let asked = site.post("/api/invitations/accept").token(&bob.token);
    let accepted = ok(asked, &greedy(&victim, &[], &accepting)).await;
    assert_eq!(accepted["user"]["role"], json!(Role::Viewer));
    assert_eq!(accepted["user"]["organizationId"], rosa.user["organizationId"]);
    // And logging in changes nothing but when that was.
    let asked = site.post("/api/auth/login").from(&site.new_address());
    let logged_in =
        ok(asked, &greedy(&victim, &[], &json!({ "email": bob.email, "password": PASSWORD }))).await;
    assert_eq!(logged_in["user"], accepted["user"]);

    assert_eq!(seen(&site, &victim).await, before, "and nothing has happened to anybody else");
}
