//! Organizations and people.

use runstream::domain::id::UserId;
use runstream::domain::mail::{Letter, LetterKind, LetterState, SealedContent};
use runstream::domain::role::{AccountStatus, Role};
use runstream::store::contract::{Conflict, StoreError};

use super::{ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, races, sample};

on_each_cold_store! {
    signing_up_stores_organization_member_and_audit,
    a_taken_slug_gives_way_to_the_fallback_and_that_to_the_id,
    a_taken_address_refuses_everything,
    a_letter_is_stored_with_the_sign_up_or_not_at_all,
    of_racing_sign_ups_with_one_address_exactly_one_wins,
    racing_organizations_never_share_a_slug,
    who_is_not_there_is_none,
    an_update_replaces_the_record_but_not_the_address,
    an_update_keeps_the_later_login,
    an_update_of_nobody_stores_nothing,
    moving_takes_the_membership_along,
}
on_each_cold_store_across_restarts! { accounts_survive_a_restart }

async fn signing_up_stores_organization_member_and_audit(store: &dyn ColdStore) {
    let (org, user) = sample::member(store, "pinewood").await;
    assert_eq!(org.slug, "pinewood");
    assert_eq!(store.organization(org.id).await, Ok(Some(org.clone())));
    assert_eq!(store.user(user.id).await, Ok(Some(user.clone())));
    assert_eq!(store.user_by_email(&user.email).await, Ok(Some(user)));
    assert_eq!(store.member_count(org.id).await, Ok(1));
    assert_eq!(sample::actions(store, org.id).await, ["auth.signup"]);
}

async fn a_taken_slug_gives_way_to_the_fallback_and_that_to_the_id(store: &dyn ColdStore) {
    let mut slugs = Vec::new();
    for number in 0..3 {
        let org = sample::organization("pinewood");
        let user = sample::user(org.id, &format!("{number}@pinewood.test"));
        let audit = sample::audit(org.id, "auth.signup");
        let stored = store.sign_up(org.clone(), "pinewood-0a1b2c".into(), user, audit, None).await.unwrap();
        assert_eq!(store.organization(org.id).await, Ok(Some(stored.clone())));
        slugs.push((stored.slug, org.id));
    }
    assert_eq!(slugs[0].0, "pinewood");
    assert_eq!(slugs[1].0, "pinewood-0a1b2c");
    assert_eq!(slugs[2].0, format!("pinewood-0a1b2c-{}", slugs[2].1));
}

async fn a_letter_is_stored_with_the_sign_up_or_not_at_all(store: &dyn ColdStore) {
    let sign_up = async |name: &str| {
        let org = sample::organization(name);
        let (user, audit) =
            (sample::user(org.id, "rosa@pinewood.test"), sample::audit(org.id, "auth.signup"));
        let letter = Letter {
            org: org.id,
            key: "welcome/1".into(),
            kind: LetterKind::Welcome,
            to: user.email.clone(),
            content: SealedContent(b"sealed".to_vec()),
            created_ms: sample::NOW_MS,
            expires_ms: sample::NOW_MS + 1_000,
        };
        let stored = store.sign_up(org.clone(), format!("{name}-x"), user, audit, Some(letter)).await;
        (stored.map(|org| org.slug), store.letter_state(org.id, "welcome/1").await)
    };
    let waits = Ok(Some(LetterState::Waiting { failures: 0 }));
    assert_eq!(sign_up("pinewood").await, (Ok("pinewood".to_owned()), waits));
    assert_eq!(sign_up("oakwood").await, (Err(StoreError::Conflict(Conflict::Email)), Ok(None)));
}

async fn a_taken_address_refuses_everything(store: &dyn ColdStore) {
    let (_, first) = sample::member(store, "pinewood").await;
    let org = sample::organization("oakwood");
    let second = sample::user(org.id, &first.email);
    let audit = sample::audit(org.id, "auth.signup");
    let refused = store.sign_up(org.clone(), "x".into(), second.clone(), audit, None).await;
    assert_eq!(refused, Err(StoreError::Conflict(Conflict::Email)));
    assert_eq!(store.organization(org.id).await, Ok(None));
    assert_eq!(store.user(second.id).await, Ok(None));
    assert_eq!(store.member_count(org.id).await, Ok(0));
    assert_eq!(sample::actions(store, org.id).await, [""; 0]);
    assert_eq!(store.user_by_email(&first.email).await, Ok(Some(first)));
    let (free, _) = sample::member(store, "oakwood").await;
    assert_eq!(free.slug, "oakwood", "the refused one took no slug");
}

async fn of_racing_sign_ups_with_one_address_exactly_one_wins(store: &dyn ColdStore) {
    for race in 0..races() {
        let email = format!("{race}@pinewood.test");
        let sign_up = async |name: &str| {
            let org = sample::organization(&format!("{name}-{race}"));
            let user = sample::user(org.id, &email);
            let audit = sample::audit(org.id, "auth.signup");
            store.sign_up(org, format!("{name}-{race}-x"), user, audit, None).await
        };
        let outcomes = tokio::join!(sign_up("a"), sign_up("b"), sign_up("c"));
        let outcomes = [outcomes.0, outcomes.1, outcomes.2];
        let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1, "race {race}: {outcomes:?}");
        let lost = outcomes.iter().filter(|outcome| **outcome == Err(StoreError::Conflict(Conflict::Email)));
        assert_eq!(lost.count(), 2, "race {race}: {outcomes:?}");
        let account = store.user_by_email(&email).await.unwrap().unwrap();
        assert_eq!(account.org, winners[0].id, "race {race}");
    }
}

