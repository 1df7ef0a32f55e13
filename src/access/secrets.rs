//! What the server knows and nobody else may: the secrets that sign tokens, hash API keys and seal what is stored. What is
//! not configured is generated on first start and kept in the data folder, readable by its owner only.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;

use super::sealing;
use crate::domain::seal::{Sealer, SealingKey};

/// Mode of a secret's file.
const OWNER_ONLY: u32 = 0o600;

/// Bytes that cannot be printed, only compared and used.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

/// Why a secret is not usable.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Too short to resist guessing.
    #[error("a secret must have at least {} bytes", Secret::BYTES_MIN)]
    TooShort,
    /// The file is not what [`Secrets::load_or_create`] wrote.
    #[error("{} does not hold a secret", .0.display())]
    Malformed(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl Secret {
    /// The shortest secret that is accepted, in bytes.
    pub const BYTES_MIN: usize = 32;

    /// A configured secret.
    ///
    /// # Errors
    /// `TooShort` below [`Secret::BYTES_MIN`].
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, SecretError> {
        let bytes = bytes.into();
        if bytes.len() < Self::BYTES_MIN { Err(SecretError::TooShort) } else { Ok(Self(bytes)) }
    }

    /// A new random secret.
    #[must_use]
    pub fn generate() -> Self {
        Self(rand::random::<[u8; Self::BYTES_MIN]>().into())
    }

    /// Whether `presented` is this secret. Takes the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(presented).into()
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The secrets that an operator has configured; the others are generated.
#[derive(Debug, Clone, Default)]
pub struct ConfiguredSecrets {
    /// Signs tokens.
    pub token: Option<Secret>,
    /// Keys the hash of API keys.
    pub key_hash: Option<Secret>,
    /// Seal what is stored: the first one seals, the others open what they have sealed before.
    pub sealing: Vec<Secret>,
}

/// All secrets of the server.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Signs tokens. A new one voids all tokens.
    pub token: Secret,
    /// Keys the hash of API keys. A new one voids all API keys.
    pub key_hash: Secret,
    /// Seals what is stored. Without it nothing of that can be read.
    pub sealing: Secret,
    /// Sealed what is stored before that.
    pub older_sealing: Vec<Secret>,
}

impl Secrets {
    /// New random secrets that live as long as the process.
    #[must_use]
    pub fn generate() -> Self {
        let (token, key_hash) = (Secret::generate(), Secret::generate());
        Self { token, key_hash, sealing: Secret::generate(), older_sealing: Vec::new() }
    }

    /// The configured secrets, and for each that is not the one kept in `dir`, generated on first use. Sealing keys that
    /// are kept in `dir` open what they have sealed after others are configured too. Blocks.
    ///
    /// # Errors
    /// `Malformed` or `Io`, naming the file. A damaged file is never replaced: that would void what was issued.
    pub fn load_or_create(dir: &Path, configured: ConfiguredSecrets) -> Result<Self, SecretError> {
        let one = |configured: Option<Secret>, name: &str| match configured {
            Some(secret) => Ok(secret),
            None => load_or_create(&dir.join(name)),
        };
        let (sealing, older_sealing) = sealing::keys(dir, configured.sealing)?;
        Ok(Self {
            token: one(configured.token, "token.secret")?,
            key_hash: one(configured.key_hash, "key-hash.secret")?,
            sealing,
            older_sealing,
        })
    }

    /// Seals what is stored, and opens it.
    #[must_use]
    pub fn sealer(&self) -> Sealer {
        let key = |secret: &Secret| SealingKey::from_secret(secret.expose());
        Sealer::new(key(&self.sealing), self.older_sealing.iter().map(key).collect())
    }
}

/// The secret in a file, generated and written on first use.
pub(super) fn load_or_create(path: &Path) -> Result<Secret, SecretError> {
    if let Some(secrets) = load(path)? {
        return match <[Secret; 1]>::try_from(secrets) {
            Ok([secret]) => Ok(secret),
            Err(_) => Err(SecretError::Malformed(path.to_owned())),
        };
    }
    let secret = Secret::generate();
    save(path, std::slice::from_ref(&secret))
        .map_err(|source| SecretError::Io { path: path.to_owned(), source })?;
    Ok(secret)
}

/// The secrets in a file, one a line; at least one. `None` if there is no file.
pub(super) fn load(path: &Path) -> Result<Option<Vec<Secret>>, SecretError> {
    let failed = |source| SecretError::Io { path: path.to_owned(), source };
    let malformed = || SecretError::Malformed(path.to_owned());
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY)).map_err(failed)?;
    let secret = |line: &str| {
        let bytes = from_hex(line).ok_or_else(malformed)?;
        Secret::new(bytes).map_err(|_| malformed())
    };
    let secrets: Vec<_> = text.trim().lines().map(secret).collect::<Result<_, _>>()?;
    if secrets.is_empty() { Err(malformed()) } else { Ok(Some(secrets)) }
}

