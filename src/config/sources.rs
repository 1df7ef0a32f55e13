//! The layers, read into entries of one shape: key, value, origin. A layer never stops at its first fault.

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::DEFAULTS;
use super::key::Key;
use super::kind::Written;
use super::origin::{Origin, Problem};

/// Holds the password that subcommands sign in with.
const PASSWORD_VARIABLE: &str = "RUNSTREAM_PASSWORD";
/// Holds the token that subcommands act with.
const TOKEN_VARIABLE: &str = "RUNSTREAM_TOKEN";
/// Names a file like `--config` does.
const FILE_VARIABLE: &str = "RUNSTREAM_CONFIG";
/// Read if it is there and no other file is named.
const FILE_IN_FOLDER: &str = "runstream.toml";
/// What all variables of ours begin with.
const PREFIX: &str = "RUNSTREAM_";
/// Variables that reporters and the other subcommands read; a CI job may well set them for all its processes.
const OF_OTHERS: &[&str] = &[
    FILE_VARIABLE,
    "RUNSTREAM_API_KEY",
    "RUNSTREAM_BASE_URL",
    "RUNSTREAM_DEBUG",
    "RUNSTREAM_EMAIL",
    PASSWORD_VARIABLE,
    "RUNSTREAM_PROJECT_ID",
    "RUNSTREAM_SESSION_ID",
    "RUNSTREAM_SESSION_KEY",
    TOKEN_VARIABLE,
    "RUNSTREAM_TRANSPORT",
    "RUNSTREAM_URL",
];
/// Variables of this program's own tests.
const OF_TESTS: &str = "RUNSTREAM_TEST_";
/// What a container platform sets for a service called `runstream`: addresses, not settings.
const OF_THE_PLATFORM: &[&str] = &["RUNSTREAM_PORT", "RUNSTREAM_PORT_", "RUNSTREAM_SERVICE_"];

/// The password of the environment that subcommands sign in with, if there is one.
#[must_use]
pub fn password_of_environment() -> Option<String> {
    secret_of_environment(PASSWORD_VARIABLE)
}

/// The token of the environment that subcommands act with, if there is one.
#[must_use]
pub fn token_of_environment() -> Option<String> {
    secret_of_environment(TOKEN_VARIABLE)
}

fn secret_of_environment(variable: &str) -> Option<String> {
    let value = std::env::var_os(variable)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

/// A setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// Section and name.
    pub key: String,
    /// As typed.
    pub value: String,
    /// How it was given, for messages: `--port`.
    pub shown: String,
}

/// Where settings are looked for.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// A file that is read if it exists.
    pub optional_file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Settings of the command line, later ones over earlier ones.
    pub flags: Vec<Flag>,
}

/// A value of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Written,
    pub(super) origin: Origin,
}

