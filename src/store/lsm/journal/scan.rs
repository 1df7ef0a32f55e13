//! What one journal file holds: its frames in order, what is damaged, and where a write that was cut off begins.
//!
//! A power cut may leave any part of what was not synced: the end of the last write, or some of its blocks without the
//! others. So a bad frame may be followed by good ones without being corruption. What tells the two apart is the
//! `synced` mark that every frame carries: below the highest mark every byte was durable once, so a bad one there is
//! corruption. Above it nothing but the last write can be, and that is cut off whole from its first bad frame on.

use super::frame::{
    ALIGNMENT, FRAME_HEAD_BYTES, FileHead, FrameHead, HEAD_BYTES, Kind, frame_bytes, saturated,
};

/// A frame as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundFrame {
    /// Its first byte in the file.
    pub(crate) position: u32,
    /// Its head.
    pub(crate) head: FrameHead,
    /// Whether its payload is what was written.
    pub(crate) is_whole: bool,
}

/// Bytes of which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostRange {
    /// First byte in the file.
    pub(crate) from: u32,
    /// Byte after the last.
    pub(crate) to: u32,
}

/// A frame, or a hole where there may have been some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame.
    Frame(FoundFrame),
    /// A hole.
    Lost(LostRange),
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// In the order of the file.
    pub(crate) found: Vec<Found>,
    /// Where the next frame would go: after the last whole frame that counts, and after what is lost.
    pub(crate) end: u32,
    /// Bytes beyond `end` that a cut-off write left.
    pub(crate) torn_bytes: u32,
    /// Frames of which one of the two heads is damaged.
    pub(crate) repaired: u32,
    /// Whether the last frame says that the file is complete.
    pub(crate) sealed: bool,
}

/// Scans a whole file. `may_be_torn` for the last file that was written to; of an earlier one every byte was durable.
/// Of any file the first `durable` bytes are known to have been.
pub(crate) fn scan(file: &[u8], head: &FileHead, may_be_torn: bool, durable: u32) -> Scan {
    let mut reader = Reader { file, salt: head.salt, at: HEAD_BYTES, found: Vec::new(), repaired: 0 };
    reader.read_all();
    let Reader { mut found, repaired, .. } = reader;

    let seal = found.iter().rposition(|found| is_whole(found, Some(Kind::Seal)));
    let sealed = seal.is_some_and(|seal| seal + 1 == found.len());
    if let Some(Found::Frame(seal)) = found.last().filter(|_| sealed).copied() {
        // Before its seal a file was durable up to here; behind it there was a mark at most, which nobody misses.
        found.retain(|found| is_whole(found, None) || position(found) < seal.head.synced);
    }
    let synced = if may_be_torn && !sealed {
        found.iter().filter_map(frame).map(|found| found.head.synced).fold(durable, u32::max)
    } else {
        u32::MAX
    };
    let torn = found.iter().position(|found| !is_whole(found, None) && position(found) >= synced);
    if let Some(torn) = torn {
        found.truncate(torn);
    }
    let mut end = found.last().map_or(saturated(HEAD_BYTES), end_of);
    let torn_bytes = if torn.is_some() { saturated(used_bytes(file)).saturating_sub(end) } else { 0 };
    // A file that is not the last must have been sealed before the next one was written to. And the last one is only
    // shorter than it was made if it was sealed: a power cut may then have left out its seal and a mark before it, no more.
    let was_cut = (file.len() as u64) < head.reserved && file.len() > end as usize + 2 * frame_bytes(0);
    let is_short = !sealed && (!may_be_torn || was_cut);
    if is_short || end < durable {
        let to = if is_short { saturated(file.len()).max(durable) } else { durable };
        found.push(Found::Lost(LostRange { from: end, to: to.max(end) }));
        end = end.max(to);
    }
    // What is lost may end anywhere. It is kept, and found again by the next start: whatever follows goes behind it.
    end = end.next_multiple_of(saturated(ALIGNMENT));
    Scan { found, end, torn_bytes, repaired, sealed }
}

fn frame(found: &Found) -> Option<&FoundFrame> {
    match found {
        Found::Frame(frame) => Some(frame),
        Found::Lost(_) => None,
    }
}

fn is_whole(found: &Found, kind: Option<Kind>) -> bool {
    frame(found).is_some_and(|frame| frame.is_whole && kind.is_none_or(|kind| frame.head.key.kind == kind))
}

fn position(found: &Found) -> u32 {
    match found {
        Found::Frame(frame) => frame.position,
        Found::Lost(range) => range.from,
    }
}

fn end_of(found: &Found) -> u32 {
    match found {
        Found::Frame(frame) => frame.position.saturating_add(saturated(frame.head.frame_bytes())),
        Found::Lost(range) => range.to,
    }
}

struct Reader<'a> {
    file: &'a [u8],
    salt: u64,
    at: usize,
    found: Vec<Found>,
    repaired: u32,
}

