//! The schema: applied once however many apply it, refused where it is not this binary's, said truly by the commands.

use std::sync::Arc;
use std::time::Duration;

use runstream::clock::{Clock, SystemClock};
use runstream::store::scylla::schema::{self, KeyspaceSettings, Replication, STEPS, SchemaError};
use runstream::store::scylla::{Cql, ScyllaSettings};

use crate::support::cql::Wire;
use crate::support::process::{run, text};
use crate::support::{cql, process};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn apply(settings: &ScyllaSettings) -> Result<Vec<i32>, SchemaError> {
    schema::apply(settings, &KeyspaceSettings::default(), clock()).await
}

fn all_steps() -> Vec<i32> {
    STEPS.iter().map(|step| step.number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn of_several_appliers_at_once_exactly_one_applies_each_step() {
    let settings = cql::settings(cql::server().await);
    let appliers = (0..4).map(|_| apply(&settings));
    let applied = futures_util::future::join_all(appliers).await;
    let mut steps: Vec<_> = applied.into_iter().flat_map(Result::unwrap).collect();
    steps.sort_unstable();
    assert_eq!(steps, all_steps());
    assert_eq!(apply(&settings).await.unwrap(), [0; 0], "nothing is left to apply");

    let status = schema::status(&settings, clock()).await.unwrap();
    assert!(status.has_keyspace && status.pending.is_empty());
    assert_eq!(status.applied.len(), STEPS.len());
    cql::connect(&settings).await.check_schema().await.unwrap();
}

/// Nodes learn of a new keyspace one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_node_that_does_not_know_the_new_keyspace_yet_is_asked_again() {
    let settings = cql::settings(cql::server().await);
    assert_eq!(apply(&settings).await.unwrap(), all_steps());
    let mut wire = Wire::to(&settings).await;
    let settings = wire.settings();
    wire.hide_keyspace(1);
    assert_eq!(apply(&settings).await.unwrap(), [0; 0]);
    assert!(wire.mend(), "the keyspace was never hidden");

    wire.hide_keyspace(1);
    assert!(schema::status(&settings, clock()).await.unwrap().pending.is_empty());
    assert!(wire.mend(), "the keyspace was never hidden");

    // Not for ever.
    wire.hide_keyspace(usize::MAX);
    let sentence = apply(&settings).await.unwrap_err().to_string();
    assert!(sentence.contains("no keyspace"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_schema_that_is_not_this_binarys_is_refused() {
    let settings = cql::empty_keyspace().await;
    let cql = cql::connect(&settings).await;
    let older = cql.check_schema().await.unwrap_err().to_string();
    assert!(older.contains("at step 0") && older.contains("`runstream schema apply`"), "{older}");

    apply(&settings).await.unwrap();
    let steps = format!("{}.schema_steps", settings.keyspace);
    let newer =
        format!("INSERT INTO {steps} (part, number, name, checksum) VALUES ('runstream', 999, 'later', 1)");
    cql::administer(&settings, &[&newer]).await;
    for refused in [cql.check_schema().await.err(), apply(&settings).await.err()] {
        let sentence = refused.unwrap().to_string();
        assert!(sentence.contains("at step 999") && sentence.contains("start a newer one"), "{sentence}");
    }
    let remove = format!("DELETE FROM {steps} WHERE part = 'runstream' AND number = 999");
    let alter = format!("UPDATE {steps} SET checksum = 1 WHERE part = 'runstream' AND number = 1");
    cql::administer(&settings, &[&remove, &alter]).await;
    let other = cql.check_schema().await.unwrap_err().to_string();
    assert!(other.contains("step 1 of the schema was applied as something else"), "{other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn the_lock_of_an_applier_that_died_lapses_and_a_live_one_is_waited_for() {
    let settings = cql::empty_keyspace().await;
    let lock = format!("CREATE TABLE {}.schema_lock (name text PRIMARY KEY, holder uuid)", settings.keyspace);
    let held = format!(
        "INSERT INTO {}.schema_lock (name, holder) VALUES ('schema', uuid()) IF NOT EXISTS USING TTL 2",
        settings.keyspace
    );
    cql::administer(&settings, &[&lock, &held]).await;
    let early = tokio::time::timeout(Duration::from_millis(700), apply(&settings)).await;
    assert!(early.is_err(), "the lock is held: {early:?}");
    assert_eq!(apply(&settings).await.unwrap(), all_steps(), "its holder never came back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn what_the_replication_means_is_said() {
    let settings = cql::settings(cql::server().await);
    let replicas = vec![Replication { datacenter: "datacenter1".to_owned(), replicas: 3 }];
    let three = KeyspaceSettings { replication: replicas, ..KeyspaceSettings::default() };
    // Three replicas cannot be had on one node, so the steps cannot be noted; the keyspace is there all the same.
    let applied = schema::apply(&settings, &three, clock()).await;
    assert!(matches!(applied, Err(SchemaError::Store(_))), "{applied:?}");
    let durability = cql::connect(&settings).await.durability().await.unwrap();
    assert_eq!((durability.replicas, durability.warnings().len()), (3, 0));

    let settings = cql::empty_keyspace().await;
    let cql = cql::connect(&settings).await;
    let warnings = cql.durability().await.unwrap().warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("one replica"), "{warnings:?}");
    let alter = format!("ALTER KEYSPACE {} WITH durable_writes = false", settings.keyspace);
    cql::administer(&settings, &[&alter]).await;
    let warnings = cql.durability().await.unwrap().warnings();
    assert!(warnings.len() == 2 && warnings[1].contains("durable_writes"), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_user_without_the_right_to_the_keyspace_is_told() {
    let settings = cql::empty_keyspace().await;
    let role = format!("role_{}", settings.keyspace);
    let create = format!("CREATE ROLE {role} WITH LOGIN = true AND PASSWORD = 'secret'");
    cql::administer(&settings, &[&create]).await;
    let limited = ScyllaSettings {
        user: Some(role.clone()),
        password: Some(runstream::store::scylla::Password("secret".to_owned())),
        ..settings.clone()
    };
    let refused = apply(&limited).await.unwrap_err().to_string();
    assert!(refused.contains(&role) && !refused.contains("secret"), "{refused}");
    let grant = format!("GRANT ALL ON KEYSPACE {} TO {role}", settings.keyspace);
    cql::administer(&settings, &[&grant]).await;
    // Rights are looked up anew after two seconds.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(apply(&limited).await.unwrap(), all_steps());
    assert!(Cql::connect(&limited, clock()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn the_commands_apply_show_and_print_it() {
    let settings = cql::settings(cql::server().await);
    let folder = tempfile::tempdir().unwrap();
    let command = |name: &str| {
        let mut command = process::runstream(folder.path(), &["schema", name]);
        command
            .env("RUNSTREAM_SCYLLA_NODES", settings.nodes.join(","))
            .env("RUNSTREAM_SCYLLA_KEYSPACE", &settings.keyspace)
            .env("RUNSTREAM_SCYLLA_USER", settings.user.as_ref().unwrap())
            .env("RUNSTREAM_SCYLLA_PASSWORD", &settings.password.as_ref().unwrap().0);
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, said, errors) = command("status");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(said.contains("no keyspace") && said.contains("001_accounts  missing"), "{said}");
    let (code, said, errors) = command("apply");
    assert_eq!(code, Some(0), "{errors}");
    assert!(said.contains("applied step 1") && said.contains("001_accounts  applied"), "{said}");
    assert!(said.contains("1 replica in datacenter \"datacenter1\"") && said.contains("warning: "), "{said}");
    let (code, said, _) = command("apply");
    assert!(code == Some(0) && said.contains("nothing to apply"), "{said}");

    let printed = run(folder.path(), &["schema", "print"]);
    assert!(text(&printed.stdout).contains("CREATE TABLE IF NOT EXISTS org_data"));
    let nowhere = run(folder.path(), &["schema", "status", "--set", "scylla.nodes=127.0.0.1:1"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("check `scylla.nodes`"), "{}", text(&nowhere.stderr));
}

/// The files below a folder whose names end so, with what is in them.
fn files(folder: &str, ending: &str) -> Vec<(std::path::PathBuf, String)> {
    let (mut found, mut folders) =
        (Vec::new(), vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

#[test]
fn every_table_says_what_it_serves_and_how_large_its_partitions_become() {
    let mut tables = 0;
    for (path, text) in files("schema/scylla", ".cql") {
        for (at, _) in text.match_indices("CREATE TABLE IF NOT EXISTS ") {
            let comment: Vec<&str> =
                text[..at].lines().rev().take_while(|line| line.starts_with("-- ")).collect();
            let comment = comment.concat();
            let name = text[at..].lines().next().unwrap();
            assert!(comment.contains("erves"), "{name} in {}: what does it serve?", path.display());
            let is_sized = ["artition", " MB"].iter().any(|size| comment.contains(size));
            assert!(is_sized, "{name} in {}: how large?", path.display());
            tables += 1;
        }
    }
    assert!(tables > 20, "{tables}");
}

#[test]
fn nothing_filters_scans_or_indexes_and_segments_go_by_whole_windows() {
    let never = ["ALLOW FILTERING", "CREATE INDEX", "MATERIALIZED VIEW", "DELETE FROM run_segment"];
    for (path, text) in files("schema/scylla", ".cql").into_iter().chain(files("src/store/scylla", ".rs")) {
        for never in never {
            assert!(!text.contains(never), "{never} in {}", path.display());
        }
        // Prepared statements only, but for what the schema asks once.
        let is_schemas = path.components().any(|part| part.as_os_str() == "schema");
        for unprepared in ["query_unpaged", "query_single_page", "query_iter"] {
            assert!(is_schemas || !text.contains(unprepared), "{unprepared} in {}", path.display());
        }
    }
    let runs = include_str!("../../../schema/scylla/002_runs.cql");
    let segments =
        runs.split("CREATE TABLE IF NOT EXISTS ").find(|table| table.starts_with("run_segment ")).unwrap();
    assert!(
        segments.contains("TimeWindowCompactionStrategy") && segments.contains("default_time_to_live"),
        "{segments}"
    );
}