impl Sources {
    /// The sources of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let as_text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let ours = std::env::vars_os().map(|(name, value)| (as_text(name), as_text(value)));
        let environment = ours.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        Self { file, optional_file: Some(PathBuf::from(FILE_IN_FOLDER)), environment, flags }
    }

    /// Every value of every layer, later layers later, unknown keys reported.
    pub(super) fn entries(&self, keys: &[Key], problems: &mut Vec<Problem>) -> Vec<Entry> {
        let mut entries = read_document(DEFAULTS, |_line| Origin::Default, problems);
        entries.extend(self.read_file(problems));
        entries.extend(self.read_environment(keys, problems));
        entries.extend(self.read_flags(keys, problems));
        entries.retain(|entry| {
            let known = keys.iter().any(|key| key.name == entry.key);
            if !known {
                let message = unknown("key", &entry.key, keys.iter().map(|key| key.name.to_owned()));
                problems.push(Problem { origin: entry.origin.clone(), message });
            }
            known
        });
        entries
    }

    fn read_file(&self, problems: &mut Vec<Problem>) -> Vec<Entry> {
        let named_by_variable = self.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        let variable = named_by_variable.map(|(_, path)| PathBuf::from(path));
        let (path, named_by, must_exist) = match (&self.file, variable, &self.optional_file) {
            (Some(path), _, _) => (path.clone(), "--config", true),
            (None, Some(path), _) => (path, FILE_VARIABLE, true),
            (None, None, Some(path)) => (path.clone(), "", false),
            (None, None, None) => return Vec::new(),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => read_document(&text, |line| Origin::File { path: path.clone(), line }, problems),
            Err(error) if !must_exist && error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let origin = if must_exist { Origin::Flag(named_by.to_owned()) } else { Origin::Default };
                problems
                    .push(Problem { origin, message: format!("cannot read {}: {error}", path.display()) });
                Vec::new()
            }
        }
    }

    fn read_environment(&self, keys: &[Key], problems: &mut Vec<Problem>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (name, value) in self.environment.iter().filter(|(name, _)| is_a_setting(name)) {
            let origin = Origin::Variable(name.clone());
            match keys.iter().find(|key| key.variable() == *name) {
                Some(key) => {
                    entries.push(Entry {
                        key: key.name.to_owned(),
                        value: Written::Bare(value.clone()),
                        origin,
                    });
                }
                None => problems.push(Problem {
                    origin,
                    message: unknown("variable", name, keys.iter().map(Key::variable)),
                }),
            }
        }
        entries
    }

    fn read_flags(&self, keys: &[Key], problems: &mut Vec<Problem>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for flag in &self.flags {
            let origin = Origin::Flag(flag.shown.clone());
            if let Some(key) = keys.iter().find(|key| key.name == flag.key && key.secret) {
                let message = format!(
                    "{} is a secret, and a command line can be read by others: use {} or a file",
                    key.name,
                    key.variable()
                );
                problems.push(Problem { origin, message });
            } else {
                entries.push(Entry {
                    key: flag.key.clone(),
                    value: Written::Bare(flag.value.clone()),
                    origin,
                });
            }
        }
        entries
    }
}

fn is_a_setting(variable: &str) -> bool {
    let of_the_platform = OF_THE_PLATFORM
        .iter()
        .any(|name| if name.ends_with('_') { variable.starts_with(name) } else { variable == *name });
    variable.starts_with(PREFIX)
        && !variable.starts_with(OF_TESTS)
        && !of_the_platform
        && !OF_OTHERS.contains(&variable)
}

/// Reads a TOML document of sections with values.
fn read_document(text: &str, origin: impl Fn(usize) -> Origin, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let line_of = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = line_of(error.span().map_or(0, |span| span.start));
        problems.push(Problem { origin: origin(line), message: error.message().to_owned() });
    }
    let mut entries = Vec::new();
    for (section, content) in document.get_ref() {
        let line = line_of(section.span().start);
        let DeValue::Table(table) = content.get_ref() else {
            let message = format!("{} stands outside of a section", section.get_ref());
            problems.push(Problem { origin: origin(line), message });
            continue;
        };
        for (name, value) in table {
            entries.push(Entry {
                key: format!("{}.{}", section.get_ref(), name.get_ref()),
                value: written(value),
                origin: origin(line_of(name.span().start)),
            });
        }
    }
    entries.sort_by_key(|entry| match &entry.origin {
        Origin::File { line, .. } => *line,
        _ => 0,
    });
    entries
}

fn written(value: &Spanned<DeValue<'_>>) -> Written {
    let text = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    };
    match value.get_ref() {
        DeValue::String(text) => Written::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Written::Other("a number this large"), Written::Integer),
        DeValue::Boolean(flag) => Written::Flag(*flag),
        DeValue::Array(items) => items
            .iter()
            .map(text)
            .collect::<Option<_>>()
            .map_or(Written::Other("a list of other things"), Written::List),
        DeValue::Float(_) => Written::Other("a fraction"),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Table(_) => Written::Other("a section"),
    }
}

/// Names an unknown word and the known one that it is most likely meant to be.
fn unknown(what: &str, word: &str, known: impl Iterator<Item = String>) -> String {
    let nearest = known
        .map(|candidate| (strsim::damerau_levenshtein(word, &candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .min();
    match nearest {
        Some((_, candidate)) => format!("unknown {what} {word}; did you mean {candidate}?"),
        None => format!("unknown {what} {word}"),
    }
}
