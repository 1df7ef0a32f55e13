//! The audit log: entries by organization and age, and an index by age alone for forgetting them.

use fjall::SingleWriterWriteTx;

use super::db::Db;
use super::table::{Key, Table};
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::OrgId;
use crate::limits::ROWS_PER_CALL_MAX;
use crate::store::contract::StoreResult;

/// `org timestamp_ms entry`.
const AUDIT: Table<AuditEntry> = Table::named("audit");
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
