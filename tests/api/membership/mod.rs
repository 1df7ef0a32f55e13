//! Random sequences of what people do with accounts, against a model that is nothing but vectors: after each step every
//! token and every key that was ever handed out opens what the model says, and nothing else.

mod model;
mod steps;

use proptest::test_runner::{Config, TestRunner};
use runstream::domain::role::Role;
use serde_json::{Value, json};

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::long_mode;
use crate::support::site::{Ask, Site};
use model::{Credential, Model, Opens, PEOPLE};
use steps::{Case, Step};

on_each_store_beneath! {
    who_can_do_what_is_what_the_model_says,
}

async fn who_can_do_what_is_what_the_model_says(beneath: &Beneath) {
    let site = Site::over(beneath).await;
    let (cases, steps) = match (beneath.is_scylla(), long_mode()) {
        (false, false) => (6, 40),
        (true, false) => (1, 25),
        (false, true) => (200, 60),
        (true, true) => (20, 40),
    };
    let config = Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Handle::current();
    let number = std::cell::Cell::new(0_u32);
    let ran = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&proptest::collection::vec(Step::any(), steps / 2..steps), |steps| {
            number.set(number.get() + 1);
            runtime.block_on(run(&site, number.get(), steps));
            Ok(())
        })
    });
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}

async fn run(site: &Site, number: u32, steps: Vec<Step>) {
    let mut case = Case { site, number, model: Model::default() };
    for who in [0, 1] {
        case.take(&Step::SignUp { who }).await;
    }
    for (at, step) in steps.iter().enumerate() {
        // Every tier is fresh for every step; nothing passes between the step and the questions about it.
        site.advance(61);
        case.take(step).await;
        let said = format!("after {at}: {step:?}");
        for token in &case.model.tokens {
            check_token(site, &case.model, token, &said).await;
        }
        for key in &case.model.keys {
            let opens = case.model.key(key);
            let refused = (401, "Invalid API key");
            check_projects(&case.model, &opens, refused, || site.get("/api/projects").key(&key.text), &said)
                .await;
            check_writes(&opens, refused, site.post("/api/projects").key(&key.text), &said).await;
        }
        for token in (0..PEOPLE).filter_map(|who| case.model.token_of(who)) {
            check_rights(site, &case.model, &case.model.tokens[token], &said).await;
        }
    }
}

/// Refusals of tokens that open nothing.
fn refused(opens: &Opens) -> Option<(u16, String)> {
    match opens {
        Opens::Nothing => Some((401, "Invalid token".to_owned())),
        Opens::Suspended => Some((403, "Account suspended".to_owned())),
        Opens::As { .. } => None,
    }
}

/// Who a token says its bearer is.
async fn check_token(site: &Site, model: &Model, token: &Credential, said: &str) {
    let opens = model.token(token);
    let answer = site.get("/api/auth/me").token(&token.text).send().await;
    if let Some(refused) = refused(&opens) {
        assert_eq!(answer.failure(), refused, "{said}: {token:?}");
    } else {
        let user = &answer.expect(200)["data"];
        let account = &model.accounts[token.account];
        let seen = [&user["id"], &user["organization"]["id"], &user["role"]];
        assert_eq!(seen, [&json!(account.id), &json!(account.org), &json!(account.role)], "{said}");
    }
}

/// What its bearer may read and write.
async fn check_rights(site: &Site, model: &Model, token: &Credential, said: &str) {
    let opens = model.token(token);
    let (status, error) = refused(&opens).unwrap_or_default();
    let projects = || site.get("/api/projects").token(&token.text);
    check_projects(model, &opens, (status, &error), projects, said).await;
    check_writes(&opens, (status, &error), site.post("/api/projects").token(&token.text), said).await;
    let users = site.get("/api/users").token(&token.text).send().await;
    let invitations = site.get("/api/invitations").token(&token.text).send().await;
    let keys = site.get("/api/auth/api-keys").token(&token.text).send().await;
    let Opens::As { org, role } = &opens else {
        for answer in [users, invitations, keys] {
            assert_eq!(answer.failure(), (status, error.clone()), "{said}");
        }
        return;
    };
    let members = model.members(org).map(|account| account.id.clone());
    assert_eq!(ids(&users.expect(200)["users"]), sorted(members), "{said}");
    if *role == Role::Admin {
        let pending = model.pending(org).map(|invitation| invitation.id.clone());
        assert_eq!(ids(&invitations.expect(200)["invitations"]), sorted(pending), "{said}");
    } else {
        assert_eq!(invitations.failure(), (403, "Insufficient permissions".to_owned()), "{said}");
    }
    let own = model.keys.iter().filter(|key| key.account == token.account && !key.ended);
    assert_eq!(ids(&keys.expect(200)["data"]), sorted(own.filter_map(|key| key.id.clone())), "{said}");
}

/// The only project that may be seen is that of the own organization.
async fn check_projects<'s>(
    model: &Model,
    opens: &Opens,
    refused: (u16, &str),
    ask: impl Fn() -> Ask<'s>,
    said: &str,
) {
    let answer = ask().send().await;
    let Opens::As { org, .. } = opens else {
        let (status, error) = answer.failure();
        assert_eq!((status, error.as_str()), refused, "{said}");
        return;
    };
    let listed = answer.expect(200);
    let listed =
        listed["projects"].as_array().unwrap().iter().map(|project| project["name"].as_str().unwrap());
    let own = model.projects.iter().filter(|(owner, _)| owner == org).map(|(_, name)| name.as_str());
    assert_eq!(listed.collect::<Vec<_>>(), own.collect::<Vec<_>>(), "{said}");
}

/// A project without a name is refused for that only to those who may make one.
async fn check_writes(opens: &Opens, refused: (u16, &str), ask: Ask<'_>, said: &str) {
    let (status, error) = ask.json(&json!({})).send().await.failure();
    match opens {
        Opens::As { role: Role::Viewer, .. } => {
            assert_eq!((status, error.as_str()), (403, "Insufficient permissions"), "{said}");
        }
        Opens::As { .. } => assert_eq!(status, 400, "{said}: {error}"),
        Opens::Nothing | Opens::Suspended => assert_eq!((status, error.as_str()), refused, "{said}"),
    }
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap();
    sorted(list.iter().map(|one| one["id"].as_str().unwrap().to_owned()))
}

fn sorted(ids: impl Iterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    ids
}
