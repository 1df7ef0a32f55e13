//! A process that ends between any two of its writes, or loses answers: its changes are there wholly or not at all, and
//! whoever comes next can do the same.

use std::sync::Arc;
use std::time::Duration;

use runstream::clock::ManualClock;
use runstream::domain::account::{ApiKey, Organization, User};
use runstream::domain::invitation::Invitation;
use runstream::domain::member::MemberChange;
use runstream::domain::role::Role;
use runstream::limits::CQL_CLAIM_PATIENCE;
use runstream::store::contract::{Accounts, Invitations, People, Projects, StoreError, StoreResult};
use runstream::store::scylla::{Cold, Cql, ScyllaSettings};

use crate::store::{ColdStore, invitations, outbox, sample};
use crate::support::cql;

/// More writes than any change takes.
const WRITES_MAX: u64 = 20;

async fn session(settings: &ScyllaSettings) -> Arc<Cql> {
    Arc::new(Cql::connect(settings, Arc::new(ManualClock::at(sample::NOW_MS))).await.unwrap())
}

/// Facts about what a change has touched, as numbers that are the same for every subject.
pub(super) type Facts = Vec<u64>;

/// Stops `act` before each of its writes in turn, each time on a new subject. What is there then is either what was there
/// before or what is there after the whole; and if it is what was there before, the same can be done again.
pub(super) async fn check_stops<S>(
    subject: impl AsyncFn(&dyn ColdStore, u64) -> S,
    act: impl AsyncFn(&dyn ColdStore, &S) -> StoreResult<()>,
    facts: impl AsyncFn(&dyn ColdStore, &S) -> Facts,
) {
    let settings = cql::keyspace().await;
    let (doomed, well) = (session(&settings).await, session(&settings).await);
    let mut left = Vec::new();
    for writes in 0..WRITES_MAX {
        let store = Cold::open(Arc::clone(&well)).await.unwrap();
        let subject = subject(&store, writes).await;
        let before = facts(&store, &subject).await;
        let process = Cold::open(Arc::clone(&doomed)).await.unwrap();
        doomed.faults().die_after(writes);
        let outcome = act(&process, &subject).await;
        doomed.faults().end();
        let after = facts(&store, &subject).await;
        if outcome.is_ok() {
            assert!(writes >= 1 && after != before, "the whole took {writes} writes and changed nothing");
            for (writes, found) in left {
                assert_eq!(found, after, "ended before write {writes}");
            }
            return;
        }
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        if after == before {
            let again = act(&store, &subject).await;
            assert_eq!(again, Ok(()), "once more after an end before write {writes}");
        }
        left.push((writes, facts(&store, &subject).await));
    }
    panic!("it takes more than {WRITES_MAX} writes");
}

pub(super) async fn actions(store: &dyn ColdStore, org: &Organization) -> u64 {
    sample::actions(store, org.id).await.len() as u64
}

pub(super) async fn member(store: &dyn ColdStore, number: u64) -> (Organization, User) {
    sample::member(store, &format!("pinewood-{number}")).await
}

/// An organization with a member and a key.
async fn key_holder(store: &dyn ColdStore, number: u64) -> (Organization, User, ApiKey) {
    let (org, user) = member(store, number).await;
    let key = sample::key(org.id, user.id, sample::NOW_MS);
    store.create_key(key.clone(), 9, sample::audit(org.id, "apikey.created")).await.unwrap();
    (org, user, key)
}

