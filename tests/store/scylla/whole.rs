//! A process that ends between any two writes of a change of an organization, of a member, a variable, settings or a
//! password: the change is there with its entry in the audit log and all that belongs to it, or nothing of it is.

use runstream::domain::account::{Organization, User};
use runstream::domain::id::ProjectId;
use runstream::domain::member::MemberChange;
use runstream::domain::project::ProjectSettings;
use runstream::domain::role::{AccountStatus, Role};
use runstream::domain::variable::Variable;

use super::crash::{Facts, actions, check_stops, colleagues, member};
use crate::store::{ColdStore, organizations, outbox, project_settings, resets, sample, variables};

/// An organization with a project.
async fn with_project(store: &dyn ColdStore, number: u64) -> (Organization, ProjectId) {
    let (org, _) = member(store, number).await;
    let project = sample::project(org.id, "shop", sample::NOW_MS);
    store.create_project(project.clone(), 9, sample::audit(org.id, "project.created")).await.unwrap();
    (org, project.id)
}

/// One with a secret variable.
async fn with_secret(store: &dyn ColdStore, number: u64) -> (Organization, Variable) {
    let (org, project) = with_project(store, number).await;
    let secret = Variable { value: None, ..variables::plain(org.id, project, "PASSWORD") };
    let sealed = variables::seal(&secret, "tea");
    let audit = sample::audit(org.id, "envvar.created");
    assert_eq!(store.create_variable(secret.clone(), Some(sealed), 9, audit).await, Ok(true));
    (org, secret)
}

