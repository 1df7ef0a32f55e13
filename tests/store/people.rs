//! The members of organizations.

use runstream::domain::account::User;
use runstream::domain::id::{OrgId, UserId};
use runstream::domain::member::MemberChange;
use runstream::domain::role::{AccountStatus, Role};
use runstream::store::contract::{Conflict, StoreError, StoreResult};
use runstream::store::record;

use super::sample::NOW_MS;
use super::{
    ColdHome, ColdStore, ScyllaColdHome, on_each_cold_store, on_each_cold_store_across_restarts, races,
    sample,
};

on_each_cold_store! {
    members_are_listed_newest_first_whatever_their_status,
    members_of_another_organization_are_not_there,
    a_role_changes_with_its_entry_if_it_is_the_one_that_was_seen,
    the_last_active_administrator_stays,
    a_suspended_administrator_runs_nothing_and_may_go,
    a_status_and_a_name_change,
    a_new_password_takes_the_keys_along,
    of_two_new_passwords_that_saw_the_same_old_one_one_wins,
    a_removed_member_leaves_nothing_but_history,
    the_address_of_a_removed_member_is_free_again,
    the_address_of_a_removed_member_who_once_moved_is_free_again,
    of_the_last_two_administrators_who_demote_each_other_one_stays,
    of_the_last_two_administrators_who_remove_each_other_one_stays,
    of_a_demotion_a_removal_and_a_suspension_of_three_one_fails,
}
on_each_cold_store_across_restarts! { what_became_of_members_survives_a_restart }
mod many {
    use super::*;

    super::super::on_each_store! { at_most_a_thousand_members_are_listed }

    /// A thousand sign-ups are too many round trips: their rows are put there by hand.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    #[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
    async fn at_most_a_thousand_members_are_listed_on_scylla() {
        let home = ScyllaColdHome::new();
        let store = home.open_cold().await;
        let (org, founder) = sample::member(&*store, "pinewood").await;
        let later: Vec<User> = (1..=1_000).map(|number| later_member(org.id, number)).collect();
        let rows = later.iter().map(|user| (user.id.as_bytes().to_vec(), record::encode(user).unwrap()));
        home.put_rows(org.id, "user", rows.collect()).await;
        check_the_newest_thousand(&*store, &founder).await;
    }
}

const LAST_ADMIN: StoreError = StoreError::Conflict(Conflict::LastAdmin);
const CHANGED: StoreError = StoreError::Conflict(Conflict::MemberChanged);

/// Sets a role, whatever the present one is.
async fn set_role(store: &dyn ColdStore, user: &User, to: Role) -> StoreResult<Option<User>> {
    let from = store.user(user.id).await.unwrap().unwrap().role;
    let audit = sample::audit(user.org, "user.role_changed");
    store.change_member(user.org, user.id, MemberChange::Role { from, to }, NOW_MS + 9, Some(audit)).await
}

async fn set_status(store: &dyn ColdStore, user: &User, to: AccountStatus) -> StoreResult<Option<User>> {
    let audit = sample::audit(user.org, "user.status_changed");
    store.change_member(user.org, user.id, MemberChange::Status(to), NOW_MS + 9, Some(audit)).await
}

async fn remove(store: &dyn ColdStore, user: &User) -> StoreResult<Option<User>> {
    store.remove_member(user.org, user.id, sample::audit(user.org, "user.removed")).await
}

/// An organization with two active administrators.
async fn two_admins(store: &dyn ColdStore, name: &str) -> (User, User) {
    let (org, first) = sample::member(store, name).await;
    let second = sample::joined(store, org.id, &format!("{name}-2"), Role::Admin, NOW_MS).await;
    (first, second)
}

async fn active_admins(store: &dyn ColdStore, org: OrgId) -> usize {
    let members = store.members(org).await.unwrap();
    members.iter().filter(|user| user.role == Role::Admin && user.status == AccountStatus::Active).count()
}

