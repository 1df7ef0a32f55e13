//! Every endpoint of every door against every kind of caller. What becomes of credentials that were good once is in
//! `ended`, what becomes of another organization's ids in `foreign`.

use http::Method;
use runstream::domain::role::Role;
use runstream::server::endpoints;
use serde_json::json;

use super::expectations::{EXPECTED, Expected, Meets};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Answer, Ask, Person, Site};

on_each_store_beneath! {
    every_endpoint_lets_in_exactly_whom_it_should,
    what_is_no_credential_is_told_apart_and_lets_nobody_in,
}

/// A well-formed id that nothing has.
const NO_ID: &str = "690a11b2c3d4e5f607182930";
const ABSENT_KEY: &str = "pk_live_7c1d9a04e2b85f6630c1aa97d4be58213f0e6b7a915cd284";

/// People and keys of one organization.
pub(super) struct Cast {
    pub(super) admin: Person,
    pub(super) developer: Person,
    pub(super) viewer: Person,
    /// The developer's.
    pub(super) key: String,
    pub(super) viewers_key: String,
}

impl Cast {
    pub(super) async fn of(site: &Site, name: &str) -> Self {
        let admin = site.sign_up(name).await;
        let developer = site.member(&admin, &format!("{name}-dev"), Role::Developer).await;
        let viewer = site.member(&admin, &format!("{name}-view"), Role::Viewer).await;
        let (key, viewers_key) = (site.key(&developer).await, site.key(&viewer).await);
        Self { admin, developer, viewer, key, viewers_key }
    }
}

pub(super) fn ask<'s>(site: &'s Site, row: &Expected) -> Ask<'s> {
    let path = row.path.replace("{id}", NO_ID).replace("{projectId}", NO_ID).replace("{varId}", NO_ID);
    let path = path.replace("{taskId}", "ingest-1-none").replace("{token}", &"0".repeat(64));
    let asked = site.ask(Method::from_bytes(row.method.as_bytes()).unwrap(), &path).from(&site.new_address());
    with_body(asked, row)
}

/// With a body that its endpoint takes, if it has an id in its path.
fn with_body<'s>(asked: Ask<'s>, row: &Expected) -> Ask<'s> {
    match (row.method, row.id) {
        ("POST", "create_variable") => {
            asked.json(&json!({ "key": "BASE_URL", "value": "https://shop.test" }))
        }
        ("PATCH", "change_user_role") => asked.json(&json!({ "role": "developer" })),
        ("PATCH", "change_user_status") => asked.json(&json!({ "status": "active" })),
        ("POST" | "PATCH", _) => asked.json(&json!({})),
        _ => asked,
    }
}

fn check(row: &Expected, answer: &Answer, who: &str, expected: Meets) {
    let context = format!("{} as {who}: {answer:?}", row.id);
    assert_ne!(answer.status / 100, 5, "{context}");
    if answer.status >= 400 {
        answer.failure();
    }
    match expected {
        Meets::Yes => {
            let refused = answer.status >= 400 && {
                let error = answer.failure().1;
                ["Authentication required", "Invalid token", "Invalid API key", "Insufficient permissions"]
                    .contains(&error.as_str())
            };
            assert!(!refused && answer.status != 404 || is_absent_record(row, answer), "{context}");
            assert_eq!(answer.rate().map(|(limit, _)| limit), row.limit, "{context}");
            assert_eq!(answer.header("x-ratelimit-reset").is_some(), row.limit.is_some(), "{context}");
        }
        Meets::Forbidden => {
            assert_eq!(answer.failure(), (403, "Insufficient permissions".to_owned()), "{context}");
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            let allowed = ["admin", "developer", "viewer"].into_iter().zip(row.callers);
            let allowed = allowed.filter(|(_, meets)| *meets == Meets::Yes).map(|(role, _)| role);
            let own = ["developer", "viewer"].into_iter().filter(|role| who.contains(role));
            let names = allowed.chain(own).all(|role| message.contains(role));
            assert!(names, "the message names the allowed roles and the caller's: {context}");
            // The `api` tier comes before the role, the stricter one after it: that one has not counted this request.
            assert_eq!(
                answer.rate().map(|(limit, _)| limit),
                row.limit.map(|limit| limit.max(100)),
                "{context}"
            );
        }
        Meets::Unknown => assert_eq!(answer.status, 401, "{context}"),
    }
}

