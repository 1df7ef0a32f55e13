//! Somebody who changes things one after the other, and keeps a ledger of it: what each change makes of what thing, which
//! entry tells of it, and whether it was answered.

use std::collections::BTreeMap;

use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runstream::cli::client::Client;
use runstream::domain::variable::MASK;
use runstream::limits::ROWS_PER_CALL_MAX;
use serde_json::{Value, json};

/// Of each kind a writer has about so many.
const OF_A_KIND: usize = 8;

/// What a thing is now, and its id.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thing {
    pub(super) value: Value,
    pub(super) id: String,
}

/// Things by name.
pub(super) type Things = BTreeMap<String, Thing>;

/// A change that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) thing: String,
    /// What it is then; `None` for gone.
    pub(super) value: Option<Value>,
    /// Nobody knows that of a new thing before the answer.
    pub(super) id: Option<String>,
    /// The action of its entry in the audit log.
    pub(super) action: &'static str,
    /// What its entry says, among other things.
    pub(super) details: Value,
    pub(super) is_acknowledged: bool,
    /// The text of a key that was made.
    pub(super) key: Option<String>,
}

/// A request that makes a change.
struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
    change: Change,
}

/// Changes what bears its name, and nobody else does.
pub(super) struct Writer {
    client: Client,
    /// Begins the names of its things.
    name: String,
    things: Things,
    /// Of the last new thing.
    number: usize,
    dice: StdRng,
}

impl Writer {
    /// The writer of this number, who sends with `client` and knows the things as they are; new ones get numbers after
    /// `number`.
    pub(super) fn new(client: Client, writer: usize, things: &Things, number: usize, seed: u64) -> Self {
        let (name, dice) = (format!("w{writer}"), StdRng::seed_from_u64(seed));
        Self { client, name, things: things.clone(), number, dice }
    }

    /// Makes changes until one is not answered; all of them, in order.
    pub(super) async fn run(mut self) -> Vec<Change> {
        let mut ledger = Vec::new();
        loop {
            let Request { method, path, body, mut change } = self.next();
            let Ok(answer) = self.client.call(method, &path, body.as_ref()).await else {
                ledger.push(change);
                return ledger;
            };
            assert!(answer.status.is_success(), "{change:?}: {} {}", answer.status, answer.body);
            let text = |pointer: &str| answer.body.pointer(pointer)?.as_str().map(str::to_owned);
            if change.id.is_none() {
                change.id = ["/invitation/id", "/project/id", "/data/id"].into_iter().find_map(text);
            }
            change.key = text("/apiKey");
            change.is_acknowledged = true;
            match (&change.value, &change.id) {
                (Some(value), Some(id)) => {
                    let thing = Thing { value: value.clone(), id: id.clone() };
                    self.things.insert(change.thing.clone(), thing);
                }
                _ => drop(self.things.remove(&change.thing)),
            }
            ledger.push(change);
        }
    }

    fn next(&mut self) -> Request {
        self.number += 1;
        let new = format!("{}-{}", self.name, self.number);
        match self.dice.random_range(0..9) {
            0 => match self.some("invitation ") {
                Some((invitation, thing)) => withdraw(&invitation, &thing),
                None => invite(&new),
            },
            1 => match self.some("key ") {
                Some((key, thing)) => revoke_key(&key, &thing),
                None => create_key(&new),
            },
            2 => self.set_role(),
            3 => self.set_status(),
            4 if self.has_room_for_a_project() => create_project(&new),
            4 => self.set_image(&new),
            5 | 6 => self.change_variable(&new),
            7 => self.set_image(&new),
            _ => self.change_organization(&new),
        }
    }

    /// Whether a list of projects will name all of them also after every writer has made some more.
    fn has_room_for_a_project(&self) -> bool {
        let projects = self.things.keys().filter(|name| name.starts_with("project "));
        projects.count() < ROWS_PER_CALL_MAX / 2
    }

    /// One of its things whose names begin so, the more likely the more there are.
    fn some(&mut self, kind: &str) -> Option<(String, Thing)> {
        let prefix = format!("{kind}{}-", self.name);
        let own: Vec<_> = self.things.iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
        let (name, thing) = *own.get(self.dice.random_range(0..OF_A_KIND.max(own.len())))?;
        Some((name.clone(), thing.clone()))
    }

    /// The thing of this kind of which each has one.
    fn own(&self, kind: &str) -> (String, Thing) {
        let name = format!("{kind} {}", self.name);
        (name.clone(), self.things[&name].clone())
    }

    fn email(&self) -> String {
        email(&self.name)
    }

    fn set_role(&mut self) -> Request {
        let (name, thing) = self.own("role");
        let roles = ["viewer", "developer", "admin"];
        let others: Vec<_> = roles.into_iter().filter(|role| thing.value != *role).collect();
        let role = json!(others[self.dice.random_range(0..others.len())]);
        let path = format!("/api/users/{}/role", thing.id);
        let details = json!({ "oldRole": thing.value, "newRole": role, "targetEmail": self.email() });
        let change = changed(name, &thing.id, role.clone(), "user.role_changed", details);
        request(Method::PATCH, path, Some(json!({ "role": role })), change)
    }

