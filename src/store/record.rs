//! Stored bytes: one version byte, then the record in postcard's compact form. Every record that reaches a disk goes
//! through here, so that a later build can tell what an earlier one wrote. Golden samples of each version live in
//! `tests/golden/`. Fields of a stored struct are never reordered, removed or inserted: a changed record is a new version.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::contract::{StoreError, StoreResult};

/// The version that is written.
pub const VERSION: u8 = 1;
/// Room that is made for a record at first.
const ROOM_BYTES: usize = 128;
/// The version of a record that something was added to: the record as it was, then what was added.
const VERSION_WITH: u8 = 2;

/// The stored form of `record`.
///
/// # Errors
/// `Unavailable` if the record cannot be put into bytes, which no record of this program does.
pub fn encode<T: Serialize + ?Sized>(record: &T) -> StoreResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROOM_BYTES);
    encode_into(record, &mut bytes)?;
    Ok(bytes)
}

/// Appends the stored form of `record`.
///
/// # Errors
/// As [`encode`].
pub fn encode_into<T: Serialize + ?Sized>(record: &T, bytes: &mut Vec<u8>) -> StoreResult<()> {
    bytes.push(VERSION);
    append(record, bytes)
}

fn append<T: Serialize + ?Sized>(record: &T, bytes: &mut Vec<u8>) -> StoreResult<()> {
    postcard::serialize_with_flavor(record, Append(bytes))
        .map_err(|error| StoreError::Unavailable(format!("a record cannot be encoded: {error}")))
}

/// Where encoded bytes go: whole slices at a time.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
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

/// The stored form of `record` with what its second version added to it.
///
/// # Errors
/// As [`encode`].
pub fn encode_with<T: Serialize + ?Sized, A: Serialize>(record: &T, added: &A) -> StoreResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROOM_BYTES);
    bytes.push(VERSION_WITH);
    append(&(record, added), &mut bytes)?;
    Ok(bytes)
}

/// Reads back what [`encode_with`] wrote, or the first version, which has the default of what was added.
///
/// # Errors
/// As [`decode`].
pub fn decode_with<T: DeserializeOwned, A: DeserializeOwned + Default>(bytes: &[u8]) -> StoreResult<(T, A)> {
    let damaged = |what: String| StoreError::Damaged(format!("{}: {what}", std::any::type_name::<T>()));
    let Some((&VERSION_WITH, body)) = bytes.split_first() else {
        return Ok((decode(bytes)?, A::default()));
    };
    match postcard::take_from_bytes(body) {
        Ok((record, [])) => Ok(record),
        Ok((_, rest)) => Err(damaged(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// Samples of records that only the stores know; those of others are in `tests/store/golden.rs`.
#[cfg(test)]
pub(in crate::store) mod golden {
    /// Holds `tests/golden/<name>.hex` against what is written; returns it, for what is to be read from it.
    #[track_caller]
    pub(in crate::store) fn check(name: &str, written: &[u8]) -> Vec<u8> {
        let golden = read(name);
        assert_eq!(hex(written), hex(&golden), "what is written: {name}");
        golden
    }

    /// The bytes of `tests/golden/<name>.hex`.
    #[track_caller]
    pub(in crate::store) fn read(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        let (pairs, _) = golden.trim().as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        pairs.iter().map(byte).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

    #[test]
    fn a_record_that_was_added_to_reads_in_both_versions() {
        let bytes = encode_with(&"text", &7_u64).unwrap();
        assert_eq!(bytes, [2, 4, b't', b'e', b'x', b't', 7]);
        assert_eq!(decode_with::<String, u64>(&bytes), Ok(("text".to_owned(), 7)));
        let first = encode(&"text").unwrap();
        assert_eq!(decode_with::<String, u64>(&first), Ok(("text".to_owned(), 0)));
        for damaged in [&bytes[..6], &[bytes.as_slice(), &[0]].concat(), &[3, 0], &[]] {
            let read = decode_with::<String, u64>(damaged);
            assert!(matches!(read, Err(StoreError::Damaged(_))), "{damaged:?}: {read:?}");
        }
    }
}
