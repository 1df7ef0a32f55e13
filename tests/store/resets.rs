//! Password resets.

use runstream::clock::UnixMs;
use runstream::domain::account::User;
use runstream::domain::mail::{Letter, LetterKind, LetterState, SealedContent};
use runstream::domain::member::MemberChange;
use runstream::domain::reset::{PasswordReset, ResetHash};
use runstream::domain::role::Role;
use runstream::store::contract::{LoginGate, StoreResult};

use super::sample::NOW_MS;
use super::{ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, races, sample};

on_each_cold_store! {
    a_reset_is_stored_with_its_letter_and_names_its_account,
    a_reset_of_nobody_stores_nothing,
    a_reset_is_good_until_it_expires,
    a_later_reset_takes_the_place_of_an_earlier_one,
    using_a_reset_sets_the_password_and_ends_all_credentials,
    a_reset_ends_with_the_accounts_other_credentials,
    a_reset_ends_with_the_membership,
    of_two_uses_of_one_reset_at_once_one_wins,
}
on_each_cold_store_across_restarts! { resets_survive_a_restart }

const EXPIRES_MS: UnixMs = NOW_MS + 3_600_000;

pub(crate) fn reset(hash: ResetHash, user: &User) -> PasswordReset {
    let credentials_from_ms = user.credentials_valid_from_ms;
    PasswordReset { hash, expires_ms: EXPIRES_MS, credentials_from_ms }
}

async fn begin(store: &dyn ColdStore, user: &User) -> ResetHash {
    let hash = rand::random();
    assert_eq!(store.begin_reset(user.org, user.id, reset(hash, user), None).await, Ok(true));
    hash
}

async fn finish(store: &dyn ColdStore, user: &User, hash: &ResetHash) -> StoreResult<Option<User>> {
    let audit = sample::audit(user.org, "auth.password_changed");
    store.finish_reset(hash, "$new".into(), NOW_MS, audit).await
}

pub(crate) fn letter(user: &User, key: &str) -> Letter {
    Letter {
        org: user.org,
        key: key.into(),
        kind: LetterKind::PasswordReset,
        to: user.email.clone(),
        content: SealedContent(b"sealed".to_vec()),
        created_ms: NOW_MS,
        expires_ms: EXPIRES_MS,
    }
}

async fn a_reset_is_stored_with_its_letter_and_names_its_account(store: &dyn ColdStore) {
    let (_, user) = sample::member(store, "pinewood").await;
    let hash = [7; 32];
    let begun =
        store.begin_reset(user.org, user.id, reset(hash, &user), Some(letter(&user, "reset/1"))).await;
    assert_eq!(begun, Ok(true));
    let state = store.letter_state(user.org, "reset/1").await;
    assert_eq!(state, Ok(Some(LetterState::Waiting { failures: 0 })));
    assert_eq!(store.reset_of(&hash, NOW_MS).await, Ok(Some(user.clone())));
    assert_eq!(store.reset_of(&[8; 32], NOW_MS).await, Ok(None));
    assert_eq!(store.user(user.id).await, Ok(Some(user)), "nothing has changed yet");
}

async fn a_reset_of_nobody_stores_nothing(store: &dyn ColdStore) {
    let (_, user) = sample::member(store, "pinewood").await;
    let (other, _) = sample::member(store, "oakwood").await;
    let nobody = sample::user(user.org, "nobody@pinewood.test");
    let foreign = User { org: other.id, ..user };
    for (number, absent) in [nobody, foreign].iter().enumerate() {
        let (hash, key) = (rand::random(), format!("reset/{number}"));
        let letter = Some(letter(absent, &key));
        assert_eq!(store.begin_reset(absent.org, absent.id, reset(hash, absent), letter).await, Ok(false));
        assert_eq!(store.letter_state(absent.org, &key).await, Ok(None));
        assert_eq!(store.reset_of(&hash, NOW_MS).await, Ok(None));
    }
}

async fn a_reset_is_good_until_it_expires(store: &dyn ColdStore) {
    let (_, user) = sample::member(store, "pinewood").await;
    let hash = begin(store, &user).await;
    assert_eq!(store.reset_of(&hash, EXPIRES_MS - 1).await, Ok(Some(user.clone())));
    assert_eq!(store.reset_of(&hash, EXPIRES_MS).await, Ok(None));
    let audit = sample::audit(user.org, "auth.password_changed");
    assert_eq!(store.finish_reset(&hash, "$new".into(), EXPIRES_MS, audit).await, Ok(None));
    assert_eq!(store.user(user.id).await, Ok(Some(user.clone())));
    assert_eq!(sample::actions(store, user.org).await, ["auth.signup"]);
}

async fn a_later_reset_takes_the_place_of_an_earlier_one(store: &dyn ColdStore) {
    let (_, user) = sample::member(store, "pinewood").await;
    let (first, second) = (begin(store, &user).await, begin(store, &user).await);
    assert_eq!(store.reset_of(&first, NOW_MS).await, Ok(None));
    assert_eq!(finish(store, &user, &first).await, Ok(None));
    assert_eq!(store.reset_of(&second, NOW_MS).await, Ok(Some(user.clone())));
    assert!(finish(store, &user, &second).await.unwrap().is_some());
}

