//! `runstream store copy` as a user runs it: the real binary, killed in between.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use runstream::clock::{Clock as _, SystemClock};
use runstream::fs::OsFs;
use runstream::store::contract::Store as _;
use runstream::store::lsm::{LsmSettings, LsmStore};
use serde_json::Value;

use crate::store::copy::filled::{answers, fill};
use crate::store::copy::{cut_off, folder as embedded, keyspace as on_cluster, open};
use crate::store::sample;
use crate::support::account::Account;
use crate::support::cql;
use crate::support::process::{Process, run, runstream, text};
use crate::support::runs::{Reporter, opened, words};

/// Fills a folder with content of every kind and, so that a copy takes its time, with some megabytes of text; what the
/// store in it answers to the questions about the content.
async fn filled(folder: &Path) -> Asked {
    let side = embedded(folder);
    let store = open(&side).await.unwrap();
    let now_ms = SystemClock.now_ms();
    let filled = fill(&*store, 12, now_ms).await;
    for number in 0..6 {
        let mut reporter = Reporter::new(opened(filled.orgs[0], now_ms));
        store.open_run(reporter.opened.clone()).await.unwrap();
        for _ in 0..10 {
            store.append(&reporter.log(words(16_000, number))).await.unwrap();
        }
        assert!(store.close_run(reporter.closed(1)).await.unwrap());
        store.settle(filled.orgs[0], reporter.id()).await.unwrap();
    }
    let answers = answers(&*store, &filled).await;
    store.shut_down().await.unwrap();
    Asked { filled, answers }
}

struct Asked {
    filled: crate::store::copy::filled::Filled,
    answers: Vec<String>,
}

impl Asked {
    /// Fails unless the store in the folder answers the same.
    async fn again(&self, folder: &Path) {
        let store = open(&embedded(folder)).await.unwrap();
        assert_eq!(answers(&*store, &self.filled).await, self.answers);
        store.shut_down().await.unwrap();
    }
}