async fn members_are_listed_newest_first_whatever_their_status(store: &dyn ColdStore) {
    let (org, founder) = sample::member(store, "pinewood").await;
    let mut expected = vec![founder];
    for (name, later_ms) in [("a", 1), ("b", 1), ("c", 2), ("d", 5_000), ("e", -60_000)] {
        expected.push(sample::joined(store, org.id, name, Role::Viewer, NOW_MS + later_ms).await);
    }
    set_status(store, &expected[1], AccountStatus::Suspended).await.unwrap();
    expected[1] = store.user(expected[1].id).await.unwrap().unwrap();
    sample::member(store, "oakwood").await;
    expected.sort_by_key(|user| std::cmp::Reverse((user.created_ms, user.id)));
    assert_eq!(store.members(org.id).await, Ok(expected));
    assert_eq!(store.members(sample::org()).await, Ok(vec![]));
}

async fn at_most_a_thousand_members_are_listed(store: &dyn super::Store) {
    let (org, founder) = sample::member(store, "pinewood").await;
    for number in 1..=1_000 {
        let User { role, created_ms, .. } = later_member(org.id, number);
        sample::joined(store, org.id, &format!("m{number}"), role, created_ms).await;
    }
    check_the_newest_thousand(store, &founder).await;
}

/// The member who joined so many seconds after the founder.
fn later_member(org: OrgId, number: i64) -> User {
    let created_ms = NOW_MS + number * 1_000;
    let user = sample::user(org, &format!("m{number}@pinewood.test"));
    User { id: UserId::generate(created_ms), role: Role::Viewer, created_ms, ..user }
}

/// Of the founder and a thousand later members the latter are listed; the founder is a member all the same.
async fn check_the_newest_thousand(store: &dyn ColdStore, founder: &User) {
    let members = store.members(founder.org).await.unwrap();
    let emails: Vec<&str> = members.iter().map(|user| user.email.as_str()).collect();
    let expected: Vec<String> = (1..=1_000).rev().map(|number| format!("m{number}@pinewood.test")).collect();
    assert_eq!(emails, expected);
    assert_eq!(store.member_count(founder.org).await, Ok(1_001));
    assert_eq!(store.member(founder.org, founder.id).await, Ok(Some(founder.clone())));
}

async fn members_of_another_organization_are_not_there(store: &dyn ColdStore) {
    let (org, user) = sample::member(store, "pinewood").await;
    let (other, _) = sample::member(store, "oakwood").await;
    assert_eq!(store.member(org.id, user.id).await, Ok(Some(user.clone())));
    let foreign = User { org: other.id, ..user.clone() };
    let nobody = User { id: UserId::generate(1), ..user.clone() };
    for absent in [&foreign, &nobody] {
        assert_eq!(store.member(absent.org, absent.id).await, Ok(None));
        let audit = sample::audit(absent.org, "user.role_changed");
        let change = MemberChange::Role { from: Role::Admin, to: Role::Viewer };
        assert_eq!(store.change_member(absent.org, absent.id, change, NOW_MS, Some(audit)).await, Ok(None));
        assert_eq!(remove(store, absent).await, Ok(None));
    }
    assert_eq!(store.user(user.id).await, Ok(Some(user)));
    for org in [org.id, other.id] {
        assert_eq!(sample::actions(store, org).await, ["auth.signup"], "nothing is stored");
    }
}

