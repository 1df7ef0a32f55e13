//! Counted login tries: the gate that parallel guesses cannot slip through. Pure but for the table it is kept in.

use fjall::SingleWriterWriteTx;
use serde::{Deserialize, Serialize};

use super::db::Db;
use super::table::{Key, Table};
use crate::clock::UnixMs;
use crate::store::contract::{LoginGate, StoreResult};

/// `email` → its counted tries.
const LOGINS: Table<Tries> = Table::named("login_tries");
/// `forget_ms email`, for forgetting them.
const LOGINS_BY_EXPIRY: Table<()> = Table::named("login_tries_by_expiry");
/// Bytes of an index key before the address.
const MOMENT_BYTES: usize = 8;

/// The tries counted for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Tries {
    /// Tries that were not taken back.
    count: u32,
    /// End of the window that the first of them opened; Unix milliseconds.
    window_end_ms: UnixMs,
    /// Set once they reached the threshold; Unix milliseconds.
    locked_until_ms: Option<UnixMs>,
}

impl Tries {
    /// When nothing of this matters any more.
    fn forget_ms(self) -> UnixMs {
        self.locked_until_ms.unwrap_or(self.window_end_ms)
    }
}

/// The bounds of a gate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) threshold: u32,
    pub(super) window_ms: i64,
    pub(super) lock_ms: i64,
}

/// Counts a try that `stored` lets through: what to store instead, or when to come back.
fn count_try(stored: Option<Tries>, now_ms: UnixMs, bounds: Bounds) -> Result<(Tries, LoginGate), UnixMs> {
    let current = stored.filter(|tries| now_ms < tries.forget_ms());
    if let Some(locked_until_ms) = current.and_then(|tries| tries.locked_until_ms) {
        return Err(locked_until_ms);
    }
    let fresh =
        Tries { count: 0, window_end_ms: now_ms.saturating_add(bounds.window_ms), locked_until_ms: None };
    let mut tries = current.unwrap_or(fresh);
    tries.count = tries.count.saturating_add(1);
    if tries.count < bounds.threshold {
        return Ok((tries, LoginGate::Open));
    }
    tries.locked_until_ms = Some(now_ms.saturating_add(bounds.lock_ms));
    Ok((tries, LoginGate::Last))
}

/// Counts a try within the caller's transaction.
pub(super) fn begin(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    email: &str,
    now_ms: UnixMs,
    bounds: Bounds,
) -> StoreResult<LoginGate> {
    match count_try(LOGINS.get(db, change, &Key::new().text(email))?, now_ms, bounds) {
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
    match tries.count.saturating_sub(1) {
        0 => Ok(()),
        count => put(db, change, email, Tries { count, locked_until_ms: None, ..tries }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_opens_with_the_first_try_and_a_lock_is_not_extended() {
        let bounds = Bounds { threshold: 3, window_ms: 100, lock_ms: 1_000 };
        let step = |stored, now| count_try(stored, now, bounds);
        let (one, gate) = step(None, 50).unwrap();
        assert_eq!((one.window_end_ms, gate), (150, LoginGate::Open));
        let (two, _) = step(Some(one), 149).unwrap();
        assert_eq!((two.count, two.window_end_ms), (2, 150));
        assert_eq!(step(Some(two), 150).unwrap().0.count, 1, "a new window");
        let (three, gate) = step(Some(two), 149).unwrap();
        assert_eq!((three.locked_until_ms, gate), (Some(1_149), LoginGate::Last));
        assert_eq!(step(Some(three), 151), Err(1_149), "a lock outlives the window");
        assert_eq!(step(Some(three), 1_148), Err(1_149));
        assert_eq!(step(Some(three), 1_149).unwrap().0.count, 1);
    }

    #[test]
    fn the_first_stored_form_still_reads() {
        let tries = Tries { count: 5, window_end_ms: 1_000, locked_until_ms: Some(-2) };
        let bytes = [1, 5, 0xd0, 0x0f, 1, 3];
        assert_eq!(crate::store::record::encode(&tries).as_deref(), Ok(&bytes[..]));
        assert_eq!(crate::store::record::decode(&bytes), Ok(tries));
    }
}
