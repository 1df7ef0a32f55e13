//! Counted login tries as rows; what counting means stands in [`crate::store::tries`].

use fjall::SingleWriterWriteTx;

use super::db::Db;
use super::table::{Key, Table};
use crate::clock::UnixMs;
use crate::store::contract::{LoginGate, StoreResult};
use crate::store::tries::{Bounds, Tries};

/// `email` → its counted tries.
pub(super) const LOGINS: Table<Tries> = Table::named("login_tries");
/// `forget_ms email`, for forgetting them.
const LOGINS_BY_EXPIRY: Table<()> = Table::named("login_tries_by_expiry");
/// Bytes of an index key before the address.
const MOMENT_BYTES: usize = 8;

/// Counts a try within the caller's transaction.
pub(super) fn begin(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    email: &str,
    now_ms: UnixMs,
    bounds: Bounds,
) -> StoreResult<LoginGate> {
    match Tries::count(LOGINS.get(db, change, &Key::new().text(email))?, now_ms, bounds) {
        Err(locked_until_ms) => Ok(LoginGate::LockedUntil(locked_until_ms)),
        Ok((tries, gate)) => {
            forget(db, change, email)?;
            put(db, change, email, tries)?;
            Ok(gate)
        }
    }
}

/// Takes one counted try back.
pub(super) fn undo(db: &Db, change: &mut SingleWriterWriteTx<'_>, email: &str) -> StoreResult<()> {
    let Some(tries) = LOGINS.get(db, change, &Key::new().text(email))? else { return Ok(()) };
    forget(db, change, email)?;
    match tries.without_last() {
        None => Ok(()),
        Some(fewer) => put(db, change, email, fewer),
    }
}

/// Forgets the tries of an address.
pub(super) fn forget(db: &Db, change: &mut SingleWriterWriteTx<'_>, email: &str) -> StoreResult<()> {
    let key = Key::new().text(email);
    if let Some(tries) = LOGINS.get(db, change, &key)? {
        LOGINS_BY_EXPIRY.remove(db, change, Key::new().moment(tries.forget_ms()).text(email))?;
        LOGINS.remove(db, change, key)?;
    }
    Ok(())
}

/// Forgets up to `limit` addresses whose tries no longer matter.
pub(super) fn purge(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    now_ms: UnixMs,
    limit: usize,
) -> StoreResult<u64> {
    let over = LOGINS_BY_EXPIRY.keys_before(db, change, now_ms, limit)?;
    for key in &over {
        LOGINS.remove(db, change, Key::new().id(key.get(MOMENT_BYTES..).unwrap_or_default()))?;
        LOGINS_BY_EXPIRY.remove(db, change, Key::new().id(key))?;
    }
    Ok(over.len() as u64)
}

fn put(db: &Db, change: &mut SingleWriterWriteTx<'_>, email: &str, tries: Tries) -> StoreResult<()> {
    LOGINS.put(db, change, Key::new().text(email), &tries)?;
    LOGINS_BY_EXPIRY.put(db, change, Key::new().moment(tries.forget_ms()).text(email), &())
}

/// Takes in tries that are copied.
pub(super) fn take_in(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    email: &str,
    tries: Tries,
) -> StoreResult<()> {
    forget(db, change, email)?;
    put(db, change, email, tries)
}
