//! The memory a group is laid out in: it starts where a block may start, so that what is in it can be written past the
//! system's cache.

use std::io;

use crate::fs::BLOCK_BYTES;

/// Memory that one long record has stretched beyond this is given back.
const KEPT_BYTES: usize = 4 << 20;

/// Bytes from the beginning of a block on.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    memory: Vec<u8>,
    /// Bytes of `memory` before the first block.
    before: usize,
}

impl Blocks {
    /// How many bytes are in it.
    pub(crate) const fn len(&self) -> usize {
        self.memory.len() - self.before
    }

    /// The memory, with room for `bytes` more after what is in it, and for the rest of the last block. Whoever adds more
    /// than that to it may move it to where no block can start.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        let needed = self.before + (self.len() + bytes).next_multiple_of(BLOCK_BYTES);
        if self.memory.capacity() < needed {
            self.move_to(Vec::with_capacity(needed.next_power_of_two() + BLOCK_BYTES));
        }
        &mut self.memory
    }

    /// Has `write` called with what is in it, and zeros up to the end of the last block. What is left is that block, unless
    /// it was full.
    pub(crate) fn write(&mut self, write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let used = self.memory.len();
        self.memory.resize(self.before + self.len().next_multiple_of(BLOCK_BYTES), 0);
        write(self.memory.get(self.before..).unwrap_or_default())?;
        self.memory.truncate(used);
        self.memory.drain(self.before..used - self.len() % BLOCK_BYTES);
        if self.memory.capacity() > KEPT_BYTES {
            self.move_to(Vec::with_capacity(2 * BLOCK_BYTES));
        }
        Ok(())
    }

    /// Leaves nothing.
    pub(crate) fn clear(&mut self) {
        self.memory.truncate(self.before);
    }

    fn move_to(&mut self, mut memory: Vec<u8>) {
        let before = memory.as_ptr().align_offset(BLOCK_BYTES);
        memory.resize(before, 0);
        memory.extend_from_slice(self.memory.get(self.before..).unwrap_or_default());
        (self.memory, self.before) = (memory, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds `bytes` and writes; gives what was written.
    fn written(blocks: &mut Blocks, bytes: &[u8]) -> Vec<u8> {
        blocks.room(bytes.len()).extend_from_slice(bytes);
        let mut written = Vec::new();
        blocks
            .write(|bytes| {
                assert_eq!(bytes.as_ptr().align_offset(BLOCK_BYTES), 0, "not where a block starts");
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
            assert!(blocks.memory.capacity() <= KEPT_BYTES + BLOCK_BYTES, "memory is given back");
        }
    }

    #[test]
    fn a_write_that_fails_is_told() {
        let mut blocks = Blocks::default();
        blocks.room(3).extend_from_slice(b"abc");
        assert!(blocks.write(|_| Err(io::ErrorKind::Other.into())).is_err());
    }
}