async fn using_a_reset_sets_the_password_and_ends_all_credentials(store: &dyn ColdStore) {
    let (_, user) = sample::member(store, "pinewood").await;
    let key = sample::key(user.org, user.id, NOW_MS);
    store.create_key(key.clone(), 9, sample::audit(user.org, "apikey.created")).await.unwrap();
    for _ in 0..2 {
        store.begin_login(&user.email, NOW_MS, 2, 60_000, 60_000).await.unwrap();
    }
    let locked = store.begin_login(&user.email, NOW_MS, 2, 60_000, 60_000).await;
    assert_eq!(locked, Ok(LoginGate::LockedUntil(NOW_MS + 60_000)));
    let hash = begin(store, &user).await;
    let expected = User {
        password_hash: "$new".into(),
        credentials_valid_from_ms: NOW_MS,
        updated_ms: NOW_MS,
        ..user.clone()
    };
    assert_eq!(finish(store, &user, &hash).await, Ok(Some(expected.clone())));
    assert_eq!(store.user_by_email(&user.email).await, Ok(Some(expected)));
    assert_eq!(store.key_by_hash(&key.hash).await, Ok(None));
    assert_eq!(store.keys_of(user.org, user.id).await, Ok(vec![]));
    let gate = store.begin_login(&user.email, NOW_MS, 2, 60_000, 60_000).await;
    assert_eq!(gate, Ok(LoginGate::Open), "the lock is lifted");
    assert_eq!(sample::actions(store, user.org).await.len(), 3);
    assert_eq!(store.reset_of(&hash, NOW_MS).await, Ok(None));
    assert_eq!(finish(store, &user, &hash).await, Ok(None), "once only");
    assert_eq!(sample::actions(store, user.org).await.len(), 3);
}

async fn a_reset_ends_with_the_accounts_other_credentials(store: &dyn ColdStore) {
    let (_, user) = sample::member(store, "pinewood").await;
    let hash = begin(store, &user).await;
    let change = MemberChange::Password { seen: user.password_hash.clone(), hash: "$own".into() };
    store.change_member(user.org, user.id, change, NOW_MS, None).await.unwrap().unwrap();
    assert_eq!(store.reset_of(&hash, NOW_MS).await, Ok(None));
    assert_eq!(finish(store, &user, &hash).await, Ok(None));
    assert_eq!(store.user(user.id).await.unwrap().unwrap().password_hash, "$own");
    let late = begin(store, &user).await;
    assert_eq!(store.reset_of(&late, NOW_MS).await, Ok(None), "asked for before the change, stored after it");
}

async fn a_reset_ends_with_the_membership(store: &dyn ColdStore) {
    let (org, _) = sample::member(store, "pinewood").await;
    let (second, third) = (
        sample::joined(store, org.id, "second", Role::Viewer, NOW_MS).await,
        sample::joined(store, org.id, "third", Role::Viewer, NOW_MS).await,
    );
    let hash = begin(store, &second).await;
    store.remove_member(org.id, second.id, sample::audit(org.id, "user.removed")).await.unwrap().unwrap();
    assert_eq!(store.reset_of(&hash, NOW_MS).await, Ok(None));
    assert_eq!(finish(store, &second, &hash).await, Ok(None));
    let hash = begin(store, &third).await;
    let (to, _) = sample::member(store, "oakwood").await;
    let moved = User { org: to.id, credentials_valid_from_ms: NOW_MS, ..third.clone() };
    assert_eq!(store.update_user(moved, None).await, Ok(true));
    assert_eq!(store.reset_of(&hash, NOW_MS).await, Ok(None));
    assert_eq!(finish(store, &third, &hash).await, Ok(None));
}

async fn of_two_uses_of_one_reset_at_once_one_wins(store: &dyn ColdStore) {
    let (org, mut user) = sample::member(store, "pinewood").await;
    for race in 0..races() {
        let hash = begin(store, &user).await;
        let use_it = async |name: &str| {
            let audit = sample::audit(org.id, "auth.password_changed");
            store.finish_reset(&hash, format!("{name}-{race}"), NOW_MS, audit).await
        };
        let outcomes = tokio::join!(use_it("a"), use_it("b"));
        user = match outcomes {
            (Ok(Some(winner)), Ok(None)) | (Ok(None), Ok(Some(winner))) => winner,
            other => panic!("race {race}: {other:?}"),
        };
        assert_eq!(store.user(user.id).await, Ok(Some(user.clone())), "race {race}");
    }
}

async fn resets_survive_a_restart(home: &dyn ColdHome) {
    let store = home.open_cold().await;
    let (_, user) = sample::member(&*store, "pinewood").await;
    let hash = begin(&*store, &user).await;
    drop(store);
    let store = home.open_cold().await;
    assert_eq!(store.reset_of(&hash, NOW_MS).await, Ok(Some(user.clone())));
    assert!(finish(&*store, &user, &hash).await.unwrap().is_some());
    drop(store);
    assert_eq!(home.open_cold().await.reset_of(&hash, NOW_MS).await, Ok(None));
}
