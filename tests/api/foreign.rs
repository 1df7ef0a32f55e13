//! Ids of another organization's records, in every place where a request can name one: they are answered exactly like
//! ids that nothing has, in status, headers, body and time. The places are named by hand, row by row.

use std::time::Duration;

use http::Method;
use runstream::config::StoreKind;
use serde_json::{Value, json};

use super::expectations::{EXPECTED, Expected, Meets};
use super::walk::Cast;
use crate::support::alike::{Patience, told_apart};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::cql::{self, Wire};
use crate::support::site::{Answer, Ask, Person, Site, unlimited};

on_each_store_beneath! {
    another_organizations_records_are_absent,
    what_is_absent_and_what_is_foreign_take_the_same_time,
}

/// How often it is compared what is sent to a cluster.
const TRIES: usize = 6;

/// What an id is the id of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Member,
    Key,
    Invitation,
    Invite,
    Project,
    Variable,
    Task,
    Session,
}

/// Where a request names a record.
#[derive(Debug, Clone, Copy)]
enum Place {
    Path(&'static str, Kind),
    Body(&'static str, Kind),
    Query(&'static str, Kind),
}

impl Place {
    const fn kind(self) -> Kind {
        match self {
            Self::Path(_, kind) | Self::Body(_, kind) | Self::Query(_, kind) => kind,
        }
    }

    fn of(row: &str) -> &'static [Self] {
        PLACES.iter().find(|(id, _)| *id == row).unwrap_or_else(|| panic!("{row} is not in PLACES")).1
    }
}

use Kind::{Invitation, Invite, Key, Member, Project, Session, Task, Variable};
use Place::{Body, Path, Query};

/// Every row with every id it takes. The token of an invitation or a reset is a credential of its own: whoever has it
/// need not belong to its organization, so `validate_invitation`, `accept_invitation` and `confirm_password_reset` have
/// none; signing up with somebody else's is as if it were none.
#[rustfmt::skip]
const PLACES: &[(&str, &[Place])] = &[
    ("sign_up", &[Body("inviteToken", Invite)]),
    ("log_in", &[]),
    ("show_me", &[]),
    ("update_profile", &[]),
    ("change_password", &[]),
    ("request_password_reset", &[]),
    ("confirm_password_reset", &[]),
    ("log_out", &[]),
    ("create_api_key", &[]),
    ("list_api_keys", &[]),
    ("revoke_api_key", &[Path("id", Key)]),

    ("show_organization", &[]),
    ("update_organization", &[]),
    ("update_features", &[]),
    ("show_usage", &[]),
    ("list_usage_alerts", &[]),
    ("list_audit_logs", &[Query("userId", Member)]),
    ("list_plans", &[]),
    ("show_subscription", &[]),

    ("list_users", &[]),
    ("show_user", &[Path("id", Member)]),
    ("change_user_role", &[Path("id", Member)]),
    ("change_user_status", &[Path("id", Member)]),
    ("remove_user", &[Path("id", Member)]),
    ("create_invitation", &[]),
    ("list_invitations", &[]),
    ("revoke_invitation", &[Path("id", Invitation)]),
    ("validate_invitation", &[]),
    ("accept_invitation", &[]),

    ("list_executions", &[Query("projectId", Project), Query("project", Project)]),
    ("get_execution", &[Path("taskId", Task)]),
    ("get_execution_status", &[Path("taskId", Task)]),
    ("get_execution_logs", &[Path("taskId", Task)]),
    ("list_execution_tests", &[Path("taskId", Task)]),
    ("get_execution_completeness", &[Path("taskId", Task)]),
    ("follow_execution", &[Path("taskId", Task)]),

    ("list_projects", &[]),
    ("create_project", &[]),
    ("show_project", &[Path("projectId", Project)]),
    ("show_project_settings", &[Path("projectId", Project)]),
    ("save_project_settings", &[Path("projectId", Project)]),
    ("show_default_settings", &[]),
    ("list_variables", &[Path("projectId", Project)]),
    ("create_variable", &[Path("projectId", Project)]),
    ("update_variable", &[Path("projectId", Project), Path("varId", Variable)]),
    ("delete_variable", &[Path("projectId", Project), Path("varId", Variable)]),

    ("setup_ingest", &[Body("projectId", Project)]),
    ("ingest_events", &[Body("sessionId", Session)]),
    ("teardown_ingest", &[Body("sessionId", Session)]),

    ("show_root", &[]),
    ("show_health", &[]),
    ("show_defaults", &[]),
    ("show_monitor_status", &[]),
    ("show_metrics", &[]),
    ("show_document", &[]),
    ("show_docs", &[]),
];

#[test]
fn every_row_says_which_ids_it_takes() {
    let rows: Vec<_> = EXPECTED.iter().map(|row| row.id).collect();
    assert_eq!(
        PLACES.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        rows,
        "one line a row, in the same order"
    );
    for row in EXPECTED {
        let in_path = row.path.matches('{').count();
        let named = Place::of(row.id).iter().filter(|place| matches!(place, Path(..))).count();
        assert!(in_path == named || row.id == "validate_invitation", "{} has ids in its path", row.id);
    }
}

/// One organization with one record of every kind.
struct World {
    cast: Cast,
    ids: Vec<(Kind, String)>,
}

impl World {
    async fn of(site: &Site, name: &str) -> Self {
        let cast = Cast::of(site, name).await;
        let admin = &cast.admin.token;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let project = site.project(&cast.admin, "Web Shop").await;
        let keys = site.get("/api/auth/api-keys").token(&cast.viewer.token).send().await.expect(200);
        let variable = json!({ "key": "PASSWORD", "value": "tea", "isSecret": true });
        let variable = site.post(&format!("/api/projects/{project}/env")).token(admin).json(&variable);
        let invite = async |to: &str| {
            let body = json!({ "email": format!("{name}-{to}@pinewood.test"), "role": "viewer" });
            let asked = site.post("/api/invitations").token(admin).json(&body);
            asked.send().await.expect(201)["invitation"].clone()
        };
        let (invited, other) = (invite("new").await, invite("other").await);
        let token = text(&invited["inviteUrl"]).split_once("token=").unwrap().1.to_owned();
        let setup = with_id(setup(), "projectId", &project);
        let opened = site.post("/api/ingest/setup").key(&cast.key).json(&setup).send().await.expect(201);
        let ids = vec![
            (Member, text(&cast.viewer.user["id"])),
            (Key, text(&keys["data"][0]["id"])),
            (Invitation, text(&other["id"])),
            (Invite, token),
            (Project, project),
            (Variable, text(&variable.send().await.expect(201)["data"]["id"])),
            (Task, text(&opened["data"]["taskId"])),
            (Session, text(&opened["data"]["sessionId"])),
        ];
        Self { cast, ids }
    }

    fn id(&self, kind: Kind) -> &str {
        &self.ids.iter().find(|(known, _)| *known == kind).unwrap().1
    }
}

/// A well-formed id that nothing has.
fn absent(kind: Kind) -> String {
    match kind {
        Member | Key | Invitation | Project | Variable => "690a11b2c3d4e5f607182930".to_owned(),
        Invite => "0".repeat(64),
        // As long as the others: what is compared is not how much is read.
        Task => "ingest-1774000000000-00000000".to_owned(),
        Session => "00000000-0000-4000-8000-000000000000".to_owned(),
    }
}

fn setup() -> Value {
    json!({ "framework": "playwright", "reporterVersion": "1.0.0", "totalTests": 1 })
}

fn with_id(mut body: Value, name: &str, id: &str) -> Value {
    body[name] = id.into();
    body
}

/// A body that this row's endpoint takes, without ids.
fn body_of(row: &Expected) -> Option<Value> {
    Some(match (row.method, row.id) {
        (_, "sign_up") => {
            json!({ "email": "mallory@pinewood.test", "password": "Abcdef1!", "name": "Mallory" })
        }
        (_, "change_user_role") => json!({ "role": "developer" }),
        (_, "change_user_status") => json!({ "status": "active" }),
        (_, "create_variable") => json!({ "key": "BASE_URL", "value": "https://shop.test" }),
        (_, "setup_ingest") => setup(),
        (_, "ingest_events") => json!({ "events": [{ "type": "log", "chunk": "x", "timestamp": 1 }] }),
        (_, "teardown_ingest") => {
            let summary = json!({ "total": 1, "passed": 1, "failed": 0, "skipped": 0, "duration": 5 });
            json!({ "status": "PASSED", "summary": summary })
        }
        ("POST" | "PATCH" | "PUT", _) => json!({}),
        _ => return None,
    })
}

/// A request of this row with `ids` in its places.
fn ask<'s>(site: &'s Site, row: &Expected, ids: &[(Place, &str)]) -> Ask<'s> {
    let (mut path, mut body) = (row.path.to_owned(), body_of(row));
    for (place, id) in ids {
        match place {
            Path(name, _) => path = path.replace(&format!("{{{name}}}"), id),
            Body(name, _) => body = Some(with_id(body.unwrap(), name, id)),
            Query(name, _) => path = format!("{path}?{name}={id}"),
        }
    }
    let asked = site.ask(Method::from_bytes(row.method.as_bytes()).unwrap(), &path).from(&site.new_address());
    match body {
        Some(body) => asked.json(&body),
        None => asked,
    }
}

