//! Counted login tries: the lockout that parallel guesses cannot get around.

use runstream::clock::UnixMs;
use runstream::store::contract::LoginGate::{self, Last, LockedUntil, Open};

use super::sample::NOW_MS;
use super::{
    ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, on_each_store, races, sample,
};

on_each_cold_store! {
    the_try_that_reaches_the_threshold_is_the_last_and_locks,
    the_first_try_opens_the_window,
    tries_while_locked_do_not_extend_the_lock,
    parallel_tries_cannot_exceed_the_threshold,
    addresses_are_counted_apart_and_need_no_account,
    a_success_sets_the_login_forgets_the_tries_and_is_audited,
    a_success_on_the_last_try_lifts_the_lock_it_completed,
    a_success_of_an_account_that_is_gone_still_counts,
    a_try_taken_back_never_was,
    a_lock_completed_by_a_try_taken_back_is_lifted,
    tries_that_still_matter_are_kept,
}
on_each_cold_store_across_restarts! { tries_and_locks_survive_a_restart }
/// Only stores that forget on being told, not by themselves.
mod told_to_forget {
    use super::*;

    on_each_store! {
        tries_that_no_longer_matter_are_forgotten_and_others_are_not,
        a_purge_takes_at_most_a_thousand,
    }
}

const WINDOW_MS: i64 = 900_000;
const LOCK_MS: i64 = 600_000;

async fn begin(store: &dyn ColdStore, email: &str, now_ms: UnixMs) -> LoginGate {
    store.begin_login(email, now_ms, 5, WINDOW_MS, LOCK_MS).await.unwrap()
}

async fn begin_times(store: &dyn ColdStore, email: &str, now_ms: UnixMs, times: usize) -> Vec<LoginGate> {
    let mut gates = Vec::new();
    for _ in 0..times {
        gates.push(begin(store, email, now_ms).await);
    }
    gates
}

async fn the_try_that_reaches_the_threshold_is_the_last_and_locks(store: &dyn ColdStore) {
    let gates = begin_times(store, "a@x.test", NOW_MS, 6).await;
    assert_eq!(gates, [Open, Open, Open, Open, Last, LockedUntil(NOW_MS + LOCK_MS)]);
    assert_eq!(begin(store, "a@x.test", NOW_MS + LOCK_MS - 1).await, LockedUntil(NOW_MS + LOCK_MS));
    let gates = begin_times(store, "a@x.test", NOW_MS + LOCK_MS, 5).await;
    assert_eq!(gates, [Open, Open, Open, Open, Last], "a lock that is over leaves nothing behind");
}

async fn the_first_try_opens_the_window(store: &dyn ColdStore) {
    begin(store, "a@x.test", NOW_MS).await;
    let gates = begin_times(store, "a@x.test", NOW_MS + WINDOW_MS - 1, 3).await;
    assert_eq!(gates, [Open; 3]);
    let gates = begin_times(store, "a@x.test", NOW_MS + WINDOW_MS, 5).await;
    assert_eq!(gates, [Open, Open, Open, Open, Last]);
}

async fn tries_while_locked_do_not_extend_the_lock(store: &dyn ColdStore) {
    begin_times(store, "a@x.test", NOW_MS, 5).await;
    for later_ms in [1, 1_000, LOCK_MS - 1] {
        assert_eq!(begin(store, "a@x.test", NOW_MS + later_ms).await, LockedUntil(NOW_MS + LOCK_MS));
    }
    assert_eq!(begin(store, "a@x.test", NOW_MS + LOCK_MS).await, Open);
}

async fn parallel_tries_cannot_exceed_the_threshold(store: &dyn ColdStore) {
    for race in 0..races() {
        let email = format!("{race}@x.test");
        let tries = (0..8).map(|_| begin(store, &email, NOW_MS));
        let gates = futures_util::future::join_all(tries).await;
        let count = |wanted: LoginGate| gates.iter().filter(|gate| **gate == wanted).count();
        let counts = (count(Open), count(Last), count(LockedUntil(NOW_MS + LOCK_MS)));
        assert_eq!(counts, (4, 1, 3), "race {race}: {gates:?}");
    }
}

async fn addresses_are_counted_apart_and_need_no_account(store: &dyn ColdStore) {
    let (_, user) = sample::member(store, "pinewood").await;
    let with_account = begin_times(store, &user.email, NOW_MS, 6).await;
    assert_eq!(begin_times(store, "nobody@x.test", NOW_MS, 6).await, with_account);
    assert_eq!(begin(store, "somebody@x.test", NOW_MS).await, Open);
}

