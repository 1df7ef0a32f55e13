//! Damage on the disk: it is repaired or reported, and never served.

use runstream::domain::batch::TestStatus::Passed;
use runstream::domain::id::OrgId;
use runstream::store::contract::{Executions, FeedLog, StoreError};

use super::open;
use super::world::World;
use crate::fuzz::{Numbers, mutate};
use crate::support::runs::{Event, Reporter, START_MS, opened, words};

/// Runs in several files: open, closed, with long and short segments. Ended in good order.
async fn written() -> (World, Vec<Reporter>) {
    let world = World::new(None);
    let org = OrgId::from_bytes([7; 12]);
    let store = open(&world).unwrap();
    let mut reporters: Vec<_> = (0..4).map(|number| Reporter::new(opened(org, START_MS + number))).collect();
    for reporter in &reporters {
        store.open_run(reporter.opened.clone()).await.unwrap();
    }
    for round in 0..12 {
        for reporter in &mut reporters {
            let events = [Event::Log(words(20 + 120 * (round % 3), round as u64)), Event::End("t", Passed)];
            store.append(&reporter.segment(&events)).await.unwrap();
        }
    }
    store.close_run(reporters[0].closed(1)).await.unwrap();
    store.shut_down().await.unwrap();
    (world, reporters)
}

/// Whether every run reads as it was or says that it is damaged; how many say so.
async fn damaged_runs(world: &World, reporters: &[Reporter], what: &str) -> usize {
    let store = match open(world) {
        Ok(store) => store,
        Err(error) => panic!("{what}: it does not open: {error}"),
    };
    let mut damaged = 0;
    for reporter in reporters {
        let (org, id) = (reporter.org(), reporter.id());
        match store.whole_text(org, id).await {
            Ok(Some(page)) => {
                assert!(page.text == reporter.text, "{what}: altered or short");
                assert_eq!(store.position(org, id).await, Ok(Some(reporter.end)), "{what}");
                let attempts = store.all_results(org, id).await.unwrap()[0].attempt_count;
                assert_eq!(u64::from(attempts), reporter.end.results, "{what}");
                let is_closed = store.closure(org, id).await.unwrap().is_some();
                assert_eq!(is_closed, id == reporters[0].id(), "{what}: a closure is lost in silence");
            }
            Err(StoreError::Damaged(_)) => {
                damaged += 1;
                assert!(store.recovery().damaged_runs.contains(&id), "{what}: not reported");
                assert!(store.recovery().damaged.iter().all(|range| range.to >= range.from), "{what}");
                assert!(matches!(store.text(org, id, 0, 9).await, Err(StoreError::Damaged(_))), "{what}");
                assert!(matches!(store.segments(org, id, (0, 0), 9).await, Err(StoreError::Damaged(_))));
                assert!(matches!(store.results(org, id, 0, 9).await, Err(StoreError::Damaged(_))), "{what}");
                assert!(matches!(store.position(org, id).await, Err(StoreError::Damaged(_))), "{what}");
                let next = reporter.clone().log("more");
                assert!(matches!(store.append(&next).await, Err(StoreError::Damaged(_))), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let report = store.recovery();
    assert!(damaged == 0 || !report.damaged.is_empty(), "{what}: {report:?}");
    damaged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_any_block_is_repaired_or_reported() {
    let (world, reporters) = written().await;
    assert_eq!(damaged_runs(&world.copy(), &reporters, "nothing flipped").await, 0);
    let files = world.files();
    assert!(files.len() >= 3, "{}", files.len());
    let (mut repaired, mut reported) = (0, 0);
    for (path, bytes) in &files {
        for block in (0..bytes.len()).step_by(4096) {
            for turn in 0..3 {
                let at = block + (block / 4096 * 1_009 + turn * 1_361 + 7) % 4096.min(bytes.len() - block);
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (turn * 3 % 8);
                let copy = world.copy();
                copy.overwrite(path, flipped);
                let what = format!("{} at {at}", path.display());
                match damaged_runs(&copy, &reporters, &what).await {
                    0 => repaired += 1,
                    damaged => {
                        assert_eq!(damaged, 1, "{what}: one bit costs one run at most");
                        reported += 1;
                        // It stays reported after another restart.
                        assert_eq!(damaged_runs(&copy, &reporters, &what).await, 1, "{what}");
                    }
                }
            }
        }
    }
    assert!(reported > 30 && repaired > 30, "{reported} reported, {repaired} repaired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_block_and_a_lost_file_are_reported() {
    let (world, reporters) = written().await;
    for (path, bytes) in world.files() {
        for block in (0..bytes.len()).step_by(4096) {
            for filler in [0, 0xa5] {
                let mut lost = bytes.clone();
                let end = bytes.len().min(block + 4096);
                if bytes[block..end].iter().all(|byte| *byte == 0) {
                    // Reserved for what never came.
                    continue;
                }
                lost[block..end].fill(filler);
                let copy = world.copy();
                copy.overwrite(&path, lost);
                let what = format!("{} block {block} of {filler}", path.display());
                let damaged = damaged_runs(&copy, &reporters, &what).await;
                // A head's block holds no record; the last bytes of a file may hold its seal only.
                assert!(damaged > 0 || block == 0 || bytes.len() - block < 4096, "{what}");
            }
        }
    }
    let (first, _) = world.files().remove(0);
    let copy = world.copy();
    runstream::fs::Fs::remove(&copy, &first).unwrap();
    assert_eq!(damaged_runs(&copy, &reporters, "the first file is gone").await, 4);
}

/// The journal's reader on files that were changed anywhere, cut, repeated and torn apart after the store ended in good
/// order: it does not panic, and what it serves is what was written, all of it. What cannot be read is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_were_changed_anyhow_are_read_whole_or_refused() {
    let (world, reporters) = written().await;
    let files = world.files();
    let rounds = if crate::support::long_mode() { 20_000 } else { 600 };
    let mut refused = 0;
    for round in 0..rounds {
        let mut numbers = Numbers(round);
        let (path, bytes) = &files[numbers.below(files.len())];
        let mut changed = bytes.clone();
        mutate(&mut changed, &mut numbers);
        let copy = world.copy();
        copy.overwrite(path, changed);
        let what = format!("round {round} on {}", path.display());
        let damaged = damaged_runs(&copy, &reporters, &what).await;
        refused += damaged;
        if round % 16 == 0 {
            // Damage is not forgotten by the start that found it.
            assert_eq!(damaged_runs(&copy, &reporters, &what).await, damaged, "{what}, started again");
        }
    }
    assert!(refused as u64 > rounds, "{refused}: most changes cost all four runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_begins_a_new_numbering_of_the_feed_once() {
    let (world, _) = written().await;
    let epoch = async |world: &World| {
        let store = open(world).unwrap();
        let epoch = store.feed_epoch().await.unwrap();
        store.shut_down().await.unwrap();
        epoch
    };
    let whole = epoch(&world).await;
    assert_eq!(epoch(&world).await, whole);
    let (path, mut bytes) = world.files().into_iter().next().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    world.overwrite(&path, bytes);
    let damaged = epoch(&world).await;
    assert_ne!(damaged, whole, "numbers may have been lost");
    assert_eq!(epoch(&world).await, damaged, "the damage is known");
}