async fn racing_organizations_never_share_a_slug(store: &dyn ColdStore) {
    for race in 0..races() {
        let sign_up = async |name: &str| {
            let org = sample::organization(&format!("pinewood-{race}"));
            let user = sample::user(org.id, &format!("{name}-{race}@pinewood.test"));
            let audit = sample::audit(org.id, "auth.signup");
            store.sign_up(org, format!("pinewood-{race}-{name}"), user, audit, None).await.unwrap().slug
        };
        let (a, b) = tokio::join!(sign_up("a"), sign_up("b"));
        assert_ne!(a, b, "race {race}");
        assert!([&a, &b].contains(&&format!("pinewood-{race}")), "race {race}: {a} {b}");
    }
}

async fn who_is_not_there_is_none(store: &dyn ColdStore) {
    sample::member(store, "pinewood").await;
    assert_eq!(store.user_by_email("ivo@pinewood.test").await, Ok(None));
    assert_eq!(store.user(UserId::generate(1)).await, Ok(None));
    assert_eq!(store.organization(sample::org()).await, Ok(None));
    assert_eq!(store.member_count(sample::org()).await, Ok(0));
}

async fn an_update_replaces_the_record_but_not_the_address(store: &dyn ColdStore) {
    let (org, mut user) = sample::member(store, "pinewood").await;
    let email = std::mem::replace(&mut user.email, "other@pinewood.test".into());
    user.name = "Rosa L.".into();
    user.role = Role::Viewer;
    user.status = AccountStatus::Suspended;
    user.password_hash = "$argon2id$y".into();
    user.credentials_valid_from_ms = sample::NOW_MS;
    let audit = sample::audit(org.id, "user.role_changed");
    assert_eq!(store.update_user(user.clone(), Some(audit)).await, Ok(true));
    user.email = email;
    assert_eq!(store.user(user.id).await, Ok(Some(user.clone())));
    assert_eq!(store.user_by_email(&user.email).await, Ok(Some(user.clone())));
    assert_eq!(store.user_by_email("other@pinewood.test").await, Ok(None));
    assert_eq!(sample::actions(store, org.id).await.len(), 2);
    assert_eq!(store.update_user(user, None).await, Ok(true));
    assert_eq!(sample::actions(store, org.id).await.len(), 2, "no audit entry, none stored");
}

async fn an_update_keeps_the_later_login(store: &dyn ColdStore) {
    let (org, mut user) = sample::member(store, "pinewood").await;
    let audit = sample::audit(org.id, "auth.login");
    store.login_succeeded(user.id, &user.email, sample::NOW_MS + 5, audit).await.unwrap();
    for (given, kept) in [(None, 5), (Some(sample::NOW_MS), 5), (Some(sample::NOW_MS + 9), 9)] {
        user.last_login_ms = given;
        store.update_user(user.clone(), None).await.unwrap();
        let stored = store.user(user.id).await.unwrap().unwrap();
        assert_eq!(stored.last_login_ms, Some(sample::NOW_MS + kept));
    }
}

async fn an_update_of_nobody_stores_nothing(store: &dyn ColdStore) {
    let (org, _) = sample::member(store, "pinewood").await;
    let nobody = sample::user(org.id, "nobody@pinewood.test");
    let audit = sample::audit(org.id, "user.role_changed");
    assert_eq!(store.update_user(nobody.clone(), Some(audit)).await, Ok(false));
    assert_eq!(store.user(nobody.id).await, Ok(None));
    assert_eq!(store.member_count(org.id).await, Ok(1));
    assert_eq!(sample::actions(store, org.id).await, ["auth.signup"]);
}

async fn moving_takes_the_membership_along(store: &dyn ColdStore) {
    let (from, mut user) = sample::member(store, "pinewood").await;
    let (to, _) = sample::member(store, "oakwood").await;
    user.org = to.id;
    let audit = sample::audit(to.id, "invitation.accepted");
    assert_eq!(store.update_user(user.clone(), Some(audit)).await, Ok(true));
    assert_eq!((store.member_count(from.id).await, store.member_count(to.id).await), (Ok(0), Ok(2)));
    assert_eq!(store.user(user.id).await.unwrap().unwrap().org, to.id);
}

async fn accounts_survive_a_restart(home: &dyn ColdHome) {
    let (org, user) = sample::member(&*home.open_cold().await, "pinewood").await;
    let store = home.open_cold().await;
    assert_eq!(store.organization(org.id).await, Ok(Some(org.clone())));
    assert_eq!(store.user_by_email(&user.email).await, Ok(Some(user.clone())));
    assert_eq!(store.member_count(org.id).await, Ok(1));
    assert_eq!(sample::actions(&*store, org.id).await, ["auth.signup"]);
    let again = sample::user(org.id, &user.email);
    let audit = sample::audit(org.id, "auth.signup");
    let refused = store.sign_up(sample::organization("x"), "y".into(), again, audit, None).await;
    assert_eq!(refused, Err(StoreError::Conflict(Conflict::Email)));
}
