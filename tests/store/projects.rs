//! Projects.

use std::collections::HashSet;

use runstream::domain::id::ProjectId;
use runstream::store::contract::{Conflict, StoreError};

use super::sample::NOW_MS;
use super::{ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, races, sample};

on_each_cold_store! {
    a_project_reads_back_and_its_making_is_audited,
    a_taken_slug_is_refused_within_the_organization_only,
    a_project_over_the_limit_is_refused_and_leaves_nothing,
    of_racing_projects_with_one_slug_exactly_one_wins,
    racing_projects_never_exceed_the_limit,
    projects_are_listed_newest_first,
    a_list_holds_at_most_a_thousand,
    a_foreign_organization_has_none_of_them,
    no_project_has_no_quarantined_tests,
}
on_each_cold_store_across_restarts! { projects_survive_a_restart }

async fn a_project_reads_back_and_its_making_is_audited(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::project(org, "web-shop", NOW_MS);
    store.create_project(project.clone(), 10, sample::audit(org, "project.created")).await.unwrap();
    assert_eq!(store.project(org, project.id).await, Ok(Some(project)));
    assert_eq!(store.project(org, ProjectId::generate(NOW_MS)).await, Ok(None));
    assert_eq!(sample::actions(store, org).await, ["project.created"]);
}

async fn a_taken_slug_is_refused_within_the_organization_only(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    let create = async |org, slug: &str| {
        let project = sample::project(org, slug, NOW_MS);
        let id = project.id;
        let created = store.create_project(project, 10, sample::audit(org, "project.created")).await;
        created.map(|()| id)
    };
    create(org, "web-shop").await.unwrap();
    assert_eq!(create(org, "web-shop").await, Err(StoreError::Conflict(Conflict::ProjectSlug)));
    assert!(create(org, "web").await.is_ok() && create(org, "web-shop-2").await.is_ok());
    assert!(create(other, "web-shop").await.is_ok());
    assert_eq!(store.projects(org).await.unwrap().len(), 3);
    assert_eq!(sample::actions(store, org).await.len(), 3);
}

async fn a_project_over_the_limit_is_refused_and_leaves_nothing(store: &dyn ColdStore) {
    let org = sample::org();
    let create = async |slug: &str, max| {
        let project = sample::project(org, slug, NOW_MS);
        store.create_project(project, max, sample::audit(org, "project.created")).await
    };
    let over = Err(StoreError::Conflict(Conflict::ProjectLimit));
    assert_eq!(create("a", 0).await, over);
    assert_eq!(create("a", 1).await, Ok(()));
    assert_eq!(create("b", 1).await, over);
    assert_eq!(store.projects(org).await.unwrap().len(), 1);
    assert_eq!(sample::actions(store, org).await.len(), 1);
    assert_eq!(create("b", 2).await, Ok(()), "the refused one took no slug");
}

async fn of_racing_projects_with_one_slug_exactly_one_wins(store: &dyn ColdStore) {
    let org = sample::org();
    for race in 0..races() {
        let create = async || {
            let project = sample::project(org, &format!("shop-{race}"), NOW_MS);
            store.create_project(project, u64::MAX, sample::audit(org, "project.created")).await
        };
        let outcomes = tokio::join!(create(), create(), create());
        let outcomes = [outcomes.0, outcomes.1, outcomes.2];
        let taken = Err(StoreError::Conflict(Conflict::ProjectSlug));
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "race {race}: {outcomes:?}");
        assert_eq!(
            outcomes.iter().filter(|outcome| **outcome == taken).count(),
            2,
            "race {race}: {outcomes:?}"
        );
    }
    assert_eq!(store.projects(org).await.unwrap().len(), races());
}

async fn racing_projects_never_exceed_the_limit(store: &dyn ColdStore) {
    for race in 0..races() {
        let org = sample::org();
        let create = async |slug: &str| {
            let project = sample::project(org, slug, NOW_MS);
            store.create_project(project, 1, sample::audit(org, "project.created")).await
        };
        let (a, b) = tokio::join!(create("a"), create("b"));
        assert!(a.is_ok() != b.is_ok(), "race {race}: {a:?} {b:?}");
        assert_eq!(store.projects(org).await.unwrap().len(), 1, "race {race}");
    }
}

async fn projects_are_listed_newest_first(store: &dyn ColdStore) {
    let org = sample::org();
    let mut projects = Vec::new();
    for (number, later_ms) in [5, 1, 9, 9, 9, 3].into_iter().enumerate() {
        let project = sample::project(org, &format!("p{number}"), NOW_MS + later_ms);
        store.create_project(project.clone(), 10, sample::audit(org, "project.created")).await.unwrap();
        projects.push(project);
    }
    projects.sort_by_key(|project| std::cmp::Reverse((project.created_ms, project.id)));
    assert_eq!(store.projects(org).await, Ok(projects));
}

async fn a_list_holds_at_most_a_thousand(store: &dyn ColdStore) {
    let org = sample::org();
    let projects: Vec<_> =
        (0..1_001).map(|number| sample::project(org, &format!("p{number}"), NOW_MS + number)).collect();
    let creations = projects
        .iter()
        .map(|project| store.create_project(project.clone(), 2_000, sample::audit(org, "project.created")));
    futures_util::future::try_join_all(creations).await.unwrap();
    let listed = store.projects(org).await.unwrap();
    assert_eq!(listed.len(), 1_000);
    assert_eq!(listed.first(), projects.last());
}

async fn a_foreign_organization_has_none_of_them(store: &dyn ColdStore) {
    let (org, foreign) = (sample::org(), sample::org());
    let project = sample::project(org, "web-shop", NOW_MS);
    store.create_project(project.clone(), 10, sample::audit(org, "project.created")).await.unwrap();
    assert_eq!(store.project(foreign, project.id).await, Ok(None));
    assert_eq!(store.projects(foreign).await, Ok(vec![]));
    assert_eq!(store.quarantined_tests(foreign, project.id, "external-ci").await, Ok(HashSet::new()));
}

async fn no_project_has_no_quarantined_tests(store: &dyn ColdStore) {
    let unknown = ProjectId::generate(NOW_MS);
    assert_eq!(store.quarantined_tests(sample::org(), unknown, "nightly").await, Ok(HashSet::new()));
}

async fn projects_survive_a_restart(home: &dyn ColdHome) {
    let org = sample::org();
    let project = sample::project(org, "web-shop", NOW_MS);
    let audit = || sample::audit(org, "project.created");
    home.open_cold().await.create_project(project.clone(), 2, audit()).await.unwrap();
    let store = home.open_cold().await;
    assert_eq!(store.projects(org).await, Ok(vec![project]));
    let again = store.create_project(sample::project(org, "web-shop", NOW_MS), 2, audit()).await;
    assert_eq!(again, Err(StoreError::Conflict(Conflict::ProjectSlug)));
    store.create_project(sample::project(org, "b", NOW_MS), 2, audit()).await.unwrap();
    let over = store.create_project(sample::project(org, "c", NOW_MS), 2, audit()).await;
    assert_eq!(over, Err(StoreError::Conflict(Conflict::ProjectLimit)));
}
