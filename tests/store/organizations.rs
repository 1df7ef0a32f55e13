//! Organizations with their settings; reading the audit log.

use std::net::{IpAddr, Ipv4Addr};

use runstream::domain::account::AuditEntry;
use runstream::domain::id::{OrgId, UserId};
use runstream::domain::organization::{
    AiFeature, Author, FeaturesPatch, NotifiedStatus, OrgChange, OrgSettings, Patch, SettingsPatch, place,
};
use runstream::domain::seal::{Sealer, SealingKey};
use runstream::store::contract::{AuditFilter, Conflict, StoreError};

use super::sample::NOW_MS;
use super::{ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, races, sample};

on_each_cold_store! {
    an_organization_begins_with_the_default_settings,
    a_change_is_stored_with_its_entries,
    there_is_nothing_to_change_where_there_is_no_organization,
    changes_of_different_fields_that_race_both_stand,
    projects_are_counted_within_their_organization,
    racing_runs_take_exactly_the_places_there_are,
    a_place_is_given_back_and_taken_again,
    places_that_were_taken_for_nothing_are_found,
    organizations_are_told_of,
    an_audit_log_is_filtered,
    a_filtered_page_holds_at_most_a_thousand,
}
on_each_cold_store_across_restarts! { settings_survive_a_restart }

const DAY_MS: i64 = 24 * 3_600 * 1_000;

pub(crate) fn author() -> Author {
    Author { user: UserId::from_bytes([7; 12]), ip: IpAddr::V4(Ipv4Addr::LOCALHOST), now_ms: NOW_MS + 5 }
}

/// An organization with one member.
async fn founded(store: &dyn ColdStore) -> OrgId {
    let slug = sample::org().to_string();
    let org = sample::organization(&slug);
    let user = sample::user(org.id, &format!("{slug}@pinewood.test"));
    let audit = sample::audit(org.id, "auth.signup");
    store.sign_up(org, format!("{slug}-2"), user, audit, None).await.unwrap().id
}

pub(crate) fn renamed(name: &str) -> OrgChange {
    OrgChange::from(SettingsPatch { name: Some(name.to_owned()), ..SettingsPatch::default() })
}

async fn an_organization_begins_with_the_default_settings(store: &dyn ColdStore) {
    let org = founded(store).await;
    let state = store.organization_state(org).await.unwrap().unwrap();
    assert_eq!(Some(&state.organization), store.organization(org).await.unwrap().as_ref());
    assert_eq!(state.settings, OrgSettings::default());
    let on: Vec<_> = AiFeature::ALL.into_iter().filter(|feature| state.has(*feature)).collect();
    assert_eq!(on, [AiFeature::RootCauseAnalysis]);
}

async fn a_change_is_stored_with_its_entries(store: &dyn ColdStore) {
    let org = founded(store).await;
    let sealer = Sealer::new(SealingKey::from_secret(&[1; 32]), Vec::new());
    let patch = SettingsPatch {
        name: Some("Pinewood QA".into()),
        ai_analysis_enabled: Some(false),
        slack_url: Patch::Set(sealer.seal(org, place::SLACK_URL, &"tea".into())),
        slack_events: Some(vec![NotifiedStatus::Error]),
        ..SettingsPatch::default()
    };
    let changed = store.change_organization(org, OrgChange::from(patch), author()).await.unwrap().unwrap();
    assert_eq!(changed.organization.name, "Pinewood QA");
    assert_eq!(changed.organization.updated_ms, NOW_MS + 5);
    assert_eq!(store.organization_state(org).await, Ok(Some(changed.clone())));
    assert_eq!(store.organization(org).await, Ok(Some(changed.organization.clone())));
    let opened = sealer.open(org, place::SLACK_URL, changed.settings.slack.url.as_ref().unwrap()).unwrap();
    assert!(opened.matches("tea"));
    assert_eq!(sample::actions(store, org).await.len(), 3, "each entry once");
    let (entries, _) = store.audit_entries(org, 2, 0).await.unwrap();
    let mut told: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["org.ai_analysis_toggled", "org.settings_updated"]);
    assert!(entries.iter().all(|entry| entry.user == author().user && !entry.details.contains("tea")));

    // What was not sent is kept, and the next change puts the entries of the last one aside whole.
    let patch =
        FeaturesPatch { ai_features: vec![(AiFeature::SpecToTest, true)], ..FeaturesPatch::default() };
    let again = store.change_organization(org, OrgChange::Features(patch), author()).await.unwrap().unwrap();
    assert!(again.has(AiFeature::SpecToTest) && !again.has(AiFeature::RootCauseAnalysis));
    assert_eq!(again.settings.slack, changed.settings.slack);
    assert_eq!(sample::actions(store, org).await.len(), 4);
}

