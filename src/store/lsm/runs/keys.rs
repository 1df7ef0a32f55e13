//! Keys of the rows: columns one after the other, so that their bytes sort as the lists want them.

use crate::clock::UnixMs;
use crate::domain::id::{ExecutionId, OrgId, SessionId};

/// Where the number of the first journal file is kept that is needed.
pub(super) const FIRST_FILE: &[u8] = b"first";

/// Where it is kept how far the journal was durable.
pub(super) const REACH: &[u8] = b"reach";

/// Organization, execution.
pub(super) fn run(org: OrgId, execution: ExecutionId) -> Vec<u8> {
    [*org.as_bytes(), *execution.as_bytes()].concat()
}

/// Organization, task id.
pub(super) fn task(org: OrgId, task: &str) -> Vec<u8> {
    [org.as_bytes().as_slice(), task.as_bytes()].concat()
}

/// Execution, number.
pub(super) fn numbered(execution: ExecutionId, number: u64) -> Vec<u8> {
    [execution.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}

/// Organization, number in its feed.
pub(super) fn fed(org: OrgId, seq: u64) -> Vec<u8> {
    [org.as_bytes().as_slice(), &seq.to_be_bytes()].concat()
}

/// Execution, epoch, number.
pub(super) fn segment(execution: ExecutionId, epoch: u32, seq: u64) -> Vec<u8> {
    [execution.as_bytes().as_slice(), &epoch.to_be_bytes(), &seq.to_be_bytes()].concat()
}

/// Expiry, session.
pub(super) fn expiry(expires_ms: UnixMs, session: SessionId) -> Vec<u8> {
    [expires(expires_ms).as_slice(), session.0.as_bytes()].concat()
}

/// The key before those of sessions that expire at this moment or later.
pub(super) fn expires(expires_ms: UnixMs) -> [u8; 8] {
    ascending(expires_ms).to_be_bytes()
}

/// Organization, start and execution, both descending: newest first.
pub(super) fn listed(org: OrgId, start_ms: UnixMs, execution: ExecutionId) -> Vec<u8> {
    let descending_id = execution.as_bytes().map(|byte| !byte);
    [listed_from(org, start_ms).as_slice(), &descending_id].concat()
}

/// The key before those of runs that started at this moment or earlier.
pub(super) fn listed_from(org: OrgId, start_ms: UnixMs) -> Vec<u8> {
    [org.as_bytes().as_slice(), &(!ascending(start_ms)).to_be_bytes()].concat()
}

/// The start and the execution of a list's key.
pub(super) fn read_listed(key: &[u8]) -> Option<(UnixMs, ExecutionId)> {
    let columns: [u8; 32] = key.try_into().ok()?;
    let start = u64::from_be_bytes(*columns.get(12..)?.first_chunk()?);
    let execution: [u8; 12] = *columns.get(20..)?.first_chunk()?;
    Some((descending(start), ExecutionId::from_bytes(execution.map(|byte| !byte))))
}

/// The execution and the number of a numbered key.
pub(super) fn read_numbered(key: &[u8]) -> Option<(ExecutionId, u64)> {
    let columns: [u8; 20] = key.try_into().ok()?;
    let execution = ExecutionId::from_bytes(*columns.first_chunk()?);
    Some((execution, u64::from_be_bytes(*columns.last_chunk()?)))
}

/// The organization and the number of a key of the feed.
pub(super) fn read_fed(key: &[u8]) -> Option<(OrgId, u64)> {
    let columns: [u8; 20] = key.try_into().ok()?;
    let org = OrgId::from_bytes(*columns.first_chunk()?);
    Some((org, u64::from_be_bytes(*columns.last_chunk()?)))
}

/// The columns of a segment's key.
pub(super) fn read_segment(key: &[u8]) -> Option<(ExecutionId, u32, u64)> {
    let columns: [u8; 24] = key.try_into().ok()?;
    let execution = ExecutionId::from_bytes(*columns.first_chunk()?);
    let epoch = u32::from_be_bytes(*columns.get(12..)?.first_chunk()?);
    Some((execution, epoch, u64::from_be_bytes(*columns.last_chunk()?)))
}

/// The session of an expiry's key.
pub(super) fn read_expiry(key: &[u8]) -> Option<SessionId> {
    let columns: [u8; 24] = key.try_into().ok()?;
    Some(SessionId(uuid::Uuid::from_bytes(*columns.last_chunk()?)))
}

/// The first key behind all that begin with `prefix`.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    // Only a prefix of nothing but 0xff has no key behind it; longer than any key of ours is.
    vec![0xff; 64]
}

/// Moments before 1970 sort first.
const fn ascending(moment_ms: UnixMs) -> u64 {
    moment_ms.cast_unsigned() ^ 1 << 63
}

const fn descending(column: u64) -> UnixMs {
    (!column ^ 1 << 63).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_sorts_newest_first_and_reads_back() {
        let org = OrgId::from_bytes([7; 12]);
        let (low, high) = (ExecutionId::from_bytes([1; 12]), ExecutionId::from_bytes([2; 12]));
        let order = [
            (i64::MAX, low),
            (1_774_000_000_123, high),
            (1_774_000_000_123, low),
            (0, high),
            (-5, high),
            (i64::MIN, low),
        ];
        let keys = order.map(|(start_ms, execution)| listed(org, start_ms, execution));
        assert!(keys.is_sorted());
        for (key, (start_ms, execution)) in keys.iter().zip(order) {
            assert_eq!(read_listed(key), Some((start_ms, execution)));
            assert!(*key >= listed_from(org, start_ms));
            assert!(start_ms == i64::MIN || *key < listed_from(org, start_ms - 1));
        }
    }

    #[test]
    fn other_keys_read_back() {
        let execution = ExecutionId::from_bytes([3; 12]);
        assert_eq!(read_numbered(&numbered(execution, 9)), Some((execution, 9)));
        let org = OrgId::from_bytes([6; 12]);
        assert_eq!(read_fed(&fed(org, 9)), Some((org, 9)));
        assert_eq!(read_segment(&segment(execution, 4, 9)), Some((execution, 4, 9)));
        let session = SessionId(uuid::Uuid::from_u128(5));
        assert_eq!(read_expiry(&expiry(-1, session)), Some(session));
        assert!(expiry(-1, session).as_slice() < expires(0).as_slice());
        assert_eq!(read_segment(b"short"), None);
    }

    #[test]
    fn behind_a_prefix_is_behind_all_its_keys() {
        assert_eq!(behind(&[1, 2]), [1, 3]);
        assert_eq!(behind(&[1, 0xff]), [2]);
        assert!(behind(&[0xff, 0xff]).as_slice() > [0xff; 40].as_slice());
    }
}