impl Reader<'_> {
    fn read_all(&mut self) {
        while self.at < self.file.len() {
            match self.head_at(self.at) {
                Some(head) if self.at + head.frame_bytes() <= self.file.len() => {
                    self.take_frame(self.at, head, true)
                }
                _ => {
                    if !self.skip_hole() {
                        return;
                    }
                }
            }
        }
    }

    fn bytes_at(&self, at: usize) -> &[u8] {
        self.file.get(at..).unwrap_or_default()
    }

    fn head_at(&self, at: usize) -> Option<FrameHead> {
        FrameHead::read_head(self.bytes_at(at), self.salt, saturated(at))
    }

    fn take_frame(&mut self, at: usize, head: FrameHead, has_head: bool) {
        let payload =
            self.file.get(at + FRAME_HEAD_BYTES..).and_then(|rest| rest.get(..head.payload_bytes as usize));
        let is_whole = payload.is_some_and(|payload| crc32fast::hash(payload) == head.payload_check);
        let end = at + head.frame_bytes();
        let tail_at = end - FRAME_HEAD_BYTES;
        let tail = FrameHead::read_tail(self.bytes_at(tail_at), self.salt, saturated(tail_at));
        if is_whole && (!has_head || tail.is_none()) {
            self.repaired += 1;
        }
        self.found.push(Found::Frame(FoundFrame { position: saturated(at), head, is_whole }));
        self.at = end;
    }

    /// Looks for the next frame after bytes that are none. `false` if there is nothing but zeros.
    fn skip_hole(&mut self) -> bool {
        let from = self.at;
        let mut at = from;
        while at + FRAME_HEAD_BYTES <= self.file.len() {
            let zeros = leading_zeros(self.bytes_at(at));
            at += zeros - zeros % ALIGNMENT;
            let here = self.bytes_at(at);
            if self.head_at(at).is_some_and(|head| at > from && head.frame_bytes() <= here.len()) {
                self.lose(from, at);
                self.at = at;
                return true;
            }
            // The second head of a frame whose first one is damaged, or, further on, of one behind the hole.
            if let Some((head, start)) = FrameHead::read_tail(here, self.salt, saturated(at))
                && start as usize >= from
            {
                self.lose(from, start as usize);
                self.take_frame(start as usize, head, false);
                return true;
            }
            at += ALIGNMENT;
        }
        if leading_zeros(self.bytes_at(from)) < self.bytes_at(from).len() {
            self.lose(from, self.file.len());
        }
        false
    }

    fn lose(&mut self, from: usize, to: usize) {
        if from < to {
            self.found.push(Found::Lost(LostRange { from: saturated(from), to: saturated(to) }));
        }
    }
}

const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// How many zeros `bytes` begin with. Most of a reserved file is zeros, so they are compared by the block.
pub(super) fn leading_zeros(bytes: &[u8]) -> usize {
    let blocks = bytes.chunks(BLOCK).take_while(|block| ZEROS.starts_with(block)).count();
    let before = (blocks * BLOCK).min(bytes.len());
    let rest = bytes.get(before..).unwrap_or_default();
    before + rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len())
}