/// The ids of `world`, but one of them.
fn ids<'i>(row: &Expected, world: &'i World, but: usize, id: &'i str) -> Vec<(Place, &'i str)> {
    let places = Place::of(row.id).iter().enumerate();
    let id_at =
        |(number, place): (usize, &Place)| (*place, if number == but { id } else { world.id(place.kind()) });
    // Of two names for one parameter only one is given.
    places.map(id_at).filter(|(place, given)| *given == id || matches!(place, Path(..))).collect()
}

/// A site where nobody asks too often.
async fn site(beneath: &Beneath) -> Site {
    Site::start_with(|settings| {
        beneath.choose(settings);
        unlimited(settings);
    })
    .await
}

/// Sends it with a person's token; where keys are accepted it could be sent with a key, too.
async fn by(asked: Ask<'_>, row: &Expected, person: &Person) -> Answer {
    if row.callers[4] == Meets::Yes { asked.send().await } else { asked.token(&person.token).send().await }
}

async fn another_organizations_records_are_absent(beneath: &Beneath) {
    let site = site(beneath).await;
    let (own, foreign) = (World::of(&site, "rosa").await, World::of(&site, "ivo").await);
    for row in EXPECTED {
        for (number, place) in Place::of(row.id).iter().enumerate() {
            let context = format!("{} with another's {place:?}", row.id);
            let (theirs, none) = (own.id(place.kind()), absent(place.kind()));
            let theirs = ids(row, &foreign, number, theirs);
            let none = ids(row, &foreign, number, &none);
            // Mallory asks for what is Rosa's: by token, and by key where one is taken.
            let refused = by(ask(&site, row, &theirs), row, &foreign.cast.admin).await;
            let unknown = by(ask(&site, row, &none), row, &foreign.cast.admin).await;
            assert_eq!(refused.told(), unknown.told(), "{context}");
            if row.callers[3] == Meets::Yes && row.callers[4] != Meets::Yes {
                let refused = ask(&site, row, &theirs).key(&foreign.cast.key).send().await;
                let unknown = ask(&site, row, &none).key(&foreign.cast.key).send().await;
                assert_eq!(refused.told(), unknown.told(), "{context} by key");
            }
            match (place, row.id) {
                // A filter finds nothing; that is no failure.
                (Query(..), _) => {
                    assert_eq!(refused.status, 200, "{context}");
                    let list = refused.json();
                    assert_eq!(list["data"]["total"], 0, "{context}: {list}");
                }
                (_, "sign_up") => assert_eq!(refused.status, 400, "{context}"),
                (_, "setup_ingest") => assert_eq!(refused.status, 403, "{context}"),
                _ => assert_eq!(refused.status, 404, "{context}: {refused:?}"),
            }
            if matches!(place, Path(..)) && Place::of(row.id).len() > 1 {
                // All of it another's, and only the other part.
                let all: Vec<_> =
                    Place::of(row.id).iter().map(|place| (*place, own.id(place.kind()))).collect();
                let refused = by(ask(&site, row, &all), row, &foreign.cast.admin).await;
                assert_eq!(refused.status, 404, "{context}, and all the rest");
            }
        }
        // Nothing has happened to it: its owner still finds everything. The stream of an open run does not end; that it
        // is found is shown by the others.
        let places = Place::of(row.id);
        if !places.is_empty() && row.id != "follow_execution" {
            let found: Vec<_> = places.iter().map(|place| (*place, own.id(place.kind()))).collect();
            let found = match row.id {
                "sign_up" => {
                    let body = json!({
                        "email": "rosa-new@pinewood.test", "password": "Abcdef1!", "name": "New",
                        "inviteToken": own.id(Invite),
                    });
                    site.post("/api/auth/signup").from(&site.new_address()).json(&body)
                }
                "list_executions" => ask(&site, row, &found[..1]),
                _ => ask(&site, row, &found),
            };
            let found = by(found, row, &own.cast.admin).await;
            assert_eq!(found.status / 100, 2, "{}: {found:?}", row.id);
            if let Some(Query(..)) = places.first() {
                assert_ne!(found.json()["data"]["total"], 0, "{}: the filter finds its own", row.id);
            }
        }
    }
    for path in ["/api/projects", "/api/executions", "/api/users", "/api/invitations", "/api/auth/api-keys"] {
        let listed = site.get(path).token(&foreign.cast.admin.token).send().await;
        let text = String::from_utf8_lossy(&listed.body);
        for (kind, id) in &own.ids {
            assert!(!text.contains(id.as_str()), "{path} shows another's {kind:?}");
        }
    }
}

