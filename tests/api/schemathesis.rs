//! schemathesis, a property-testing client, drives the API document against a running server: no answer is a failure of the
//! server, none is outside the document, and credentials are asked for where the document says so. What it sends is made
//! from a seed; `tests/schemathesis/` says how, and puts what is there in the place of some of what is made up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use http::{HeaderValue, header};
use runstream::access::{PasswordSettings, Secret};
use runstream::cli::client::Client;
use runstream::config::Settings;
use runstream::server::{Seams, Server};
use serde_json::{Value, json};

use super::expectations::EXPECTED;
use crate::support::account::{Account, created};
use crate::support::long_mode;
use crate::support::site::{PASSWORD, unlimited};

const MONITOR: &str = "0123456789abcdef0123456789abcdef";
const SEED: &str = "7";
/// Rows that made-up requests do not get to do what they are for: they need a current password or a letter's link, and would
/// end the credentials of everything that follows.
const NEVER_DONE: [&str; 3] = ["change_password", "confirm_password_reset", "accept_invitation"];

/// The folder of schemathesis, installed exactly as its requirements say.
fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("schemathesis");
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/fetch.sh");
    let fetched = std::process::Command::new(fetch).arg(&folder).output().unwrap();
    assert!(fetched.status.success(), "schemathesis cannot be installed: {fetched:?}");
    folder
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A server with one of everything, and what of it requests may name.
struct World {
    token: String,
    last_token: String,
    key: String,
    seed: Value,
}

impl World {
    async fn furnish(url: &str) -> Self {
        let account = Account::sign_up(url).await;
        let nobody = Account::client_of(url);
        let sign_in = async || {
            let form = json!({ "email": "ada@example.test", "password": "Correct-Horse-9!" });
            let answer = nobody.call(http::Method::POST, "/api/auth/login", Some(&form)).await.unwrap();
            text(&answer.body["token"])
        };
        let (token, last_token) = (sign_in().await, sign_in().await);
        let bearer = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let admin = nobody.clone().with_header(header::AUTHORIZATION, bearer);
        let project = &account.project;
        let variable = json!({ "key": "BASE_URL", "value": "https://shop.test" });
        let variable = created(&admin, &format!("/api/projects/{project}/env"), &variable).await;
        let spare = created(&admin, "/api/auth/api-keys", &json!({})).await;
        let key = created(&admin, "/api/auth/api-keys", &json!({})).await;
        let invite = async |email: &str| {
            let invited = json!({ "email": email, "role": "viewer" });
            let made = created(&admin, "/api/invitations", &invited).await["invitation"].clone();
            let token = text(&made["inviteUrl"]).split_once("token=").unwrap().1.to_owned();
            (made["id"].clone(), token)
        };
        let ((_, accepted), (_, open), (withdrawn, _)) = (
            invite("ivo@example.test").await,
            invite("eve@example.test").await,
            invite("bob@example.test").await,
        );
        let form = json!({ "email": "ivo@example.test", "password": PASSWORD, "name": "Ivo", "inviteToken": accepted });
        let member = created(&nobody, "/api/auth/signup", &form).await["user"]["id"].clone();
        let (session, task) = account.open_run().await;
        run_through(&account.reporter, &session).await;
        let ((fed, _), (ended, _)) = (account.open_run().await, account.open_run().await);
        // By the name of a member or parameter; `null` takes it away.
        let seed = json!({
            "all": {
                "projectId": project, "project": project, "varId": variable["data"]["id"], "taskId": task, "id": member,
                "userId": member, "sessionId": fed, "token": open, "password": PASSWORD, "role": "viewer",
            },
            "revoke_api_key": { "id": spare["data"]["id"] },
            "revoke_invitation": { "id": withdrawn },
            "sign_up": { "email": "new@example.test", "inviteToken": null },
            "ingest_events": { "events": events() },
            "log_in": { "email": "ivo@example.test" },
            "teardown_ingest": { "sessionId": ended, "status": "PASSED" },
        });
        Self { token, last_token, key: text(&key["apiKey"]), seed }
    }
}