async fn there_is_nothing_to_change_where_there_is_no_organization(store: &dyn ColdStore) {
    let org = sample::org();
    assert_eq!(store.organization_state(org).await, Ok(None));
    assert_eq!(store.change_organization(org, renamed("Nobody"), author()).await, Ok(None));
    assert_eq!(store.organization_state(org).await, Ok(None));
    assert_eq!(sample::actions(store, org).await, [""; 0]);
}

async fn changes_of_different_fields_that_race_both_stand(store: &dyn ColdStore) {
    let org = founded(store).await;
    for race in 0..races() {
        let (even, name) = (race % 2 == 0, format!("Pinewood {race}"));
        let features = FeaturesPatch {
            test_cases_enabled: Some(even),
            ai_features: vec![(AiFeature::PrRouting, even)],
            ..FeaturesPatch::default()
        };
        let events = if even { vec![] } else { vec![NotifiedStatus::Passed] };
        let events = SettingsPatch { ms_teams_events: Some(events), ..SettingsPatch::default() };
        let (a, b, c) = tokio::join!(
            store.change_organization(org, renamed(&name), author()),
            store.change_organization(org, OrgChange::Features(features), author()),
            store.change_organization(org, OrgChange::from(events), author()),
        );
        assert!(a.is_ok() && b.is_ok() && c.is_ok(), "race {race}: {a:?} {b:?} {c:?}");
        let state = store.organization_state(org).await.unwrap().unwrap();
        let stands = state.organization.name == name
            && state.settings.test_cases_enabled == even
            && state.has(AiFeature::PrRouting) == even
            && state.settings.ms_teams.events().is_empty() == even;
        assert!(stands, "race {race}: {state:?}");
    }
    let (_, total) = store.audit_entries(org, 1, 0).await.unwrap();
    assert_eq!(total, 1 + 3 * races() as u64, "every change has its entry");
}

async fn projects_are_counted_within_their_organization(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    assert_eq!(store.project_count(org).await, Ok(0));
    for slug in ["a", "b"] {
        let project = sample::project(org, slug, NOW_MS);
        store.create_project(project, 2, sample::audit(org, "project.created")).await.unwrap();
    }
    let third = sample::project(org, "c", NOW_MS);
    store.create_project(third, 2, sample::audit(org, "project.created")).await.unwrap_err();
    assert_eq!((store.project_count(org).await, store.project_count(other).await), (Ok(2), Ok(0)));
}

async fn racing_runs_take_exactly_the_places_there_are(store: &dyn ColdStore) {
    let refused = Err(StoreError::Conflict(Conflict::RunLimit));
    for race in 0..races() {
        let org = sample::org();
        let take = || store.take_run_place(org, NOW_MS, 3, 1, NOW_MS);
        let outcomes = futures_util::future::join_all((0..5).map(|_| take())).await;
        assert_eq!(outcomes.iter().filter(|taken| taken.is_ok()).count(), 2, "race {race}: {outcomes:?}");
        assert_eq!(
            outcomes.iter().filter(|taken| **taken == refused).count(),
            3,
            "race {race}: {outcomes:?}"
        );
    }
}

async fn a_place_is_given_back_and_taken_again(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    let (march, april) = (NOW_MS, NOW_MS + 31 * DAY_MS);
    let refused = Err(StoreError::Conflict(Conflict::RunLimit));
    assert_eq!(store.give_run_place_back(org, march, NOW_MS).await, Ok(()), "none was taken");
    assert_eq!(store.take_run_place(org, march, 1, 0, NOW_MS).await, Ok(()));
    assert_eq!(store.take_run_place(org, march, 1, 0, NOW_MS).await, refused);
    assert_eq!(store.take_run_place(org, april, 1, 0, NOW_MS).await, Ok(()), "another period");
    assert_eq!(store.take_run_place(other, march, 1, 0, NOW_MS).await, Ok(()), "another organization");
    assert_eq!(store.take_run_place(other, april, 1, 1, NOW_MS).await, refused, "one is stored already");
    store.give_run_place_back(org, march, NOW_MS).await.unwrap();
    assert_eq!(store.take_run_place(org, march, 1, 0, NOW_MS).await, Ok(()));
    assert_eq!(store.take_run_place(org, march, 0, 0, NOW_MS).await, refused);
}

async fn places_that_were_taken_for_nothing_are_found(store: &dyn ColdStore) {
    let org = sample::org();
    assert_eq!(store.correct_run_places(org, NOW_MS, 0, NOW_MS).await, Ok(false));
    for _ in 0..3 {
        store.take_run_place(org, NOW_MS, 3, 0, NOW_MS).await.unwrap();
    }
    assert_eq!(store.correct_run_places(org, NOW_MS, 1, NOW_MS).await, Ok(false), "just now");
    assert_eq!(store.correct_run_places(org, NOW_MS, 3, NOW_MS + 1).await, Ok(false), "all are there");
    assert_eq!(store.correct_run_places(org, NOW_MS, 4, NOW_MS + 1).await, Ok(false), "never to more");
    assert_eq!(store.correct_run_places(org, NOW_MS, 1, NOW_MS + 1).await, Ok(true));
    for _ in 0..2 {
        store.take_run_place(org, NOW_MS, 3, 0, NOW_MS + 2).await.unwrap();
    }
    store.take_run_place(org, NOW_MS, 3, 0, NOW_MS + 2).await.unwrap_err();
}

