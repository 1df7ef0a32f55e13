//! Environment variables of projects.

use runstream::domain::id::{OrgId, ProjectId, VariableId};
use runstream::domain::seal::{Sealed, Sealer, SealingKey};
use runstream::domain::variable::Variable;
use runstream::store::contract::{Conflict, StoreError};

use super::sample::{NOW_MS, audit};
use super::{ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, races, sample};

on_each_cold_store! {
    a_variable_reads_back_and_its_making_is_audited,
    variables_are_listed_oldest_first,
    a_taken_name_is_refused_within_the_project_only,
    a_variable_over_the_limit_is_refused_before_its_name,
    of_racing_variables_with_one_name_exactly_one_wins,
    racing_variables_never_exceed_the_limit,
    racing_renames_to_one_name_have_one_winner,
    a_change_happens_to_what_was_read_only,
    a_sealed_value_comes_and_goes_with_its_variable,
    a_project_of_nobody_or_another_organization_has_none,
}
on_each_cold_store_across_restarts! { variables_survive_a_restart }

const TAKEN: StoreError = StoreError::Conflict(Conflict::VariableKey);
const FULL: StoreError = StoreError::Conflict(Conflict::VariableLimit);

pub(crate) fn plain(org: OrgId, project: ProjectId, key: &str) -> Variable {
    Variable {
        id: VariableId::generate(NOW_MS),
        org,
        project,
        key: key.into(),
        value: Some("https://shop.test".into()),
        created_ms: NOW_MS,
        updated_ms: NOW_MS,
    }
}

pub(crate) fn seal(variable: &Variable, text: &str) -> Sealed {
    let sealer = Sealer::new(SealingKey::from_secret(&[7; 32]), Vec::new());
    sealer.seal(variable.org, &variable.secret_name(), &text.into())
}

/// Creates a plain variable.
async fn create(store: &dyn ColdStore, variable: &Variable, max: u64) -> Result<bool, StoreError> {
    store.create_variable(variable.clone(), None, max, audit(variable.org, "envvar.created")).await
}

async fn a_variable_reads_back_and_its_making_is_audited(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    let variable = plain(org, project, "BASE_URL");
    assert_eq!(create(store, &variable, 50).await, Ok(true));
    assert_eq!(store.variable(org, project, variable.id).await, Ok(Some(variable.clone())));
    assert_eq!(store.variables(org, project).await, Ok(vec![variable]));
    assert_eq!(store.variable(org, project, VariableId::generate(NOW_MS)).await, Ok(None));
    let mut actions = sample::actions(store, org).await;
    actions.sort();
    assert_eq!(actions, ["envvar.created", "project.created"]);
}

async fn variables_are_listed_oldest_first(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    let mut variables = Vec::new();
    for (number, later_ms) in [5, 1, 9, 9, 9, 3].into_iter().enumerate() {
        let variable =
            Variable { created_ms: NOW_MS + later_ms, ..plain(org, project, &format!("V{number}")) };
        assert_eq!(create(store, &variable, 50).await, Ok(true));
        variables.push(variable);
    }
    variables.sort_by_key(|variable| (variable.created_ms, variable.id));
    assert_eq!(store.variables(org, project).await, Ok(variables));
}

async fn a_taken_name_is_refused_within_the_project_only(store: &dyn ColdStore) {
    let org = sample::org();
    let (project, other) =
        (sample::new_project(store, org).await.id, sample::new_project(store, org).await.id);
    assert_eq!(create(store, &plain(org, project, "A"), 50).await, Ok(true));
    assert_eq!(create(store, &plain(org, project, "A"), 50).await, Err(TAKEN));
    for name in ["a", "AA", "_A"] {
        assert_eq!(create(store, &plain(org, project, name), 50).await, Ok(true), "{name}");
    }
    assert_eq!(create(store, &plain(org, other, "A"), 50).await, Ok(true));
    assert_eq!(store.variables(org, project).await.unwrap().len(), 4);
    assert_eq!(sample::actions(store, org).await.len(), 7, "the refused one left no entry");
}