fn events() -> Value {
    json!([
        { "type": "log", "chunk": "hello\n", "timestamp": 1 },
        { "type": "test-end", "testId": "a", "status": "failed", "error": "no", "duration": 1, "timestamp": 1 },
    ])
}

/// Feeds a run and ends it.
async fn run_through(reporter: &Client, session: &str) {
    let summary = json!({ "total": 1, "passed": 0, "failed": 1, "skipped": 0, "duration": 1 });
    for (path, body) in [
        ("/api/ingest/event", json!({ "sessionId": session, "events": events() })),
        ("/api/ingest/teardown", json!({ "sessionId": session, "status": "FAILED", "summary": summary })),
    ] {
        let answer = reporter.call(http::Method::POST, path, Some(&body)).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
}

/// The statuses that each operation was answered with, by `METHOD /path`.
fn statuses(report: &Path) -> BTreeMap<String, BTreeSet<u64>> {
    let mut all: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in std::fs::read_to_string(report).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let scenario = &line["ScenarioFinished"]["recorder"];
        let Some(interactions) = scenario["interactions"].as_object() else { continue };
        let heard = interactions.values().filter_map(|one| one["response"]["status_code"].as_u64());
        all.entry(text(&scenario["label"])).or_default().extend(heard);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(feature = "tests-without-schemathesis", ignore = "needs Python 3.11 with venv")]
async fn made_up_requests_are_answered_within_the_document() {
    let schemathesis = installed();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings { data_folder: folder.path().join("data"), ..Settings::default() };
    settings.server.port = 0;
    settings.access.passwords = PasswordSettings { memory_kib: 64, passes: 1, ..PasswordSettings::default() };
    settings.api.monitor_secret = Some(Secret::new(MONITOR.as_bytes()).unwrap());
    unlimited(&mut settings);
    let server = Server::start(settings, Seams::default()).await.unwrap();
    let world = World::furnish(&server.base_url()).await;

    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    let report = folder.path().join("report.ndjson");
    // From a file: schemathesis leaves out the operation that it has the document from.
    let document = folder.path().join("openapi.json");
    let client = Account::client_of(&server.base_url());
    let served = client.call(http::Method::GET, "/openapi.json", None).await.unwrap();
    std::fs::write(&document, served.body.to_string()).unwrap();
    let (examples, phases) =
        if long_mode() { ("200", "examples,coverage,fuzzing,stateful") } else { ("12", "coverage,fuzzing") };
    let run = tokio::process::Command::new(schemathesis.join("venv/bin/st"))
        .arg("--config-file")
        .arg(own.join("schemathesis.toml"))
        .arg("run")
        .arg(&document)
        .args(["--no-color", "--seed", SEED])
        .args(["--max-examples", examples, "--phases", phases, "--report", "ndjson", "--report-ndjson-path"])
        .arg(&report)
        .current_dir(folder.path())
        .env("PYTHONPATH", &own)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("URL", server.base_url())
        .env("TOKEN", &world.token)
        .env("LAST_TOKEN", &world.last_token)
        .env("KEY", &world.key)
        .env("MONITOR", MONITOR)
        .env("SEED", world.seed.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = run.await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");

    // It was no walk past closed doors: everything was asked, and did once what it is for.
    let heard = statuses(&report);
    let mut never = Vec::new();
    for row in EXPECTED {
        let statuses = &heard
            .get(&format!("{} {}", row.method, row.path))
            .unwrap_or_else(|| panic!("{}: {said}", row.id));
        let done = statuses.iter().any(|status| status / 100 == 2);
        if done == NEVER_DONE.contains(&row.id) {
            never.push(format!("{}: {statuses:?}", row.id));
        }
    }
    assert!(never.is_empty(), "never, or against expectation, answered 2xx:\n{}\n{said}", never.join("\n"));
    server.shut_down().await.unwrap();
}