/// How many of the three ways to a key lead to it, and what the log says.
async fn key_facts(store: &dyn ColdStore, org: &Organization, key: &ApiKey) -> Facts {
    vec![
        u64::from(store.key(org.id, key.id).await.unwrap().is_some()),
        u64::from(store.key_by_hash(&key.hash).await.unwrap().is_some()),
        store.keys_of(org.id, key.owner).await.unwrap().len() as u64,
        actions(store, org).await,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn signing_up_is_all_or_nothing() {
    check_stops(
        async |_, number| {
            let org = sample::organization(&format!("pinewood-{number}"));
            let user = sample::user(org.id, &format!("{number}@pinewood.test"));
            (org, user)
        },
        async |store, (org, user)| {
            let fallback = format!("{}-x", org.slug);
            let audit = sample::audit(org.id, "auth.signup");
            let stored = store.sign_up(org.clone(), fallback, user.clone(), audit, None).await?;
            assert_eq!(stored.slug, org.slug, "what never came holds no slug");
            Ok(())
        },
        async |store, (org, user)| {
            vec![
                u64::from(store.organization(org.id).await.unwrap().is_some()),
                u64::from(store.user(user.id).await.unwrap().is_some()),
                u64::from(store.user_by_email(&user.email).await.unwrap().is_some()),
                store.member_count(org.id).await.unwrap(),
                actions(store, org).await,
            ]
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn making_and_revoking_a_key_are_all_or_nothing() {
    check_stops(
        async |store, number| {
            let (org, user) = member(store, number).await;
            let key = sample::key(org.id, user.id, sample::NOW_MS);
            (org, key)
        },
        async |store, (org, key)| {
            store.create_key(key.clone(), 1, sample::audit(org.id, "apikey.created")).await
        },
        async |store, (org, key)| key_facts(store, org, key).await,
    )
    .await;
    check_stops(
        async |store, number| key_holder(store, number).await,
        async |store, (org, _, key)| {
            let revoked = store.revoke_key(org.id, key.id, sample::audit(org.id, "apikey.revoked")).await?;
            assert!(revoked);
            Ok(())
        },
        async |store, (org, _, key)| key_facts(store, org, key).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn projects_and_revocations_are_all_or_nothing() {
    check_stops(
        async |store, number| {
            let (org, _) = member(store, number).await;
            let project = sample::project(org.id, "shop", sample::NOW_MS);
            (org, project)
        },
        async |store, (org, project)| {
            store.create_project(project.clone(), 1, sample::audit(org.id, "project.created")).await
        },
        async |store, (org, project)| {
            vec![
                u64::from(store.project(org.id, project.id).await.unwrap().is_some()),
                store.projects(org.id).await.unwrap().len() as u64,
                actions(store, org).await,
            ]
        },
    )
    .await;
    check_stops(
        async |store, number| (member(store, number).await.0, number.to_string()),
        async |store, (org, token)| {
            store.revoke_token(token, sample::NOW_MS + 1, sample::audit(org.id, "auth.logout")).await
        },
        async |store, (org, token)| {
            vec![u64::from(store.is_token_revoked(token).await.unwrap()), actions(store, org).await]
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn updates_moves_and_logins_are_all_or_nothing() {
    check_stops(
        async |store, number| member(store, number).await,
        async |store, (org, user)| {
            let renamed = User { name: "Rosa L.".into(), ..user.clone() };
            let audit = sample::audit(org.id, "user.renamed");
            store.update_user(renamed, Some(audit)).await.map(|found| assert!(found))
        },
        async |store, (org, user)| {
            let stored = store.user(user.id).await.unwrap().unwrap();
            vec![u64::from(stored.name == "Rosa L."), actions(store, org).await]
        },
    )
    .await;
    check_stops(
        async |store, number| (member(store, number).await, member(store, number + 1_000).await.0),
        async |store, ((_, user), to)| {
            let moved = User { org: to.id, ..user.clone() };
            let audit = sample::audit(to.id, "invitation.accepted");
            store.update_user(moved, Some(audit)).await.map(|found| assert!(found))
        },
        async |store, ((from, user), to)| {
            let stored = store.user(user.id).await.unwrap().unwrap();
            let by_email = store.user_by_email(&user.email).await.unwrap().unwrap();
            vec![
                u64::from(stored.org == to.id),
                u64::from(by_email.org == to.id),
                store.member_count(from.id).await.unwrap(),
                store.member_count(to.id).await.unwrap(),
                actions(store, from).await,
                actions(store, to).await,
            ]
        },
    )
    .await;
    check_stops(
        async |store, number| member(store, number).await,
        async |store, (org, user)| {
            let audit = sample::audit(org.id, "auth.login");
            store.login_succeeded(user.id, &user.email, sample::NOW_MS + 7, audit).await
        },
        async |store, (org, user)| {
            let stored = store.user(user.id).await.unwrap().unwrap();
            vec![u64::from(stored.last_login_ms.is_some()), actions(store, org).await]
        },
    )
    .await;
}

/// An organization whose second member has a key.
pub(super) async fn colleagues(store: &dyn ColdStore, number: u64) -> (Organization, User, ApiKey) {
    let (org, _) = member(store, number).await;
    let name = format!("second-{number}");
    let second = sample::joined(store, org.id, &name, Role::Admin, sample::NOW_MS).await;
    let key = sample::key(org.id, second.id, sample::NOW_MS);
    store.create_key(key.clone(), 9, sample::audit(org.id, "apikey.created")).await.unwrap();
    (org, second, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn changes_of_members_are_all_or_nothing() {
    let facts = async |store: &dyn ColdStore, (org, user, key): &(Organization, User, ApiKey)| {
        let stored = store.user(user.id).await.unwrap();
        let mut facts = key_facts(store, org, key).await;
        facts.extend([
            u64::from(stored.as_ref().is_some_and(|stored| stored.password_hash == user.password_hash)),
            u64::from(store.user_by_email(&user.email).await.unwrap().is_some()),
            store.member_count(org.id).await.unwrap(),
            store.members(org.id).await.unwrap().len() as u64,
        ]);
        facts
    };
    check_stops(
        async |store, number| colleagues(store, number).await,
        async |store, (org, user, _)| {
            let change = MemberChange::Password { seen: user.password_hash.clone(), hash: "$new".into() };
            let audit = sample::audit(org.id, "auth.password_changed");
            let changed = store.change_member(org.id, user.id, change, sample::NOW_MS, Some(audit)).await?;
            assert!(changed.is_some());
            Ok(())
        },
        facts,
    )
    .await;
    check_stops(
        async |store, number| colleagues(store, number).await,
        async |store, (org, user, _)| {
            let audit = sample::audit(org.id, "user.removed");
            let removed = store.remove_member(org.id, user.id, audit).await?;
            assert!(removed.is_some());
            Ok(())
        },
        facts,
    )
    .await;
}

/// What a removed account leaves in other partitions counts for nothing, and keeps nobody from its address.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn an_address_whose_release_never_came_is_free_all_the_same() {
    let settings = cql::keyspace().await;
    let (doomed, well) = (session(&settings).await, session(&settings).await);
    let store = Cold::open(well).await.unwrap();
    // Made at home, and moved in: its claim names another organization.
    let (first, second) = {
        let (org, first) = member(&store, 1).await;
        let second = sample::joined(&store, org.id, "second", Role::Admin, sample::NOW_MS).await;
        sample::joined(&store, org.id, "third", Role::Admin, sample::NOW_MS).await;
        (first, second)
    };
    for (at, user) in [first, second].into_iter().enumerate() {
        // The first that succeeds ends with its commit: nothing is tidied up any more.
        for writes in 1.. {
            assert!(writes < WRITES_MAX, "a removal succeeds");
            let process = Cold::open(Arc::clone(&doomed)).await.unwrap();
            doomed.faults().die_after(writes);
            let audit = sample::audit(user.org, "user.removed");
            let removed = process.remove_member(user.org, user.id, audit).await;
            doomed.faults().end();
            if let Ok(removed) = removed {
                assert_eq!(removed.map(|removed| removed.id), Some(user.id));
                break;
            }
        }
        let org = sample::organization(&format!("again-{at}"));
        let again = sample::user(org.id, &user.email);
        let audit = sample::audit(org.id, "auth.signup");
        store.sign_up(org, format!("again-{at}-x"), again.clone(), audit, None).await.unwrap();
        assert_eq!(store.user_by_email(&user.email).await, Ok(Some(again)));
        assert_eq!(store.user(user.id).await, Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_writer_whose_claim_was_replaced_cannot_commit() {
    let settings = cql::keyspace().await;
    // Held before each write after its claims: the lookup, and the commit itself.
    for writes in [2, 3] {
        let (slow, quick) = (session(&settings).await, session(&settings).await);
        let store = Cold::open(Arc::clone(&quick)).await.unwrap();
        let process = Cold::open(Arc::clone(&slow)).await.unwrap();
        let email = format!("{writes}@pinewood.test");
        let sign_up = |store: Cold, name: String| {
            let org = sample::organization(&name);
            let user = sample::user(org.id, &email);
            let audit = sample::audit(org.id, "auth.signup");
            async move { store.sign_up(org, format!("{name}-x"), user, audit, None).await }
        };
        slow.faults().hold_after(writes);
        let held = tokio::spawn(sign_up(process, format!("slow-{writes}")));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let won = sign_up(store, format!("quick-{writes}")).await.unwrap();
        slow.faults().end();
        let lost = held.await.unwrap();
        assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
        let store = Cold::open(quick).await.unwrap();
        assert_eq!(store.user_by_email(&email).await.unwrap().unwrap().org, won.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn lost_answers_change_no_outcome() {
    let settings = cql::keyspace().await;
    for every in 1..=3 {
        let cql = session(&settings).await;
        let store = Cold::open(Arc::clone(&cql)).await.unwrap();
        // Every single answer cannot be lost: what was never sent would be sent for ever.
        cql.faults().lose_answers(every + 1);
        let (org, user, key) = key_holder(&store, every).await;
        for number in 0..6 {
            let project = sample::project(org.id, &format!("p{number}"), sample::NOW_MS);
            store.create_project(project, 9, sample::audit(org.id, "project.created")).await.unwrap();
        }
        let email = format!("{every}@x.test");
        for _ in 0..3 {
            store.begin_login(&email, sample::NOW_MS, 50, 1_000, 1_000).await.unwrap();
        }
        assert_eq!(store.revoke_key(org.id, key.id, sample::audit(org.id, "apikey.revoked")).await, Ok(true));
        let (to, _) = member(&store, every + 100).await;
        let moved = User { org: to.id, ..user.clone() };
        assert_eq!(store.update_user(moved, Some(sample::audit(to.id, "moved"))).await, Ok(true));
        cql.faults().end();
        assert_eq!(store.projects(org.id).await.unwrap().len(), 6);
        assert_eq!((actions(&store, &org).await, actions(&store, &to).await), (9, 2));
        assert_eq!(store.member_count(org.id).await, Ok(0));
        assert_eq!(store.member_count(to.id).await, Ok(2));
    }
}

/// Somebody with a key who is invited to another organization.
async fn guest(
    store: &dyn ColdStore,
    number: u64,
) -> (Organization, (Organization, User, ApiKey), Invitation) {
    let (org, host) = member(store, number).await;
    let (from, guest, key) = key_holder(store, number + 1_000).await;
    let invited = invitations::invite(store, &host, &guest.email).await;
    (org, (from, guest, key), invited)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn inviting_revoking_and_signing_up_by_an_invitation_are_all_or_nothing() {
    let facts = async |store: &dyn ColdStore, (org, invited): &(Organization, Invitation)| {
        let found = store.invitation(&invited.token).await.unwrap();
        vec![
            found.map_or(0, |found| 1 + u64::from(found.accepted)),
            store.invitations(org.id, sample::NOW_MS).await.unwrap().len() as u64,
            store.member_count(org.id).await.unwrap(),
            u64::from(store.user_by_email(&invited.email).await.unwrap().is_some()),
            actions(store, org).await,
        ]
    };
    check_stops(
        async |store, number| {
            let (org, user) = member(store, number).await;
            let invited = invitations::invitation((org.id, user.id), "ivo@x.test", sample::NOW_MS);
            (org, invited)
        },
        async |store, (org, invited)| {
            let letter = Some(outbox::letter(org.id, &format!("invitation/{}", invited.id)));
            store.invite(invited.clone(), 9, letter, sample::audit(org.id, "invitation.created")).await
        },
        async |store, (org, invited)| {
            let mut found = facts(store, &(org.clone(), invited.clone())).await;
            let key = format!("invitation/{}", invited.id);
            found.push(u64::from(store.letter_state(org.id, &key).await.unwrap().is_some()));
            found
        },
    )
    .await;
    let pending = async |store: &dyn ColdStore, number: u64| {
        let (org, user) = member(store, number).await;
        let invited = invitations::invite(store, &user, &format!("ivo-{number}@x.test")).await;
        (org, invited)
    };
    check_stops(
        pending,
        async |store, (org, invited)| {
            let audit = sample::audit(org.id, "invitation.revoked");
            let revoked = store.revoke_invitation(org.id, invited.id, sample::NOW_MS, audit).await?;
            assert!(revoked);
            Ok(())
        },
        facts,
    )
    .await;
    check_stops(
        async |store, number| pending(store, number).await,
        async |store, (org, invited)| {
            let user = sample::user(org.id, &invited.email);
            let audit =
                vec![sample::audit(org.id, "auth.signup"), sample::audit(org.id, "invitation.accepted")];
            store.sign_up_invited(&invited.token, user, sample::NOW_MS, 2, audit, None).await
        },
        facts,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn accepting_an_invitation_is_all_or_nothing() {
    check_stops(
        async |store, number| guest(store, number).await,
        async |store, (_, (_, guest, _), invited)| {
            let moved = store.accept_invitation(invitations::acceptance(invited, guest, 2)).await?;
            assert!(moved.is_some());
            Ok(())
        },
        async |store, (org, (from, guest, key), invited)| {
            let stored = store.user(guest.id).await.unwrap().unwrap();
            let by_email = store.user_by_email(&guest.email).await.unwrap().unwrap();
            assert_eq!(stored, by_email);
            let accepted = store.invitation(&invited.token).await.unwrap().unwrap().accepted;
            let mut facts = vec![
                u64::from(stored.org == org.id),
                u64::from(stored.credentials_valid_from_ms > guest.credentials_valid_from_ms),
                u64::from(accepted),
                store.invitations(org.id, sample::NOW_MS).await.unwrap().len() as u64,
                store.member_count(org.id).await.unwrap(),
                store.member_count(from.id).await.unwrap(),
                actions(store, org).await,
                actions(store, from).await,
            ];
            let (found, by_id, owned) = (
                store.key_by_hash(&key.hash).await.unwrap(),
                store.key(from.id, key.id).await.unwrap(),
                store.keys_of(from.id, guest.id).await.unwrap(),
            );
            facts.push(found.into_iter().chain(by_id).chain(owned).count() as u64);
            facts
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_move_that_holds_others_up_is_called_off_and_cannot_go_on() {
    let settings = cql::keyspace().await;
    let (slow, quick) = (session(&settings).await, session(&settings).await);
    let store = Cold::open(Arc::clone(&quick)).await.unwrap();
    let process = Cold::open(Arc::clone(&slow)).await.unwrap();
    let (org, (from, guest, _), invited) = guest(&store, 1).await;
    let acceptance = invitations::acceptance(&invited, &guest, 2);
    // It holds the last seat and the invitation, and goes no further.
    slow.faults().hold_after(1);
    let held = tokio::spawn(async move { process.accept_invitation(acceptance).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(store.member_count(org.id).await, Ok(1));
    let audit = sample::audit(org.id, "invitation.revoked");
    assert_eq!(store.revoke_invitation(org.id, invited.id, sample::NOW_MS, audit).await, Ok(true));
    slow.faults().end();
    let lost = held.await.unwrap();
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    assert_eq!(store.user(guest.id).await, Ok(Some(guest)));
    assert_eq!((store.member_count(org.id).await, store.member_count(from.id).await), (Ok(1), Ok(1)));
    assert_eq!(store.invitation(&invited.token).await, Ok(None));
}

/// An account has one arriving row in an organization. Had the second of two movers put its own in place of the first's, and
/// the old organization then let go for the first, neither row would say where the account is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn two_moves_of_an_account_into_one_organization_do_not_lose_it() {
    let settings = cql::keyspace().await;
    let store = Cold::open(session(&settings).await).await.unwrap();
    // The first mover goes on while the second waits for it, and after the second has called it off.
    let (settings, store) = (&settings, &store);
    let race = |number: u64, goes_on_after: Duration| async move {
        let (sessions, mut processes) = ([session(settings).await, session(settings).await], Vec::new());
        for cql in &sessions {
            processes.push(Cold::open(Arc::clone(cql)).await.unwrap());
        }
        let [(to, _), (from, user)] = [member(store, number).await, member(store, number + 1_000).await];
        let moved = User { org: to.id, ..user.clone() };
        let start = |process: Cold| {
            let (moved, audit) = (moved.clone(), sample::audit(to.id, "moved"));
            tokio::spawn(async move { process.update_user(moved, Some(audit)).await })
        };
        // Each is held when its arriving row is there and the old organization has not let go.
        sessions[0].faults().hold_after(1);
        let first = start(processes.remove(0));
        while !sessions[0].faults().is_holding() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sessions[1].faults().hold_after(1);
        let second = start(processes.remove(0));
        tokio::time::sleep(goes_on_after).await;
        sessions[0].faults().end();
        let first = first.await.unwrap();
        sessions[1].faults().end();
        let second = second.await.unwrap();
        for outcome in [&first, &second] {
            let is_known = matches!(outcome, Ok(true) | Err(StoreError::Unavailable(_)));
            assert!(is_known, "{first:?} and {second:?} after {goes_on_after:?}");
        }
        assert!(first.is_ok() || second.is_ok(), "{first:?} and {second:?} after {goes_on_after:?}");
        let found = store.user(user.id).await.unwrap().map(|user| user.org);
        assert_eq!(found, Some(to.id), "after {goes_on_after:?}");
        let by_email = store.user_by_email(&user.email).await.unwrap().map(|user| user.id);
        assert_eq!(by_email, Some(user.id), "after {goes_on_after:?}");
        assert_eq!((store.member_count(to.id).await, store.member_count(from.id).await), (Ok(2), Ok(0)));
    };
    tokio::join!(race(1, Duration::from_millis(300)), race(2, CQL_CLAIM_PATIENCE * 2));
}