async fn a_variable_over_the_limit_is_refused_before_its_name(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    assert_eq!(create(store, &plain(org, project, "A"), 1).await, Ok(true));
    assert_eq!(create(store, &plain(org, project, "B"), 1).await, Err(FULL));
    assert_eq!(create(store, &plain(org, project, "A"), 1).await, Err(FULL));
    assert_eq!(store.variables(org, project).await.unwrap().len(), 1);
    assert_eq!(create(store, &plain(org, project, "B"), 2).await, Ok(true), "the refused one took no name");
}

async fn of_racing_variables_with_one_name_exactly_one_wins(store: &dyn ColdStore) {
    let org = sample::org();
    for race in 0..races() {
        let project = sample::new_project(store, org).await.id;
        let make = async || create(store, &plain(org, project, "A"), 50).await;
        let outcomes = tokio::join!(make(), make(), make());
        let outcomes = [outcomes.0, outcomes.1, outcomes.2];
        let count = |wanted: &Result<bool, StoreError>| outcomes.iter().filter(|one| *one == wanted).count();
        assert_eq!((count(&Ok(true)), count(&Err(TAKEN))), (1, 2), "race {race}: {outcomes:?}");
        assert_eq!(store.variables(org, project).await.unwrap().len(), 1, "race {race}");
    }
}

async fn racing_variables_never_exceed_the_limit(store: &dyn ColdStore) {
    let org = sample::org();
    for race in 0..races() {
        let project = sample::new_project(store, org).await.id;
        let make = async |key: &str| create(store, &plain(org, project, key), 1).await;
        let outcomes = tokio::join!(make("A"), make("B"));
        let fits =
            matches!(&outcomes, (Ok(true), Err(refused)) | (Err(refused), Ok(true)) if *refused == FULL);
        assert!(fits, "race {race}: {outcomes:?}");
        assert_eq!(store.variables(org, project).await.unwrap().len(), 1, "race {race}");
    }
}

async fn racing_renames_to_one_name_have_one_winner(store: &dyn ColdStore) {
    let org = sample::org();
    for race in 0..races() {
        let project = sample::new_project(store, org).await.id;
        let (a, b) = (plain(org, project, "A"), plain(org, project, "B"));
        create(store, &a, 50).await.unwrap();
        create(store, &b, 50).await.unwrap();
        let rename = async |variable: &Variable| {
            let after = Variable { key: "C".into(), ..variable.clone() };
            store.update_variable(variable, after, None, audit(org, "envvar.updated")).await
        };
        let outcomes = tokio::join!(rename(&a), rename(&b));
        let fits =
            matches!(&outcomes, (Ok(true), Err(refused)) | (Err(refused), Ok(true)) if *refused == TAKEN);
        assert!(fits, "race {race}: {outcomes:?}");
        let mut keys: Vec<_> =
            store.variables(org, project).await.unwrap().into_iter().map(|variable| variable.key).collect();
        keys.sort();
        assert!(keys == ["A", "C"] || keys == ["B", "C"], "race {race}: {keys:?}");
    }
}

async fn a_change_happens_to_what_was_read_only(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    let before = plain(org, project, "A");
    create(store, &before, 50).await.unwrap();
    let after = Variable { key: "B".into(), value: Some("2".into()), ..before.clone() };
    let update = async |from: &Variable, to: &Variable| {
        store.update_variable(from, to.clone(), None, audit(org, "envvar.updated")).await
    };
    assert_eq!(update(&before, &after).await, Ok(true));
    assert_eq!(update(&before, &before).await, Ok(false), "it is no longer that");
    assert_eq!(store.delete_variable(&before, audit(org, "envvar.deleted")).await, Ok(false));
    assert_eq!(store.variables(org, project).await, Ok(vec![after.clone()]));
    assert_eq!(create(store, &plain(org, project, "A"), 50).await, Ok(true), "the old name is free");
    assert_eq!(create(store, &plain(org, project, "B"), 50).await, Err(TAKEN), "the new one is not");

    assert_eq!(store.delete_variable(&after, audit(org, "envvar.deleted")).await, Ok(true));
    assert_eq!(store.delete_variable(&after, audit(org, "envvar.deleted")).await, Ok(false));
    assert_eq!(update(&after, &before).await, Ok(false), "it is gone");
    assert_eq!(create(store, &plain(org, project, "B"), 2).await, Ok(true), "name and place are free again");
    let actions = sample::actions(store, org).await;
    for (action, times) in [("envvar.created", 3), ("envvar.updated", 1), ("envvar.deleted", 1)] {
        assert_eq!(actions.iter().filter(|one| *one == action).count(), times, "{action}");
    }
}

