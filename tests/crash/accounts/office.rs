//! An organization with a member and a project for each writer, and what its administrator reads of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use runstream::cli::client::Client;
use runstream::dial::TcpDial;
use runstream::domain::variable::MASK;
use runstream::store::contract::Store;
use serde_json::{Value, json};

use super::writer::{Change, Thing, Things, email};
use crate::crash::process::Deployment;

/// Entries of a page of the audit log.
const PAGE: usize = 100;

/// An entry of the audit log.
#[derive(Debug)]
pub(super) struct Entry(Value);

impl Entry {
    /// Whether a change leaves this entry.
    pub(super) fn tells_of(&self, change: &Change) -> bool {
        let details = change.details.as_object().unwrap();
        self.0["action"] == change.action
            && change.id.as_ref().is_none_or(|id| self.0["targetId"] == id.as_str())
            && details.iter().all(|(name, value)| self.0["details"][name] == *value)
    }
}

pub(super) struct Office {
    url: String,
    token: HeaderValue,
    writers: usize,
    /// Entries that were read.
    entries: usize,
    /// The text of each key, by its thing.
    keys: HashMap<String, String>,
}

impl Office {
    pub(super) async fn open(deployment: &Deployment, writers: usize) -> Self {
        let token = deployment.sign_up().await.token;
        let token = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let url = format!("http://127.0.0.1:{}", deployment.port());
        let mut office = Self { url, token, writers, entries: 0, keys: HashMap::new() };
        for writer in 0..writers {
            let name = format!("w{writer}");
            office.post("/api/projects", json!({ "name": name })).await;
            let invited = json!({ "email": email(&name), "role": "viewer" });
            let link = office.post("/api/invitations", invited).await;
            let link = link["invitation"]["inviteUrl"].as_str().unwrap();
            let form = json!({
                "email": email(&name), "password": "Correct-Horse-9!", "name": name,
                "inviteToken": link.split_once("token=").unwrap().1,
            });
            office.post("/api/auth/signup", form).await;
        }
        office.new_entries().await;
        office
    }

    /// A client whose connections are its own, with the administrator's token.
    pub(super) fn client(&self) -> Client {
        self.anybody().with_header(header::AUTHORIZATION, self.token.clone())
    }

    fn anybody(&self) -> Client {
        Client::new(Arc::new(TcpDial { timeout: Duration::from_secs(20) }), &self.url).unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.client().call(Method::POST, path, Some(&body)).await.unwrap();
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        answer.body
    }

    /// Everything there is that writers change.
    pub(super) async fn things(&self) -> Things {
        let client = self.client();
        let get = async |path: &str| {
            let answer = client.call(Method::GET, path, None).await.unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            answer.body
        };
        let mut things = Things::new();
        let mut add = |kind: &str, name: &str, value: &Value, id: &Value| {
            let name = if name.is_empty() { kind.to_owned() } else { format!("{kind} {name}") };
            let thing = Thing { value: value.clone(), id: id.as_str().unwrap().to_owned() };
            let doubled = things.insert(name, thing);
            assert!(doubled.is_none(), "twice: {doubled:?}");
        };
        for user in list(&get("/api/users").await["users"]) {
            add("role", person(user), &user["role"], &user["id"]);
            add("status", person(user), &user["status"], &user["id"]);
        }
        for invitation in list(&get("/api/invitations").await["invitations"]) {
            add("invitation", person(invitation), &invitation["role"], &invitation["id"]);
        }
        for key in list(&get("/api/auth/api-keys").await["data"]) {
            add("key", text(&key["name"]), &json!(true), &key["id"]);
        }
        for project in list(&get("/api/projects").await["projects"]) {
            let name = text(&project["name"]);
            add("project", name, &json!(true), &project["id"]);
            if (0..self.writers).any(|writer| name == format!("w{writer}")) {
                let path = format!("/api/projects/{}", text(&project["id"]));
                let settings = get(&format!("{path}/settings")).await;
                add("image", name, &settings["settings"]["dockerImage"], &project["id"]);
                for variable in list(&get(&format!("{path}/env")).await["data"]) {
                    let name = text(&variable["key"]).to_lowercase().replace('_', "-");
                    assert_eq!(variable["isSecret"], variable["value"] == MASK, "{variable}");
                    add("variable", &name, &variable["value"], &variable["id"]);
                }
            }
        }
        let organization = &get("/api/organization").await["organization"];
        add("organization", "", &organization["name"], &organization["id"]);
        add("cycles", "", &organization["features"]["testCyclesEnabled"], &organization["id"]);
        things
    }

    /// The entries of the audit log that were not there the last time.
    pub(super) async fn new_entries(&mut self) -> Vec<Entry> {
        let client = self.client();
        let mut entries = Vec::new();
        loop {
            let path = format!("/api/organization/audit-logs?limit={PAGE}&offset={}", entries.len());
            let page = client.call(Method::GET, &path, None).await.unwrap().body["data"].take();
            let missing = usize::try_from(page["total"].as_u64().unwrap()).unwrap() - self.entries;
            let wanted = missing - entries.len();
            entries.extend(list(&page["logs"]).iter().take(wanted).cloned().map(Entry));
            if entries.len() == missing {
                self.entries += missing;
                return entries;
            }
        }
    }

    /// Every key that was handed out opens the door as long as it is there.
    pub(super) async fn check_keys(&mut self, ledger: &[Change], things: &Things) {
        let made = ledger.iter().filter_map(|change| Some((change.thing.clone(), change.key.clone()?)));
        self.keys.extend(made);
        let client = self.anybody();
        for (thing, key) in &self.keys {
            let client = client.clone();
            let client =
                client.with_header(HeaderName::from_static("x-api-key"), HeaderValue::try_from(key).unwrap());
            let answer = client.call(Method::GET, "/api/project-settings", None).await.unwrap();
            let expected = if things.contains_key(thing) { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{thing}: {}", answer.body);
        }
        self.keys.retain(|thing, _| things.contains_key(thing));
    }

    /// What cannot be read over HTTP: counts agree with what they count, and the sealed values are those of the secret
    /// variables.
    pub(super) async fn check_store(&self, store: &dyn Store, things: &Things) {
        let org = store.user_by_email("ada@crash.test").await.unwrap().unwrap().org;
        let of = |kind: &str| things.keys().filter(|name| name.starts_with(kind)).count() as u64;
        assert_eq!(store.member_count(org).await, Ok(of("role ")));
        assert_eq!(store.project_count(org).await, Ok(of("project ")));
        let (_, entries) = store.audit_entries(org, 1, 0).await.unwrap();
        assert_eq!(entries, self.entries as u64);
        let secret =
            things.iter().filter(|(name, thing)| name.starts_with("variable ") && thing.value == MASK);
        let secret: BTreeSet<_> = secret.map(|(_, thing)| thing.id.clone()).collect();
        let sealed = store.sealed_values(org, "", usize::MAX).await.unwrap();
        let sealed = sealed.iter().map(|(name, _)| name.rsplit('/').next().unwrap().to_owned());
        assert_eq!(sealed.collect::<BTreeSet<_>>(), secret);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What an address belongs to.
fn person(value: &Value) -> &str {
    text(&value["email"]).split_once('@').unwrap().0
}
