//! What several test modules use.

pub(crate) mod account;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod runs;
pub(crate) mod site;
