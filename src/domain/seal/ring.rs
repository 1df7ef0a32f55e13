//! The keys, and what is done with them.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{KeyId, Sealed, SecretText};
use crate::domain::id::OrgId;

/// A key that seals values.
#[derive(Clone)]
pub struct SealingKey {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// Why a sealed value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The ring does not hold the key.
    #[error(
        "a stored secret was sealed with the key {0}, which is not among the sealing keys of this server"
    )]
    UnknownKey(KeyId),
    /// It was changed, or sealed for another organization or under another name.
    #[error("a stored secret is damaged or belongs somewhere else")]
    Refused,
}

impl SealingKey {
    /// The key made of a secret of the operator, of any length from 32 random bytes up.
    #[must_use]
    pub fn from_secret(secret: &[u8]) -> Self {
        let key = Zeroizing::new(derive(secret, b"runstream sealing key"));
        let [a, b, c, d, e, f, g, h, ..] = derive(secret, b"runstream sealing key id");
        Self { id: KeyId([a, b, c, d, e, f, g, h]), cipher: XChaCha20Poly1305::new(&Key::from(*key)) }
    }

    /// What stands in the values it has sealed.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

fn derive(secret: &[u8], purpose: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.chain_update(purpose).finalize().into_bytes().into()
}

/// Seals secrets and opens them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sealer(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    current: SealingKey,
    older: Vec<SealingKey>,
}

impl Sealer {
    /// Seals with `current`; opens what that or an older key has sealed.
    #[must_use]
    pub fn new(current: SealingKey, older: Vec<SealingKey>) -> Self {
        Self(Arc::new(Ring { current, older }))
    }

    /// The key that seals now.
    #[must_use]
    pub fn current_key(&self) -> KeyId {
        self.0.current.id
    }

    /// All keys, the current one first.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> {
        std::iter::once(&self.0.current).chain(&self.0.older).map(SealingKey::id)
    }

    /// Seals `text` for the place `name` of `org`; each time differently.
    ///
    /// # Panics
    /// If the text is longer than 256 GiB.
    #[must_use]
    pub fn seal(&self, org: OrgId, name: &str, text: &SecretText) -> Sealed {
        let SealingKey { id, cipher } = &self.0.current;
        let nonce: [u8; 24] = rand::random();
        let place = place(org, name);
        let payload = Payload { msg: text.expose().as_bytes(), aad: &place };
        let ciphertext = cipher.encrypt(&XNonce::from(nonce), payload);
        let ciphertext = ciphertext.expect("a text that fits into memory is below the limit of the cipher");
        Sealed { key: *id, nonce, ciphertext }
    }

    /// The text that was sealed for the place `name` of `org`.
    ///
    /// # Errors
    /// `UnknownKey` if the key is missing, `Refused` if this is not what was sealed for this place.
    pub fn open(&self, org: OrgId, name: &str, sealed: &Sealed) -> Result<SecretText, OpenError> {
        let mut keys = std::iter::once(&self.0.current).chain(&self.0.older);
        let key = keys.find(|key| key.id == sealed.key).ok_or(OpenError::UnknownKey(sealed.key))?;
        let place = place(org, name);
        let payload = Payload { msg: &sealed.ciphertext, aad: &place };
        let opened = key.cipher.decrypt(&XNonce::from(sealed.nonce), payload);
        let text = String::from_utf8(opened.map_err(|_| OpenError::Refused)?);
        text.map(SecretText::from).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            OpenError::Refused
        })
    }

    /// The same secret under the current key; `None` if that has sealed it already.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn reseal(&self, org: OrgId, name: &str, sealed: &Sealed) -> Result<Option<Sealed>, OpenError> {
        let text = self.open(org, name, sealed)?;
        Ok((sealed.key != self.current_key()).then(|| self.seal(org, name, &text)))
    }
}

