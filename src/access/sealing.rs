//! The file of sealing keys in the data folder, and how its keys change: a new one is put in front while the older ones still
//! open what they sealed, and these go when nothing is sealed with them any more. Whoever is stopped in between goes on
//! where it was.

use std::path::Path;

use super::secrets::{Secret, SecretError, load, load_or_create, save};
use crate::domain::seal::{KeyId, SealingKey};

/// Holds the sealing keys, one a line, the current one first.
const FILE: &str = "sealing.secret";

/// The current sealing key and the older ones: those that are configured, then those of the folder; if there is none, one
/// is made.
pub(super) fn keys(dir: &Path, configured: Vec<Secret>) -> Result<(Secret, Vec<Secret>), SecretError> {
    let path = dir.join(FILE);
    let kept = load(&path)?.unwrap_or_default();
    let mut keys = configured.into_iter().chain(kept);
    let current = match keys.next() {
        Some(current) => current,
        None => load_or_create(&path)?,
    };
    Ok((current, keys.collect()))
}

/// Puts a new key in front of those of the folder, unless there are older ones already: then an earlier change of keys has
/// not come to its end, and its new key is the one. Blocks.
///
/// # Errors
/// `Malformed` or `Io`, naming the file.
pub fn begin_key_change(dir: &Path) -> Result<(), SecretError> {
    let path = dir.join(FILE);
    let mut secrets = load(&path)?.unwrap_or_default();
    if secrets.len() > 1 {
        return Ok(());
    }
    secrets.insert(0, Secret::generate());
    save(&path, &secrets).map_err(|source| SecretError::Io { path, source })
}

/// Removes all keys of the folder but the first one and those that `is_used`; returns how many it removed. Blocks.
///
/// # Errors
/// `Malformed` or `Io`, naming the file.
pub fn end_key_change(dir: &Path, is_used: impl Fn(KeyId) -> bool) -> Result<usize, SecretError> {
    let path = dir.join(FILE);
    let secrets = load(&path)?.unwrap_or_default();
    let before = secrets.len();
    let mut is_first = true;
    let kept: Vec<_> = secrets
        .into_iter()
        .filter(|secret| {
            std::mem::take(&mut is_first) || is_used(SealingKey::from_secret(secret.expose()).id())
        })
        .collect();
    let removed = before - kept.len();
    if removed > 0 {
        save(&path, &kept).map_err(|source| SecretError::Io { path, source })?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{ConfiguredSecrets, Secrets};

    fn ids(dir: &Path, configured: Vec<Secret>) -> Vec<KeyId> {
        let configured = ConfiguredSecrets { sealing: configured, ..ConfiguredSecrets::default() };
        Secrets::load_or_create(dir, configured).unwrap().sealer().keys().collect()
    }

    #[test]
    fn configured_keys_come_first_and_those_of_the_folder_still_open() {
        let data = tempfile::tempdir().unwrap();
        let generated = ids(data.path(), Vec::new());
        let secret = |letter: u8| Secret::new([letter; 32]).unwrap();
        let key = |letter: u8| SealingKey::from_secret(&[letter; 32]).id();
        let both = || vec![secret(1), secret(2)];
        assert_eq!(ids(data.path(), both()), [key(1), key(2), generated[0]]);
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(ids(elsewhere.path(), both()), [key(1), key(2)]);
        assert!(!elsewhere.path().join(FILE).exists(), "none is made beside configured ones");
    }

    #[test]
    fn a_change_of_keys_goes_on_where_it_was() {
        let data = tempfile::tempdir().unwrap();
        let old = ids(data.path(), Vec::new())[0];
        begin_key_change(data.path()).unwrap();
        let both = ids(data.path(), Vec::new());
        assert!(both[0] != old && both[1] == old, "{both:?}");
        begin_key_change(data.path()).unwrap();
        assert_eq!(ids(data.path(), Vec::new()), both, "no third one");

        assert_eq!(end_key_change(data.path(), |key| key == old).unwrap(), 0, "it is used");
        assert_eq!(end_key_change(data.path(), |_| false).unwrap(), 1);
        assert_eq!(ids(data.path(), Vec::new()), both[..1]);
        assert_eq!(end_key_change(data.path(), |_| false).unwrap(), 0, "the first one stays");
    }
}
