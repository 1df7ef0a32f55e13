//! A full disk refuses before anything breaks, and room makes it accept again.

use std::time::Duration;

use runstream::domain::id::OrgId;
use runstream::store::contract::{Executions, StoreError};

use super::world::World;
use super::{FILE_BYTES, open, settings};
use crate::support::runs::{Reporter, START_MS, opened, words};

async fn refuses(world: &World, free_bytes: u64) {
    let org = OrgId::from_bytes([7; 12]);
    let store = open(world).unwrap();
    let mut reporter = Reporter::new(opened(org, START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.append(&reporter.log("before\n")).await.unwrap();
    world.set_free_bytes(free_bytes);
    // What is reserved already may still be used; sooner or later it is refused, with nothing changed.
    for words_count in [100, 1] {
        // Small ones fill what a large one leaves: then there is no room for anything else either.
        let mut refused = None;
        for _ in 0..200 {
            let before = reporter.clone();
            if let Err(error) = store.append(&reporter.log(words(words_count, 1))).await {
                assert!(matches!(error, StoreError::Full(_)), "{error:?}");
                refused = Some(error);
                reporter = before;
                break;
            }
        }
        assert!(refused.is_some(), "{free_bytes} bytes free: never refused");
    }
    let late = opened(org, START_MS + 1);
    assert!(matches!(store.open_run(late.clone()).await, Err(StoreError::Full(_))));
    assert!(matches!(store.close_run(reporter.closed(1)).await, Err(StoreError::Full(_))));
    if free_bytes < settings().journal.reserve_bytes {
        // The disk is looked at ten times a second while there is room in the file.
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(matches!(store.probe().await, Err(StoreError::Full(_))));
    }
    assert_eq!(store.execution(org, late.execution.id).await, Ok(None));
    assert_eq!(store.closure(org, reporter.id()).await, Ok(None));
    assert!(store.whole_text(org, reporter.id()).await.unwrap().unwrap().text == reporter.text);

    world.set_free_bytes(1 << 40);
    store.append(&reporter.log("after\n")).await.unwrap();
    assert_eq!(store.probe().await, Ok(()));
    store.open_run(late).await.unwrap();
    store.close_run(reporter.closed(1)).await.unwrap();
    store.settle(org, reporter.id()).await.unwrap();
    store.shut_down().await.unwrap();
    drop(store);
    let store = open(world).unwrap();
    assert!(store.recovery().clean && store.recovery().damaged.is_empty(), "{:?}", store.recovery());
    assert!(store.whole_text(org, reporter.id()).await.unwrap().unwrap().text == reporter.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_below_its_reserve_refuses_at_once() {
    refuses(&World::new(None), settings().journal.reserve_bytes - 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_for_another_file_refuses_when_it_is_needed() {
    refuses(&World::new(None), settings().journal.reserve_bytes + FILE_BYTES - 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_store_and_acknowledges_nothing() {
    let world = World::new(None);
    let store = open(&world).unwrap();
    let mut reporter = Reporter::new(opened(OrgId::from_bytes([7; 12]), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    // The next write or sync fails.
    world.cut_after(1);
    assert!(matches!(store.append(&reporter.log("lost\n")).await, Err(StoreError::Unavailable(_))));
    let other = opened(reporter.org(), START_MS + 1);
    assert!(matches!(store.open_run(other).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.probe().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.shut_down().await, Err(StoreError::Unavailable(_))));
    let reason = store.failed().await;
    assert!(reason.contains("the journal failed to"), "{reason}");
}
