//! Stored bytes: one version byte, then the record in postcard's compact form. Every record that reaches a disk goes
//! through here, so that a later build can tell what an earlier one wrote. Golden samples of each version live in
//! `tests/golden/`. Fields of a stored struct are never reordered, removed or inserted: a changed record is a new version.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::{StoreError, StoreResult};

/// The version that is written.
pub const VERSION: u8 = 1;

/// The stored form of `record`.
///
/// # Errors
/// `Unavailable` if the record cannot be put into bytes, which no record of this program does.
pub fn encode<T: Serialize + ?Sized>(record: &T) -> StoreResult<Vec<u8>> {
    postcard::to_extend(record, vec![VERSION])
        .map_err(|error| StoreError::Unavailable(format!("a record cannot be encoded: {error}")))
}

/// Reads a stored record back. All bytes must belong to it.
///
/// # Errors
/// `Damaged` if the version is unknown, the bytes do not fit the record, or some are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> StoreResult<T> {
    let damaged = |what: String| StoreError::Damaged(format!("{}: {what}", std::any::type_name::<T>()));
    let (version, body) = bytes.split_first().ok_or_else(|| damaged("an empty record".into()))?;
    if *version != VERSION {
        return Err(damaged(format!("a record of version {version}")));
    }
    match postcard::take_from_bytes(body) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(damaged(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_nothing_else_does() {
        let bytes = encode(&(7_u64, "text")).unwrap();
        assert_eq!(bytes, [1, 7, 4, b't', b'e', b'x', b't']);
        assert_eq!(decode::<(u64, String)>(&bytes), Ok((7, "text".to_owned())));

        let check_damaged = |bytes: &[u8]| {
            let read = decode::<(u64, String)>(bytes);
            assert!(matches!(read, Err(StoreError::Damaged(_))), "{bytes:?}: {read:?}");
        };
        check_damaged(&[]);
        check_damaged(&[2, 7, 4, b't', b'e', b'x', b't']);
        check_damaged(&[1, 7, 4, b't', b'e', b'x']);
        check_damaged(&[1, 7, 4, b't', b'e', b'x', b't', 0]);
        check_damaged(&[1, 7, 4, b't', b'e', b'x', 0xff]);
    }
}
