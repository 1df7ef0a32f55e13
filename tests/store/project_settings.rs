//! Settings of projects.

use runstream::domain::id::ProjectId;
use runstream::domain::project::{ProjectSettings, TargetUrls};

use super::sample::NOW_MS;
use super::{ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, races, sample};

on_each_cold_store! {
    settings_are_the_default_until_they_are_saved,
    the_switch_of_the_gate_is_kept_with_the_project_alone,
    settings_that_are_no_longer_what_they_were_are_not_saved,
    of_racing_saves_exactly_one_wins,
    a_foreign_project_has_no_settings,
    the_oldest_project_is_found,
}
on_each_cold_store_across_restarts! { settings_survive_a_restart }

pub(crate) fn some() -> ProjectSettings {
    let target_urls = TargetUrls { staging: "https://stage.shop.test".into(), ..TargetUrls::default() };
    ProjectSettings {
        docker_image: "registry.test/e2e:5".into(),
        target_urls,
        default_test_folder: "tests/e2e".into(),
        auto_quarantine: true,
    }
}

async fn settings_are_the_default_until_they_are_saved(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    let before = ProjectSettings::default();
    assert_eq!(store.project_settings(org, project).await, Ok(Some(before.clone())));
    let audit = sample::audit(org, "project.settings_updated");
    assert_eq!(store.save_project_settings(org, project, &before, some(), audit).await, Ok(true));
    assert_eq!(store.project_settings(org, project).await, Ok(Some(some())));
    assert_eq!(sample::actions(store, org).await.len(), 2);
}

async fn the_switch_of_the_gate_is_kept_with_the_project_alone(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await;
    for on in [true, false] {
        let before = store.project_settings(org, project.id).await.unwrap().unwrap();
        let after = ProjectSettings { auto_quarantine: on, ..before.clone() };
        let audit = sample::audit(org, "project.settings_updated");
        assert_eq!(store.save_project_settings(org, project.id, &before, after, audit).await, Ok(true));
        let stored = store.project(org, project.id).await.unwrap().unwrap();
        assert_eq!(stored.auto_quarantine, on);
        assert_eq!((&stored.slug, stored.updated_ms), (&project.slug, project.updated_ms), "nothing else");
        assert_eq!(store.projects(org).await, Ok(vec![stored]), "in the list too");
    }
}

async fn settings_that_are_no_longer_what_they_were_are_not_saved(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    let audit = || sample::audit(org, "project.settings_updated");
    let (never, default) = (some(), ProjectSettings::default());
    let switched = ProjectSettings { auto_quarantine: true, ..ProjectSettings::default() };
    for stale in [&never, &switched] {
        let saved = store.save_project_settings(org, project, stale, ProjectSettings::default(), audit());
        assert_eq!(saved.await, Ok(false), "{stale:?}");
    }
    let absent = ProjectId::generate(NOW_MS);
    assert_eq!(store.save_project_settings(org, absent, &default, some(), audit()).await, Ok(false));
    assert_eq!(store.project_settings(org, project).await, Ok(Some(default)));
    assert_eq!(sample::actions(store, org).await, ["project.created"]);
}

async fn of_racing_saves_exactly_one_wins(store: &dyn ColdStore) {
    let org = sample::org();
    let project = sample::new_project(store, org).await.id;
    for race in 0..races() {
        let before = store.project_settings(org, project).await.unwrap().unwrap();
        let save = async |image: String| {
            let after = ProjectSettings { docker_image: image, ..before.clone() };
            let audit = sample::audit(org, "project.settings_updated");
            store.save_project_settings(org, project, &before, after, audit).await.unwrap()
        };
        let saved = tokio::join!(save(format!("a:{race}")), save(format!("b:{race}")));
        assert!(saved.0 != saved.1, "race {race}: {saved:?}");
        let winner = if saved.0 { format!("a:{race}") } else { format!("b:{race}") };
        let stored = store.project_settings(org, project).await.unwrap().unwrap();
        assert_eq!(stored.docker_image, winner, "race {race}");
    }
}

async fn a_foreign_project_has_no_settings(store: &dyn ColdStore) {
    let (org, foreign) = (sample::org(), sample::org());
    let project = sample::new_project(store, org).await.id;
    assert_eq!(store.project_settings(foreign, project).await, Ok(None));
    let audit = sample::audit(foreign, "project.settings_updated");
    let default = ProjectSettings::default();
    assert_eq!(store.save_project_settings(foreign, project, &default, some(), audit).await, Ok(false));
    assert_eq!(store.project_settings(org, project).await, Ok(Some(default)));
}

async fn the_oldest_project_is_found(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    assert_eq!(store.oldest_project(org).await, Ok(None));
    sample::new_project(store, other).await;
    let mut projects = Vec::new();
    for (number, later_ms) in [5, 1, 1, 9].into_iter().enumerate() {
        let project = sample::project(org, &format!("p{number}"), NOW_MS + later_ms);
        store.create_project(project.clone(), 10, sample::audit(org, "project.created")).await.unwrap();
        projects.push(project);
    }
    let oldest = projects.into_iter().min_by_key(|project| (project.created_ms, project.id));
    assert_eq!(store.oldest_project(org).await, Ok(oldest));
}

async fn settings_survive_a_restart(home: &dyn ColdHome) {
    let org = sample::org();
    let store = home.open_cold().await;
    let project = sample::new_project(&*store, org).await.id;
    let audit = sample::audit(org, "project.settings_updated");
    store.save_project_settings(org, project, &ProjectSettings::default(), some(), audit).await.unwrap();
    drop(store);
    assert_eq!(home.open_cold().await.project_settings(org, project).await, Ok(Some(some())));
}