async fn a_role_changes_with_its_entry_if_it_is_the_one_that_was_seen(store: &dyn ColdStore) {
    let (_, user) = two_admins(store, "pinewood").await;
    let audit = || Some(sample::audit_at(user.org, "user.role_changed", NOW_MS + 1));
    let change = |from, to| {
        store.change_member(user.org, user.id, MemberChange::Role { from, to }, NOW_MS + 9, audit())
    };
    let expected = User { role: Role::Developer, updated_ms: NOW_MS + 9, ..user.clone() };
    assert_eq!(change(Role::Admin, Role::Developer).await, Ok(Some(expected.clone())));
    assert_eq!(change(Role::Admin, Role::Viewer).await, Err(CHANGED), "it was seen before that");
    assert_eq!(store.user(user.id).await, Ok(Some(expected.clone())));
    assert_eq!(store.user_by_email(&user.email).await, Ok(Some(expected)));
    assert_eq!(sample::actions(store, user.org).await, ["user.role_changed", "auth.signup"]);
}

async fn the_last_active_administrator_stays(store: &dyn ColdStore) {
    let (org, admin) = sample::member(store, "pinewood").await;
    let developer = sample::joined(store, org.id, "ivo", Role::Developer, NOW_MS).await;
    for role in [Role::Developer, Role::Viewer] {
        assert_eq!(set_role(store, &admin, role).await, Err(LAST_ADMIN));
    }
    assert_eq!(set_status(store, &admin, AccountStatus::Suspended).await, Err(LAST_ADMIN));
    assert_eq!(remove(store, &admin).await, Err(LAST_ADMIN));
    assert_eq!(store.user(admin.id).await, Ok(Some(admin.clone())));
    assert_eq!(sample::actions(store, org.id).await, ["auth.signup"]);
    // It may keep its role, and others may go.
    assert!(set_role(store, &admin, Role::Admin).await.unwrap().is_some());
    assert!(set_role(store, &developer, Role::Viewer).await.unwrap().is_some());
    assert!(remove(store, &developer).await.unwrap().is_some());
    assert_eq!(remove(store, &admin).await, Err(LAST_ADMIN), "alone, too");
}

async fn a_suspended_administrator_runs_nothing_and_may_go(store: &dyn ColdStore) {
    let (first, second) = two_admins(store, "pinewood").await;
    set_status(store, &second, AccountStatus::Suspended).await.unwrap();
    assert_eq!(set_role(store, &first, Role::Viewer).await, Err(LAST_ADMIN));
    assert_eq!(remove(store, &first).await, Err(LAST_ADMIN));
    assert!(set_role(store, &second, Role::Viewer).await.unwrap().is_some());
    assert!(set_role(store, &second, Role::Admin).await.unwrap().is_some());
    set_status(store, &second, AccountStatus::Active).await.unwrap();
    assert!(set_role(store, &first, Role::Viewer).await.unwrap().is_some());
    assert_eq!(set_status(store, &second, AccountStatus::Suspended).await, Err(LAST_ADMIN));
}

async fn a_status_and_a_name_change(store: &dyn ColdStore) {
    let (first, second) = two_admins(store, "pinewood").await;
    let suspended = User { status: AccountStatus::Suspended, updated_ms: NOW_MS + 9, ..second.clone() };
    let status = set_status(store, &second, AccountStatus::Suspended).await;
    assert_eq!(status, Ok(Some(suspended.clone())));
    assert_eq!(store.user(second.id).await, Ok(Some(suspended)));
    let name = MemberChange::Name("Rosa L.".into());
    let named = User { name: "Rosa L.".into(), updated_ms: NOW_MS + 5, ..first.clone() };
    let changed = store.change_member(first.org, first.id, name, NOW_MS + 5, None).await;
    assert_eq!(changed, Ok(Some(named.clone())));
    assert_eq!(store.user(first.id).await, Ok(Some(named)));
    let actions = sample::actions(store, first.org).await;
    assert_eq!(actions.len(), 2, "a change without an entry stores none: {actions:?}");
}

