//! One key: its name, how its value is written, and the setting it fills.

use super::kind::{Kind, Written};
use super::settings::Settings;

type Set = Box<dyn Fn(&mut Settings, &Written) -> Result<(), String> + Send + Sync>;
type Show = Box<dyn Fn(&Settings) -> String + Send + Sync>;

/// One key.
pub struct Key {
    /// Section and name, as `server.port`.
    pub name: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
    set: Set,
    show: Show,
}

impl Key {
    /// The variable that sets it, as `RUNSTREAM_SERVER_PORT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("RUNSTREAM_{}", self.name.replace('.', "_").to_uppercase())
    }

    pub(super) fn set(&self, settings: &mut Settings, written: &Written) -> Result<(), String> {
        (self.set)(settings, written)
    }

    /// Its value as the file would hold it.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> String {
        (self.show)(settings)
    }
}

/// A key whose value `slot` holds.
pub(super) fn key<T: 'static>(
    name: &'static str,
    kind: impl Kind<T> + 'static,
    slot: fn(&mut Settings) -> &mut T,
) -> Key {
    let kind = std::sync::Arc::new(kind);
    let showing = std::sync::Arc::clone(&kind);
    Key {
        name,
        secret: false,
        set: Box::new(move |settings, written| {
            *slot(settings) = kind.read(written)?;
            Ok(())
        }),
        show: Box::new(move |settings| showing.show(slot(&mut settings.clone()))),
    }
}

/// A key whose value must not be shown, nor given on the command line where every process can read it.
pub(super) fn secret_key<T: 'static>(
    name: &'static str,
    kind: impl Kind<T> + 'static,
    slot: fn(&mut Settings) -> &mut T,
) -> Key {
    Key { secret: true, ..key(name, kind, slot) }
}
