//! The rows of an organization's partition: their kinds, their keys, and reading them.

use serde::de::DeserializeOwned;

use super::Cold;
use crate::clock::UnixMs;
use crate::domain::id::OrgId;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::record;

/// The organization's record, at the empty key.
pub(super) const ORGANIZATION: &str = "org";
/// Its settings, at the empty key; none if none were ever set.
pub(super) const SETTINGS: &str = "settings";
/// `period_ms` → how many runs were started in the period, and when one last was; gone by TTL when the period is over.
pub(super) const RUN_PLACES: &str = "run_places";
/// Bytes kept, at the empty key; none until they were counted.
pub(super) const STORED_BYTES: &str = "stored_bytes";
/// `user` → the member's record.
pub(super) const USER: &str = "user";
/// `user` → where a former member went, see [`super::members`].
pub(super) const LEFT: &str = "left";
/// `user` → who is about to come, see [`super::members`].
pub(super) const ARRIVING: &str = "arriving";
/// `owner created_ms key` → the API key's record.
pub(super) const KEY: &str = "key";
/// `key` → the key of its row in [`KEY`].
pub(super) const KEY_PLACE: &str = "key_place";
/// `created_ms invitation` → the record of an invitation that nobody has redeemed.
pub(super) const INVITATION: &str = "invitation";
/// `created_ms invitation` → the record of one that was redeemed.
pub(super) const REDEEMED: &str = "invitation_redeemed";
/// `invitation` → the key of its row in [`INVITATION`] or [`REDEEMED`].
pub(super) const INVITATION_PLACE: &str = "invitation_place";
/// `email` → the key of the row of the invitation that it got last, in [`INVITATION`].
pub(super) const INVITED: &str = "invited";
/// `created_ms project` → the project's record.
pub(super) const PROJECT: &str = "project";
/// `project` → the key of its row in [`PROJECT`].
pub(super) const PROJECT_PLACE: &str = "project_place";
/// `slug` → the project's id.
pub(super) const PROJECT_SLUG: &str = "project_slug";
/// `project` → its settings, but for what the project's record holds.
pub(super) const PROJECT_SETTINGS: &str = "project_settings";
/// `project variable` → the variable's record.
pub(super) const VARIABLE: &str = "variable";
/// `project name` → the variable's id.
pub(super) const VARIABLE_KEY: &str = "variable_key";
/// `name` → the sealed value.
pub(super) const SEALED: &str = "sealed";
/// `project length group test` → the test. Filled by the quarantine endpoints when they come.
pub(super) const QUARANTINED: &str = "quarantined";
/// `user` → the password reset that was asked for last.
pub(super) const RESET: &str = "reset";
/// `token` → when it expires.
pub(super) const REVOKED: &str = "revoked";
/// The letter's key → a letter that waits.
pub(super) const LETTER: &str = "letter";
/// The letter's key → how it ended, and until when that is remembered; gone by TTL.
pub(super) const LETTER_END: &str = "letter_end";
/// The mark → until when it is remembered; gone by TTL.
pub(super) const TOLD: &str = "told";
/// `nonce` of a claim that was replaced or of a move that was called off: a change that relies on it must not happen any
/// more; gone by TTL.
pub(super) const VOID: &str = "void";

/// A moment whose bytes sort as it does.
pub(super) fn moment(at_ms: UnixMs) -> [u8; 8] {
    (at_ms.cast_unsigned() ^ 1 << 63).to_be_bytes()
}

/// The moment with these stored bytes.
pub(super) fn read_moment(bytes: &[u8]) -> StoreResult<UnixMs> {
    let read = |bytes: [u8; 8]| (u64::from_be_bytes(bytes) ^ 1 << 63).cast_signed();
    bytes.try_into().map(read).map_err(|_| StoreError::Damaged("a moment".into()))
}

/// Above every key that begins with `prefix`: keys have fewer than this many bytes after it.
pub(super) fn upper_bound(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff; 512]].concat()
}

impl Cold {
    /// The value of one row.
    pub(super) async fn value(&self, org: OrgId, kind: &str, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        let found: Option<(Vec<u8>,)> =
            self.cql.first(&self.statements.row, (org.as_bytes().as_slice(), kind, key)).await?;
        Ok(found.map(|(value,)| value))
    }

    /// The record in one row.
    pub(super) async fn record<R: DeserializeOwned>(
        &self,
        org: OrgId,
        kind: &str,
        key: &[u8],
    ) -> StoreResult<Option<R>> {
        self.value(org, kind, key).await?.map(|value| record::decode(&value)).transpose()
    }