async fn a_new_password_takes_the_keys_along(store: &dyn ColdStore) {
    let (first, second) = two_admins(store, "pinewood").await;
    let mut keys = Vec::new();
    for (number, owner) in [&first, &first, &second].into_iter().enumerate() {
        let key = sample::key(first.org, owner.id, NOW_MS + i64::try_from(number).unwrap());
        store.create_key(key.clone(), 9, sample::audit(first.org, "apikey.created")).await.unwrap();
        keys.push(key);
    }
    let change = MemberChange::Password { seen: first.password_hash.clone(), hash: "$new".into() };
    let audit = sample::audit(first.org, "auth.password_changed");
    let changed = store.change_member(first.org, first.id, change, NOW_MS, Some(audit)).await;
    let expected = User {
        password_hash: "$new".into(),
        credentials_valid_from_ms: NOW_MS,
        updated_ms: NOW_MS,
        ..first.clone()
    };
    assert_eq!(changed, Ok(Some(expected.clone())));
    assert_eq!(store.user(first.id).await, Ok(Some(expected)));
    assert_eq!(store.keys_of(first.org, first.id).await, Ok(vec![]));
    for key in &keys[..2] {
        assert_eq!(store.key_by_hash(&key.hash).await, Ok(None));
        assert_eq!(store.key(key.org, key.id).await, Ok(None));
    }
    assert_eq!(store.keys_of(first.org, second.id).await, Ok(vec![keys[2].clone()]), "others keep theirs");
    assert_eq!(store.key_by_hash(&keys[2].hash).await, Ok(Some(keys[2].clone())));
    assert_eq!(sample::actions(store, first.org).await.len(), 5);
}

async fn of_two_new_passwords_that_saw_the_same_old_one_one_wins(store: &dyn ColdStore) {
    let (org, user) = sample::member(store, "pinewood").await;
    let mut seen = user.password_hash.clone();
    for race in 0..races() {
        let change = async |name: &str| {
            let hash = format!("{name}-{race}");
            let change = MemberChange::Password { seen: seen.clone(), hash };
            store.change_member(org.id, user.id, change, NOW_MS, None).await
        };
        let (a, b) = tokio::join!(change("a"), change("b"));
        let winner = match (a, b) {
            (Ok(Some(winner)), Err(lost)) | (Err(lost), Ok(Some(winner))) if lost == CHANGED => winner,
            other => panic!("race {race}: {other:?}"),
        };
        seen.clone_from(&winner.password_hash);
        assert_eq!(store.user(user.id).await, Ok(Some(winner)), "race {race}");
    }
}

async fn a_removed_member_leaves_nothing_but_history(store: &dyn ColdStore) {
    let (first, second) = two_admins(store, "pinewood").await;
    let key = sample::key(second.org, second.id, NOW_MS);
    store.create_key(key.clone(), 9, sample::audit(second.org, "apikey.created")).await.unwrap();
    let stored = store.user(second.id).await.unwrap();
    assert_eq!(remove(store, &second).await, Ok(stored));
    assert_eq!(store.user(second.id).await, Ok(None));
    assert_eq!(store.user_by_email(&second.email).await, Ok(None));
    assert_eq!(store.member(second.org, second.id).await, Ok(None));
    assert_eq!(store.members(second.org).await, Ok(vec![first.clone()]));
    assert_eq!(store.member_count(second.org).await, Ok(1));
    assert_eq!(store.key_by_hash(&key.hash).await, Ok(None));
    assert_eq!(store.key(key.org, key.id).await, Ok(None));
    assert_eq!(store.keys_of(second.org, second.id).await, Ok(vec![]));
    let mut actions = sample::actions(store, second.org).await;
    actions.sort_unstable();
    assert_eq!(actions, ["apikey.created", "auth.signup", "user.removed"]);
    assert_eq!(remove(store, &second).await, Ok(None), "once only");
    assert_eq!(sample::actions(store, second.org).await.len(), 3);
    assert_eq!(store.update_user(second, None).await, Ok(false));
}

