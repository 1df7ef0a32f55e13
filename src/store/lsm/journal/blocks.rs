//! The memory a group is laid out in: blocks, so that it can be written past the system's cache. It is mapped, and asked for
//! as large pages: the disk then gets it in a few long pieces instead of one for each page, which spares the kernel a
//! quarter of its work for half a megabyte.

use std::io;

use memmap2::MmapMut;

use crate::fs::BLOCK_BYTES;

/// It is mapped by multiples of this: a large page.
const STEP_BYTES: usize = 2 << 20;
/// Memory that one long record has stretched beyond this is given back.
const KEPT_BYTES: usize = 4 << 20;

/// Bytes from the beginning of a block on.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    memory: Option<MmapMut>,
    used: usize,
}

impl Blocks {
    /// How many bytes are in it.
    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// Adds `bytes` bytes, which hold anything. Fails if there is no memory for them.
    pub(crate) fn add(&mut self, bytes: usize) -> io::Result<&mut [u8]> {
        let end = self.used + bytes;
        // Blocks are whole, and steps are whole blocks.
        if self.memory.as_ref().is_none_or(|memory| memory.len() < end) {
            self.map(end.next_power_of_two())?;
        }
        let start = std::mem::replace(&mut self.used, end);
        Ok(self.memory.as_deref_mut().and_then(|memory| memory.get_mut(start..end)).unwrap_or_default())
    }

    /// Has `write` called with what is in it, and zeros up to the end of the last block. What is left is that block, unless
    /// it was full.
    pub(crate) fn write(&mut self, write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let Some(memory) = self.memory.as_deref_mut() else { return Ok(()) };
        let whole = self.used.next_multiple_of(BLOCK_BYTES);
        if let Some(rest) = memory.get_mut(self.used..whole) {
            rest.fill(0);
        }
        write(memory.get(..whole).unwrap_or_default())?;
        let last = self.used - self.used % BLOCK_BYTES;
        memory.copy_within(last..self.used, 0);
        self.used -= last;
        if self.memory.as_ref().is_some_and(|memory| memory.len() > KEPT_BYTES) {
            self.map(STEP_BYTES)?;
        }
        Ok(())
    }

    /// Leaves nothing.
    pub(crate) const fn clear(&mut self) {
        self.used = 0;
    }

    /// Maps memory of `bytes` or some more, and moves there.
    fn map(&mut self, bytes: usize) -> io::Result<()> {
        let mut memory = MmapMut::map_anon(bytes.next_multiple_of(STEP_BYTES))?;
        // Without it the same goes slower.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        if let Some(before) = &self.memory
            && let (Some(from), Some(to)) = (before.get(..self.used), memory.get_mut(..self.used))
        {
            to.copy_from_slice(from);
        }
        self.memory = Some(memory);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds `bytes` and writes; gives what was written.
    fn written(blocks: &mut Blocks, bytes: &[u8]) -> Vec<u8> {
        blocks.add(bytes.len()).unwrap().copy_from_slice(bytes);
        let mut written = Vec::new();
        blocks
            .write(|bytes| {
                assert_eq!(bytes.as_ptr().align_offset(BLOCK_BYTES), 0, "a block starts elsewhere");
                written = bytes.to_vec();
                Ok(())
            })
            .unwrap();
        written
    }

    #[test]
    fn what_is_written_are_whole_blocks_and_the_last_one_is_written_again() {
        let mut blocks = Blocks::default();
        let mut file = Vec::new();
        let mut expected = Vec::new();
        // Short ones, one that ends with a block, one that the memory has to move for, and one it gives memory back after.
        for (group, bytes) in
            (1..).zip([10, 100, BLOCK_BYTES - 110, 5, 3 * BLOCK_BYTES, 40_000, 1, KEPT_BYTES, 7, 8])
        {
            let start = expected.len() - blocks.len();
            assert!(start.is_multiple_of(BLOCK_BYTES), "group {group} starts at {start}");
            let bytes = vec![group; bytes];
            expected.extend_from_slice(&bytes);
            let written = written(&mut blocks, &bytes);
            assert!(written.len().is_multiple_of(BLOCK_BYTES), "group {group} has {} bytes", written.len());
            file.truncate(start);
            file.extend_from_slice(&written);
            assert_eq!(file.get(..expected.len()), Some(expected.as_slice()), "after group {group}");
            assert!(file[expected.len()..].iter().all(|byte| *byte == 0), "zeros after group {group}");
            assert!(blocks.memory.as_ref().unwrap().len() <= KEPT_BYTES, "memory is given back");
        }
    }

    #[test]
    fn a_write_that_fails_is_told() {
        let mut blocks = Blocks::default();
        blocks.add(3).unwrap().copy_from_slice(b"abc");
        assert!(blocks.write(|_| Err(io::ErrorKind::Other.into())).is_err());
    }
}