/// Whether it is there, in the list and under its name, with its secret, and what the log says.
async fn variable_facts(store: &dyn ColdStore, org: &Organization, variable: &Variable) -> Facts {
    let found = store.variable(org.id, variable.project, variable.id).await.unwrap();
    let listed = store.variables(org.id, variable.project).await.unwrap();
    vec![
        found.as_ref().map_or(0, |found| 1 + u64::from(found.key == "TOKEN")),
        listed.len() as u64,
        u64::from(store.sealed(org.id, &variable.secret_name()).await.unwrap().is_some()),
        actions(store, org).await,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn variables_and_their_secrets_are_made_changed_and_deleted_whole() {
    check_stops(
        async |store, number| {
            let (org, project) = with_project(store, number).await;
            let secret = Variable { value: None, ..variables::plain(org.id, project, "PASSWORD") };
            (org, secret)
        },
        async |store, (org, secret)| {
            let (sealed, audit) = (variables::seal(secret, "tea"), sample::audit(org.id, "envvar.created"));
            store.create_variable(secret.clone(), Some(sealed), 1, audit).await.map(|made| assert!(made))
        },
        async |store, (org, secret)| variable_facts(store, org, secret).await,
    )
    .await;
    check_stops(
        with_secret,
        async |store, (org, secret)| {
            let renamed = Variable { key: "TOKEN".into(), ..secret.clone() };
            let (sealed, audit) =
                (variables::seal(&renamed, "more"), sample::audit(org.id, "envvar.updated"));
            let changed = store.update_variable(secret, renamed, Some(sealed), audit).await?;
            assert!(changed);
            Ok(())
        },
        async |store, (org, secret)| variable_facts(store, org, secret).await,
    )
    .await;
    check_stops(
        with_secret,
        async |store, (org, secret)| {
            let audit = sample::audit(org.id, "envvar.deleted");
            store.delete_variable(secret, audit).await.map(|deleted| assert!(deleted))
        },
        async |store, (org, secret)| variable_facts(store, org, secret).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn settings_are_changed_with_their_entry() {
    check_stops(
        async |store, number| member(store, number).await.0,
        async |store, org| {
            let change = organizations::renamed("Oak Labs");
            let changed = store.change_organization(org.id, change, organizations::author()).await?;
            assert!(changed.is_some());
            Ok(())
        },
        async |store, org| {
            let stored = store.organization(org.id).await.unwrap().unwrap();
            vec![u64::from(stored.name == "Oak Labs"), actions(store, org).await]
        },
    )
    .await;
    check_stops(
        with_project,
        async |store, (org, project)| {
            let (before, after) = (ProjectSettings::default(), project_settings::some());
            let audit = sample::audit(org.id, "project.settings_updated");
            let saved = store.save_project_settings(org.id, *project, &before, after, audit).await?;
            assert!(saved);
            Ok(())
        },
        async |store, (org, project)| {
            let settings = store.project_settings(org.id, *project).await.unwrap();
            let stored = store.project(org.id, *project).await.unwrap().unwrap();
            vec![
                u64::from(settings == Some(project_settings::some())),
                u64::from(stored.auto_quarantine),
                actions(store, org).await,
            ]
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn roles_and_suspensions_are_changed_with_their_entry() {
    let changes = [
        MemberChange::Role { from: Role::Admin, to: Role::Viewer },
        MemberChange::Status(AccountStatus::Suspended),
    ];
    for change in changes {
        check_stops(
            colleagues,
            async |store, (org, user, _)| {
                let audit = sample::audit(org.id, "user.changed");
                let now_ms = sample::NOW_MS;
                let changed =
                    store.change_member(org.id, user.id, change.clone(), now_ms, Some(audit)).await?;
                assert!(changed.is_some());
                Ok(())
            },
            async |store, (org, user, _)| {
                let stored = store.user(user.id).await.unwrap().unwrap();
                let by_email = store.user_by_email(&user.email).await.unwrap().unwrap();
                assert_eq!(stored, by_email);
                vec![
                    u64::from(stored.role == Role::Viewer),
                    u64::from(stored.status == AccountStatus::Suspended),
                    actions(store, org).await,
                ]
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_reset_begins_with_its_letter_and_ends_with_the_new_password() {
    check_stops(
        async |store, number| (member(store, number).await, rand::random::<[u8; 32]>()),
        async |store, ((org, user), hash)| {
            let (reset, letter) = (resets::reset(*hash, user), resets::letter(user, "reset/1"));
            store.begin_reset(org.id, user.id, reset, Some(letter)).await.map(|begun| assert!(begun))
        },
        async |store, ((org, _), hash)| {
            vec![
                u64::from(store.reset_of(hash, sample::NOW_MS).await.unwrap().is_some()),
                u64::from(store.letter_state(org.id, "reset/1").await.unwrap().is_some()),
            ]
        },
    )
    .await;
    let begun = async |store: &dyn ColdStore, number: u64| {
        let (org, user) = member(store, number).await;
        let hash = rand::random::<[u8; 32]>();
        assert_eq!(store.begin_reset(org.id, user.id, resets::reset(hash, &user), None).await, Ok(true));
        (org, user, hash)
    };
    check_stops(
        begun,
        async |store, (org, _, hash)| {
            let audit = sample::audit(org.id, "auth.password_changed");
            let finished = store.finish_reset(hash, "$new".into(), sample::NOW_MS, audit).await?;
            assert!(finished.is_some());
            Ok(())
        },
        async |store, (org, user, hash)| {
            let stored = store.user(user.id).await.unwrap().unwrap();
            vec![
                u64::from(stored.password_hash == "$new"),
                u64::from(store.reset_of(hash, sample::NOW_MS).await.unwrap().is_some()),
                actions(store, org).await,
            ]
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_sign_up_comes_with_its_letter() {
    check_stops(
        async |_, number| {
            let org = sample::organization(&format!("pinewood-{number}"));
            let user = sample::user(org.id, &format!("{number}@pinewood.test"));
            (org, user)
        },
        async |store, (org, user): &(Organization, User)| {
            let letter = outbox::letter(org.id, "welcome");
            let audit = sample::audit(org.id, "auth.signup");
            let fallback = format!("{}-x", org.slug);
            store.sign_up(org.clone(), fallback, user.clone(), audit, Some(letter)).await.map(drop)
        },
        async |store, (org, user)| {
            vec![
                u64::from(store.user_by_email(&user.email).await.unwrap().is_some()),
                u64::from(store.letter_state(org.id, "welcome").await.unwrap().is_some()),
                actions(store, org).await,
            ]
        },
    )
    .await;
}