/// Signs up again with the address of somebody who was removed.
async fn comes_back(store: &dyn ColdStore, removed: &User) {
    let org = sample::organization("second-try");
    let again = sample::user(org.id, &removed.email);
    let audit = sample::audit(org.id, "auth.signup");
    let stored = store.sign_up(org, "second-try-x".into(), again.clone(), audit, None).await;
    assert_eq!(stored.map(|org| org.slug), Ok("second-try".into()));
    assert_eq!(store.user_by_email(&removed.email).await, Ok(Some(again)));
    assert_eq!(store.user(removed.id).await, Ok(None), "the old account stays gone");
}

async fn the_address_of_a_removed_member_is_free_again(store: &dyn ColdStore) {
    let (first, second) = two_admins(store, "pinewood").await;
    remove(store, &first).await.unwrap().unwrap();
    comes_back(store, &first).await;
    assert_eq!(store.members(second.org).await, Ok(vec![second]));
}

async fn the_address_of_a_removed_member_who_once_moved_is_free_again(store: &dyn ColdStore) {
    let (_, second) = two_admins(store, "pinewood").await;
    remove(store, &second).await.unwrap().unwrap();
    comes_back(store, &second).await;
}

/// Races two changes that would each leave the organization to the other administrator.
async fn check_one_stays(
    store: &dyn ColdStore,
    change: impl AsyncFn(&dyn ColdStore, &User) -> StoreResult<Option<User>>,
) {
    for race in 0..races() {
        let (first, second) = two_admins(store, &format!("pinewood-{race}")).await;
        let outcomes = tokio::join!(change(store, &first), change(store, &second));
        let outcomes = [outcomes.0, outcomes.1];
        let won = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Some(_)))).count();
        let lost = outcomes.iter().filter(|outcome| **outcome == Err(LAST_ADMIN)).count();
        assert_eq!((won, lost), (1, 1), "race {race}: {outcomes:?}");
        assert_eq!(active_admins(store, first.org).await, 1, "race {race}");
    }
}

async fn of_the_last_two_administrators_who_demote_each_other_one_stays(store: &dyn ColdStore) {
    check_one_stays(store, async |store, user| set_role(store, user, Role::Viewer).await).await;
}

async fn of_the_last_two_administrators_who_remove_each_other_one_stays(store: &dyn ColdStore) {
    check_one_stays(store, async |store, user| remove(store, user).await).await;
}

async fn of_a_demotion_a_removal_and_a_suspension_of_three_one_fails(store: &dyn ColdStore) {
    for race in 0..races() {
        let (first, second) = two_admins(store, &format!("pinewood-{race}")).await;
        let third = sample::joined(store, first.org, &format!("third-{race}"), Role::Admin, NOW_MS).await;
        let outcomes = tokio::join!(
            set_role(store, &first, Role::Developer),
            remove(store, &second),
            set_status(store, &third, AccountStatus::Suspended),
        );
        let outcomes = [outcomes.0, outcomes.1, outcomes.2];
        let lost = outcomes.iter().filter(|outcome| **outcome == Err(LAST_ADMIN)).count();
        assert_eq!(lost, 1, "race {race}: {outcomes:?}");
        assert_eq!(active_admins(store, first.org).await, 1, "race {race}");
    }
}

async fn what_became_of_members_survives_a_restart(home: &dyn ColdHome) {
    let store = home.open_cold().await;
    let (first, second) = two_admins(&*store, "pinewood").await;
    let third = sample::joined(&*store, first.org, "third", Role::Viewer, NOW_MS).await;
    set_role(&*store, &second, Role::Viewer).await.unwrap();
    remove(&*store, &third).await.unwrap();
    drop(store);
    let store = home.open_cold().await;
    assert_eq!(store.user(second.id).await.unwrap().unwrap().role, Role::Viewer);
    assert_eq!(store.user_by_email(&third.email).await, Ok(None));
    assert_eq!(store.members(first.org).await.unwrap().len(), 2);
    assert_eq!(remove(&*store, &first).await, Err(LAST_ADMIN));
}
