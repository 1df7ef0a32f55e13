//! What a cluster forgets by itself, and when: rows that go by TTL have the time that `limits.rs` says.

use std::sync::Arc;
use std::time::Duration;

use runstream::clock::ManualClock;
use runstream::domain::mail::LetterEnd;
use runstream::domain::reset::PasswordReset;
use runstream::limits::{
    AUDIT_RETENTION, CQL_VOID_KEPT, LETTER_END_KEPT, LOGIN_FAILURES_MAX, LOGIN_LOCK, LOGIN_WINDOW,
    PASSWORD_RESET_LIFETIME, RUN_PLACES_KEPT, TOKEN_LIFETIME,
};
use runstream::store::contract::{
    Accounts as _, Organizations as _, Outbox as _, PasswordResets as _, Tokens as _,
};
use runstream::store::scylla::{Cold, Cql};

use crate::store::outbox::letter;
use crate::store::sample::{self, NOW_MS};
use crate::support::cql::{self, Keyspace};

/// How much longer than needed most rows are kept: nodes' clocks may differ that much.
const KEPT_LONGER: Duration = Duration::from_secs(3_600);
/// Passes between writing and looking, at most.
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A store in the samples' time.
async fn open() -> (Keyspace, Cold) {
    let keyspace = cql::keyspace().await;
    let cql = Cql::connect(&keyspace, Arc::new(ManualClock::at(NOW_MS))).await.unwrap();
    let store = Cold::open(Arc::new(cql)).await.unwrap();
    (keyspace, store)
}

