//! A sealed value, as it is stored.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer, ser};

/// Which key sealed a value: a digest of it that does not lead back to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret that only the holder of a key can read. It is written to stores only: formats for people, JSON among them,
/// refuse it, and it prints the id of its key and nothing else.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Sealed {
    pub(super) key: KeyId,
    pub(super) nonce: [u8; 24],
    /// As long as the text, and 16 bytes that prove it whole.
    pub(super) ciphertext: Vec<u8>,
}

impl Sealed {
    /// The key that opens it.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Err(ser::Error::custom("a sealed value is for the store only"));
        }
        (self.key, self.nonce, &self.ciphertext).serialize(serializer)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.key)
    }
}
