//! API keys.

use runstream::domain::id::{ApiKeyId, UserId};
use runstream::store::contract::{Conflict, StoreError};

use super::sample::NOW_MS;
use super::{ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, races, sample};

on_each_cold_store! {
    a_key_is_found_by_hash_and_by_id_and_its_making_is_audited,
    a_key_over_the_limit_is_refused_and_leaves_nothing,
    limits_are_counted_per_owner,
    racing_creations_never_exceed_the_limit,
    keys_are_listed_newest_first_for_their_owner,
    a_list_holds_at_most_a_thousand,
    a_revoked_key_is_gone_and_makes_room,
    of_racing_revocations_exactly_one_wins,
    a_foreign_organization_has_none_of_them,
    use_is_marked_forwards_only_and_only_where_the_key_still_is,
}
on_each_cold_store_across_restarts! { keys_and_their_revocation_survive_a_restart }

async fn a_key_is_found_by_hash_and_by_id_and_its_making_is_audited(store: &dyn ColdStore) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    let key = sample::key(org, owner, NOW_MS);
    store.create_key(key.clone(), 50, sample::audit(org, "apikey.created")).await.unwrap();
    assert_eq!(store.key_by_hash(&key.hash).await, Ok(Some(key.clone())));
    assert_eq!(store.key(org, key.id).await, Ok(Some(key.clone())));
    assert_eq!(store.key_by_hash(&[0; 32]).await, Ok(None));
    assert_eq!(store.key(org, ApiKeyId::generate(NOW_MS)).await, Ok(None));
    assert_eq!(sample::actions(store, org).await, ["apikey.created"]);
}

async fn a_key_over_the_limit_is_refused_and_leaves_nothing(store: &dyn ColdStore) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    for _ in 0..3 {
        let audit = sample::audit(org, "apikey.created");
        store.create_key(sample::key(org, owner, NOW_MS), 3, audit).await.unwrap();
    }
    let key = sample::key(org, owner, NOW_MS);
    let refused = store.create_key(key.clone(), 3, sample::audit(org, "apikey.created")).await;
    assert_eq!(refused, Err(StoreError::Conflict(Conflict::KeyLimit)));
    assert_eq!(store.key_by_hash(&key.hash).await, Ok(None));
    assert_eq!(store.key(org, key.id).await, Ok(None));
    assert_eq!(store.keys_of(org, owner).await.unwrap().len(), 3);
    assert_eq!(sample::actions(store, org).await.len(), 3);
}

async fn limits_are_counted_per_owner(store: &dyn ColdStore) {
    let org = sample::org();
    for _ in 0..3 {
        let key = sample::key(org, UserId::generate(NOW_MS), NOW_MS);
        assert_eq!(store.create_key(key, 1, sample::audit(org, "apikey.created")).await, Ok(()));
    }
    let key = sample::key(org, UserId::generate(NOW_MS), NOW_MS);
    let refused = store.create_key(key, 0, sample::audit(org, "apikey.created")).await;
    assert_eq!(refused, Err(StoreError::Conflict(Conflict::KeyLimit)));
}

async fn racing_creations_never_exceed_the_limit(store: &dyn ColdStore) {
    let org = sample::org();
    for race in 0..races() {
        let owner = UserId::generate(NOW_MS);
        let create = async || {
            let audit = sample::audit(org, "apikey.created");
            store.create_key(sample::key(org, owner, NOW_MS), 2, audit).await
        };
        let outcomes = tokio::join!(create(), create(), create(), create());
        let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "race {race}: {outcomes:?}");
        assert_eq!(store.keys_of(org, owner).await.unwrap().len(), 2, "race {race}");
    }
}

async fn keys_are_listed_newest_first_for_their_owner(store: &dyn ColdStore) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    let mut keys: Vec<_> = [5, 1, 9, 9, 9, 3].map(|later| sample::key(org, owner, NOW_MS + later)).into();
    let others = sample::key(org, UserId::generate(NOW_MS), NOW_MS);
    for key in keys.iter().chain([&others]) {
        store.create_key(key.clone(), 50, sample::audit(org, "apikey.created")).await.unwrap();
    }
    keys.sort_by_key(|key| std::cmp::Reverse((key.created_ms, key.id)));
    assert_eq!(store.keys_of(org, owner).await, Ok(keys));
    assert_eq!(store.keys_of(org, UserId::generate(NOW_MS)).await, Ok(vec![]));
}

async fn a_list_holds_at_most_a_thousand(store: &dyn ColdStore) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    let keys: Vec<_> = (0..1_001).map(|later| sample::key(org, owner, NOW_MS + later)).collect();
    let creations =
        keys.iter().map(|key| store.create_key(key.clone(), 2_000, sample::audit(org, "apikey.created")));
    futures_util::future::try_join_all(creations).await.unwrap();
    let listed = store.keys_of(org, owner).await.unwrap();
    assert_eq!(listed.len(), 1_000);
    assert_eq!(listed.first(), keys.last());
}