/// How long it is looked for a difference between two answers. A request takes about a millisecond, on a cluster some.
fn patience(beneath: &Beneath) -> Patience {
    if beneath.is_scylla() {
        Patience { pairs: 10, rounds: 5, noise: Duration::from_micros(500) }
    } else {
        Patience { pairs: 16, rounds: 4, noise: Duration::from_micros(100) }
    }
}

/// A request with another's id, and the same with an id that nothing has. Tokens of invitations are left out: nobody
/// guesses 256 bits, and who has one is told all about it by `validate_invitation`.
fn alike<'a>(
    own: &'a World,
    foreign: &'a World,
    absent: &'a str,
    row: &Expected,
    number: usize,
    place: Place,
) -> [Vec<(Place, &'a str)>; 2] {
    [ids(row, foreign, number, own.id(place.kind())), ids(row, foreign, number, absent)]
}

/// Each place of each row but those of tokens.
fn places() -> impl Iterator<Item = (&'static Expected, usize, Place)> {
    let of = |row: &'static Expected| {
        Place::of(row.id).iter().enumerate().map(move |(number, place)| (row, number, *place))
    };
    EXPECTED.iter().flat_map(of).filter(|(_, _, place)| place.kind() != Invite)
}

async fn what_is_absent_and_what_is_foreign_take_the_same_time(beneath: &Beneath) {
    let site = site(beneath).await;
    let (own, foreign) = (World::of(&site, "rosa").await, World::of(&site, "ivo").await);
    let mut differing = Vec::new();
    for (row, number, place) in places() {
        let none = absent(place.kind());
        let cases = alike(&own, &foreign, &none, row, number, place);
        let differ = told_apart(patience(beneath), async |_, is_absent| {
            by(ask(&site, row, &cases[usize::from(is_absent)]), row, &foreign.cast.admin).await;
        });
        if let Some(times) = differ.await {
            differing.push(format!("{} {place:?}: foreign and absent take {times}", row.id));
        }
    }
    assert!(differing.is_empty(), "time tells what there is:\n{}", differing.join("\n"));
}