/// Bytes up to the last one that is not zero.
fn used_bytes(bytes: &[u8]) -> usize {
    let zero_blocks = bytes.rchunks(BLOCK).take_while(|block| ZEROS.starts_with(block)).count();
    let upto = bytes.len().saturating_sub(zero_blocks * BLOCK);
    let used = bytes.get(..upto).unwrap_or_default();
    used.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FORMAT, Key, whole_frame};
    use super::*;

    const HEAD: FileHead = FileHead { format: FORMAT, number: 1, salt: 77, reserved: 0 };

    /// A file whose groups hold records of these sizes, each group after the sync of the one before.
    fn file(groups: &[&[usize]], last: Option<Kind>) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = HEAD.block();
        let mut starts = Vec::new();
        for group in groups {
            let synced = saturated(bytes.len());
            for size in *group {
                starts.push(bytes.len());
                let payload: Vec<u8> = (1..=250).cycle().take(*size).collect();
                let position = saturated(bytes.len());
                bytes.extend(whole_frame(
                    position,
                    HEAD.salt,
                    synced,
                    Key::of_file(Kind::Segment),
                    &[&payload],
                ));
            }
        }
        starts.push(bytes.len());
        if let Some(kind) = last {
            let synced = saturated(bytes.len());
            bytes.extend(whole_frame(synced, HEAD.salt, synced, Key::of_file(kind), &[b""; 0]));
        }
        if last != Some(Kind::Seal) {
            bytes.resize(bytes.len() + 20_000, 0);
        }
        (bytes, starts)
    }

    fn whole(scan: &Scan) -> usize {
        scan.found.iter().filter(|found| is_whole(found, Some(Kind::Segment))).count()
    }

    #[test]
    fn a_whole_file_is_read_to_its_end() {
        let (bytes, starts) = file(&[&[10, 5_000], &[3]], None);
        let found = scan(&bytes, &HEAD, true, 0);
        assert_eq!((whole(&found), found.end as usize, found.torn_bytes), (3, starts[3], 0));
        assert!(!found.sealed);
        let (bytes, _) = file(&[&[10, 5_000], &[3]], Some(Kind::Seal));
        let found = scan(&bytes, &HEAD, false, 0);
        assert_eq!((whole(&found), found.end as usize, found.sealed), (3, bytes.len(), true));
    }

    #[test]
    fn a_cut_off_write_is_cut_off_whole_wherever_it_is_torn() {
        let (bytes, starts) = file(&[&[100], &[6_000, 5_000, 50]], None);
        // The last group was not synced: any of its blocks may be missing, with later ones in place.
        for torn in [starts[1], starts[1] + 70, starts[2], starts[2] + 4_000, starts[3]] {
            let mut torn_file = bytes.clone();
            let end = (torn + 512).min(starts[4]);
            torn_file[torn..end].fill(0);
            let found = scan(&torn_file, &HEAD, true, 0);
            assert!(found.found.iter().all(|found| is_whole(found, None)), "torn at {torn}: {found:?}");
            assert!(starts.contains(&(found.end as usize)) && found.end as usize <= torn, "torn at {torn}");
            assert!(whole(&found) >= 1, "what was synced stays, torn at {torn}");
        }
    }

    #[test]
    fn damage_below_a_mark_is_corruption_and_spares_its_neighbours() {
        for last in [Some(Kind::Mark), Some(Kind::Seal)] {
            let (bytes, starts) = file(&[&[100, 200], &[6_000]], last);
            for at in [starts[1] + FRAME_HEAD_BYTES, starts[2] + 5_000] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 4;
                let found = scan(&damaged, &HEAD, true, 0);
                assert_eq!(whole(&found), 2, "at {at}");
                let bad = found.found.iter().filter_map(frame).filter(|frame| !frame.is_whole).count();
                assert_eq!(
                    (bad, found.torn_bytes),
                    (1, 0),
                    "at {at}: the damaged record is known by its head"
                );
            }
        }
    }

    #[test]
    fn one_damaged_head_is_repaired_from_the_other() {
        let (bytes, starts) = file(&[&[100, 200], &[6_000]], Some(Kind::Seal));
        for start in &starts {
            for at in [*start + 20, *start + 4, *start] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 16;
                let found = scan(&damaged, &HEAD, false, 0);
                assert_eq!((whole(&found), found.repaired, found.sealed), (3, 1, true), "at {at}");
            }
        }
    }

    #[test]
    fn a_lost_block_is_a_hole_between_whole_frames() {
        let (bytes, starts) = file(&[&[100], &[300, 300, 300], &[100]], Some(Kind::Seal));
        let mut damaged = bytes.clone();
        damaged[starts[1] + 10..starts[3] + 10].fill(0xa5);
        let found = scan(&damaged, &HEAD, false, 0);
        assert_eq!(whole(&found), 3);
        let hole = LostRange { from: saturated(starts[1]), to: saturated(starts[3]) };
        assert!(found.found.contains(&Found::Lost(hole)), "{found:?}");
    }

    #[test]
    fn an_earlier_file_without_its_seal_has_lost_its_end() {
        let (mut bytes, starts) = file(&[&[100], &[300]], Some(Kind::Seal));
        bytes.truncate(starts[1]);
        let found = scan(&bytes, &HEAD, false, 0);
        assert_eq!(whole(&found), 1);
        assert!(matches!(found.found.last(), Some(Found::Lost(_))), "{found:?}");
    }

    #[test]
    fn what_was_durable_is_lost_and_not_torn_when_it_is_gone() {
        let (bytes, starts) = file(&[&[100], &[300]], None);
        let durable = saturated(starts[2]);
        let moved = [&bytes[..HEAD_BYTES], &[7; 5], &bytes[HEAD_BYTES..]].concat();
        let zeroed = [&bytes[..HEAD_BYTES], &vec![0; bytes.len() - HEAD_BYTES]].concat();
        let cut = bytes[..starts[1]].to_vec();
        for (damaged, records) in [(moved, 0), (zeroed, 0), (cut, 1)] {
            let found = scan(&damaged, &HEAD, true, durable);
            assert_eq!((whole(&found), found.torn_bytes), (records, 0));
            assert!(matches!(found.found.last(), Some(Found::Lost(_))), "{found:?}");
            assert!(found.end >= durable && (found.end as usize).is_multiple_of(ALIGNMENT), "{found:?}");
            let unknown = scan(&damaged, &HEAD, true, 0);
            assert!(unknown.found.iter().all(|found| is_whole(found, None)), "{unknown:?}");
        }
    }

    #[test]
    fn zeros_are_counted_exactly() {
        for (bytes, leading, used) in [
            (vec![0; 10_000], 10_000, 0),
            (vec![], 0, 0),
            ([vec![0; 5_000], vec![7], vec![0; 5_000]].concat(), 5_000, 5_001),
            (vec![1, 0, 0], 0, 1),
        ] {
            assert_eq!((leading_zeros(&bytes), used_bytes(&bytes)), (leading, used));
        }
    }
}