/// Writes the file whole or not at all, and durably: a lost secret voids everything made with it.
pub(super) fn save(path: &Path, secrets: &[Secret]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let unfinished = path.with_extension("secret.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&unfinished)?;
    for secret in secrets {
        writeln!(file, "{}", to_hex(secret.expose()))?;
    }
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(dir)?.sync_all()
}

/// Lower-case hex text.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_for_their_owner_only_and_never_printed() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("not/yet/there");
        let first = Secrets::load_or_create(&dir, ConfiguredSecrets::default()).unwrap();
        let mode = fs::metadata(dir.join("token.secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 3, "nothing unfinished stays");
        fs::set_permissions(dir.join("token.secret"), fs::Permissions::from_mode(0o644)).unwrap();

        let second = Secrets::load_or_create(&dir, ConfiguredSecrets::default()).unwrap();
        let mode = fs::metadata(dir.join("token.secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "tightened");
        assert!(
            second.token.matches(first.token.expose()) && second.key_hash.matches(first.key_hash.expose())
        );
        assert!(second.sealing.matches(first.sealing.expose()) && second.older_sealing.is_empty());
        assert!(!first.token.matches(first.key_hash.expose()) && !first.token.matches(b""));
        let shown = "Secrets { token: ***, key_hash: ***, sealing: ***, older_sealing: [] }";
        assert_eq!(format!("{first:?}"), shown);
    }

    #[test]
    fn a_configured_secret_wins_and_a_damaged_file_is_an_error() {
        let data = tempfile::tempdir().unwrap();
        let configured = Secret::new(*b"0123456789abcdef0123456789abcdef").unwrap();
        let secrets = ConfiguredSecrets { token: Some(configured), ..ConfiguredSecrets::default() };
        let secrets = Secrets::load_or_create(data.path(), secrets).unwrap();
        assert!(secrets.token.matches(b"0123456789abcdef0123456789abcdef"));
        assert!(!data.path().join("token.secret").exists());

        let kept = fs::read_to_string(data.path().join("key-hash.secret")).unwrap();
        for name in ["key-hash.secret", "sealing.secret"] {
            for damaged in ["", "\n", "abcd", "zz", &"é".repeat(40), &"ab".repeat(31)] {
                fs::write(data.path().join(name), damaged).unwrap();
                let read = Secrets::load_or_create(data.path(), ConfiguredSecrets::default());
                assert!(matches!(read, Err(SecretError::Malformed(_))), "{name} {damaged:?}: {read:?}");
            }
            fs::write(data.path().join(name), &kept).unwrap();
        }
        fs::write(data.path().join("key-hash.secret"), kept.repeat(2)).unwrap();
        let read = Secrets::load_or_create(data.path(), ConfiguredSecrets::default());
        assert!(matches!(read, Err(SecretError::Malformed(_))), "only sealing keys may be several: {read:?}");
        assert!(matches!(Secret::new(*b"short"), Err(SecretError::TooShort)));
    }
}
