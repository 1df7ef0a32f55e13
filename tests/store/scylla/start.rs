//! The binary on a cluster: what it says when it cannot use it, each within seconds, and what it warns of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use runstream::cli::client::Client;
use runstream::clock::SystemClock;
use runstream::dial::TcpDial;
use runstream::store::scylla::schema::{self, STEPS};
use runstream::store::scylla::{Password, ScyllaSettings};
use tempfile::TempDir;

use crate::support::cql;
use crate::support::process::{Process, run, text};

/// A start that fails takes no longer: ten seconds for finding a node, and some statements.
const START_FAILS_WITHIN: Duration = Duration::from_secs(15);
/// That start at once.
const SERVERS: usize = 3;

/// A folder in which `serve` finds this cluster.
fn folder_of(settings: &ScyllaSettings) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runstream.toml"), cql::configuration(settings)).unwrap();
    folder
}

/// What `serve` says on standard error instead of starting: one sentence, with an exit code of 1.
fn refusal(settings: &ScyllaSettings) -> String {
    let folder = folder_of(settings);
    let begun = Instant::now();
    let ended = run(folder.path(), &["serve", "--port", "0", "--data", "data"]);
    let took = begun.elapsed();
    assert!(took < START_FAILS_WITHIN, "it took {took:?}");
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let sentences: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("runstream: ")).collect();
    assert_eq!(sentences.len(), 1, "{said}");
    sentences[0].to_owned()
}

#[track_caller]
fn check(settings: &ScyllaSettings, parts: &[&str]) {
    let sentence = refusal(settings);
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
}