fn begin(folder: &Path, from: &str, to: &str) -> Child {
    let arguments = ["store", "copy", "--from", from, "--to", to, "--json"];
    runstream(folder, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Copies by the binary to the end.
fn copy(folder: &Path, from: &str, to: &str) -> Value {
    loop {
        let output = begin(folder, from, to).wait_with_output().unwrap();
        if !is_to_go_on(&output) {
            return said(&output);
        }
    }
}

#[track_caller]
fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `kill -9`.
fn kill(mut copying: Child) {
    copying.kill().unwrap();
    copying.wait().unwrap();
}

/// How often a copy is begun anew that came to its end before it was killed: on a machine that has much else to do.
const TRIES: usize = 5;

/// Copies into a keyspace and kills the copying once it has noted that it has begun.
async fn kill_amid(at: &Path, from: &str, configuration: &str) -> cql::Keyspace {
    for _ in 0..TRIES {
        let keyspace = cql::keyspace().await;
        std::fs::write(at.join(configuration), cql::configuration(&keyspace)).unwrap();
        let notes = format!(
            "SELECT name FROM {}.lookups WHERE space = 'copy' AND name = 0x6e6f7465",
            keyspace.keyspace
        );
        let mut copying = begin(at, from, configuration);
        for _ in 0..6_000 {
            if copying.try_wait().unwrap().is_some() || cql::finds(&keyspace, &notes).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        kill(copying);
        if cql::finds(&keyspace, &notes).await {
            return keyspace;
        }
    }
    panic!("it does not begin, or was done each time already");
}

/// Copies by the binary into a new folder, with at least one that was killed and one that went on: what the last one says,
/// and the folder.
async fn copy_killed(at: &Path, from: &str) -> (Value, String) {
    let mut said = Value::Null;
    for number in 0..TRIES {
        let to = format!("to-{number}");
        said = killed_over_and_over(at, from, &to).await;
        if said["resumed"] == true {
            return (said, to);
        }
    }
    panic!("it was never killed: {said}");
}

/// Copies, killing it ever later after it has begun, until it comes to its end; what the last one says.
async fn killed_over_and_over(at: &Path, from: &str, to: &str) -> Value {
    let mut patience = Duration::from_millis(50);
    loop {
        let mut copying = begin(at, from, to);
        let mut said_by_it = BufReader::new(copying.stderr.take().unwrap());
        let mut stderr = String::new();
        while said_by_it.read_line(&mut stderr).unwrap() > 0 {
            if stderr
                .lines()
                .last()
                .is_some_and(|line| line == "copying" || line.starts_with("going on after"))
            {
                tokio::time::sleep(patience).await;
                patience *= 3;
                // In vain if it has come to its end.
                drop(copying.kill());
            }
        }
        let output = Output { stderr: stderr.into_bytes(), ..copying.wait_with_output().unwrap() };
        if output.status.code().is_some() && !is_to_go_on(&output) {
            return said(&output);
        }
    }
}

/// Whether it asks to be run again: on a machine that is so busy that it loses its lease.
fn is_to_go_on(output: &Output) -> bool {
    text(&output.stderr).contains("copy again to go on from here")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_that_was_killed_goes_on_and_ends_with_the_same_records() {
    let folder = tempfile::tempdir().unwrap();
    let asked = filled(&folder.path().join("from")).await;
    let whole = copy(folder.path(), "from", "whole");
    assert_eq!(whole["resumed"], false);
    let (killed, to) = copy_killed(folder.path(), "from").await;
    assert_eq!(killed["kinds"], whole["kinds"]);
    let kinds = whole["kinds"].as_array().unwrap();
    for kind in kinds.iter().filter(|kind| kind["kind"] != "quarantined tests") {
        assert!(kind["records"].as_u64().unwrap() > 0, "nothing was there to be copied: {kind}");
        assert_eq!(kind["checksum"].as_str().unwrap().len(), 32);
    }
    asked.again(&folder.path().join(to)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn copies_into_a_cluster_and_back_that_were_killed_end_with_the_same_records() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let asked = filled(&at.join("from")).await;
    let whole = copy(at, "from", "whole");
    let _keyspace = kill_amid(at, "from", "cluster.toml").await;
    let there = copy(at, "from", "cluster.toml");
    assert_eq!((&there["resumed"], &there["kinds"]), (&Value::Bool(true), &whole["kinds"]));

    let (back, to) = copy_killed(at, "cluster.toml").await;
    assert_eq!(back["kinds"], whole["kinds"]);
    asked.again(&at.join(to)).await;
}

/// A store with one account.
async fn small(folder: &Path, name: &str) {
    let store = LsmStore::open(LsmSettings::at(folder), Arc::new(OsFs)).await.unwrap();
    sample::member(&store, name).await;
    store.shut_down().await.unwrap();
}

/// The exit code and the one sentence of a run that is refused.
fn refused(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(folder, arguments);
    let said = text(&output.stderr);
    let sentences: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("runstream: ")).collect();
    assert_eq!(sentences.len(), 1, "{said}");
    (output.status.code().unwrap(), sentences[0].to_owned())
}

#[track_caller]
fn check(folder: &Path, arguments: &[&str], code: i32, part: &str) {
    let (found, sentence) = refused(folder, arguments);
    assert!(found == code && sentence.contains(part), "{arguments:?}: {found} {sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_copied_is_refused_in_one_sentence_with_its_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let held = runstream::server::DataFolder::open(&at.join("held")).unwrap();
    for (from, to) in [("held", "new"), ("none", "held")] {
        check(at, &["store", "copy", "--from", from, "--to", to], 4, "used by another server");
    }
    drop(held);
    check(at, &["store", "copy", "--from", "none", "--to", "new"], 1, "no store in none");
    let wrong = run(at, &["store", "copy", "--from", "absent.toml", "--to", "new"]);
    assert!(wrong.status.code() == Some(2) && text(&wrong.stderr).contains("absent.toml"), "{wrong:?}");
    assert_eq!(run(at, &["store", "copy", "--from", "held"]).status.code(), Some(2));

    for name in ["from", "other"] {
        small(&at.join(name), name).await;
    }
    check(at, &["store", "copy", "--from", "from", "--to", "other"], 1, "is not empty");
    assert_eq!(cut_off(&embedded(&at.join("from")), &embedded(&at.join("part")), 1).await, None);
    let part = "a copy into this store has not been finished; run `runstream store copy` again";
    check(at, &["serve", "--port", "0", "--data", "part"], 1, part);
    check(at, &["store", "copy", "--from", "other", "--to", "part"], 1, "unfinished copy of another store");
    assert!(run(at, &["store", "copy", "--from", "from", "--to", "part"]).status.success());
    let store = open(&embedded(&at.join("part"))).await.unwrap();
    assert!(store.user_by_email("from@pinewood.test").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_cluster_in_use_and_an_unfinished_copy_on_one_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small(&at.join("from"), "from").await;
    let keyspace = cql::keyspace().await;
    std::fs::write(at.join("cluster.toml"), cql::configuration(&keyspace)).unwrap();
    let server = open(&on_cluster(&keyspace)).await.unwrap();
    for (from, to) in [("cluster.toml", "new"), ("from", "cluster.toml")] {
        check(at, &["store", "copy", "--from", from, "--to", to], 4, "is used by a server");
    }
    server.shut_down().await.unwrap();
    drop(server);
    // A server has named its numbering there, which is not the source's.
    check(at, &["store", "copy", "--from", "from", "--to", "cluster.toml"], 1, "copy into a new one");
    cql::administer(&keyspace, &[&format!("TRUNCATE {}.feed_lane", keyspace.keyspace)]).await;
    assert_eq!(cut_off(&embedded(&at.join("from")), &on_cluster(&keyspace), 1).await, None);
    check(
        at,
        &["serve", "--port", "0", "--data", "new", "--config", "cluster.toml"],
        1,
        "has not been finished",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_server_moves_to_a_cluster_as_the_readme_says_and_knows_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let server = Process::serve(at, &[]);
    let mut account = Account::sign_up(&server.url).await;
    let (session, _) = account.open_run().await;
    server.end();
    let keyspace = cql::keyspace().await;
    // Its secrets stay in the data folder.
    let configuration = cql::configuration(&keyspace);
    let (_, configuration) = configuration.split_once("[store]").unwrap();
    std::fs::write(at.join("cluster.toml"), format!("[store]{configuration}")).unwrap();
    for arguments in ["schema apply --config cluster.toml", "store copy --from data --to cluster.toml"] {
        let done = run(at, &arguments.split(' ').collect::<Vec<_>>());
        assert!(done.status.success(), "{arguments}: {}", text(&done.stderr));
    }
    let server = Process::serve(at, &["--config", "cluster.toml"]);
    account.reporter = account.reporter.at(&Account::client_of(&server.url));
    let line =
        serde_json::json!({ "type": "log", "timestamp": 1_774_000_000_456_i64, "chunk": "on it goes\n" });
    let event = serde_json::json!({ "sessionId": session, "events": [line] });
    let answer = account.reporter.call(http::Method::POST, "/api/ingest/event", Some(&event)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    account.open_run().await;
    server.end();
}
