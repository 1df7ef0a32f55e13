//! Bytes of a journal file.
//!
//! A file starts with a block of [`HEAD_BYTES`] that holds two copies of its [`FileHead`]. Frames follow, each aligned
//! to eight bytes: head, payload, zeros up to the next multiple of eight, and a second copy of the head (the *tail*).
//! The two copies make a frame whose head is hit by a flipped bit readable all the same, and a frame whose payload is
//! hit attributable to its run.
//!
//! The check of a head covers the file's random salt and the frame's place in the file. So neither stale bytes nor log
//! text that looks like a frame (a test may print this very file) is ever taken for one.

use crc32fast::Hasher;

use crate::domain::id::{ExecutionId, OrgId};

/// Bytes before the first frame.
pub(crate) const HEAD_BYTES: usize = 4096;
/// Where the second copy of the file's head is.
const SECOND_HEAD: usize = HEAD_BYTES / 2;
/// Bytes of a frame's head, and of its tail.
pub(crate) const FRAME_HEAD_BYTES: usize = 64;
/// Frames start at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// Version of the file format that is written.
pub(crate) const FORMAT: u32 = 1;

const FILE_MAGIC: [u8; 8] = *b"RUNSJRNL";
const HEAD_MAGIC: [u8; 4] = *b"RJhd";
const TAIL_MAGIC: [u8; 4] = *b"RJtl";

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A run was opened.
    Opened,
    /// An opened run was taken back.
    Abandoned,
    /// A segment of a run.
    Segment,
    /// A run was closed.
    Closed,
    /// Holds nothing; its `synced` says how far the file is known to be durable.
    Mark,
    /// The last frame of a file that is complete.
    Seal,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Opened => 1,
            Self::Abandoned => 2,
            Self::Segment => 3,
            Self::Closed => 4,
            Self::Mark => 5,
            Self::Seal => 6,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Opened,
            2 => Self::Abandoned,
            3 => Self::Segment,
            4 => Self::Closed,
            5 => Self::Mark,
            6 => Self::Seal,
            _ => return None,
        })
    }
}

/// Which step of which run a frame is. A damaged payload can so be blamed on its run, and a lost frame shows as a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// What the frame is.
    pub(crate) kind: Kind,
    /// Tenant.
    pub(crate) org: OrgId,
    /// The run.
    pub(crate) execution: ExecutionId,
    /// A segment's epoch; of a closure, the epoch of the run's last segment.
    pub(crate) epoch: u32,
    /// A segment's number; of a closure, the number of the run's last segment.
    pub(crate) seq: u64,
    /// How often the run had been closed, a closure itself included.
    pub(crate) revision: u32,
}

impl Key {
    /// The key of a frame that belongs to no run.
    pub(crate) const fn of_file(kind: Kind) -> Self {
        let (org, execution) = (OrgId::from_bytes([0; 12]), ExecutionId::from_bytes([0; 12]));
        Self { kind, org, execution, epoch: 0, seq: 0, revision: 0 }
    }
}

/// Head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// Bytes of payload.
    pub(crate) payload_bytes: u32,
    /// CRC-32 of the payload.
    pub(crate) payload_check: u32,
    /// Up to where the file was known to be durable when this frame was written. Damage below the highest such mark
    /// is corruption; damage above it may be a write that was never acknowledged.
    pub(crate) synced: u32,
    /// Whose it is.
    pub(crate) key: Key,
}

