//! The binary on a cluster: what it says when it cannot use it, each within seconds, and what it warns of.

use std::time::{Duration, Instant};

use runstream::store::scylla::{Password, ScyllaSettings};

use crate::support::cql;
use crate::support::process::{Process, run, text};

/// A start that fails takes no longer: ten seconds for finding a node, and some statements.
const START_FAILS_WITHIN: Duration = Duration::from_secs(15);

/// What `serve` says on standard error instead of starting: one sentence, with an exit code of 1.
fn refusal(settings: &ScyllaSettings) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runstream.toml"), cql::configuration(settings)).unwrap();
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

/// A role that may only do what `rights` grant it.
async fn role(settings: &ScyllaSettings, rights: &str) -> ScyllaSettings {
    let name = format!("role_{:016x}", rand::random::<u64>());
    let create = format!("CREATE ROLE {name} WITH PASSWORD = 'of-a-test' AND LOGIN = true");
    let grant = format!("GRANT {rights} ON KEYSPACE {} TO {name}", settings.keyspace);
    let statements = [create.as_str(), grant.as_str()];
    cql::administer(settings, &statements[..if rights.is_empty() { 1 } else { 2 }]).await;
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
    check(&settings, &["the schema is at step 0", "run `runstream schema apply`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_role_without_rights_and_a_newer_schema_are_named() {
    let keyspace = cql::keyspace().await.keep();
    let powerless = role(&keyspace, "").await;
    check(&powerless, &["no SELECT permission", "grant ALL on the keyspace to the role of `scylla.user`"]);
    let reader = role(&keyspace, "SELECT").await;
    check(&reader, &["no MODIFY permission", "grant ALL on the keyspace to the role of `scylla.user`"]);
    let newer = format!(
        "INSERT INTO {}.schema_steps (part, number, name, checksum) VALUES ('runstream', 999, 'later', 1)",
        keyspace.keyspace
    );
    cql::administer(&keyspace, &[&newer]).await;
    check(&keyspace, &["the schema is at step 999", "start a newer one, or use another keyspace"]);
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
