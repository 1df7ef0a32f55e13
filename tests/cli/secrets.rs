//! `runstream secrets rotate`, and that secrets show up nowhere.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use runstream::access::{ConfiguredSecrets, Secrets};
use runstream::domain::seal::Sealer;
use runstream::domain::variable::Variable;
use runstream::fs::OsFs;
use runstream::outbound::mail::Content;
use runstream::store::contract::{Outbox as _, SealedValues as _, Store as _};
use runstream::store::lsm::{LsmSettings, LsmStore};
use serde_json::json;

use crate::store::sealed::{is_on_disk, secrets};
use crate::support::account::{Account, created};
use crate::support::cql;
use crate::support::process::{Process, run, runstream, text};

const SECRET: &str = "tea-leaves-and-honey";

fn keys(data: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(data.join("sealing.secret")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn sealer(data: &Path) -> Sealer {
    Secrets::load_or_create(data, ConfiguredSecrets::default()).unwrap().sealer()
}

async fn open(data: &Path) -> LsmStore {
    LsmStore::open(LsmSettings::at(data), Arc::new(OsFs)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_in_no_answer_no_log_and_not_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &["--set", "log.filter=trace"]);
    let account = Account::sign_up(&server.url).await;
    let env = format!("/api/projects/{}/env", account.project);
    let mut answers = String::new();
    let secret = json!({ "key": "PASSWORD", "value": SECRET, "isSecret": true });
    let made = created(&account.reporter, &env, &secret).await;
    let path = format!("{env}/{}", made["data"]["id"].as_str().unwrap());
    answers.push_str(&made.to_string());
    let again = json!({ "value": SECRET, "isSecret": true });
    let long = json!({ "key": "LONG", "value": SECRET.repeat(300), "isSecret": true });
    for (method, path, body) in [
        (Method::POST, &env, Some(&secret)),
        (Method::POST, &env, Some(&again)),
        (Method::POST, &env, Some(&long)),
        (Method::PUT, &path, Some(&again)),
        (Method::PUT, &path, Some(&json!({ "isSecret": false }))),
        (Method::GET, &env, None),
    ] {
        let answer = account.reporter.call(method, path, body).await.unwrap();
        answers.push_str(&answer.body.to_string());
    }
    let plain = json!({ "key": "PLAIN", "value": "this-one-is-for-everybody" });
    created(&account.reporter, &env, &plain).await;
    assert!(answers.contains("********") && !answers.contains(SECRET), "{answers}");
    let said = server.end();
    assert!(said.contains("\"level\":\"DEBUG\""), "the log is a talkative one");
    assert!(!said.contains(SECRET));
    let data = folder.path().join("data");
    assert!(is_on_disk(&data, b"this-one-is-for-everybody"), "this look can find what is there");
    assert!(!is_on_disk(&data, SECRET.as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_keys_seals_everything_anew() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &[]);
    let account = Account::sign_up(&server.url).await;
    let env = format!("/api/projects/{}/env", account.project);
    for key in ["A", "B", "C"] {
        created(&account.reporter, &env, &json!({ "key": key, "value": SECRET, "isSecret": true })).await;
    }
    let refused = run(folder.path(), &["secrets", "rotate", "--data", "data"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("is used by another server"), "{}", text(&refused.stderr));
    server.end();
    let data = folder.path().join("data");
    let before = keys(&data);
    let rotated = run(folder.path(), &["secrets", "rotate", "--data", "data"]);
    let said = text(&rotated.stdout);
    assert_eq!(rotated.status.code(), Some(0), "{said}{}", text(&rotated.stderr));
    assert!(said.contains("3 of 3 values sealed anew") && said.contains("variable: 3"), "{said}");
    assert!(said.contains("1 older keys removed"), "{said}");
    let after = keys(&data);
    assert!(before.len() == 1 && after.len() == 1 && before != after);
    let server = Process::serve(folder.path(), &[]);
    let client = Account::client_of(&server.url);
    assert_eq!(client.call(Method::GET, "/health", None).await.unwrap().status, 200);
    server.end();
}

/// The servers know both keys while they are changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn on_a_cluster_keys_are_changed_while_a_server_runs() {
    let keyspace = cql::keyspace().await;
    let configured = cql::configuration(&keyspace);
    let (before, keys) = configured.split_once("sealing_keys = [").unwrap();
    let (old, after) = keys.split_once(']').unwrap();
    let new = "\"another-one-0123456789-0123456789\"";
    let folder_with = |keys: &str| {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{before}sealing_keys = [{keys}]{after}");
        std::fs::write(folder.path().join("runstream.toml"), text).unwrap();
        folder
    };
    let rotate = |keys: &str| {
        let done = run(folder_with(keys).path(), &["secrets", "rotate"]);
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let folder = folder_with(&format!("{old}, {new}"));
    let server = Process::serve(folder.path(), &[]);
    let account = Account::sign_up(&server.url).await;
    let env = format!("/api/projects/{}/env", account.project);
    for key in ["A", "B", "C"] {
        created(&account.reporter, &env, &json!({ "key": key, "value": SECRET, "isSecret": true })).await;
    }
    let (code, said, errors) = rotate(new);
    assert_eq!(code, Some(1), "{said}");
    assert!(errors.contains("is not among the sealing keys"), "{errors}");

    let (code, said, errors) = rotate(&format!("{new}, {old}"));
    assert_eq!(code, Some(0), "{said}{errors}");
    assert!(said.contains("3 of 3 values sealed anew") && said.contains("variable: 3"), "{said}");
    assert!(said.contains("nothing is sealed with the key"), "{said}");
    let listed = account.reporter.call(Method::GET, &env, None).await.unwrap();
    assert_eq!(listed.status, 200);
    server.end();
    // The old key can go: whoever has the new one alone opens everything.
    let (code, said, errors) = rotate(new);
    assert_eq!(code, Some(0), "{said}{errors}");
    assert!(said.contains("of 3 values"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_that_wait_are_sealed_anew_too_and_no_old_key_is_kept_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, mut arguments) = (format!("mail.port={nobody}"), Vec::new());
    for setting in [
        "mail.host=localhost",
        port.as_str(),
        "mail.tls=none",
        "mail.from=runs@pinewood.test",
        "mail.dashboard_url=https://runs.pinewood.test",
    ] {
        arguments.extend(["--set", setting]);
    }
    let server = Process::serve(folder.path(), &arguments);
    Account::sign_up(&server.url).await;
    server.end();
    let data = folder.path().join("data");
    let old = keys(&data);
    let rotated = run(folder.path(), &["secrets", "rotate", "--data", "data"]);
    let said = text(&rotated.stdout);
    assert_eq!(rotated.status.code(), Some(0), "{said}{}", text(&rotated.stderr));
    assert!(said.contains("1 of 1 values sealed anew") && said.contains("letter: 1"), "{said}");
    assert!(said.contains("1 older keys removed"), "{said}");
    let new = keys(&data);
    assert!(new.len() == 1 && new != old);
    let store = open(&data).await;
    let waiting = store.take_letters(i64::MAX / 2, 1_000, 9).await.unwrap();
    assert_eq!(waiting.len(), 1);
    let content = runstream::outbound::mail::open(&sealer(&data), &waiting[0].letter).unwrap();
    assert!(matches!(&content, Content::Welcome { name, .. } if name == "Ada"), "{content:?}");
    store.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_keys_are_for_the_operator_to_take_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = open(&data).await;
    let generated = sealer(&data);
    let (_, variables) = secrets(&store, &generated, 2).await;
    store.shut_down().await.unwrap();
    drop(store);
    let rotate = |keys: &str| {
        let mut command = runstream(folder.path(), &["secrets", "rotate", "--data", "data"]);
        let output = command.env("RUNSTREAM_ACCESS_SEALING_KEYS", keys).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let key = "configured-0123456789-0123456789";
    let (code, said, errors) = rotate(key);
    assert_eq!(code, Some(0), "{errors}");
    let unused = format!("nothing is sealed with the key {} any more", generated.current_key());
    assert!(said.contains("2 of 2 values") && said.contains(&unused), "{said}");
    assert!(!said.contains(key) && !errors.contains(key));
    assert_eq!(keys(&data).len(), 1, "the folder's own is left alone");

    // A key that is missing is told by its id, with what it has sealed.
    std::fs::remove_file(data.join("sealing.secret")).unwrap();
    let (code, said, errors) = rotate("another-one-0123456789-0123456789");
    assert_eq!(code, Some(1), "{said}");
    assert!(errors.contains(&variables[0].secret_name()), "{errors}");
    assert!(errors.contains("is not among the sealing keys"), "{errors}");
}

/// The keys by which variables are sealed; each is checked to open with the keys of the folder.
async fn sealed_by(data: &Path, variables: &[Variable]) -> Vec<String> {
    let (store, sealer) = (open(data).await, sealer(data));
    let mut by = Vec::new();
    for variable in variables {
        let name = variable.secret_name();
        let sealed = store.sealed(variable.org, &name).await.unwrap().unwrap();
        assert!(sealer.open(variable.org, &name, &sealed).unwrap().matches(&variable.key));
        by.push(sealed.key().to_string());
    }
    store.shut_down().await.unwrap();
    by
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_keys_that_is_killed_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut variables = Vec::new();
    let store = open(&data).await;
    for _ in 0..6 {
        variables.extend(secrets(&store, &sealer(&data), 50).await.1);
    }
    store.shut_down().await.unwrap();
    drop(store);
    let old = sealer(&data).current_key().to_string();
    let mut halfway = 0;
    for killed_after_ms in (0..).map(|round| round * 30) {
        let mut command = runstream(folder.path(), &["secrets", "rotate", "--data", "data"]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while keys(&data).len() < 2 && process.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(killed_after_ms)).await;
        let ended = process.try_wait().unwrap();
        drop(process.kill());
        process.wait().unwrap();
        let by = sealed_by(&data, &variables).await;
        let left = by.iter().filter(|key| **key == old).count();
        halfway += usize::from(left > 0 && left < by.len());
        if let Some(status) = ended {
            assert!(status.success());
            assert_eq!((left, keys(&data).len()), (0, 1));
            break;
        }
        assert!(left == 0 || keys(&data).len() == 2, "the old key is needed");
    }
    assert!(halfway > 0, "no kill came in the middle");
}