async fn a_success_sets_the_login_forgets_the_tries_and_is_audited(store: &dyn ColdStore) {
    let (org, user) = sample::member(store, "pinewood").await;
    begin_times(store, &user.email, NOW_MS, 4).await;
    let audit = sample::audit(org.id, "auth.login");
    store.login_succeeded(user.id, &user.email, NOW_MS + 7, audit).await.unwrap();
    assert_eq!(store.user(user.id).await.unwrap().unwrap().last_login_ms, Some(NOW_MS + 7));
    assert_eq!(store.user_by_email(&user.email).await.unwrap().unwrap().last_login_ms, Some(NOW_MS + 7));
    assert!(sample::actions(store, org.id).await.contains(&"auth.login".to_owned()));
    assert_eq!(begin_times(store, &user.email, NOW_MS, 5).await, [Open, Open, Open, Open, Last]);
}

async fn a_success_on_the_last_try_lifts_the_lock_it_completed(store: &dyn ColdStore) {
    let (org, user) = sample::member(store, "pinewood").await;
    assert_eq!(begin_times(store, &user.email, NOW_MS, 5).await.last(), Some(&Last));
    let audit = sample::audit(org.id, "auth.login");
    store.login_succeeded(user.id, &user.email, NOW_MS, audit).await.unwrap();
    assert_eq!(begin(store, &user.email, NOW_MS).await, Open);
}

async fn a_success_of_an_account_that_is_gone_still_counts(store: &dyn ColdStore) {
    let org = sample::org();
    begin_times(store, "gone@x.test", NOW_MS, 4).await;
    let (gone, audit) = (sample::user(org, "gone@x.test"), sample::audit(org, "auth.login"));
    store.login_succeeded(gone.id, "gone@x.test", NOW_MS, audit).await.unwrap();
    assert_eq!(store.user(gone.id).await, Ok(None));
    assert_eq!(sample::actions(store, org).await, ["auth.login"]);
    assert_eq!(begin_times(store, "gone@x.test", NOW_MS, 4).await, [Open; 4]);
}

async fn a_try_taken_back_never_was(store: &dyn ColdStore) {
    for _ in 0..20 {
        assert_eq!(begin(store, "a@x.test", NOW_MS).await, Open);
        store.undo_login("a@x.test").await.unwrap();
    }
    assert_eq!(begin_times(store, "a@x.test", NOW_MS, 5).await, [Open, Open, Open, Open, Last]);
    store.undo_login("never-tried@x.test").await.unwrap();
    assert_eq!(begin(store, "never-tried@x.test", NOW_MS).await, Open);
}

async fn a_lock_completed_by_a_try_taken_back_is_lifted(store: &dyn ColdStore) {
    begin_times(store, "a@x.test", NOW_MS, 5).await;
    store.undo_login("a@x.test").await.unwrap();
    assert_eq!(begin(store, "a@x.test", NOW_MS + 1).await, Last, "the four before it still count");
}

async fn tries_that_no_longer_matter_are_forgotten_and_others_are_not(store: &dyn ColdStore) {
    begin_times(store, "window@x.test", NOW_MS, 4).await;
    begin_times(store, "locked@x.test", NOW_MS + WINDOW_MS, 5).await;
    assert_eq!(store.purge_logins(NOW_MS + WINDOW_MS).await, Ok(0), "ended, but not before");
    assert_eq!(store.purge_logins(NOW_MS + WINDOW_MS + 1).await, Ok(1));
    let until_ms = NOW_MS + WINDOW_MS + LOCK_MS;
    assert_eq!(begin(store, "locked@x.test", until_ms - 1).await, LockedUntil(until_ms));
    assert_eq!(store.purge_logins(until_ms + 1).await, Ok(1));
    assert_eq!(store.purge_logins(UnixMs::MAX).await, Ok(0), "nothing is left");
}

async fn tries_that_still_matter_are_kept(store: &dyn ColdStore) {
    begin_times(store, "window@x.test", NOW_MS, 4).await;
    begin_times(store, "locked@x.test", NOW_MS, 5).await;
    store.purge_logins(NOW_MS + 1).await.unwrap();
    assert_eq!(begin(store, "window@x.test", NOW_MS + 2).await, Last);
    assert_eq!(begin(store, "locked@x.test", NOW_MS + 2).await, LockedUntil(NOW_MS + LOCK_MS));
}

async fn a_purge_takes_at_most_a_thousand(store: &dyn ColdStore) {
    let emails: Vec<_> = (0..1_001).map(|number| format!("{number}@x.test")).collect();
    futures_util::future::join_all(emails.iter().map(|email| begin(store, email, NOW_MS))).await;
    assert_eq!(store.purge_logins(UnixMs::MAX).await, Ok(1_000));
    assert_eq!(store.purge_logins(UnixMs::MAX).await, Ok(1));
}

async fn tries_and_locks_survive_a_restart(home: &dyn ColdHome) {
    begin_times(&*home.open_cold().await, "a@x.test", NOW_MS, 4).await;
    assert_eq!(begin(&*home.open_cold().await, "a@x.test", NOW_MS + 1).await, Last);
    assert_eq!(
        begin(&*home.open_cold().await, "a@x.test", NOW_MS + 2).await,
        LockedUntil(NOW_MS + 1 + LOCK_MS)
    );
}
