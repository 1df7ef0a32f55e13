//! Settings: defaults, a file, the environment and flags become one typed value that is checked whole before anything
//! starts. Every wrong key and value is named at once, with where it stands. Each room defines the settings it needs;
//! this room knows their keys and bounds (`keys`), how values are written (`kind`), and where each came from.
//!
//! This is the only room that reads the environment.

mod key;
mod keys;
mod kind;
mod origin;
mod settings;
mod sources;

pub use key::Key;
pub use keys::keys;
pub use origin::{Origin, Problem, Problems};
pub use settings::{ConnectionSettings, ServerSettings, Settings, StoreKind};
pub use sources::{Flag, Sources, password_of_environment, token_of_environment};

use std::collections::BTreeMap;

/// The defaults, as shipped: the document of every key.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Checked settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The values.
    pub settings: Settings,
    origins: BTreeMap<&'static str, Origin>,
}

/// One line of the effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Section and name, as `server.port`.
    pub key: &'static str,
    /// The value as it would be written in the file; secrets are masked.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Configuration {
    /// Reads and checks all layers, later ones over earlier ones: defaults, file, environment, flags.
    ///
    /// # Errors
    /// Every problem of every layer, also of values that a later layer overrides.
    pub fn load(sources: &Sources) -> Result<Self, Problems> {
        let keys = keys();
        let mut settings = Settings::default();
        let mut origins = BTreeMap::new();
        let mut problems = Vec::new();
        for entry in sources.entries(&keys, &mut problems) {
            let Some(key) = keys.iter().find(|key| key.name == entry.key) else { continue };
            match key.set(&mut settings, &entry.value) {
                Ok(()) => drop(origins.insert(key.name, entry.origin)),
                Err(message) => problems
                    .push(Problem { origin: entry.origin, message: format!("{}: {message}", key.name) }),
            }
        }
        problems.extend(settings.contradictions().into_iter().map(|(key, message)| Problem {
            origin: origins.get(key).cloned().unwrap_or(Origin::Default),
            message: format!("{key}: {message}"),
        }));
        if problems.is_empty() { Ok(Self { settings, origins }) } else { Err(Problems(problems)) }
    }

    /// Every key with its value and origin, in the order of the document.
    #[must_use]
    pub fn effective(&self) -> Vec<Effective> {
        let lines = keys().into_iter().map(|key| Effective {
            key: key.name,
            value: key.show(&self.settings),
            origin: self.origins.get(key.name).cloned().unwrap_or(Origin::Default),
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests;
