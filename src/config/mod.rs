//! Settings: defaults, a file, the environment and flags become one typed value that is checked whole before anything
//! starts. Each room defines the settings it needs; this room knows their keys, their bounds and where each came from.

mod settings;

pub use settings::{ConnectionSettings, ServerSettings, Settings};