async fn a_revoked_key_is_gone_and_makes_room(store: &dyn ColdStore) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    let (key, next) = (sample::key(org, owner, NOW_MS), sample::key(org, owner, NOW_MS));
    store.create_key(key.clone(), 1, sample::audit(org, "apikey.created")).await.unwrap();
    assert_eq!(store.revoke_key(org, key.id, sample::audit(org, "apikey.revoked")).await, Ok(true));
    assert_eq!(store.key_by_hash(&key.hash).await, Ok(None));
    assert_eq!(store.key(org, key.id).await, Ok(None));
    assert_eq!(store.keys_of(org, owner).await, Ok(vec![]));
    assert_eq!(sample::actions(store, org).await.len(), 2);
    assert_eq!(store.revoke_key(org, key.id, sample::audit(org, "apikey.revoked")).await, Ok(false));
    assert_eq!(sample::actions(store, org).await.len(), 2, "nothing revoked, nothing stored");
    assert_eq!(store.create_key(next, 1, sample::audit(org, "apikey.created")).await, Ok(()));
}

async fn of_racing_revocations_exactly_one_wins(store: &dyn ColdStore) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    for race in 0..races() {
        let key = sample::key(org, owner, NOW_MS);
        store.create_key(key.clone(), 1, sample::audit(org, "apikey.created")).await.unwrap();
        let revoke =
            async || store.revoke_key(org, key.id, sample::audit(org, "apikey.revoked")).await.unwrap();
        let (a, b) = tokio::join!(revoke(), revoke());
        assert!(a != b, "race {race}: {a} {b}");
    }
}

async fn a_foreign_organization_has_none_of_them(store: &dyn ColdStore) {
    let (org, foreign, owner) = (sample::org(), sample::org(), UserId::generate(NOW_MS));
    let key = sample::key(org, owner, NOW_MS);
    store.create_key(key.clone(), 50, sample::audit(org, "apikey.created")).await.unwrap();
    assert_eq!(store.key(foreign, key.id).await, Ok(None));
    assert_eq!(store.keys_of(foreign, owner).await, Ok(vec![]));
    assert_eq!(store.revoke_key(foreign, key.id, sample::audit(foreign, "apikey.revoked")).await, Ok(false));
    store.mark_key_used(foreign, key.id, NOW_MS).await.unwrap();
    assert_eq!(store.key(org, key.id).await, Ok(Some(key)));
    assert_eq!(sample::actions(store, foreign).await, [""; 0]);
}

async fn use_is_marked_forwards_only_and_only_where_the_key_still_is(store: &dyn ColdStore) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    let key = sample::key(org, owner, NOW_MS);
    store.create_key(key.clone(), 50, sample::audit(org, "apikey.created")).await.unwrap();
    for (used_ms, marked_ms) in [(10, 10), (30, 30), (20, 30), (30, 30)] {
        store.mark_key_used(org, key.id, used_ms).await.unwrap();
        assert_eq!(store.key(org, key.id).await.unwrap().unwrap().last_used_ms, Some(marked_ms));
        assert_eq!(store.key_by_hash(&key.hash).await.unwrap().unwrap().last_used_ms, Some(marked_ms));
    }
    store.revoke_key(org, key.id, sample::audit(org, "apikey.revoked")).await.unwrap();
    store.mark_key_used(org, key.id, 40).await.unwrap();
    assert_eq!(store.key(org, key.id).await, Ok(None), "a mark brings no key back");
    assert_eq!(store.key_by_hash(&key.hash).await, Ok(None));
}

async fn keys_and_their_revocation_survive_a_restart(home: &dyn ColdHome) {
    let (org, owner) = (sample::org(), UserId::generate(NOW_MS));
    let (kept, revoked) = (sample::key(org, owner, NOW_MS), sample::key(org, owner, NOW_MS));
    let store = home.open_cold().await;
    for key in [&kept, &revoked] {
        store.create_key(key.clone(), 2, sample::audit(org, "apikey.created")).await.unwrap();
    }
    store.revoke_key(org, revoked.id, sample::audit(org, "apikey.revoked")).await.unwrap();
    drop(store);
    let store = home.open_cold().await;
    assert_eq!(store.key_by_hash(&kept.hash).await, Ok(Some(kept.clone())));
    assert_eq!(store.key_by_hash(&revoked.hash).await, Ok(None));
    assert_eq!(store.keys_of(org, owner).await, Ok(vec![kept]));
}