/// An endpoint was reached and has no record of the name asked for: not the same as an unknown path.
fn is_absent_record(row: &Expected, answer: &Answer) -> bool {
    row.path.contains('{') && answer.status == 404 && answer.failure().1 != "Not Found"
}

#[test]
fn every_endpoint_has_its_expectation_and_every_expectation_its_endpoint() {
    let rows = endpoints();
    for row in &rows {
        let expected = EXPECTED.iter().find(|expected| expected.id == row.id);
        let expected = expected.unwrap_or_else(|| panic!("{} is not in tests/api/expectations.rs", row.id));
        assert_eq!((expected.method, expected.path), (row.method.as_str(), row.path), "{}", row.id);
    }
    assert_eq!(rows.len(), EXPECTED.len());
}

async fn every_endpoint_lets_in_exactly_whom_it_should(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let cast = Cast::of(&site, "rosa").await;
    for row in EXPECTED {
        // Every tier is fresh for every row.
        site.advance(61);
        let [admin, developer, viewer, key, nobody] = row.callers;
        for (who, person, expected) in [
            ("administrator", &cast.admin, admin),
            ("developer", &cast.developer, developer),
            ("viewer", &cast.viewer, viewer),
        ] {
            // One of the rows ends the token it is called with.
            let token = if row.id == "log_out" {
                site.log_in(&person.email).await.token
            } else {
                person.token.clone()
            };
            check(row, &ask(&site, row).token(&token).send().await, who, expected);
        }
        check(row, &ask(&site, row).key(&cast.key).send().await, "a developer's key", key);
        let viewers_key = if key == Meets::Yes { viewer } else { key };
        check(row, &ask(&site, row).key(&cast.viewers_key).send().await, "a viewer's key", viewers_key);
        check(row, &ask(&site, row).send().await, "nobody", nobody);
    }
}

async fn what_is_no_credential_is_told_apart_and_lets_nobody_in(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let cast = Cast::of(&site, "rosa").await;
    let tampered = format!("{}x", cast.admin.token);
    for row in EXPECTED.iter().filter(|row| row.id != "show_monitor_status") {
        site.advance(61);
        let [admin, .., key, nobody] = row.callers;
        let check = async |asked: Ask<'_>, error: &str| {
            let answer = asked.send().await;
            if nobody == Meets::Yes {
                // On a public row a bad credential is ignored.
                assert!(answer.status != 401 && answer.status != 403, "{}: {answer:?}", row.id);
            } else {
                assert_eq!(answer.failure(), (401, error.to_owned()), "{}", row.id);
            }
        };
        assert_eq!(admin, Meets::Yes);
        check(ask(&site, row), "Authentication required").await;
        for scheme in ["Basic cm9zYTpyb3Nh", "Bearer", "Bearer ", "Token abc"] {
            check(ask(&site, row).header("authorization", scheme), "Authentication required").await;
        }
        for token in ["x", "a.b.c", tampered.as_str(), cast.key.as_str()] {
            check(ask(&site, row).token(token), "Invalid token").await;
        }
        if key == Meets::Yes {
            check(ask(&site, row).key(ABSENT_KEY), "Invalid API key").await;
            check(ask(&site, row).key(ABSENT_KEY).token(&cast.admin.token), "Invalid API key").await;
        } else {
            check(ask(&site, row).key(&cast.key), "Authentication required").await;
        }
    }
}
