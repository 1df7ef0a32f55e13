//! What several test modules use.

pub(crate) mod account;
pub(crate) mod alone;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod held;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod reports;
pub(crate) mod runs;
pub(crate) mod site;
pub(crate) mod stage;
