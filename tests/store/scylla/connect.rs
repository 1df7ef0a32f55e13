//! Connecting: a round trip of each kind of statement, and one sentence for each thing an operator can set wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use runstream::clock::SystemClock;
use runstream::limits::CQL_START_TIMEOUT;
use runstream::store::contract::StoreError;
use runstream::store::scylla::statement::{Purpose, Spec};
use runstream::store::scylla::{Cql, Password, ScyllaSettings};

use crate::support::cql;

/// What connecting with these settings fails with.
async fn refusal(settings: &ScyllaSettings) -> String {
    let begun = Instant::now();
    let connected = Cql::connect(settings, Arc::new(SystemClock)).await;
    let took = begun.elapsed();
    assert!(took < CQL_START_TIMEOUT + Duration::from_secs(1), "it took {took:?}");
    connected.err().expect("it must be refused").to_string()
}

#[track_caller]
fn check_sentence(sentence: &str, parts: &[&str]) {
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
    assert!(!sentence.contains('\n'), "more than a line: {sentence}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn statements_of_each_purpose_make_their_round_trip() {
    let settings = cql::empty_keyspace().await;
    let table = format!(
        "CREATE TABLE {}.things (part blob, at int, value blob, rev bigint static, PRIMARY KEY (part, at))",
        settings.keyspace
    );
    cql::administer(&settings, &[&table]).await;
    let cql = cql::connect(&settings).await;
    let prepare = async |text, purpose| cql.prepare(Spec { text, purpose }).await.unwrap();
    let put = prepare("INSERT INTO things (part, at, value) VALUES (?, ?, ?)", Purpose::Write).await;
    let claim = prepare("UPDATE things SET rev = ? WHERE part = ? IF rev = ?", Purpose::Conditional).await;
    let add = prepare("INSERT INTO things (part, at) VALUES (?, ?)", Purpose::Conditional).await;
    let revision = prepare("SELECT rev FROM things WHERE part = ? LIMIT 1", Purpose::SerialRead).await;
    let slice = prepare("SELECT at, value FROM things WHERE part = ?", Purpose::Read).await;

    let part = b"one".to_vec();
    for at in 0..1_200 {
        cql.run(&put, (&part, at, vec![1_u8])).await.unwrap();
    }
    let rows: Vec<(i32, Option<Vec<u8>>)> =
        cql.rows(&slice, (&part,)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.len(), 1_200, "more than two pages");
    assert!(rows.is_sorted() && rows.iter().all(|(_, value)| value.as_deref() == Some(&[1])));
    let first: Vec<(i32, Option<Vec<u8>>)> = cql.first_rows(&slice, (&part,), 3).await.unwrap();
    assert_eq!(first.len(), 3);

    assert_eq!(cql.applied(&claim, (1_i64, &part, None::<i64>)).await, Ok(true));
    assert_eq!(cql.applied(&claim, (1_i64, &part, None::<i64>)).await, Ok(false));
    let blob = |bytes: &[u8]| Some(scylla::value::CqlValue::Blob(bytes.to_vec()));
    let number = |value| Some(scylla::value::CqlValue::BigInt(value));
    let together = async |from, to| {
        let claimed = (&claim, vec![number(to), blob(&part), number(from)]);
        let added = (&add, vec![blob(&part), Some(scylla::value::CqlValue::Int(9_000))]);
        cql.applied_together(vec![claimed, added]).await
    };
    assert_eq!(together(7, 8).await, Ok(false));
    assert_eq!(cql.first::<(Option<i64>,)>(&revision, (&part,)).await, Ok(Some((Some(1),))));
    assert_eq!(together(1, 2).await, Ok(true));
    assert_eq!(cql.first::<(Option<i64>,)>(&revision, (&part,)).await, Ok(Some((Some(2),))));
    let rows: Vec<(i32, Option<Vec<u8>>)> = cql.first_rows(&slice, (&part,), 2_000).await.unwrap();
    assert_eq!(rows.len(), 1_201);
    assert_eq!(cql.first::<(i32, Option<Vec<u8>>)>(&slice, (b"two".to_vec(),)).await, Ok(None));

    let read = cql.first::<(i32, i32)>(&slice, (&part,)).await;
    assert!(matches!(read, Err(StoreError::Damaged(_))), "a row of another shape: {read:?}");
    let unknown = cql.prepare(Spec { text: "SELECT at FROM nothing", purpose: Purpose::Read }).await;
    assert!(matches!(unknown, Err(StoreError::Unavailable(_))), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_do_not_answer_are_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    // Accepted by the system, answered by nobody.
    let silent = refusal(&ScyllaSettings::at(&[&address], "runstream")).await;
    check_sentence(&silent, &[&address, "no node of the cluster answered", "check `scylla.nodes`"]);
    drop(closed);
    let refused = refusal(&ScyllaSettings::at(&[&address], "runstream")).await;
    check_sentence(&refused, &[&address, "no node of the cluster answered", "check `scylla.nodes`"]);
    let unknown = refusal(&ScyllaSettings::at(&["no-such-host.invalid:9042"], "runstream")).await;
    check_sentence(&unknown, &["no-such-host.invalid", "check `scylla.nodes`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_no_keyspace_can_have_is_refused_before_anything_is_asked() {
    for name in ["", "a-b", "a b", "\"a\"", "a;b", &"a".repeat(49)] {
        let refused = refusal(&ScyllaSettings::at(&["127.0.0.1:1"], name)).await;
        check_sentence(&refused, &["cannot name a keyspace", "`scylla.keyspace`"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_wrong_password_datacenter_or_keyspace_is_named() {
    let settings = cql::empty_keyspace().await;
    let wrong = ScyllaSettings { password: Some(Password("guess".to_owned())), ..settings.clone() };
    let sentence = refusal(&wrong).await;
    check_sentence(&sentence, &["refused to sign in \"cassandra\"", "`scylla.password`"]);
    assert!(!sentence.contains("guess"), "{sentence}");
    let nobody = refusal(&ScyllaSettings { user: None, password: None, ..settings.clone() }).await;
    check_sentence(&nobody, &["refused to sign in nobody", "`scylla.user`"]);

    let elsewhere = ScyllaSettings { datacenter: Some("moon".to_owned()), ..settings.clone() };
    check_sentence(&refusal(&elsewhere).await, &["\"moon\"", "\"datacenter1\"", "`scylla.datacenter`"]);
    let named = ScyllaSettings { datacenter: Some("datacenter1".to_owned()), ..settings.clone() };
    assert_eq!(cql::connect(&named).await.datacenter(), "datacenter1");

    let missing = ScyllaSettings { keyspace: "not_there".to_owned(), ..settings.clone() };
    check_sentence(&refusal(&missing).await, &["no keyspace \"not_there\"", "`runstream schema apply`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn tls_trusts_the_configured_authorities_only() {
    let [certificate, key] = cql::Server::client().map(Some);
    let known = ScyllaSettings { tls_certificate: certificate, tls_key: key, ..cql::empty_keyspace().await };
    let with = |file: std::path::PathBuf| ScyllaSettings { tls_authorities: Some(file), ..known.clone() };
    let trusted = with(cql::server().await.certificate());
    assert_eq!(cql::connect(&trusted).await.datacenter(), "datacenter1");

    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/foreign-authority.pem");
    let sentence = refusal(&with(foreign)).await;
    check_sentence(&sentence, &["no node of the cluster answered", "certificate"]);

    let missing = refusal(&with("no-such-file.pem".into())).await;
    check_sentence(&missing, &["no-such-file.pem", "`scylla.tls_authorities`"]);
    let none = refusal(&with(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))).await;
    check_sentence(&none, &["Cargo.toml", "holds no certificate"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_cluster_that_asks_for_a_certificate_gets_the_configured_one() {
    let authority = cql::server().await.certificate();
    let without = ScyllaSettings { tls_authorities: Some(authority), ..cql::empty_keyspace().await };
    let sentence = refusal(&without).await;
    check_sentence(&sentence, &["no node of the cluster answered", "check `scylla.nodes`"]);

    let [certificate, key] = cql::Server::client();
    let with = |certificate, key| ScyllaSettings {
        tls_certificate: Some(certificate),
        tls_key: Some(key),
        ..without.clone()
    };
    assert_eq!(cql::connect(&with(certificate.clone(), key.clone())).await.datacenter(), "datacenter1");

    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mail");
    let sentence = refusal(&with(foreign.join("server.pem"), foreign.join("server.key"))).await;
    check_sentence(&sentence, &["no node of the cluster answered", "check `scylla.nodes`"]);
    let sentence = refusal(&with(certificate, "no-such-key.pem".into())).await;
    check_sentence(&sentence, &["no-such-key.pem", "cannot be set up"]);
    // A certificate, and the key of another one.
    let [certificate, _] = cql::Server::client();
    let sentence = refusal(&with(certificate, foreign.join("server.key"))).await;
    check_sentence(&sentence, &["server.key", "cannot be set up"]);
}
