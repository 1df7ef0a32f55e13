//! Revoked tokens.

use runstream::clock::UnixMs;

use super::sample::NOW_MS;
use super::{
    ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, on_each_store, sample,
};

on_each_cold_store! {
    a_revoked_token_is_revoked_alone_and_audited,
    revoking_again_changes_nothing,
    what_has_not_expired_stays_revoked,
    racing_revocations_are_one,
}
on_each_cold_store_across_restarts! { revocations_survive_a_restart }
/// Only stores that forget on being told, not by themselves.
mod told_to_forget {
    use super::*;

    on_each_store! {
        the_first_expiry_stands,
        a_purge_forgets_what_has_expired_before,
        a_purge_takes_at_most_a_thousand,
    }
}

async fn a_revoked_token_is_revoked_alone_and_audited(store: &dyn ColdStore) {
    let org = sample::org();
    store.revoke_token("one", NOW_MS, sample::audit(org, "auth.logout")).await.unwrap();
    let is_revoked = async |token: &str| store.is_token_revoked(token).await.unwrap();
    assert!(is_revoked("one").await);
    for other in ["", "on", "one ", "One", "two"] {
        assert!(!is_revoked(other).await, "{other:?}");
    }
    assert_eq!(sample::actions(store, org).await, ["auth.logout"]);
}

async fn revoking_again_changes_nothing(store: &dyn ColdStore) {
    let org = sample::org();
    store.revoke_token("one", NOW_MS, sample::audit(org, "auth.logout")).await.unwrap();
    store.revoke_token("one", NOW_MS + 9_000, sample::audit(org, "auth.logout")).await.unwrap();
    assert_eq!(sample::actions(store, org).await, ["auth.logout"]);
    assert_eq!(store.is_token_revoked("one").await, Ok(true));
}

async fn the_first_expiry_stands(store: &dyn ColdStore) {
    let org = sample::org();
    store.revoke_token("one", NOW_MS, sample::audit(org, "auth.logout")).await.unwrap();
    store.revoke_token("one", NOW_MS + 9_000, sample::audit(org, "auth.logout")).await.unwrap();
    assert_eq!(store.purge_revocations(NOW_MS + 1).await, Ok(1));
    assert_eq!(store.is_token_revoked("one").await, Ok(false));
    assert_eq!(store.purge_revocations(UnixMs::MAX).await, Ok(0));
}

async fn what_has_not_expired_stays_revoked(store: &dyn ColdStore) {
    store.revoke_token("one", NOW_MS + 1, sample::audit(sample::org(), "auth.logout")).await.unwrap();
    store.purge_revocations(NOW_MS).await.unwrap();
    assert_eq!(store.is_token_revoked("one").await, Ok(true));
}

async fn racing_revocations_are_one(store: &dyn ColdStore) {
    for race in 0..super::races() {
        let (org, token) = (sample::org(), race.to_string());
        let revoke = async || store.revoke_token(&token, NOW_MS, sample::audit(org, "auth.logout")).await;
        assert_eq!(tokio::join!(revoke(), revoke()), (Ok(()), Ok(())));
        assert_eq!(sample::actions(store, org).await, ["auth.logout"], "race {race}");
    }
}

async fn a_purge_forgets_what_has_expired_before(store: &dyn ColdStore) {
    let org = sample::org();
    for (token, expires_ms) in [("over", NOW_MS - 1), ("edge", NOW_MS), ("valid", NOW_MS + 1)] {
        store.revoke_token(token, expires_ms, sample::audit(org, "auth.logout")).await.unwrap();
    }
    assert_eq!(store.purge_revocations(NOW_MS).await, Ok(1));
    for (token, is_revoked) in [("over", false), ("edge", true), ("valid", true)] {
        assert_eq!(store.is_token_revoked(token).await, Ok(is_revoked), "{token}");
    }
    assert_eq!(store.purge_revocations(NOW_MS).await, Ok(0));
}

async fn a_purge_takes_at_most_a_thousand(store: &dyn ColdStore) {
    let tokens: Vec<_> = (0..1_001).map(|number| number.to_string()).collect();
    let audit = || sample::audit(sample::org(), "auth.logout");
    let revocations = tokens.iter().map(|token| store.revoke_token(token, NOW_MS, audit()));
    futures_util::future::try_join_all(revocations).await.unwrap();
    assert_eq!(store.purge_revocations(UnixMs::MAX).await, Ok(1_000));
    assert_eq!(store.purge_revocations(UnixMs::MAX).await, Ok(1));
}

async fn revocations_survive_a_restart(home: &dyn ColdHome) {
    let audit = sample::audit(sample::org(), "auth.logout");
    home.open_cold().await.revoke_token("one", NOW_MS, audit).await.unwrap();
    let store = home.open_cold().await;
    assert_eq!(store.is_token_revoked("one").await, Ok(true));
    store.purge_revocations(NOW_MS + 1).await.unwrap();
    let audit = sample::audit(sample::org(), "auth.logout");
    store.revoke_token("two", NOW_MS + 9_000, audit).await.unwrap();
    assert_eq!(store.is_token_revoked("two").await, Ok(true));
}
