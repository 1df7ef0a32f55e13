//! Power cuts, damage and full disks, played on a machine that forgets.

mod blocks;
mod cuts;
mod damage;
mod folding;
mod full;
mod golden;
mod world;

use std::sync::Arc;
use std::time::Duration;

use runstream::store::contract::StoreResult;
use runstream::store::lsm::JournalSettings;
use runstream::store::lsm::runs::{RunSettings, RunStore};
use world::World;

/// Small files, so that a short story fills several.
const FILE_BYTES: u64 = 24 << 10;

fn settings() -> RunSettings {
    let journal = JournalSettings {
        file_bytes: FILE_BYTES,
        reserve_bytes: 1 << 20,
        group_bytes_max: 1 << 20,
        mark_after: Duration::from_millis(2),
        ..JournalSettings::at("/data/journal")
    };
    RunSettings { journal, files_max: 2 }
}

fn open(world: &World) -> StoreResult<RunStore> {
    world.set_starting(true);
    let opened = RunStore::open(settings(), Arc::new(world.clone()), Arc::new(world.clone()));
    world.set_starting(false);
    opened
}
