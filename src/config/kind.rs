//! How values are written and which are allowed. A kind reads a value of the file or the text of a variable or flag,
//! and says in one sentence what it takes if that does not fit.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::access::Secret;
use crate::actors::bucket::Quota;
use crate::store::scylla::Password;

/// A value before its meaning is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// A string of the file.
    Text(String),
    /// A whole number of the file.
    Integer(i64),
    /// `true` or `false` of the file.
    Flag(bool),
    /// A list of strings of the file.
    List(Vec<String>),
    /// A variable or flag: it becomes what the key takes.
    Bare(String),
    /// Something no key takes: a float, a date, a table, a mixed list.
    Other(&'static str),
}

impl Written {
    fn describe(&self) -> String {
        match self {
            Self::Text(text) | Self::Bare(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Other(what) => (*what).to_owned(),
        }
    }

    fn wanted(&self, what: impl Display) -> String {
        format!("must be {what}, not {}", self.describe())
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Bare(text) => Some(text),
            _ => None,
        }
    }

    fn integer(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            Self::Bare(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// How a setting of type `T` is written.
pub(super) trait Kind<T>: Send + Sync {
    /// Reads a value.
    fn read(&self, written: &Written) -> Result<T, String>;
    /// Writes a value as the file would hold it.
    fn show(&self, value: &T) -> String;
}

/// A whole number within bounds, in units of `unit` of the setting: `Whole(1..=64, 1 << 20)` counts MiB.
pub(super) struct Whole(pub(super) RangeInclusive<u64>, pub(super) u64);

/// A plain count.
pub(super) fn count(bounds: RangeInclusive<u64>) -> Whole {
    Whole(bounds, 1)
}

/// Mebibytes, kept as bytes.
pub(super) fn mebibytes(bounds: RangeInclusive<u64>) -> Whole {
    Whole(bounds, 1 << 20)
}

impl Whole {
    fn read_number(&self, written: &Written) -> Result<u64, String> {
        let Self(bounds, _) = self;
        let allowed = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        written.integer().filter(|number| bounds.contains(number)).ok_or_else(|| written.wanted(allowed))
    }
}

impl<T: TryFrom<u64> + TryInto<u64> + Copy> Kind<T> for Whole {
    fn read(&self, written: &Written) -> Result<T, String> {
        let number = self.read_number(written)?.saturating_mul(self.1);
        T::try_from(number).map_err(|_| "is too large for this machine".to_owned())
    }

    fn show(&self, value: &T) -> String {
        let number: u64 = (*value).try_into().unwrap_or(u64::MAX);
        (number / self.1).to_string()
    }
}

/// A duration in whole seconds.
pub(super) struct Seconds(pub(super) RangeInclusive<u64>);

impl Kind<Duration> for Seconds {
    fn read(&self, written: &Written) -> Result<Duration, String> {
        count(self.0.clone()).read_number(written).map(Duration::from_secs)
    }

    fn show(&self, value: &Duration) -> String {
        value.as_secs().to_string()
    }
}

/// A duration in whole milliseconds.
pub(super) struct Milliseconds(pub(super) RangeInclusive<u64>);

impl Kind<Duration> for Milliseconds {
    fn read(&self, written: &Written) -> Result<Duration, String> {
        count(self.0.clone()).read_number(written).map(Duration::from_millis)
    }

    fn show(&self, value: &Duration) -> String {
        value.as_millis().to_string()
    }
}

/// How many requests a minute a tier admits.
pub(super) struct PerMinute;

impl Kind<Quota> for PerMinute {
    fn read(&self, written: &Written) -> Result<Quota, String> {
        let capacity = Kind::<u32>::read(&count(1..=u64::from(Quota::CAPACITY_MAX)), written)?;
        Ok(Quota { capacity, window_ms: 60_000 })
    }

    fn show(&self, value: &Quota) -> String {
        value.capacity.to_string()
    }
}

/// `true` or `false`.
pub(super) struct Switch;

impl Kind<bool> for Switch {
    fn read(&self, written: &Written) -> Result<bool, String> {
        match written {
            Written::Flag(flag) => Ok(*flag),
            Written::Bare(text) if text == "true" => Ok(true),
            Written::Bare(text) if text == "false" => Ok(false),
            other => Err(other.wanted("true or false")),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + Send + Sync> Kind<T> for Choice<T> {
    fn read(&self, written: &Written) -> Result<T, String> {
        let chosen = self.0.iter().find(|(word, _)| written.text() == Some(word));
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = self.0.iter().map(|(word, _)| format!("{word:?}")).collect();
            written.wanted(format!("one of {}", words.join(", ")))
        })
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word);
        format!("{word:?}")
    }
}

/// Text that `read` understands, described for people as `what`.
pub(super) struct Text<T: 'static> {
    pub(super) what: &'static str,
    pub(super) read: fn(&str) -> Option<T>,
    pub(super) show: fn(&T) -> String,
}

impl<T> Kind<T> for Text<T> {
    fn read(&self, written: &Written) -> Result<T, String> {
        written.text().and_then(self.read).ok_or_else(|| written.wanted(self.what))
    }

    fn show(&self, value: &T) -> String {
        format!("{:?}", (self.show)(value))
    }
}

/// A list of texts; in a variable or flag separated by commas.
pub(super) struct Texts<T: 'static>(pub(super) Text<T>);

impl<T> Kind<Vec<T>> for Texts<T> {
    fn read(&self, written: &Written) -> Result<Vec<T>, String> {
        let one = |text: &str| {
            (self.0.read)(text).ok_or_else(|| format!("must hold {} each, not {text:?}", self.0.what))
        };
        match written {
            Written::List(texts) => texts.iter().map(|text| one(text)).collect(),
            Written::Bare(texts) => {
                texts.split(',').map(str::trim).filter(|text| !text.is_empty()).map(one).collect()
            }
            other => Err(other.wanted("a list of texts")),
        }
    }

    fn show(&self, value: &Vec<T>) -> String {
        let texts: Vec<_> = value.iter().map(|one| format!("{:?}", (self.0.show)(one))).collect();
        format!("[{}]", texts.join(", "))
    }
}

/// Something that may be left out by an empty text.
pub(super) struct Optional<K>(pub(super) K);

impl<T, K: Kind<T>> Kind<Option<T>> for Optional<K> {
    fn read(&self, written: &Written) -> Result<Option<T>, String> {
        if written.text() == Some("") { Ok(None) } else { self.0.read(written).map(Some) }
    }

    fn show(&self, value: &Option<T>) -> String {
        value.as_ref().map_or_else(|| "\"\"".to_owned(), |value| self.0.show(value))
    }
}

/// A secret: never shown, not even in a message about what is wrong with it.
pub(super) struct Masked;

impl Kind<Secret> for Masked {
    fn read(&self, written: &Written) -> Result<Secret, String> {
        let text = written.text().ok_or_else(|| "must be a text".to_owned())?;
        Secret::new(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn show(&self, _value: &Secret) -> String {
        "\"********\"".to_owned()
    }
}

/// Secrets, separated by commas in a variable: never shown, nor how many they are.
pub(super) struct MaskedTexts;

impl Kind<Vec<Secret>> for MaskedTexts {
    fn read(&self, written: &Written) -> Result<Vec<Secret>, String> {
        let one = |text: &str| Secret::new(text.as_bytes()).map_err(|error| error.to_string());
        match written {
            Written::List(texts) => texts.iter().map(|text| one(text)).collect(),
            Written::Bare(texts) => {
                texts.split(',').map(str::trim).filter(|text| !text.is_empty()).map(one).collect()
            }
            _ => Err("must be a list of texts".to_owned()),
        }
    }

    fn show(&self, value: &Vec<Secret>) -> String {
        if value.is_empty() { "[]".to_owned() } else { "[\"********\"]".to_owned() }
    }
}

/// A password of another system, which has its own rules for it: never shown.
pub(super) struct MaskedPassword;

impl Kind<Password> for MaskedPassword {
    fn read(&self, written: &Written) -> Result<Password, String> {
        let text = written.text().ok_or_else(|| "must be a text".to_owned())?;
        Ok(Password(text.to_owned()))
    }

    fn show(&self, _value: &Password) -> String {
        "\"********\"".to_owned()
    }
}

/// A path, relative ones to the working directory.
pub(super) fn path() -> Text<PathBuf> {
    Text {
        what: "a path",
        read: |text| (!text.is_empty()).then(|| PathBuf::from(text)),
        show: |path| path.display().to_string(),
    }
}