/// What binds a value to its place. The organization's id has a fixed width, so no two places look alike.
fn place(org: OrgId, name: &str) -> Vec<u8> {
    [org.as_bytes().as_slice(), name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(letter: u8) -> SealingKey {
        SealingKey::from_secret(&[letter; 32])
    }

    fn org(number: u8) -> OrgId {
        OrgId::from_bytes([number; 12])
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let sealer = Sealer::new(key(1), Vec::new());
        let sealed = sealer.seal(org(1), "slackWebhookUrl", &"tea leaves".into());
        assert!(sealer.open(org(1), "slackWebhookUrl", &sealed).unwrap().matches("tea leaves"));
        for (other_org, name) in [(org(2), "slackWebhookUrl"), (org(1), "slackWebhookUr"), (org(1), "")] {
            assert_eq!(sealer.open(other_org, name, &sealed).err(), Some(OpenError::Refused), "{name}");
        }
        let again = sealer.seal(org(1), "slackWebhookUrl", &"tea leaves".into());
        assert!(again.nonce != sealed.nonce && again.ciphertext != sealed.ciphertext);
        let shown = format!("{sealed:?} {sealer:?}");
        assert_eq!(
            shown,
            format!("Sealed({0}) Sealer(Ring {{ current: SealingKey({0}), older: [] }})", sealed.key)
        );
        assert!(serde_json::to_string(&sealed).unwrap_err().to_string().contains("store only"));
        let bytes = postcard::to_allocvec(&sealed).unwrap();
        assert!(!bytes.windows(3).any(|part| part == b"tea"), "sealed, not encoded");
        assert_eq!(postcard::from_bytes::<Sealed>(&bytes).unwrap(), sealed);
    }

    #[test]
    fn every_bit_of_a_sealed_value_counts() {
        let sealer = Sealer::new(key(1), Vec::new());
        let whole = postcard::to_allocvec(&sealer.seal(org(1), "a", &"tea".into())).unwrap();
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            let Ok(changed) = postcard::from_bytes::<Sealed>(&bytes) else { continue };
            let opened = sealer.open(org(1), "a", &changed).err();
            let expected = if at < 64 { OpenError::UnknownKey(changed.key) } else { OpenError::Refused };
            assert_eq!(opened, Some(expected), "bit {at}");
        }
    }

    #[test]
    fn an_older_key_opens_and_the_current_one_seals() {
        let before = Sealer::new(key(1), Vec::new());
        let sealed = before.seal(org(1), "a", &"tea".into());
        let after = Sealer::new(key(2), vec![key(1)]);
        assert!(after.open(org(1), "a", &sealed).unwrap().matches("tea"));
        let resealed = after.reseal(org(1), "a", &sealed).unwrap().unwrap();
        assert_eq!(resealed.key(), after.current_key());
        assert_eq!(after.reseal(org(1), "a", &resealed), Ok(None));
        assert_eq!(after.reseal(org(1), "b", &sealed), Err(OpenError::Refused));

        let alone = Sealer::new(key(2), Vec::new());
        assert!(alone.open(org(1), "a", &resealed).unwrap().matches("tea"));
        let missing = alone.open(org(1), "a", &sealed).unwrap_err();
        assert_eq!(missing, OpenError::UnknownKey(key(1).id()));
        assert!(missing.to_string().contains(&key(1).id().to_string()), "{missing}");
        assert_eq!(after.keys().collect::<Vec<_>>(), [key(2).id(), key(1).id()]);
    }

    /// The derivation of keys and the format are fixed. The sample was made by another implementation of the cipher.
    #[test]
    fn a_value_of_the_first_build_opens() {
        let sealer = Sealer::new(SealingKey::from_secret(b"0123456789abcdef0123456789abcdef"), Vec::new());
        let golden = include_str!("../../../tests/golden/sealed.v1.hex").trim();
        let pairs = golden.as_bytes().as_chunks::<2>().0;
        let bytes =
            pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        let sealed: Sealed = postcard::from_bytes(&bytes.collect::<Vec<_>>()).unwrap();
        let opened = sealer.open(org(7), "variable/1/2", &sealed).unwrap();
        assert!(opened.matches("the first build's secret"));
    }
}
