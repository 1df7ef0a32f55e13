//! `runstream store copy` as a user runs it: the real binary, killed in between.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use runstream::fs::OsFs;
use runstream::store::contract::{Accounts as _, Executions as _, Store as _};
use runstream::store::lsm::{LsmSettings, LsmStore};
use serde_json::Value;

use crate::store::sample;
use crate::support::cql;
use crate::support::process::{run, runstream, text};
use crate::support::runs::{Reporter, opened, words};

/// A store with some megabytes of text and a few thousand entries, and the text of one of its runs.
async fn filled(folder: &Path) -> (Reporter, LsmStore) {
    let store = LsmStore::open(LsmSettings::at(folder), Arc::new(OsFs)).await.unwrap();
    let org = sample::organization("copied");
    let user = sample::user(org.id, "copied@pinewood.test");
    let now_ms = runstream::clock::Clock::now_ms(&runstream::clock::SystemClock);
    let entry = || sample::audit_at(org.id, "auth.signup", now_ms);
    store.sign_up(org.clone(), "copied-x".into(), user, entry()).await.unwrap();
    let mut last = None;
    for number in 0..6 {
        let mut reporter = Reporter::new(opened(org.id, now_ms));
        store.open_run(reporter.opened.clone()).await.unwrap();
        for _ in 0..10 {
            store.append(&reporter.log(words(16_000, number))).await.unwrap();
        }
        assert!(store.close_run(reporter.closed(1)).await.unwrap());
        store.settle(org.id, reporter.id()).await.unwrap();
        last = Some(reporter);
    }
    (last.unwrap(), store)
}

/// Copies by the binary, killing it ever later, until it comes to its end; how often it was killed, and what it printed.
fn copy_killed(folder: &Path, to: &str, step: Duration) -> (u32, Value) {
    let arguments = ["store", "copy", "--from", "from", "--to", to, "--json"];
    let mut patience = step;
    for kills in 0.. {
        let mut copying =
            runstream(folder, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(patience);
        patience += step;
        if copying.try_wait().unwrap().is_none() && kills < 8 {
            copying.kill().unwrap();
            copying.wait().unwrap();
            continue;
        }
        let output = copying.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        return (kills, serde_json::from_slice(&output.stdout).unwrap());
    }
    unreachable!("it is let run in the end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_killed_again_and_again_ends_with_the_same_records() {
    let folder = tempfile::tempdir().unwrap();
    let (reporter, store) = filled(&folder.path().join("from")).await;
    store.shut_down().await.unwrap();
    drop(store);
    let (kills, said) = copy_killed(folder.path(), "to", Duration::from_millis(60));
    assert!(kills > 0, "{said:#}");
    let kinds = said["kinds"].as_array().unwrap();
    let runs = kinds.iter().find(|kind| kind["kind"] == "runs").unwrap();
    assert_eq!(runs["records"], 6);
    assert_eq!(runs["checksum"].as_str().unwrap().len(), 32);
    let store = LsmStore::open(LsmSettings::at(folder.path().join("to")), Arc::new(OsFs)).await.unwrap();
    let (org, id) = (reporter.org(), reporter.id());
    assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
    assert_eq!(store.audit_entries(org, 9, 0).await.unwrap().1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_killed_copy_into_a_cluster_goes_on_from_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (reporter, store) = filled(&folder.path().join("from")).await;
    store.shut_down().await.unwrap();
    drop(store);
    let keyspace = cql::keyspace().await;
    std::fs::write(folder.path().join("cluster.toml"), cql::configuration(&keyspace)).unwrap();
    let (kills, _) = copy_killed(folder.path(), "cluster.toml", Duration::from_millis(1_500));
    let arguments = ["store", "copy", "--from", "cluster.toml", "--to", "back", "--json"];
    let back = run(folder.path(), &arguments);
    assert!(back.status.success(), "after {kills} kills: {}", text(&back.stderr));
    let store = LsmStore::open(LsmSettings::at(folder.path().join("back")), Arc::new(OsFs)).await.unwrap();
    let (org, id) = (reporter.org(), reporter.id());
    assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, reporter.text);
}

#[test]
fn a_store_in_use_is_refused_with_its_own_code_and_wrong_settings_with_another() {
    let folder = tempfile::tempdir().unwrap();
    let held = runstream::server::DataFolder::open(&folder.path().join("held")).unwrap();
    let code = |arguments: &[&str]| {
        let output = run(folder.path(), &[&["store", "copy"], arguments].concat());
        (output.status.code().unwrap(), text(&output.stderr))
    };
    for arguments in [["--from", "held", "--to", "new"], ["--from", "none", "--to", "held"]] {
        let (code, said) = code(&arguments);
        assert!(code == 4 && said.contains("used by another server"), "{code} {said}");
    }
    drop(held);
    let (failed, said) = code(&["--from", "none", "--to", "new"]);
    assert!(failed == 1 && said.contains("no store in none"), "{failed} {said}");
    let (wrong, said) = code(&["--from", "absent.toml", "--to", "new"]);
    assert!(wrong == 2 && said.contains("absent.toml"), "{wrong} {said}");
    assert_eq!(code(&["--from", "held"]).0, 2);
}
