//! The audit log.

use runstream::clock::UnixMs;

use super::sample::NOW_MS;
use super::{Home, Store, on_each_store, on_each_store_across_restarts, sample};

on_each_store! {
    entries_read_back_newest_first_page_by_page,
    entries_of_one_moment_are_ordered_by_id,
    entries_are_seen_inside_their_organization_only,
    a_page_holds_at_most_a_thousand_and_a_purge_takes_as_many,
    a_purge_takes_what_is_older_from_every_organization,
}
on_each_store_across_restarts! { entries_survive_a_restart }

async fn entries_read_back_newest_first_page_by_page(store: &dyn Store) {
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

async fn entries_of_one_moment_are_ordered_by_id(store: &dyn Store) {
    let org = sample::org();
    for _ in 0..20 {
        store.audit(sample::audit(org, "auth.login_failed")).await.unwrap();
    }
    let (entries, _) = store.audit_entries(org, 20, 0).await.unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 20);
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
}

async fn entries_are_seen_inside_their_organization_only(store: &dyn Store) {
    let (org, foreign) = (sample::org(), sample::org());
    store.audit(sample::audit(org, "auth.login_failed")).await.unwrap();
    assert_eq!(sample::actions(store, foreign).await, [""; 0]);
    assert_eq!(sample::actions(store, org).await, ["auth.login_failed"]);
}

async fn a_page_holds_at_most_a_thousand_and_a_purge_takes_as_many(store: &dyn Store) {
    let org = sample::org();
    let entries = (0..1_001).map(|_| store.audit(sample::audit(org, "auth.login_failed")));
    futures_util::future::try_join_all(entries).await.unwrap();
    let (page, total) = store.audit_entries(org, usize::MAX, 0).await.unwrap();
    assert_eq!((page.len(), total), (1_000, 1_001));
    assert_eq!(store.purge_audit(UnixMs::MAX).await, Ok(1_000));
    assert_eq!(store.audit_entries(org, 10, 0).await.unwrap().1, 1);
    assert_eq!(store.purge_audit(UnixMs::MAX).await, Ok(1));
}

async fn a_purge_takes_what_is_older_from_every_organization(store: &dyn Store) {
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

async fn entries_survive_a_restart(home: &dyn Home) {
    let org = sample::org();
    let entry = sample::audit(org, "auth.login_failed");
    home.open().await.audit(entry.clone()).await.unwrap();
    assert_eq!(home.open().await.audit_entries(org, 10, 0).await, Ok((vec![entry], 1)));
}