/// Holds the time that is left to the only row of `FROM {place}` against what it is to be.
async fn check(keyspace: &Keyspace, column: &str, place: &str, wanted: Duration) {
    let (table, condition) = place.split_once(' ').unwrap_or((place, ""));
    let statement = format!("SELECT TTL({column}) FROM {}.{table} {condition}", keyspace.keyspace);
    let found = cql::ttls(keyspace, &statement).await;
    let [Some(left_s)] = found[..] else { panic!("{place}: {found:?}") };
    let left = Duration::from_secs(u64::try_from(left_s).unwrap());
    assert!(left <= wanted + Duration::from_secs(1), "{place}: {left:?} instead of {wanted:?}");
    assert!(left + MINUTE >= wanted, "{place}: {left:?} instead of {wanted:?}");
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn audit_entries_go_after_a_year() {
    let (keyspace, store) = open().await;
    store.audit(sample::audit(sample::org(), "auth.login_failed")).await.unwrap();
    assert_eq!(AUDIT_RETENTION, 365 * DAY);
    check(&keyspace, "entry", "audit", AUDIT_RETENTION).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn an_entry_that_comes_late_goes_with_those_of_its_time() {
    let (keyspace, store) = open().await;
    let age = 100 * DAY;
    let late = sample::audit_at(sample::org(), "auth.login_failed", NOW_MS - millis(age));
    store.audit(late).await.unwrap();
    check(&keyspace, "entry", "audit", AUDIT_RETENTION - age).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn counted_runs_go_after_their_period() {
    let (keyspace, store) = open().await;
    let (org, period_ms) = (sample::org(), NOW_MS);
    let place = format!("org_data WHERE org = 0x{org} AND kind = 'run_places'");
    let check = async || check(&keyspace, "value", &place, RUN_PLACES_KEPT).await;
    for _ in 0..2 {
        store.take_run_place(org, period_ms, 9, 0, NOW_MS).await.unwrap();
        check().await;
    }
    store.give_run_place_back(org, period_ms, NOW_MS).await.unwrap();
    check().await;
    assert_eq!(store.correct_run_places(org, period_ms, 0, NOW_MS + 1).await, Ok(true));
    check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn what_is_void_of_a_sign_up_that_was_cut_off_goes_after_a_year() {
    let keyspace = cql::keyspace().await;
    let cql = Arc::new(Cql::connect(&keyspace, Arc::new(ManualClock::at(NOW_MS))).await.unwrap());
    let store = Cold::open(Arc::clone(&cql)).await.unwrap();
    let org = sample::organization("pinewood");
    let user = sample::user(org.id, "rosa@pinewood.test");
    let sign_up = async || {
        let audit = sample::audit(org.id, "auth.signup");
        store.sign_up(org.clone(), "pinewood-x".into(), user.clone(), audit, None).await
    };
    // Its first claim is made, and what it claims never comes.
    cql.faults().die_after(1);
    sign_up().await.unwrap_err();
    cql.faults().end();
    sign_up().await.unwrap();
    assert_eq!(CQL_VOID_KEPT, 365 * DAY);
    check(&keyspace, "value", &format!("org_data WHERE org = 0x{} AND kind = 'void'", org.id), CQL_VOID_KEPT)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn login_tries_go_when_window_and_lock_are_over() {
    let (keyspace, store) = open().await;
    let (window_ms, lock_ms) = (millis(LOGIN_WINDOW), millis(LOGIN_LOCK));
    let count =
        async |threshold| store.begin_login("a@x.test", NOW_MS, threshold, window_ms, lock_ms).await.unwrap();
    count(LOGIN_FAILURES_MAX).await;
    check(&keyspace, "tries", "logins", LOGIN_WINDOW + KEPT_LONGER).await;
    // It locks the address.
    count(2).await;
    check(&keyspace, "tries", "logins", LOGIN_WINDOW.max(LOGIN_LOCK) + KEPT_LONGER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn revocations_go_after_their_tokens() {
    let (keyspace, store) = open().await;
    let expires_ms = NOW_MS + millis(TOKEN_LIFETIME);
    store.revoke_token("one", expires_ms, sample::audit(sample::org(), "auth.logout")).await.unwrap();
    let kept = TOKEN_LIFETIME + KEPT_LONGER;
    check(&keyspace, "record", "lookups WHERE space = 'token' ALLOW FILTERING", kept).await;
    check(&keyspace, "value", "org_data WHERE kind = 'revoked' ALLOW FILTERING", kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn password_resets_go_when_they_have_expired() {
    let (keyspace, store) = open().await;
    let (org, user) = sample::member(&store, "pinewood").await;
    let expires_ms = NOW_MS + millis(PASSWORD_RESET_LIFETIME);
    let reset = PasswordReset { hash: [7; 32], expires_ms, credentials_from_ms: 0 };
    assert_eq!(store.begin_reset(org.id, user.id, reset, None).await, Ok(true));
    let kept = PASSWORD_RESET_LIFETIME + KEPT_LONGER;
    check(&keyspace, "record", "lookups WHERE space = 'reset' ALLOW FILTERING", kept).await;
    check(&keyspace, "value", "org_data WHERE kind = 'reset' ALLOW FILTERING", kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn ends_of_letters_go_after_a_week_and_marks_when_they_say() {
    let (keyspace, store) = open().await;
    let org = sample::org();
    store.post_letter(letter(org, "invitation/1")).await.unwrap();
    let taken = store.take_letters(NOW_MS, 60_000, 1).await.unwrap();
    assert_eq!(store.end_letter(&taken[0], LetterEnd::Sent, NOW_MS).await, Ok(true));
    assert_eq!(LETTER_END_KEPT, 7 * DAY);
    let kept = LETTER_END_KEPT + KEPT_LONGER;
    check(&keyspace, "value", "org_data WHERE kind = 'letter_end' ALLOW FILTERING", kept).await;

    let until_ms = NOW_MS + millis(30 * DAY);
    assert_eq!(store.tell_once(org, vec!["usage/80".into()], until_ms, Vec::new()).await, Ok(true));
    let kept = 30 * DAY + KEPT_LONGER;
    check(&keyspace, "value", "org_data WHERE kind = 'told' ALLOW FILTERING", kept).await;
}