async fn a_sealed_value_comes_and_goes_with_its_variable(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    let secret = Variable { value: None, ..plain(org, project, "PASSWORD") };
    let name = secret.secret_name();
    let (first, second) = (seal(&secret, "tea"), seal(&secret, "coffee"));
    let made = audit(org, "envvar.created");
    store.create_variable(secret.clone(), Some(first.clone()), 50, made).await.unwrap();
    assert_eq!(store.sealed(org, &name).await, Ok(Some(first.clone())));

    let update = async |from: &Variable, to: &Variable, sealed: Option<&Sealed>| {
        store.update_variable(from, to.clone(), sealed.cloned(), audit(org, "envvar.updated")).await.unwrap()
    };
    let renamed = Variable { key: "PASS".into(), ..secret.clone() };
    assert!(update(&secret, &renamed, None).await);
    assert_eq!(store.sealed(org, &name).await, Ok(Some(first)), "a new name leaves it alone");
    assert!(update(&renamed, &renamed, Some(&second)).await);
    assert_eq!(store.sealed(org, &name).await, Ok(Some(second.clone())));
    let public = Variable { value: Some("milk".into()), ..renamed.clone() };
    assert!(update(&renamed, &public, None).await);
    assert_eq!(store.sealed(org, &name).await, Ok(None));
    assert!(update(&public, &renamed, Some(&second)).await);
    assert!(!update(&public, &public, Some(&seal(&secret, "x"))).await);
    assert_eq!(store.sealed(org, &name).await, Ok(Some(second)), "what did not happen changed nothing");
    assert_eq!(store.delete_variable(&renamed, audit(org, "envvar.deleted")).await, Ok(true));
    assert_eq!(store.sealed(org, &name).await, Ok(None));
}

async fn a_project_of_nobody_or_another_organization_has_none(store: &dyn ColdStore) {
    let (org, foreign) = (sample::org(), sample::org());
    let project = sample::new_project(store, org).await.id;
    let variable = plain(org, project, "A");
    create(store, &variable, 50).await.unwrap();
    assert_eq!(store.variables(foreign, project).await, Ok(vec![]));
    assert_eq!(store.variable(foreign, project, variable.id).await, Ok(None));
    let theirs = Variable { org: foreign, ..variable.clone() };
    assert_eq!(create(store, &theirs, 50).await, Ok(false));
    let sealed = store.create_variable(
        Variable { value: None, ..theirs.clone() },
        Some(seal(&theirs, "x")),
        50,
        audit(foreign, "envvar.created"),
    );
    assert_eq!(sealed.await, Ok(false));
    assert_eq!(store.sealed(foreign, &theirs.secret_name()).await, Ok(None), "nothing is left behind");
    assert_eq!(store.delete_variable(&theirs, audit(foreign, "envvar.deleted")).await, Ok(false));
    let updated = store.update_variable(&theirs, theirs.clone(), None, audit(foreign, "envvar.updated"));
    assert_eq!(updated.await, Ok(false));
    assert_eq!(create(store, &plain(org, ProjectId::generate(NOW_MS), "A"), 50).await, Ok(false));
    assert_eq!(sample::actions(store, foreign).await, [""; 0]);
}

async fn variables_survive_a_restart(home: &dyn ColdHome) {
    let org = sample::org();
    let store = home.open_cold().await;
    let project = sample::new_project(&*store, org).await.id;
    let secret = Variable { value: None, ..plain(org, project, "PASSWORD") };
    let sealed = seal(&secret, "tea");
    let made = audit(org, "envvar.created");
    store.create_variable(secret.clone(), Some(sealed.clone()), 50, made).await.unwrap();
    drop(store);
    let store = home.open_cold().await;
    assert_eq!(store.variables(org, project).await, Ok(vec![secret.clone()]));
    assert_eq!(store.sealed(org, &secret.secret_name()).await, Ok(Some(sealed)));
    assert_eq!(create(&*store, &plain(org, project, "PASSWORD"), 50).await, Err(TAKEN));
}