    /// The record in the row that another row leads to.
    pub(super) async fn record_at_place<R: DeserializeOwned>(
        &self,
        org: OrgId,
        (place_kind, kind): (&str, &str),
        id: &[u8],
    ) -> StoreResult<Option<R>> {
        match self.value(org, place_kind, id).await? {
            Some(place) => self.record(org, kind, &place).await,
            None => Ok(None),
        }
    }

    /// The last `limit` records whose keys begin with `prefix`, last first.
    pub(super) async fn newest<R: DeserializeOwned>(
        &self,
        org: OrgId,
        kind: &str,
        prefix: &[u8],
        limit: usize,
    ) -> StoreResult<Vec<R>> {
        let values = (org.as_bytes().as_slice(), kind, prefix, upper_bound(prefix));
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            self.cql.first_rows(&self.statements.newest, values, limit).await?;
        rows.into_iter().map(|(_, value)| record::decode(&value)).collect()
    }

    /// The last `limit` values whose keys are not below `least`, last first.
    pub(super) async fn newest_since(
        &self,
        org: OrgId,
        kind: &str,
        least: &[u8],
        limit: usize,
    ) -> StoreResult<Vec<Vec<u8>>> {
        let values = (org.as_bytes().as_slice(), kind, least, upper_bound(&[]));
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            self.cql.first_rows(&self.statements.newest, values, limit).await?;
        Ok(rows.into_iter().map(|(_, value)| value).collect())
    }

    /// Keys and values of all rows whose keys begin with `prefix`. Only for kinds that hold little.
    pub(super) async fn all(
        &self,
        org: OrgId,
        kind: &str,
        prefix: &[u8],
    ) -> StoreResult<Vec<(Vec<u8>, Vec<u8>)>> {
        let values = (org.as_bytes().as_slice(), kind, prefix, upper_bound(prefix));
        self.cql.first_rows(&self.statements.slice, values, usize::MAX).await
    }

    /// Keys and values of the first `limit` rows whose keys are `first` or later.
    pub(super) async fn from(
        &self,
        org: OrgId,
        kind: &str,
        first: &[u8],
        limit: usize,
    ) -> StoreResult<Vec<(Vec<u8>, Vec<u8>)>> {
        let values = (org.as_bytes().as_slice(), kind, first, upper_bound(&[]));
        self.cql.first_rows(&self.statements.slice, values, limit).await
    }

    /// Whether at least `max` rows have keys that begin with `prefix`.
    pub(super) async fn reaches(&self, org: OrgId, kind: &str, prefix: &[u8], max: u64) -> StoreResult<bool> {
        // A limit that no number of rows reaches is none.
        let Ok(max) = u32::try_from(max) else { return Ok(false) };
        let values = (org.as_bytes().as_slice(), kind, prefix, upper_bound(prefix));
        let found: Vec<(Vec<u8>,)> = self.cql.first_rows(&self.statements.keys, values, max as usize).await?;
        Ok(found.len() >= max as usize)
    }

    /// Where a record is that is looked for without its organization: the organization, and what else leads to it.
    pub(super) async fn place_of(&self, space: &str, name: &[u8]) -> StoreResult<Option<(OrgId, Vec<u8>)>> {
        let found: Option<(Vec<u8>, Vec<u8>)> =
            self.cql.first(&self.statements.lookup, (space, name)).await?;
        found.map(|(org, record)| Ok((org_id(&org)?, record))).transpose()
    }
}

/// The organization with these stored bytes.
pub(super) fn org_id(bytes: &[u8]) -> StoreResult<OrgId> {
    id_bytes(bytes).map(OrgId::from_bytes)
}

/// The bytes of a stored id.
pub(super) fn id_bytes(bytes: &[u8]) -> StoreResult<[u8; 12]> {
    bytes.try_into().map_err(|_| StoreError::Damaged(format!("an id of {} bytes", bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sort_as_their_bytes_and_prefixes_lie_below_their_bound() {
        let moments = [i64::MIN, -1, 0, 1, 1_774_000_000_123, i64::MAX].map(moment);
        assert!(moments.is_sorted());
        assert_eq!(moment(-1), [0x7f, 255, 255, 255, 255, 255, 255, 255]);
        assert!([b"owner".as_slice(), &[0xff; 20]].concat() < upper_bound(b"owner"));
        assert!(b"ownes".as_slice() > upper_bound(b"owner").as_slice());
    }
}
