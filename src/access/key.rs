//! API keys: random text shown once, of which the server keeps a keyed hash and a display prefix.
//! Source: API reference, identity 2.2.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::secrets::{Secret, to_hex};
use crate::domain::account::KeyHash;
use crate::limits::KEY_HASHES_KEPT;

/// Random bytes of a key.
const RANDOM_BYTES: usize = 24;
/// What every key begins with. Clients and this server do not judge a key by it.
const MARK: &str = "pk_live_";
/// Characters of a key that are shown afterwards.
const SHOWN_CHARS: usize = 12;

/// A key that was just made. Its text is shown once and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The text that the client sends.
    pub text: String,
    /// What is shown of it afterwards.
    pub prefix: String,
    /// What the store knows of it.
    pub hash: KeyHash,
}

/// Without the text and its hash.
impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Hashes keys with a secret of the server, so that a stolen store is no list of usable hashes.
pub(super) struct KeyHasher {
    /// The state after the secret; each hash starts from a copy.
    keyed: Hmac<Sha256>,
    /// Hashes of keys that are in use: a key comes with every request, and hashing it anew costs as much as parsing a
    /// small body. That a hash is remembered says nothing of its key being valid.
    remembered: Box<[Mutex<Option<Remembered>>]>,
    placement: RandomState,
}

/// A key's text and its hash.
struct Remembered {
    text: Box<[u8]>,
    hash: KeyHash,
}

impl KeyHasher {
    pub(super) fn new(secret: &Secret) -> Self {
        Self::of(Hmac::new_from_slice(secret.expose()).expect("HMAC takes keys of any length"))
    }

    fn of(keyed: Hmac<Sha256>) -> Self {
        let remembered = (0..KEY_HASHES_KEPT).map(|_| Mutex::default()).collect();
        Self { keyed, remembered, placement: RandomState::default() }
    }

    /// The keyed hash of a key's text, if it is remembered.
    pub(super) fn recall(&self, text: &[u8]) -> Option<KeyHash> {
        let place = self.place(text)?;
        place.as_ref().filter(|known| are_equal(&known.text, text)).map(|known| known.hash)
    }

    /// Remembers the hash of a key that is in use.
    pub(super) fn remember(&self, text: &[u8], hash: KeyHash) {
        if let Some(mut place) = self.place(text) {
            *place = Some(Remembered { text: text.into(), hash });
        }
    }

    fn place(&self, text: &[u8]) -> Option<MutexGuard<'_, Option<Remembered>>> {
        let at = usize::try_from(self.placement.hash_one(text) % (KEY_HASHES_KEPT as u64)).ok()?;
        self.remembered.get(at).map(|place| place.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keyed hash of a key's text.
    pub(super) fn hash(&self, text: &[u8]) -> KeyHash {
        self.keyed.clone().chain_update(text).finalize().into_bytes().into()
    }

    /// A new key.
    pub(super) fn generate(&self) -> NewKey {
        let text = format!("{MARK}{}", to_hex(&rand::random::<[u8; RANDOM_BYTES]>()));
        let shown = text.get(..SHOWN_CHARS).unwrap_or(&text);
        NewKey { prefix: format!("{shown}..."), hash: self.hash(text.as_bytes()), text }
    }
}

/// Compares two texts in a time that tells nothing but whether their lengths are equal; eight bytes at a time.
fn are_equal(known: &[u8], shown: &[u8]) -> bool {
    let ((known, known_rest), (shown, shown_rest)) = (known.as_chunks::<8>(), shown.as_chunks::<8>());
    let mut equal = known_rest.ct_eq(shown_rest) & known.len().ct_eq(&shown.len());
    for (known, shown) in known.iter().zip(shown) {
        equal &= u64::from_ne_bytes(*known).ct_eq(&u64::from_ne_bytes(*shown));
    }
    equal.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_published_shape_and_a_hash_that_needs_the_secret() {
        let secret = Secret::generate();
        let key = KeyHasher::new(&secret).generate();
        let random = key.text.strip_prefix("pk_live_").unwrap();
        assert_eq!(random.len(), 48);
        assert!(random.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        assert_eq!(key.prefix, format!("pk_live_{}...", &random[..4]));
        assert_eq!(KeyHasher::new(&secret).hash(key.text.as_bytes()), key.hash);
        assert_ne!(KeyHasher::new(&Secret::generate()).hash(key.text.as_bytes()), key.hash);
        assert_ne!(KeyHasher::new(&secret).generate().text, key.text);
        assert!(!format!("{key:?}").contains(random));
    }

    #[test]
    fn a_remembered_hash_is_that_of_its_key_only() {
        let hasher = KeyHasher::new(&Secret::generate());
        // More keys than places: some take the place of others.
        let keys: Vec<_> = (0..2 * KEY_HASHES_KEPT).map(|_| hasher.generate()).collect();
        for key in &keys {
            let text = key.text.as_bytes();
            assert_eq!(hasher.recall(text), None);
            hasher.remember(text, key.hash);
            assert_eq!(hasher.recall(text), Some(key.hash));
            assert_eq!(hasher.recall(text.split_last().unwrap().1), None);
            assert!(!are_equal(text, text.split_last().unwrap().1));
            for at in 0..text.len() {
                let mut other = text.to_vec();
                other[at] ^= 1;
                assert!(!are_equal(text, &other), "{at}");
            }
        }
        let kept = keys.iter().filter_map(|key| Some((key.hash, hasher.recall(key.text.as_bytes())?)));
        let kept: Vec<_> = kept.collect();
        assert!(kept.iter().all(|(hash, recalled)| hash == recalled));
        assert!((1..=KEY_HASHES_KEPT).contains(&kept.len()), "{}", kept.len());
    }

    #[test]
    fn the_hash_is_hmac_sha_256() {
        // RFC 4231, test case 1: twenty bytes of 0x0b. The hasher's own minimum is longer, HMAC's is not.
        let keyed = Hmac::<Sha256>::new_from_slice(&[0x0b; 20]).unwrap();
        let hash = KeyHasher::of(keyed).hash(b"Hi There");
        assert_eq!(to_hex(&hash), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
}