/// What is sent to a cluster for an id that nothing has is what is sent for another's, statement by statement: a read more
/// is a round trip more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn what_is_absent_and_what_is_foreign_are_looked_for_alike_on_a_cluster() {
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let behind_the_wire = wire.settings();
    let site = Site::start_with(|settings| {
        settings.store = StoreKind::Scylla;
        settings.scylla = behind_the_wire;
        unlimited(settings);
    })
    .await;
    let (own, foreign) = (World::of(&site, "rosa").await, World::of(&site, "ivo").await);
    wire.learn().await;
    let mut differing = Vec::new();
    for (row, number, place) in places() {
        let none = absent(place.kind());
        let cases = alike(&own, &foreign, &none, row, number, place);
        let mut said = Vec::new();
        // What a server does by itself comes in between now and then, and its heartbeats all the time.
        for _ in 0..TRIES {
            let mut sent = Vec::new();
            for case in &cases {
                wire.note();
                by(ask(&site, row, case), row, &foreign.cast.admin).await;
                let mut of_case = wire.noted();
                of_case.retain(|text| !text.contains(" node "));
                sent.push(of_case);
            }
            if sent[0] == sent[1] {
                said.clear();
                break;
            }
            said.push(format!("{} {place:?}: {sent:#?}", row.id));
        }
        differing.extend(said.pop());
    }
    assert!(differing.is_empty(), "foreign and absent are looked for by:\n{}", differing.join("\n"));
}
