//! Fetching ahead. Segments are written past the system's cache, so that each is read from the disk; whoever reads one
//! after the other has the disk fetch some of the next ones while it works on this one.

use super::index::Run;
use crate::store::lsm::journal::Place;

/// Segments that are announced together.
const AHEAD: usize = 16;
/// Bytes of them at most: long segments are few, and each is a long read by itself.
const AHEAD_BYTES_MAX: u64 = 1 << 20;

/// Which places are to be fetched, in order, now that the segment with this index is read: at every 16th index the 16
/// after the next 16, and at the first one both.
pub(super) fn places(run: &Run, index: usize) -> Vec<Place> {
    if !index.is_multiple_of(AHEAD) {
        return Vec::new();
    }
    let first = if index == 0 { 1 } else { index + AHEAD };
    let mut bytes = 0;
    let next = run.places(first).take(index + 2 * AHEAD - first);
    next.take_while(|place| {
        bytes += u64::from(place.bytes);
        bytes <= AHEAD_BYTES_MAX
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::OrgId;
    use crate::store::fold::segment::Facts;

    fn run(segments: u32, bytes: u32) -> Run {
        let mut run = Run::new(OrgId::from_bytes([1; 12]), Vec::new(), 0);
        for position in 0..segments {
            run.push(1, Some(Place { file: 1, position, bytes }), &Facts::default());
        }
        run
    }

    #[test]
    fn who_reads_in_order_has_each_segment_but_the_first_announced_once_and_before_it_is_read() {
        let run = run(100, 10);
        let mut announced = vec![0];
        for index in 0..100 {
            assert!(announced.contains(&index), "{index} is read and was not announced");
            announced.extend(places(&run, index as usize).iter().map(|place| place.position));
        }
        assert_eq!(announced, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_than_a_mebibyte_is_announced_at_once() {
        assert_eq!(places(&run(100, 300 << 10), 0).len(), 3);
        assert_eq!(places(&run(100, 300 << 10), 16).len(), 3);
        assert_eq!(places(&run(2, 2 << 20), 0).len(), 0);
    }
}