impl FrameHead {
    /// Bytes of the whole frame.
    pub(crate) const fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes as usize)
    }

    fn write(&self, magic: [u8; 4], salt: u64, position: u32) -> [u8; FRAME_HEAD_BYTES] {
        let mut bytes = [0; FRAME_HEAD_BYTES];
        let Key { kind, org, execution, epoch, seq, revision } = self.key;
        put(&mut bytes, 0, &magic);
        put(&mut bytes, 8, &self.payload_bytes.to_le_bytes());
        put(&mut bytes, 12, &self.payload_check.to_le_bytes());
        put(&mut bytes, 16, &self.synced.to_le_bytes());
        put(&mut bytes, 20, &[kind.code(), 0, 0, 0]);
        put(&mut bytes, 24, &epoch.to_le_bytes());
        put(&mut bytes, 28, &revision.to_le_bytes());
        put(&mut bytes, 32, &seq.to_le_bytes());
        put(&mut bytes, 40, org.as_bytes());
        put(&mut bytes, 52, execution.as_bytes());
        let check = head_check(&bytes, salt, position);
        put(&mut bytes, 4, &check.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8], magic: [u8; 4]) -> Option<(Self, u32, &[u8; FRAME_HEAD_BYTES])> {
        let bytes: &[u8; FRAME_HEAD_BYTES] = bytes.first_chunk()?;
        if take::<4>(bytes, 0)? != magic {
            return None;
        }
        let key = Key {
            kind: Kind::from_code(take::<1>(bytes, 20)?[0])?,
            org: OrgId::from_bytes(take(bytes, 40)?),
            execution: ExecutionId::from_bytes(take(bytes, 52)?),
            epoch: u32::from_le_bytes(take(bytes, 24)?),
            seq: u64::from_le_bytes(take(bytes, 32)?),
            revision: u32::from_le_bytes(take(bytes, 28)?),
        };
        let head = Self {
            payload_bytes: u32::from_le_bytes(take(bytes, 8)?),
            payload_check: u32::from_le_bytes(take(bytes, 12)?),
            synced: u32::from_le_bytes(take(bytes, 16)?),
            key,
        };
        Some((head, u32::from_le_bytes(take(bytes, 4)?), bytes))
    }

    /// The head at the start of `bytes`, which are at `position` of their file, if there is one that is whole.
    pub(crate) fn read_head(bytes: &[u8], salt: u64, position: u32) -> Option<Self> {
        let (head, check, bytes) = Self::read(bytes, HEAD_MAGIC)?;
        (head_check(bytes, salt, position) == check).then_some(head)
    }

    /// The tail at the start of `bytes`, which are at `position` of their file, if there is one that is whole; with
    /// the position of its frame.
    pub(crate) fn read_tail(bytes: &[u8], salt: u64, position: u32) -> Option<(Self, u32)> {
        let (head, check, bytes) = Self::read(bytes, TAIL_MAGIC)?;
        let before = u32::try_from(head.frame_bytes() - FRAME_HEAD_BYTES).ok()?;
        let start = position.checked_sub(before)?;
        (head_check(bytes, salt, start) == check).then_some((head, start))
    }
}

/// Bytes of a frame with this payload.
pub(crate) const fn frame_bytes(payload_bytes: usize) -> usize {
    2 * FRAME_HEAD_BYTES + payload_bytes.next_multiple_of(ALIGNMENT)
}

/// Lays a frame out in `frame`, which has [`frame_bytes`] bytes for it and belongs at `position` of the file. The parts, one
/// after the other, are the payload: this is the one copy between a batch and the write.
pub(crate) fn write_frame(
    frame: &mut [u8],
    position: u32,
    salt: u64,
    synced: u32,
    key: Key,
    parts: &[impl AsRef<[u8]>],
) {
    let mut end = FRAME_HEAD_BYTES;
    for part in parts {
        put(frame, end, part.as_ref());
        end += part.as_ref().len();
    }
    let payload = frame.get(FRAME_HEAD_BYTES..end).unwrap_or_default();
    let (payload_bytes, payload_check) = (saturated(payload.len()), crc32fast::hash(payload));
    let tail = end.next_multiple_of(ALIGNMENT);
    if let Some(rest) = frame.get_mut(end..tail) {
        rest.fill(0);
    }
    let head = FrameHead { payload_bytes, payload_check, synced, key };
    put(frame, 0, &head.write(HEAD_MAGIC, salt, position));
    put(frame, tail, &head.write(TAIL_MAGIC, salt, position));
}

/// A frame by itself.
pub(crate) fn whole_frame(
    position: u32,
    salt: u64,
    synced: u32,
    key: Key,
    parts: &[impl AsRef<[u8]>],
) -> Vec<u8> {
    let mut frame = vec![0; frame_bytes(parts.iter().map(|part| part.as_ref().len()).sum())];
    write_frame(&mut frame, position, salt, synced, key, parts);
    frame
}

/// Head of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHead {
    /// Version of the format.
    pub(crate) format: u32,
    /// Number of the file.
    pub(crate) number: u32,
    /// Random; no outsider knows it.
    pub(crate) salt: u64,
    /// Bytes that were reserved for the file when it was made. A complete file is cut to what it holds.
    pub(crate) reserved: u64,
}

