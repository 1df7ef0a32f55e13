//! Revoked tokens.

use runstream::clock::UnixMs;

use super::sample::NOW_MS;
use super::{Home, Store, on_each_store, on_each_store_across_restarts, sample};

on_each_store! {
    a_revoked_token_is_revoked_alone_and_audited,
    revoking_again_changes_nothing,
    racing_revocations_are_one,
    a_purge_forgets_what_has_expired_before,
    a_purge_takes_at_most_a_thousand,
}
on_each_store_across_restarts! { revocations_survive_a_restart }

async fn a_revoked_token_is_revoked_alone_and_audited(store: &dyn Store) {
    let org = sample::org();
    store.revoke_token("one", NOW_MS, sample::audit(org, "auth.logout")).await.unwrap();
    let is_revoked = async |token: &str| store.is_token_revoked(token).await.unwrap();
    assert!(is_revoked("one").await);
    for other in ["", "on", "one ", "One", "two"] {
        assert!(!is_revoked(other).await, "{other:?}");
    }
    assert_eq!(sample::actions(store, org).await, ["auth.logout"]);
}

async fn revoking_again_changes_nothing(store: &dyn Store) {
    let org = sample::org();
    store.revoke_token("one", NOW_MS, sample::audit(org, "auth.logout")).await.unwrap();
    store.revoke_token("one", NOW_MS + 9_000, sample::audit(org, "auth.logout")).await.unwrap();
    assert_eq!(sample::actions(store, org).await, ["auth.logout"]);
    assert_eq!(store.purge_revocations(NOW_MS + 1).await, Ok(1), "the first expiry stands");
    assert_eq!(store.is_token_revoked("one").await, Ok(false));
    assert_eq!(store.purge_revocations(UnixMs::MAX).await, Ok(0));
}

async fn racing_revocations_are_one(store: &dyn Store) {
    for race in 0..super::RACES {
        let (org, token) = (sample::org(), race.to_string());
        let revoke = async || store.revoke_token(&token, NOW_MS, sample::audit(org, "auth.logout")).await;
        assert_eq!(tokio::join!(revoke(), revoke()), (Ok(()), Ok(())));
        assert_eq!(sample::actions(store, org).await, ["auth.logout"], "race {race}");
    }
}

async fn a_purge_forgets_what_has_expired_before(store: &dyn Store) {
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

async fn a_purge_takes_at_most_a_thousand(store: &dyn Store) {
    let tokens: Vec<_> = (0..1_001).map(|number| number.to_string()).collect();
    let audit = || sample::audit(sample::org(), "auth.logout");
    let revocations = tokens.iter().map(|token| store.revoke_token(token, NOW_MS, audit()));
    futures_util::future::try_join_all(revocations).await.unwrap();
    assert_eq!(store.purge_revocations(UnixMs::MAX).await, Ok(1_000));
    assert_eq!(store.purge_revocations(UnixMs::MAX).await, Ok(1));
}

async fn revocations_survive_a_restart(home: &dyn Home) {
    let audit = sample::audit(sample::org(), "auth.logout");
    home.open().await.revoke_token("one", NOW_MS, audit).await.unwrap();
    let store = home.open().await;
    assert_eq!(store.is_token_revoked("one").await, Ok(true));
    assert_eq!(store.purge_revocations(NOW_MS + 1).await, Ok(1));
}
