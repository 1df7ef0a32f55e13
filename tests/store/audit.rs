//! The audit log.

use runstream::clock::UnixMs;

use super::sample::NOW_MS;
use super::{
    ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, on_each_store, sample,
};

/// A day in milliseconds.
const DAY_MS: i64 = 24 * 3_600 * 1_000;

on_each_cold_store! {
    entries_read_back_newest_first_page_by_page,
    entries_of_one_moment_are_ordered_by_id,
    entries_are_seen_inside_their_organization_only,
    a_page_holds_at_most_a_thousand,
    entries_of_changes_and_entries_alone_are_one_log,
    what_is_not_old_stays,
}
on_each_cold_store_across_restarts! { entries_survive_a_restart }
/// Only stores that forget on being told, not by themselves.
mod told_to_forget {
    use super::*;

    on_each_store! {
        a_purge_takes_at_most_a_thousand,
        a_purge_takes_what_is_older_from_every_organization,
    }
}

async fn entries_read_back_newest_first_page_by_page(store: &dyn ColdStore) {
    let org = sample::org();
    let mut entries = Vec::new();
    for later_ms in [4_000, 0, 3_000, 1_000, 2_000] {
        let entry = sample::audit_at(org, "auth.login_failed", NOW_MS + later_ms);
        store.audit(entry.clone()).await.unwrap();
        entries.push(entry);
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.timestamp_ms));
    let page = async |limit, offset| store.audit_entries(org, limit, offset).await.unwrap();
    assert_eq!(page(10, 0).await, (entries.clone(), 5));
    assert_eq!(page(2, 0).await, (entries[..2].to_vec(), 5));
    assert_eq!(page(2, 2).await, (entries[2..4].to_vec(), 5));
    assert_eq!(page(2, 4).await, (entries[4..].to_vec(), 5));
    assert_eq!(page(2, 5).await, (vec![], 5));
    assert_eq!(page(0, 0).await, (vec![], 5));
}

async fn entries_of_one_moment_are_ordered_by_id(store: &dyn ColdStore) {
    let org = sample::org();
    for _ in 0..20 {
        store.audit(sample::audit(org, "auth.login_failed")).await.unwrap();
    }
    let (entries, _) = store.audit_entries(org, 20, 0).await.unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 20);
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
}

async fn entries_are_seen_inside_their_organization_only(store: &dyn ColdStore) {
    let (org, foreign) = (sample::org(), sample::org());
    store.audit(sample::audit(org, "auth.login_failed")).await.unwrap();
    assert_eq!(sample::actions(store, foreign).await, [""; 0]);
    assert_eq!(sample::actions(store, org).await, ["auth.login_failed"]);
}

async fn a_page_holds_at_most_a_thousand(store: &dyn ColdStore) {
    let org = sample::org();
    let entries = (0..1_001).map(|_| store.audit(sample::audit(org, "auth.login_failed")));
    futures_util::future::try_join_all(entries).await.unwrap();
    let (page, total) = store.audit_entries(org, usize::MAX, 0).await.unwrap();
    assert_eq!((page.len(), total), (1_000, 1_001));
    let (rest, _) = store.audit_entries(org, usize::MAX, 1_000).await.unwrap();
    assert!(rest.len() == 1 && !page.contains(&rest[0]));
}

async fn a_purge_takes_at_most_a_thousand(store: &dyn ColdStore) {
    let org = sample::org();
    let entries = (0..1_001).map(|_| store.audit(sample::audit(org, "auth.login_failed")));
    futures_util::future::try_join_all(entries).await.unwrap();
    assert_eq!(store.purge_audit(UnixMs::MAX).await, Ok(1_000));
    assert_eq!(store.audit_entries(org, 10, 0).await.unwrap().1, 1);
    assert_eq!(store.purge_audit(UnixMs::MAX).await, Ok(1));
}

async fn a_purge_takes_what_is_older_from_every_organization(store: &dyn ColdStore) {
    let orgs = [sample::org(), sample::org()];
    for org in orgs {
        for (action, at_ms) in [("old", NOW_MS - 1), ("edge", NOW_MS), ("new", NOW_MS + 1)] {
            store.audit(sample::audit_at(org, action, at_ms)).await.unwrap();
        }
    }
    assert_eq!(store.purge_audit(NOW_MS).await, Ok(2));
    assert_eq!(store.purge_audit(NOW_MS).await, Ok(0));
    for org in orgs {
        assert_eq!(sample::actions(store, org).await, ["new", "edge"]);
    }
}

async fn entries_of_changes_and_entries_alone_are_one_log(store: &dyn ColdStore) {
    let org = sample::org();
    let mut entries = Vec::new();
    // Half of them come with a change, the others alone; some in another month, some of one moment.
    for (number, at_ms) in [5, -40 * DAY_MS, 7, 7, -80 * DAY_MS, 6, -1, -40 * DAY_MS].into_iter().enumerate()
    {
        let entry = sample::audit_at(org, "something.done", NOW_MS + at_ms);
        if number % 2 == 0 {
            store.audit(entry.clone()).await.unwrap();
        } else {
            let project = sample::project(org, &format!("p{number}"), NOW_MS);
            store.create_project(project, u64::MAX, entry.clone()).await.unwrap();
        }
        entries.push(entry);
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.timestamp_ms, entry.id)));
        let total = entries.len() as u64;
        assert_eq!(store.audit_entries(org, 100, 0).await, Ok((entries.clone(), total)), "after {number}");
        for at in 0..entries.len() {
            let two = entries[at..].iter().take(2).cloned().collect();
            assert_eq!(store.audit_entries(org, 2, at).await, Ok((two, total)), "{at} after {number}");
        }
    }
}

async fn what_is_not_old_stays(store: &dyn ColdStore) {
    let org = sample::org();
    store.audit(sample::audit_at(org, "new", NOW_MS)).await.unwrap();
    store.purge_audit(NOW_MS).await.unwrap();
    assert_eq!(sample::actions(store, org).await, ["new"]);
}

async fn entries_survive_a_restart(home: &dyn ColdHome) {
    let org = sample::org();
    let entry = sample::audit(org, "auth.login_failed");
    home.open_cold().await.audit(entry.clone()).await.unwrap();
    assert_eq!(home.open_cold().await.audit_entries(org, 10, 0).await, Ok((vec![entry], 1)));
}