    fn set_status(&self) -> Request {
        let (name, thing) = self.own("status");
        let status = json!(if thing.value == "active" { "suspended" } else { "active" });
        let path = format!("/api/users/{}/status", thing.id);
        let details = json!({ "oldStatus": thing.value, "newStatus": status, "targetEmail": self.email() });
        let change = changed(name, &thing.id, status.clone(), "user.status_changed", details);
        request(Method::PATCH, path, Some(json!({ "status": status })), change)
    }

    fn set_image(&self, new: &str) -> Request {
        let (name, thing) = self.own("image");
        let path = format!("/api/projects/{}/settings", thing.id);
        let details = json!({ "changed": ["dockerImage"] });
        let change = changed(name, &thing.id, json!(new), "project.settings_updated", details);
        request(Method::PUT, path, Some(json!({ "dockerImage": new })), change)
    }

    /// Makes one, makes a public one secret or a secret one public, or removes one.
    fn change_variable(&mut self, new: &str) -> Request {
        let base = format!("/api/projects/{}/env", self.own("image").1.id);
        let Some((name, thing)) = self.some("variable ") else {
            let is_secret = self.dice.random_bool(0.5);
            let key = variable_key(new);
            let value = json!(if is_secret { MASK } else { new });
            let details = json!({ "key": key, "isSecret": is_secret });
            let change = made(format!("variable {new}"), value, "envvar.created", details);
            let body = json!({ "key": key, "value": new, "isSecret": is_secret });
            return request(Method::POST, base, Some(body), change);
        };
        let path = format!("{base}/{}", thing.id);
        let (key, was_secret) = (variable_key(name.trim_start_matches("variable ")), thing.value == MASK);
        if self.dice.random_bool(0.5) {
            let details = json!({ "key": key, "isSecret": was_secret });
            return request(Method::DELETE, path, None, gone(&name, &thing, "envvar.deleted", details));
        }
        let (body, value) = if was_secret {
            (json!({ "isSecret": false, "value": new }), json!(new))
        } else {
            (json!({ "isSecret": true }), json!(MASK))
        };
        let details = json!({ "key": key, "isSecret": !was_secret });
        request(Method::PUT, path, Some(body), changed(name, &thing.id, value, "envvar.updated", details))
    }

    /// The first writer names it, the second one switches a feature; the others have an image.
    fn change_organization(&self, new: &str) -> Request {
        let one = |field: &str, old: &Value, new: &Value| json!({ "changes": { field: { "old": old, "new": new } } });
        match self.name.as_str() {
            "w0" => {
                let thing = &self.things["organization"];
                let details = one("name", &thing.value, &json!(new));
                let change =
                    changed("organization".into(), &thing.id, json!(new), "org.settings_updated", details);
                request(Method::PATCH, "/api/organization".into(), Some(json!({ "name": new })), change)
            }
            "w1" => {
                let thing = &self.things["cycles"];
                let enabled = json!(thing.value != true);
                let details = one("testCyclesEnabled", &thing.value, &enabled);
                let change =
                    changed("cycles".into(), &thing.id, enabled.clone(), "org.features_updated", details);
                let body = json!({ "testCyclesEnabled": enabled });
                request(Method::PATCH, "/api/organization/features".into(), Some(body), change)
            }
            _ => self.set_image(new),
        }
    }
}

/// The address of who is called so.
pub(super) fn email(name: &str) -> String {
    format!("{name}@crash.test")
}

/// The name of the environment variable of a thing that is called so.
fn variable_key(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn invite(new: &str) -> Request {
    let body = json!({ "email": email(new), "role": "viewer" });
    let change = made(format!("invitation {new}"), json!("viewer"), "invitation.created", body.clone());
    request(Method::POST, "/api/invitations".into(), Some(body), change)
}

fn withdraw(name: &str, thing: &Thing) -> Request {
    let details = json!({ "email": email(name.trim_start_matches("invitation ")), "role": "viewer" });
    let change = gone(name, thing, "invitation.revoked", details);
    request(Method::DELETE, format!("/api/invitations/{}", thing.id), None, change)
}

fn create_key(new: &str) -> Request {
    let body = json!({ "name": new });
    let change = made(format!("key {new}"), json!(true), "apikey.created", body.clone());
    request(Method::POST, "/api/auth/api-keys".into(), Some(body), change)
}

fn revoke_key(name: &str, thing: &Thing) -> Request {
    let details = json!({ "name": name.trim_start_matches("key ") });
    let change = gone(name, thing, "apikey.revoked", details);
    request(Method::DELETE, format!("/api/auth/api-keys/{}", thing.id), None, change)
}

fn create_project(new: &str) -> Request {
    let body = json!({ "name": new });
    let change = made(format!("project {new}"), json!(true), "project.created", body.clone());
    request(Method::POST, "/api/projects".into(), Some(body), change)
}

fn request(method: Method, path: String, body: Option<Value>, change: Change) -> Request {
    Request { method, path, body, change }
}

fn made(thing: String, value: Value, action: &'static str, details: Value) -> Change {
    Change { thing, value: Some(value), id: None, action, details, is_acknowledged: false, key: None }
}

fn changed(thing: String, id: &str, value: Value, action: &'static str, details: Value) -> Change {
    Change { id: Some(id.to_owned()), ..made(thing, value, action, details) }
}

fn gone(thing: &str, was: &Thing, action: &'static str, details: Value) -> Change {
    Change { value: None, ..changed(thing.to_owned(), &was.id, json!(null), action, details) }
}
