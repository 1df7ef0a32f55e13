//! What is acknowledged has gone past the system's cache: it costs no pages of it, and is read from the disk.

use std::io::IoSliceMut;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runstream::domain::id::OrgId;
use runstream::fs::{BLOCK_BYTES, OsFs};
use runstream::store::contract::{Executions, StoreResult};
use runstream::store::lsm::JournalSettings;
use runstream::store::lsm::runs::{RunSettings, RunStore};

use super::settings;
use super::world::World;
use crate::support::runs::{Reporter, START_MS, opened, words};

fn open(dir: &Path, world: &World) -> StoreResult<RunStore> {
    let RunSettings { journal, files_max } = settings();
    let journal = JournalSettings { dir: dir.join("journal"), file_bytes: 1 << 20, ..journal };
    RunStore::open(RunSettings { journal, files_max }, Arc::new(OsFs), Arc::new(world.clone()))
}

/// The blocks of the journal's first file that lie in the system's cache, its head aside. Having asked puts them there.
fn cached(file: &Path) -> Vec<u64> {
    let opened = std::fs::File::open(file).unwrap();
    // The others must not be fetched when one is asked for.
    rustix::fs::fadvise(&opened, 0, None, rustix::fs::Advice::Random).unwrap();
    let blocks = opened.metadata().unwrap().len() / BLOCK_BYTES as u64;
    let is_cached = |block: &u64| {
        let mut byte = [0];
        let (at, flags) = (block * BLOCK_BYTES as u64, rustix::io::ReadWriteFlags::NOWAIT);
        rustix::io::preadv2(&opened, &mut [IoSliceMut::new(&mut byte)], at, flags).is_ok()
    };
    let cached: Vec<u64> = (1..blocks).filter(is_cached).collect();
    // Blocks that nothing was ever written to come from nowhere.
    let bytes = std::fs::read(file).unwrap();
    let written: Vec<_> =
        bytes.chunks(BLOCK_BYTES).map(|block| block.iter().any(|byte| *byte != 0)).collect();
    assert!(written.iter().filter(|is_written| **is_written).count() > 5, "next to nothing is written");
    cached.into_iter().filter(|block| written[*block as usize]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_has_left_nothing_in_the_systems_cache_and_reads_back() {
    // Beside the build: a folder for temporary files may lie in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let world = World::new(None);
    let store = open(dir.path(), &world).unwrap();
    let mut reporter = Reporter::new(opened(OrgId::from_bytes([7; 12]), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    let file: PathBuf = dir.path().join("journal/0000000001.journal");
    for count in [1, 1, 5, 50, 700, 1, 2_000, 3] {
        store.append(&reporter.log(words(count, 1))).await.unwrap();
        // Long enough for the note that all is durable, which is written without a sync.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cached(&file), [0; 0], "the journal's blocks in the cache");
    assert!(store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text == reporter.text);
    // What has been read is in the cache now; what is written to the same block is seen all the same.
    store.append(&reporter.log("and on\n")).await.unwrap();
    assert!(store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text == reporter.text);
    store.shut_down().await.unwrap();
    drop(store);
    let store = open(dir.path(), &world).unwrap();
    assert!(store.recovery().clean && store.recovery().damaged.is_empty(), "{:?}", store.recovery());
    assert!(store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text == reporter.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_a_whole_run_has_all_but_its_first_segment_fetched_ahead() {
    let world = World::new(None);
    let store = super::open(&world).unwrap();
    let mut reporter = Reporter::new(opened(OrgId::from_bytes([7; 12]), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    const SEGMENTS: usize = 36;
    for _ in 0..SEGMENTS {
        store.append(&reporter.log("a line\n")).await.unwrap();
    }
    store.close_run(reporter.closed(1)).await.unwrap();
    store.settle(reporter.org(), reporter.id()).await.unwrap();
    let expected = world.expected();
    // All of them fit into the first file.
    let (_, file) = world.files().into_iter().next().unwrap();
    let is_frame = |(offset, _): &(u64, u64)| file[*offset as usize..].starts_with(b"RJhd");
    assert!(expected.iter().all(is_frame), "{expected:?}");
    // Folding reads them twice.
    assert!(expected.len() >= 2 * (SEGMENTS - 1), "{} were announced", expected.len());
    let distinct: std::collections::BTreeSet<_> = expected.into_iter().collect();
    assert_eq!(distinct.len(), SEGMENTS - 1);
}
