//! Files, behind a seam. The journal is the only thing that must survive a power cut, and a `kill -9` cannot
//! find a missing `fsync`: a file system that forgets what was not synced can. Calls block; callers are on
//! threads of their own.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

/// What writes past the system's cache are made of: their place, their length and where they lie in memory are
/// multiples of it. No disk in use has longer blocks.
pub const BLOCK_BYTES: usize = 4096;

/// A directory entry: its file name and its length in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File name without its directory.
    pub name: String,
    /// Length in bytes, preallocated space included.
    pub bytes: u64,
}

/// What the journal needs of a file system.
pub trait Fs: Send + Sync + 'static {
    /// Makes `dir` and its parents.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Lists the regular files of `dir`, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Creates a new file for reading and writing. It is an error if it exists.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Removes a file. Durable only after [`Fs::sync_dir`] of its directory.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name in the same directory. Durable only after [`Fs::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be written below `dir` by an ordinary user.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file with positional access.
pub trait File: Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Says that these bytes are going to be read, so that they may be fetched already. Never waits, and may do nothing.
    fn expect_read(&self, _offset: u64, _bytes: u64) {}
    /// Writes all of `bytes` at `offset`. Durable only after [`File::sync_data`]. Whole blocks ([`BLOCK_BYTES`]) of a
    /// file that [`Fs::create`] made go straight to the disk where the file system can do that: they cost neither a copy
    /// nor pages of the system's cache, and are read from the disk again. So whoever writes blocks keeps to blocks: other
    /// writes among them would go through the cache, and each would have to be brought to the disk before the next block.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the contents and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Reserves space so that writes below `bytes` cannot fail for want of it; the new part reads as zeros.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts the file to `bytes`, or extends it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The file system of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsFs;

impl Fs for OsFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push(Entry { name, bytes: metadata.len() });
            }
        }
        Ok(entries)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile { file, blocks: open_for_blocks(path) }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(OsFile { file, blocks: None }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct OsFile {
    file: std::fs::File,
    /// The same file without the system's cache between.
    blocks: Option<std::fs::File>,
}

/// `None` where the file system cannot.
#[cfg(target_os = "linux")]
fn open_for_blocks(path: &Path) -> Option<std::fs::File> {
    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).ok()?;
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.write(true), flags).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_for_blocks(_path: &Path) -> Option<std::fs::File> {
    None
}

fn are_blocks(bytes: &[u8], offset: u64) -> bool {
    bytes.as_ptr().align_offset(BLOCK_BYTES) == 0
        && bytes.len().is_multiple_of(BLOCK_BYTES)
        && offset.is_multiple_of(BLOCK_BYTES as u64)
}

impl File for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    #[cfg(target_os = "linux")]
    fn expect_read(&self, offset: u64, bytes: u64) {
        let (bytes, will_need) = (std::num::NonZeroU64::new(bytes), rustix::fs::Advice::WillNeed);
        // Where it cannot be said nothing is lost but time.
        let _ = rustix::fs::fadvise(&self.file, offset, bytes, will_need);
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(blocks) = self.blocks.as_ref().filter(|_| are_blocks(bytes, offset)) {
            match blocks.write_all_at(bytes, offset) {
                // A file system that has longer blocks, or opens files so and then cannot.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                outcome => return outcome,
            }
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // Not every file system can reserve: a sparse extension is then the best there is.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(bytes.max(self.len()?)),
            Err(error) => Err(error.into()),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `bytes` of sevens whose first lies `skew` bytes behind a block's start in memory.
    fn sevens(memory: &mut Vec<u8>, skew: usize, bytes: usize) -> &[u8] {
        *memory = vec![7; bytes + 2 * BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES) + skew;
        &memory[start..start + bytes]
    }

    /// A folder beside this very test: one for temporary files may lie in memory.
    fn on_disk() -> tempfile::TempDir {
        let test = std::env::current_exe().unwrap();
        tempfile::tempdir_in(test.parent().unwrap()).unwrap()
    }

    /// How many of the file's first `bytes` lie in the system's cache. Having asked may put them there.
    #[cfg(target_os = "linux")]
    fn cached(path: &Path, bytes: usize) -> usize {
        let file = std::fs::File::open(path).unwrap();
        let mut buffer = vec![0; bytes];
        let mut parts = [io::IoSliceMut::new(&mut buffer)];
        rustix::io::preadv2(&file, &mut parts, 0, rustix::io::ReadWriteFlags::NOWAIT).unwrap_or(0)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whole_blocks_leave_nothing_in_the_systems_cache_and_everything_reads_back() {
        let dir = on_disk();
        let mut memory = Vec::new();
        for (n, (skew, bytes, in_cache)) in
            [(0, 2 * BLOCK_BYTES, 0), (8, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES), (0, 5000, 5000)]
                .into_iter()
                .enumerate()
        {
            let path = dir.path().join(n.to_string());
            let file = OsFs.create(&path).unwrap();
            file.allocate(1 << 20).unwrap();
            file.write_all_at(sevens(&mut memory, skew, bytes), 0).unwrap();
            file.sync_data().unwrap();
            assert_eq!(cached(&path, bytes), in_cache, "{bytes} bytes, {skew} behind a block's start");
            let mut read = vec![0; bytes];
            assert_eq!(file.read_at(&mut read, 0).unwrap(), bytes);
            assert!(read.iter().all(|byte| *byte == 7));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_going_to_be_read_is_fetched() {
        let (dir, mut memory) = (on_disk(), Vec::new());
        let bytes = 4 * BLOCK_BYTES;
        // Each in a file of its own, since to ask is to fetch.
        let is_fetched = |pause_ms: u64| {
            let path = dir.path().join(pause_ms.to_string());
            let file = OsFs.create(&path).unwrap();
            file.write_all_at(sevens(&mut memory, 0, bytes), 0).unwrap();
            file.expect_read(0, bytes as u64);
            std::thread::sleep(std::time::Duration::from_millis(pause_ms));
            cached(&path, bytes) == bytes
        };
        assert!([20, 200, 2_000, 10_000].into_iter().any(is_fetched), "nobody fetches it");
    }

    #[test]
    fn blocks_and_other_writes_see_each_other() {
        let dir = on_disk();
        let file = OsFs.create(&dir.path().join("file")).unwrap();
        file.allocate(4 * BLOCK_BYTES as u64).unwrap();
        let mut memory = Vec::new();
        file.write_all_at(&[1; 100], 50).unwrap();
        file.write_all_at(sevens(&mut memory, 0, BLOCK_BYTES), BLOCK_BYTES as u64).unwrap();
        let mut read = vec![0; 2 * BLOCK_BYTES];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), read.len());
        assert_eq!((read[49], read[50], read[149], read[150]), (0, 1, 1, 0));
        assert!(read[BLOCK_BYTES..].iter().all(|byte| *byte == 7));
        file.write_all_at(&[2; 10], BLOCK_BYTES as u64).unwrap();
        file.write_all_at(sevens(&mut memory, 0, BLOCK_BYTES), BLOCK_BYTES as u64).unwrap();
        assert_eq!(file.read_at(&mut read, 0).unwrap(), read.len());
        assert!(read[BLOCK_BYTES..].iter().all(|byte| *byte == 7), "the blocks came last");
    }
}