/// Bytes of a file's head.
const FILE_HEAD_BYTES: usize = 36;

impl FileHead {
    /// The block at the start of the file.
    pub(crate) fn block(&self) -> Vec<u8> {
        let mut copy = [0; FILE_HEAD_BYTES];
        put(&mut copy, 0, &FILE_MAGIC);
        put(&mut copy, 8, &self.format.to_le_bytes());
        put(&mut copy, 12, &self.number.to_le_bytes());
        put(&mut copy, 16, &self.salt.to_le_bytes());
        put(&mut copy, 24, &self.reserved.to_le_bytes());
        let check = crc32fast::hash(copy.get(..32).unwrap_or_default());
        put(&mut copy, 32, &check.to_le_bytes());
        let mut block = vec![0; HEAD_BYTES];
        put(&mut block, 0, &copy);
        put(&mut block, SECOND_HEAD, &copy);
        block
    }

    /// The head in this block: the first copy that is whole.
    pub(crate) fn read(block: &[u8]) -> Option<Self> {
        [0, SECOND_HEAD].into_iter().find_map(|at| {
            let copy: [u8; FILE_HEAD_BYTES] = take(block, at)?;
            let is_whole = copy.starts_with(&FILE_MAGIC)
                && crc32fast::hash(copy.get(..32)?) == u32::from_le_bytes(take(&copy, 32)?);
            is_whole.then_some(())?;
            Some(Self {
                format: u32::from_le_bytes(take(&copy, 8)?),
                number: u32::from_le_bytes(take(&copy, 12)?),
                salt: u64::from_le_bytes(take(&copy, 16)?),
                reserved: u64::from_le_bytes(take(&copy, 24)?),
            })
        })
    }
}

fn head_check(head: &[u8; FRAME_HEAD_BYTES], salt: u64, position: u32) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&position.to_le_bytes());
    hasher.update(head.get(..4).unwrap_or_default());
    hasher.update(head.get(8..).unwrap_or_default());
    hasher.finalize()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Lengths and places within a file are below 4 GiB: files are sized and records bounded far below it.
pub(crate) fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            kind: Kind::Segment,
            org: OrgId::from_bytes([1; 12]),
            execution: ExecutionId::from_bytes([2; 12]),
            epoch: 3,
            seq: 4,
            revision: 5,
        }
    }

    #[test]
    fn a_frame_reads_back_from_both_ends() {
        let frame = whole_frame(4112, 99, 4096, key(), &[&b"hello, "[..], b"world"]);
        assert_eq!(frame.len(), frame_bytes(12));
        let head = FrameHead::read_head(&frame, 99, 4112).unwrap();
        assert_eq!((head.key, head.synced, head.payload_bytes), (key(), 4096, 12));
        assert_eq!(head.payload_check, crc32fast::hash(b"hello, world"));
        let tail_at = frame.len() - FRAME_HEAD_BYTES;
        let tail_position = 4112 + u32::try_from(tail_at).unwrap();
        assert_eq!(FrameHead::read_tail(&frame[tail_at..], 99, tail_position), Some((head, 4112)));
    }

    #[test]
    fn a_frame_is_nothing_elsewhere_or_with_another_salt_or_a_flipped_bit() {
        let mut frame = whole_frame(4096, 99, 0, key(), &[b"payload"]);
        assert!(FrameHead::read_head(&frame, 99, 4096).is_some());
        assert_eq!(FrameHead::read_head(&frame, 98, 4096), None, "another file's salt");
        assert_eq!(FrameHead::read_head(&frame, 99, 4104), None, "another place");
        for bit in 0..FRAME_HEAD_BYTES * 8 {
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHead::read_head(&frame, 99, 4096), None, "bit {bit}");
            frame[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_file_head_survives_the_loss_of_one_copy() {
        let head = FileHead { format: FORMAT, number: 7, salt: 0x0123_4567_89ab_cdef, reserved: 9 };
        let mut block = head.block();
        assert_eq!(FileHead::read(&block), Some(head));
        block[9] ^= 1;
        assert_eq!(FileHead::read(&block), Some(head));
        block[SECOND_HEAD + 20] ^= 1;
        assert_eq!(FileHead::read(&block), None);
        assert_eq!(FileHead::read(&[0; HEAD_BYTES]), None);
        assert_eq!(FileHead::read(b"short"), None);
    }
}
