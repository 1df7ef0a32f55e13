//! Identifiers as newtypes. Object ids are 24 lower-case hex characters outside and 12 bytes inside; the first
//! four bytes are the creation time in seconds, so ids sort by creation. Source: API reference, identity 1.4.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::UnixMs;

/// The text is not an identifier of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed identifier")]
pub struct MalformedId;

fn object_id_bytes(now_ms: UnixMs) -> [u8; 12] {
    let mut bytes: [u8; 12] = rand::random();
    let seconds = u32::try_from(now_ms / 1000).unwrap_or(u32::MAX);
    for (slot, byte) in bytes.iter_mut().zip(seconds.to_be_bytes()) {
        *slot = byte;
    }
    bytes
}

fn parse_object_id(text: &str) -> Result<[u8; 12], MalformedId> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(MalformedId),
    };
    let pairs: &[[u8; 2]; 12] = text.as_bytes().as_chunks::<2>().0.try_into().map_err(|_| MalformedId)?;
    if text.len() != 24 {
        return Err(MalformedId);
    }
    let mut bytes = [0; 12];
    for (slot, [high, low]) in bytes.iter_mut().zip(pairs) {
        *slot = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(bytes)
}

fn write_hex(bytes: &[u8; 12], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 12]);

        impl $name {
            /// A new id whose time part is `now_ms` (Unix milliseconds) and whose rest is random.
            #[must_use]
            pub fn generate(now_ms: UnixMs) -> Self {
                Self(object_id_bytes(now_ms))
            }

            /// The id with these bytes, as a store gave them back.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 12]) -> Self {
                Self(bytes)
            }

            /// The twelve bytes, big-endian time first.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 12] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        /// Hex text for people and JSON, twelve bytes for stored records.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }
    };
}

macro_rules! readable_id {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                parse_object_id(text).map(Self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 12]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

object_id! {
    /// An organization, the tenant. It has neither `FromStr` nor `Deserialize` on purpose: an organization comes
    /// from a verified credential or from the store, never from a path, a query or a body.
    OrgId
}
object_id! {
    /// A person's account.
    UserId
}
object_id! {
    /// A project of an organization.
    ProjectId
}
object_id! {
    /// The stored execution (`_id`); the public handle is the [`TaskId`].
    ExecutionId
}
object_id! {
    /// A test cycle.
    CycleId
}
object_id! {
    /// An API key's record, not its secret.
    ApiKeyId
}
object_id! {
    /// An audit entry.
    AuditId
}
object_id! {
    /// An environment variable of a project.
    VariableId
}
object_id! {
    /// An invitation's record, not its token.
    InvitationId
}
readable_id!(UserId);
readable_id!(ProjectId);
readable_id!(ExecutionId);
readable_id!(CycleId);
readable_id!(ApiKeyId);
readable_id!(AuditId);
readable_id!(VariableId);
readable_id!(InvitationId);

/// `#[serde(with = "stored_org")]` for records: the one way an [`OrgId`] is read back from bytes.
pub mod stored_org {
    use super::{Deserialize, Deserializer, OrgId, Serialize, Serializer};

    /// Writes the twelve bytes.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(org: &OrgId, serializer: S) -> Result<S::Ok, S::Error> {
        org.as_bytes().serialize(serializer)
    }

    /// Reads the twelve bytes.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrgId, D::Error> {
        <[u8; 12]>::deserialize(deserializer).map(OrgId::from_bytes)
    }
}

/// An ingest session: a UUID v4, compared without regard to case, printed in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub uuid::Uuid);

impl SessionId {
    /// A new random session id.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = MalformedId;

    /// Accepts the hyphenated form only, as the contract's clients send it.
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        if text.len() != 36 {
            return Err(MalformedId);
        }
        uuid::Uuid::try_parse(text).map(Self).map_err(|_| MalformedId)
    }
}

/// An execution's public name: opaque text, unique within its organization.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub std::sync::Arc<str>);

impl TaskId {
    /// The task id of an ingest run: `ingest-<epoch ms>-<first 8 characters of the session id>`.
    #[must_use]
    pub fn of_ingest(now_ms: UnixMs, session: SessionId) -> Self {
        let session = session.to_string();
        let head = session.get(..8).unwrap_or(&session);
        Self(format!("ingest-{now_ms}-{head}").into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TaskId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lacks::assert_lacks;

    #[test]
    fn an_organization_is_read_from_nothing_a_client_sends() {
        assert_lacks!(OrgId: FromStr, Deserialize<'static>, TryFrom<&'static str>, TryFrom<String>);
        assert_lacks!(OrgId: From<[u8; 12]>, Default);
    }

    #[test]
    fn object_ids_read_exactly_what_they_print() {
        let id = ProjectId::generate(1_774_000_000_123);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("69bd1780"), "{id}");
        for bad in [
            "",
            "690a11b2c3d4e5f60718293",
            "690a11b2c3d4e5f6071829300",
            "690A11B2C3D4E5F607182930",
            "zz0a11b2c3d4e5f607182930",
            "690a11b2c3d4e5f6071829é",
        ] {
            assert_eq!(bad.parse::<ProjectId>(), Err(MalformedId), "{bad}");
        }
    }

    #[test]
    fn session_ids_ignore_case_and_take_one_form() {
        let lower: SessionId = "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6".parse().unwrap();
        assert_eq!("B1D6C0F2-58A3-4E97-8C14-2F7A90E3D5B6".parse(), Ok(lower));
        assert_eq!("b1d6c0f258a34e978c142f7a90e3d5b6".parse::<SessionId>(), Err(MalformedId));
        assert_eq!(TaskId::of_ingest(1_774_000_000_123, lower).as_str(), "ingest-1774000000123-b1d6c0f2");
    }
}