async fn organizations_are_told_of(store: &dyn ColdStore) {
    assert_eq!(store.organization_ids().await, Ok(vec![]));
    let mut founded_ids = vec![founded(store).await, founded(store).await, founded(store).await];
    let mut told = store.organization_ids().await.unwrap();
    founded_ids.sort();
    told.sort();
    assert_eq!(told, founded_ids);
}

async fn an_audit_log_is_filtered(store: &dyn ColdStore) {
    let (org, foreign) = (sample::org(), sample::org());
    let (rosa, ivo) = (UserId::from_bytes([1; 12]), UserId::from_bytes([2; 12]));
    let mut entries: Vec<AuditEntry> = Vec::new();
    for (number, (days, user, action, kind)) in [
        (-70, rosa, "project.created", "project"),
        (-40, ivo, "apikey.created", "apiKey"),
        (-40, rosa, "apikey.created", "apiKey"),
        (-1, rosa, "project.created", "project"),
        (0, ivo, "project.created", "project"),
    ]
    .into_iter()
    .enumerate()
    {
        let entry = AuditEntry {
            user,
            target_type: kind.into(),
            ..sample::audit_at(org, action, NOW_MS + days * DAY_MS)
        };
        // The last one comes with a change, which may keep it elsewhere.
        if number < 4 {
            store.audit(entry.clone()).await.unwrap();
        } else {
            let project = sample::project(org, "web-shop", NOW_MS);
            store.create_project(project, 10, entry.clone()).await.unwrap();
        }
        entries.insert(0, entry);
    }
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.timestamp_ms, entry.id)));
    store.audit(sample::audit(foreign, "project.created")).await.unwrap();

    let named = |action: &str| AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
    let between = |from_ms: Option<i64>, to_ms: Option<i64>| AuditFilter {
        from_ms: from_ms.map(|days| NOW_MS + days * DAY_MS),
        to_ms: to_ms.map(|days| NOW_MS + days * DAY_MS),
        ..AuditFilter::default()
    };
    for filter in [
        AuditFilter::default(),
        named("project.created"),
        named("project"),
        AuditFilter { user: Some(rosa), ..AuditFilter::default() },
        AuditFilter { user: Some(ivo), ..named("project.created") },
        AuditFilter { target_type: Some("apiKey".into()), ..AuditFilter::default() },
        between(Some(-40), None),
        between(None, Some(-40)),
        between(Some(-40), Some(-1)),
        between(Some(0), Some(0)),
        between(Some(1), None),
        between(None, Some(-71)),
        between(Some(0), Some(-1)),
        AuditFilter { user: Some(rosa), ..between(Some(-40), Some(0)) },
    ] {
        let expected: Vec<_> = entries.iter().filter(|entry| filter.matches(entry)).cloned().collect();
        let total = expected.len() as u64;
        let all = store.audit_log(org, &filter, 100, 0).await;
        assert_eq!(all, Ok((expected.clone(), total)), "{filter:?}");
        for offset in 0..=expected.len() {
            let one = expected.iter().skip(offset).take(1).cloned().collect();
            assert_eq!(store.audit_log(org, &filter, 1, offset).await, Ok((one, total)), "{filter:?}");
        }
    }
    let total = store.audit_entries(org, 1, 0).await.unwrap().1;
    assert_eq!(total, 5, "reading has changed nothing");
}

async fn a_filtered_page_holds_at_most_a_thousand(store: &dyn ColdStore) {
    let org = sample::org();
    let entries = (0..1_001).map(|_| store.audit(sample::audit(org, "auth.login_failed")));
    futures_util::future::try_join_all(entries).await.unwrap();
    let filter = AuditFilter { action: Some("auth.login_failed".into()), ..AuditFilter::default() };
    let (page, total) = store.audit_log(org, &filter, usize::MAX, 0).await.unwrap();
    assert_eq!((page.len(), total), (1_000, 1_001));
    let (rest, _) = store.audit_log(org, &filter, usize::MAX, 1_000).await.unwrap();
    assert!(rest.len() == 1 && !page.contains(&rest[0]));
}

async fn settings_survive_a_restart(home: &dyn ColdHome) {
    let store = home.open_cold().await;
    let org = founded(&*store).await;
    let changed = store.change_organization(org, renamed("Pinewood QA"), author()).await.unwrap();
    drop(store);
    assert_eq!(home.open_cold().await.organization_state(org).await, Ok(changed));
}
