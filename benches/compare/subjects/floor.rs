//! The floor under every durable answer: a loop that writes a block and syncs it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use super::on_disk;

/// What a sync of one block takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Measures for `duration`.
pub(crate) fn measure(duration: Duration) -> Floor {
    const BLOCK: usize = 4 << 10;
    const BLOCKS: u64 = 4 << 10;
    let folder = on_disk();
    let file = File::create(folder.path().join("floor")).unwrap();
    // Written once, so that the loop changes no more than the bytes.
    file.write_all_at(&vec![1; BLOCK * BLOCKS as usize], 0).unwrap();
    file.sync_all().unwrap();
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < duration {
        let before = Instant::now();
        file.write_all_at(&[2; BLOCK], took.len() as u64 % BLOCKS * BLOCK as u64).unwrap();
        file.sync_data().unwrap();
        took.push(before.elapsed());
    }
    took.sort_unstable();
    Floor { p50: took[took.len() / 2], p99: took[took.len() * 99 / 100] }
}
