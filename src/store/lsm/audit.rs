//! The audit log: entries by organization and age, and an index by age alone for forgetting them.

use fjall::SingleWriterWriteTx;

use super::db::Db;
use super::table::{Key, Table};
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::OrgId;
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::{AuditFilter, StoreResult};

/// `org timestamp_ms entry`.
pub(super) const AUDIT: Table<AuditEntry> = Table::named("audit");
/// `timestamp_ms org entry`.
const AUDIT_BY_AGE: Table<()> = Table::named("audit_by_age");
/// `org` → how many entries it has.
const AUDIT_COUNTS: Table<u64> = Table::named("audit_counts");
/// Bytes of an index key's moment, and of that and the organization.
const MOMENT_BYTES: usize = 8;
const MOMENT_AND_ORG_BYTES: usize = MOMENT_BYTES + 12;

fn org_key(org: OrgId) -> Key {
    Key::new().id(org.as_bytes())
}

/// Adds an entry to the caller's transaction.
pub(super) fn put(db: &Db, change: &mut SingleWriterWriteTx<'_>, entry: &AuditEntry) -> StoreResult<()> {
    let (org, id) = (entry.org.as_bytes(), entry.id.as_bytes());
    AUDIT.put(db, change, org_key(entry.org).moment(entry.timestamp_ms).id(id), entry)?;
    AUDIT_BY_AGE.put(db, change, Key::new().moment(entry.timestamp_ms).id(org).id(id), &())?;
    AUDIT_COUNTS.add(db, change, org_key(entry.org), 1)
}

/// A page of an organization's entries, newest first, and how many it has.
pub(super) fn page(db: &Db, org: OrgId, limit: usize, offset: usize) -> StoreResult<(Vec<AuditEntry>, u64)> {
    let view = db.inner().read_tx();
    let total = AUDIT_COUNTS.count(db, &view, &org_key(org))?;
    let newest = AUDIT.records(db, &view, &org_key(org))?.rev();
    let page = newest.skip(offset).take(limit.min(ROWS_PER_CALL_MAX)).collect::<StoreResult<_>>()?;
    Ok((page, total))
}

/// As [`page`], of the entries that `filter` lets through. All of its time are read, one after the other.
pub(super) fn filtered(
    db: &Db,
    org: OrgId,
    filter: &AuditFilter,
    limit: usize,
    offset: usize,
) -> StoreResult<(Vec<AuditEntry>, u64)> {
    if filter.is_open() {
        return page(db, org, limit, offset);
    }
    let (from_ms, to_ms) = (filter.from_ms.unwrap_or(UnixMs::MIN), filter.to_ms.unwrap_or(UnixMs::MAX));
    let (mut entries, mut total) = (Vec::new(), 0_u64);
    if from_ms <= to_ms {
        let view = db.inner().read_tx();
        // Ids come after the moment: nothing of the last moment is beyond this.
        let last = org_key(org).moment(to_ms).id(&[0xff; 13]);
        for entry in AUDIT.range(db, &view, &org_key(org).moment(from_ms), &last)?.rev() {
            let entry = entry?;
            if !filter.matches(&entry) {
                continue;
            }
            if total >= offset as u64 && entries.len() < limit.min(ROWS_PER_CALL_MAX) {
                entries.push(entry);
            }
            total += 1;
        }
    }
    Ok((entries, total))
}

/// Forgets up to `limit` entries older than `before_ms`.
pub(super) fn purge(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    before_ms: UnixMs,
    limit: usize,
) -> StoreResult<u64> {
    let over = AUDIT_BY_AGE.keys_before(db, change, before_ms, limit)?;
    for key in &over {
        let part = |range: std::ops::Range<usize>| key.get(range).unwrap_or_default();
        let org = part(MOMENT_BYTES..MOMENT_AND_ORG_BYTES);
        let (moment, id) = (part(0..MOMENT_BYTES), part(MOMENT_AND_ORG_BYTES..key.len()));
        AUDIT.remove(db, change, Key::new().id(org).id(moment).id(id))?;
        AUDIT_BY_AGE.remove(db, change, Key::new().id(key))?;
        AUDIT_COUNTS.add(db, change, Key::new().id(org), -1)?;
    }
    Ok(over.len() as u64)
}

/// Takes in an entry that is copied.
pub(super) fn take_in(db: &Db, change: &mut SingleWriterWriteTx<'_>, entry: &AuditEntry) -> StoreResult<()> {
    let key = org_key(entry.org).moment(entry.timestamp_ms).id(entry.id.as_bytes());
    if AUDIT.has(db, change, &key)? { Ok(()) } else { put(db, change, entry) }
}