/// A role that has only these rights.
async fn role(settings: &ScyllaSettings, rights: &[&str]) -> ScyllaSettings {
    let name = format!("role_{:016x}", rand::random::<u64>());
    let mut statements = vec![format!("CREATE ROLE {name} WITH PASSWORD = 'of-a-test' AND LOGIN = true")];
    let grant = |right| format!("GRANT {right} ON KEYSPACE {} TO {name}", settings.keyspace);
    statements.extend(rights.iter().map(grant));
    cql::administer(settings, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    ScyllaSettings { user: Some(name), password: Some(Password("of-a-test".to_owned())), ..settings.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_that_cannot_use_its_cluster_says_what_to_do() {
    let nobody_there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = ScyllaSettings::at(&[&nobody_there.local_addr().unwrap().to_string()], "runstream");
    check(&silent, &["no node of the cluster answered", "check `scylla.nodes`"]);

    let settings = cql::empty_keyspace().await;
    let guessed = ScyllaSettings { password: Some(Password("guess".to_owned())), ..settings.clone() };
    let sentence = refusal(&guessed);
    assert!(sentence.contains("check `scylla.user` and `scylla.password`"), "{sentence}");
    assert!(!sentence.contains("guess"), "{sentence}");
    let elsewhere = ScyllaSettings { datacenter: Some("moon".to_owned()), ..settings.clone() };
    check(&elsewhere, &["no datacenter \"moon\"", "\"datacenter1\"", "correct `scylla.datacenter`"]);
    let missing = ScyllaSettings { keyspace: "not_there".to_owned(), ..settings.clone() };
    check(&missing, &["no keyspace \"not_there\"", "`runstream schema apply`"]);
    let left_to_others = ScyllaSettings { apply_schema: false, ..settings.clone() };
    check(&left_to_others, &["the schema is at step 0", "run `runstream schema apply`"]);
    assert!(applied(&settings).await.is_empty(), "a refused start has changed the schema");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_role_without_rights_and_a_newer_schema_are_named() {
    let keyspace = cql::keyspace().await.keep();
    let powerless = role(&keyspace, &[]).await;
    check(&powerless, &["no SELECT permission", "grant ALL on the keyspace to the role of `scylla.user`"]);
    let reader = role(&keyspace, &["SELECT"]).await;
    check(&reader, &["no MODIFY permission", "grant ALL on the keyspace to the role of `scylla.user`"]);
    let newer = format!(
        "INSERT INTO {}.schema_steps (part, number, name, checksum) VALUES ('runstream', 999, 'later', 1)",
        keyspace.keyspace
    );
    cql::administer(&keyspace, &[&newer]).await;
    check(&keyspace, &["the schema is at step 999", "start a newer one, or use another keyspace"]);
    let numbers: Vec<_> = STEPS.iter().map(|step| step.number).chain([999]).collect();
    assert_eq!(applied(&keyspace).await, numbers, "a refused start has changed the schema");
}

/// The steps that a keyspace notes as applied.
async fn applied(settings: &ScyllaSettings) -> Vec<i32> {
    let status = schema::status(settings, Arc::new(SystemClock)).await.unwrap();
    status.applied.into_iter().map(|(number, _)| number).collect()
}

/// The steps that a server says it has applied; it has served.
fn said_to_apply(said: &str) -> Vec<i32> {
    assert!(said.contains("serving"), "{said}");
    let lines = said.lines().filter(|line| line.contains("applied to the schema"));
    let read = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
    lines.map(|line| i32::try_from(read(line)["step"].as_i64().unwrap()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn servers_that_start_at_once_on_an_empty_keyspace_make_its_tables_once_and_all_serve() {
    let settings = cql::empty_keyspace().await;
    let starting = (0..SERVERS).map(|_| {
        let folder = folder_of(&settings);
        tokio::task::spawn_blocking(move || (Process::serve(folder.path(), &[]), folder))
    });
    let servers = futures_util::future::join_all(starting).await;
    let servers: Vec<_> = servers.into_iter().map(Result::unwrap).collect();
    for (server, _) in &servers {
        let client = Client::new(Arc::new(TcpDial { timeout: Duration::from_secs(5) }), &server.url).unwrap();
        let health = client.call(Method::GET, "/health", None).await.unwrap();
        assert_eq!(health.status, 200, "{}", health.body);
    }
    let mut steps: Vec<i32> =
        servers.into_iter().flat_map(|(server, _folder)| said_to_apply(&server.end())).collect();
    steps.sort_unstable();
    let all: Vec<_> = STEPS.iter().map(|step| step.number).collect();
    assert_eq!(steps, all, "each step once, whoever did it");
    assert_eq!(applied(&settings).await, all);
}

/// A keyspace as a binary left it that knew only so many steps.
async fn keyspace_of_older(steps: usize) -> ScyllaSettings {
    let settings = cql::empty_keyspace().await;
    let keyspace = &settings.keyspace;
    let notes = "(part text, number int, name text, checksum bigint, PRIMARY KEY (part, number))";
    let mut statements = vec![format!("CREATE TABLE {keyspace}.schema_steps {notes}")];
    for step in &STEPS[..steps] {
        let named = format!("CREATE TABLE IF NOT EXISTS {keyspace}.");
        let made = step.statements();
        statements.extend(made.iter().map(|text| text.replace("CREATE TABLE IF NOT EXISTS ", &named)));
        let (number, name, checksum) = (step.number, step.name, step.checksum());
        statements.push(format!(
            "INSERT INTO {keyspace}.schema_steps (part, number, name, checksum) \
             VALUES ('runstream', {number}, '{name}', {checksum})"
        ));
    }
    cql::administer(&settings, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_adds_what_an_older_one_did_not_know_if_it_may() {
    let settings = keyspace_of_older(3).await;
    assert_eq!(applied(&settings).await, [1, 2, 3]);
    let left_to_others = ScyllaSettings { apply_schema: false, ..settings.clone() };
    check(&left_to_others, &["the schema is at step 3, this binary needs 5", "run `runstream schema apply`"]);
    let user = role(&settings, &["SELECT", "MODIFY"]).await;
    check(&user, &["no CREATE permission", "grant ALL on the keyspace", "have `runstream schema apply` run"]);
    assert_eq!(applied(&settings).await, [1, 2, 3], "a refused start has changed the schema");

    let folder = folder_of(&settings);
    assert_eq!(said_to_apply(&Process::serve(folder.path(), &[]).end()), [4, 5]);
    assert_eq!(applied(&settings).await, [1, 2, 3, 4, 5]);
    // Who may not change tables serves as soon as there is nothing to change.
    let folder = folder_of(&user);
    assert_eq!(said_to_apply(&Process::serve(folder.path(), &[]).end()), [0; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_cluster_that_may_lose_what_is_acknowledged_is_warned_of_at_start() {
    let keyspace = cql::keyspace().await.keep();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runstream.toml"), cql::configuration(&keyspace)).unwrap();
    let warnings = |said: &str| {
        let warned = |about: &str| said.lines().filter(|line| line.contains(about)).count();
        (warned("one replica in datacenter"), warned("durable_writes = false"))
    };
    let said = Process::serve(folder.path(), &[]).end();
    assert_eq!(warnings(&said), (1, 0), "{said}");
    let careless = format!("ALTER KEYSPACE {} WITH durable_writes = false", keyspace.keyspace);
    cql::administer(&keyspace, &[&careless]).await;
    let said = Process::serve(folder.path(), &[]).end();
    assert_eq!(warnings(&said), (1, 1), "{said}");
}
